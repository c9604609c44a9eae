//! What clients ask of the journal in a round: fresh digests, the same again, one id for two digests.

use pechat::digest::Digest;
use pechat::institution::InstitutionId;
use pechat::journal::control::Ordered;
use pechat::journal::stepwise::{Ask, Stepwise};
use pechat::journal::{JournalName, OwnJournal, RequestId, Submission};

use super::checker::sha;
use super::schedule::{Asked, NAMES, Schedule};

impl Schedule {
    pub fn requests(&mut self, journals: &mut Stepwise, asked: &mut Vec<Asked>) {
        for name in
            NAMES.iter().filter(|name| journals.info(&journal(name)).is_none()).copied().collect::<Vec<_>>()
        {
            let ask = Ask::Create(journal(name), Some(institution("office")));
            self.ask(journals, name, ask, Vec::new(), false, asked);
        }
        let own = OwnJournal::Events;
        if journals.info(&own.into()).is_none() {
            self.ask(journals, own.name(), Ask::Create(own.into(), None), Vec::new(), false, asked);
        }
        if self.rng.one_in(3) {
            self.ending(journals, asked);
        }
        for _ in 0..1 + self.rng.below(3) {
            match self.rng.below(6) {
                0 => self.record(journals, asked),
                1 => self.again(journals, asked),
                2 => self.forge(journals, asked),
                _ => {
                    let name = NAMES[self.rng.below(2) as usize];
                    let entries: Vec<_> = (0..1 + self.rng.below(12)).map(|_| self.fresh()).collect();
                    self.submit(journals, name, entries, false, asked);
                }
            }
        }
    }

    pub fn fresh(&mut self) -> ([u8; 16], [u8; 32]) {
        self.next_id += 1;
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.next_id.to_be_bytes());
        (id, sha(&[&id]))
    }

    pub fn submit(
        &mut self,
        journals: &mut Stepwise,
        name: &str,
        entries: Vec<([u8; 16], [u8; 32])>,
        forged: bool,
        asked: &mut Vec<Asked>,
    ) {
        let submission = |(id, digest): &([u8; 16], [u8; 32])| Submission {
            request_id: RequestId(*id),
            digest: Digest::from_bytes(*digest),
        };
        let submissions = entries.iter().map(submission).collect();
        self.ask(journals, name, Ask::Seal(journal(name), submissions, None), entries, forged, asked);
    }

    fn record(&mut self, journals: &mut Stepwise, asked: &mut Vec<Asked>) {
        let (id, _) = self.fresh();
        let detail = format!("{{\"number\":{}}}", self.next_id).into_bytes();
        let entries = vec![(id, sha(&[&detail]))];
        let own = OwnJournal::Events;
        self.ask(journals, own.name(), Ask::Record(own, RequestId(id), detail), entries, false, asked);
    }

    /// A client that asks again for what it has, or for what it got no answer to.
    fn again(&mut self, journals: &mut Stepwise, asked: &mut Vec<Asked>) {
        let unsure = self.rng.below(self.unsure.len() as u64) as usize;
        let sealed: Vec<_> = self
            .promises
            .acknowledged
            .iter()
            .filter(|((name, _), _)| NAMES.contains(&name.as_str()))
            .collect();
        let known = sealed.get(self.rng.below(sealed.len() as u64) as usize);
        let known = known.map(|((name, id), (_, digest))| (name.clone(), *id, *digest));
        let unsure = self.unsure.get(unsure).cloned().filter(|(name, ..)| NAMES.contains(&name.as_str()));
        let pick = if self.rng.one_in(2) { known.or(unsure) } else { unsure.or(known) };
        // The charter's own id is no client's.
        if let Some((name, id, digest)) = pick.filter(|(_, id, _)| id[..8] == [0; 8]) {
            self.submit(journals, &name, vec![(id, digest)], false, asked);
        }
    }

    /// A journal that is sealed into, handed over, frozen; and one that was frozen, which takes nothing.
    fn ending(&mut self, journals: &mut Stepwise, asked: &mut Vec<Asked>) {
        let old = self.promises.frozen.keys().next_back().cloned();
        if let Some(old) = old.filter(|old| journals.info(&journal(old)).is_some()) {
            let fresh = self.fresh();
            self.submit(journals, &old, vec![fresh], true, asked);
        }
        let name = format!("old-{}", self.ending);
        let Some(info) = journals.info(&journal(&name)) else {
            let ask = Ask::Create(journal(&name), Some(institution("office")));
            return self.ask(journals, &name, ask, Vec::new(), false, asked);
        };
        if info.frozen.is_some() {
            self.ending += 1;
            return;
        }
        let fresh = self.fresh();
        self.submit(journals, &name, vec![fresh], false, asked);
        let owner = info.institution.expect("an institution's journal");
        let ends = self.rng.one_in(2);
        let other = if owner == institution("office") { "heir" } else { "office" };
        let to = if ends { None } else { Some(institution(other)) };
        let ordered = Ordered { institution: owner, to, description: "order".into(), agreed_by: Vec::new() };
        if let Ok(pending) = journals.ask(Ask::Control(journal(&name), ordered)) {
            let (forged, entries) = (false, Vec::new());
            asked.push(Asked { pending, journal: name, entries, forged, ends });
        }
    }

    /// A client that reuses an acknowledged id for another digest.
    fn forge(&mut self, journals: &mut Stepwise, asked: &mut Vec<Asked>) {
        let name = NAMES[self.rng.below(2) as usize];
        let known = self.promises.acknowledged.keys().find(|(of, id)| of == name && id[..8] == [0; 8]);
        if let Some(id) = known.map(|(_, id)| *id) {
            self.submit(journals, name, vec![(id, [9; 32])], true, asked);
        }
    }

    fn ask(
        &mut self,
        journals: &mut Stepwise,
        name: &str,
        ask: Ask,
        entries: Vec<([u8; 16], [u8; 32])>,
        forged: bool,
        asked: &mut Vec<Asked>,
    ) {
        if let Ok(pending) = journals.ask(ask) {
            asked.push(Asked { pending, journal: name.into(), entries, forged, ends: false });
        }
    }
}

fn institution(id: &str) -> InstitutionId {
    InstitutionId::try_from(id.to_owned()).unwrap()
}

fn journal(name: &str) -> JournalName {
    JournalName::try_from(name.to_owned()).unwrap()
}
