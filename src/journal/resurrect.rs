//! Resurrection (`journal-design.md` 4.4 step 5): the records of a lost tail, made again from evidence.
//!
//! Entries are inside receipts and chained, so each returns to its own place or not at all. First the root
//! log itself is rebuilt, leaf by leaf, for as long as every leaf is known; it then equals what was
//! signed. Beyond that (leaves of the appliance's own journals are in nobody's receipts) the entries of
//! institutions still return to their journals, whose trees equal what was signed; the root log does not,
//! and two officers have to say so before it goes on.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::checkpoint::Head;
use super::entry::{Charter, Entry, EntryKind, journal_id};
use super::epoch::{self, EVENT, EpochChange, Why};
use super::evidence::Evidence;
use super::record::{self, Group, Record, Section, push_section};
use super::replica::Replica;
use super::tree::CompactRange;
use super::{OwnJournal, RequestId};
use crate::clock::UtcMicros;
use crate::digest::Digest;

/// Entries of one rebuilt record at most.
const AT_ONCE: usize = 4096;

/// A run of entries nobody handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Journal.
    pub origin: String,
    /// First missing sequence.
    pub from: u64,
    /// First sequence beyond the missing ones; the journal had at least so many entries.
    pub until: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Entries that return, by journal.
    pub restored: BTreeMap<String, u64>,
    /// Entries known to have been sealed that nobody handed in.
    pub missing: Vec<Missing>,
    /// Leaves of the root log afterwards.
    pub root_size: u64,
    /// Whether the root log equals the last signed head again.
    pub reached: bool,
    /// Why the root log could not be followed further, if it could not.
    pub stopped: Option<String>,
}

/// The records to be appended, in order.
pub struct Plan {
    /// Payloads, in order.
    pub payloads: Vec<Vec<u8>>,
    /// Whether the last of them begins the next epoch: the goal is reached.
    pub new_epoch: bool,
    /// What they achieve.
    pub outcome: Outcome,
}

/// Plans the tail after `replica`, which recovery brought to the end of the log. The goal is the largest
/// checkpoint among the evidence.
pub fn plan(
    replica: Replica,
    evidence: &mut Evidence,
    institutions: &[String],
    epoch: u64,
) -> Result<Plan, String> {
    find_charters(evidence, institutions);
    let goal = evidence.seals.iter().next_back().map(|(size, seal)| (*size, seal.root));
    let mut builder = Builder { replica, evidence, payloads: Vec::new(), outcome: Outcome::default() };
    builder.follow_root_log()?;
    let mut new_epoch = false;
    let (size, root) = builder.replica.root();
    builder.outcome.reached = goal.is_none_or(|goal| goal == (size, root));
    if builder.outcome.reached {
        builder.outcome.stopped = None;
        if !builder.payloads.is_empty() {
            new_epoch = builder.epoch_change(epoch + 1)?;
        }
    } else {
        builder.journals_alone()?;
    }
    builder.outcome.missing = builder.missing();
    builder.outcome.root_size = builder.replica.root().0;
    let Builder { payloads, outcome, .. } = builder;
    Ok(Plan { payloads, new_epoch, outcome })
}

/// The charter follows from entry 0, which names its time and hash, once the institution is known.
fn find_charters(evidence: &mut Evidence, institutions: &[String]) {
    for (origin, entries) in &evidence.entries {
        let Some(first) = entries.get(&0) else { continue };
        for institution in institutions {
            let charter = Charter {
                origin: origin.clone(),
                institution: Some(institution.clone()),
                opened: UtcMicros(first.time).iso8601(),
            };
            let text = charter.text();
            if Digest::of(text.as_bytes()) == first.digest {
                evidence.charters.insert(origin.clone(), text);
            }
        }
    }
}

struct Builder<'e> {
    replica: Replica,
    evidence: &'e Evidence,
    payloads: Vec<Vec<u8>>,
    outcome: Outcome,
}

impl Builder<'_> {
    /// Rebuilds leaf after leaf of the root log while each is known, and puts every known seal in its place.
    fn follow_root_log(&mut self) -> Result<(), String> {
        loop {
            let (index, _) = self.replica.root();
            let mut payload = Vec::new();
            let Some(text) = self.evidence.heads.get(&index) else {
                self.outcome.stopped = Some(format!("no receipt holds leaf {index} of the root log"));
                break;
            };
            let head = Head::parse(text).map_err(|e| e.to_string())?;
            let Some(entries) = self.batch(&head) else {
                let what = format!("entries of {} below {} are missing", head.origin, head.size);
                self.outcome.stopped = Some(what);
                break;
            };
            if head.after != self.replica.after() && !self.push_seal_before(&head.after, &mut payload) {
                self.outcome.stopped = Some(format!("no receipt holds the seal that leaf {index} follows"));
                break;
            }
            let Some(details) = self.details(&entries) else {
                let what = format!("the statement of entry {} of {} is missing", entries[0].seq, head.origin);
                self.outcome.stopped = Some(what);
                break;
            };
            let Some(number) = self.number(&head.origin, &mut payload) else {
                self.outcome.stopped = Some(format!("the charter of {} is missing", head.origin));
                break;
            };
            self.push_group((number, &head.origin), &entries, text, &details, payload)?;
        }
        let later: Vec<u64> = self.evidence.seals.keys().copied().collect();
        for size in later {
            let Some(seal) = self.evidence.seals.get(&size) else { continue };
            if size > self.replica.sealed() && self.replica.check_seal(size, &seal.note).is_ok() {
                let mut payload = Vec::new();
                push_section(&mut payload, &Section::Seal { root_size: size, note: &seal.note });
                self.push(payload)?;
            }
        }
        Ok(())
    }

    /// The entries of the batch that ended at `head`, if all are known and of one time.
    fn batch(&self, head: &Head) -> Option<Vec<Entry>> {
        let from = self.replica.line(&head.origin).map_or(0, |line| line.size);
        let known = self.evidence.entries.get(&head.origin)?;
        let entries: Vec<Entry> = (from..head.size).map_while(|seq| known.get(&seq).copied()).collect();
        let whole = !entries.is_empty() && entries.len() as u64 == head.size - from;
        let same = entries.windows(2).all(|two| alike(&two[0], &two[1]));
        (whole && same).then_some(entries)
    }

    fn push_seal_before(&self, after: &Digest, payload: &mut Vec<u8>) -> bool {
        let mut fitting = self.evidence.seals.iter().filter(|(_, seal)| seal.token == *after);
        let Some((size, seal)) = fitting.next() else { return false };
        if *size <= self.replica.sealed() || self.replica.check_seal(*size, &seal.note).is_err() {
            return false;
        }
        push_section(payload, &Section::Seal { root_size: *size, note: &seal.note });
        true
    }

    /// The journal's number; a journal the log lacks is opened in `payload`.
    fn number(&self, origin: &str, payload: &mut Vec<u8>) -> Option<u32> {
        if let Some(line) = self.replica.line(origin) {
            return Some(line.number);
        }
        let text = self.evidence.charters.get(origin)?;
        let charter = Charter::parse(text).ok()?;
        let (_, name) = origin.split_once("/j/")?;
        let number = self.replica.count();
        let institution = charter.institution.unwrap_or_default();
        push_section(payload, &Section::Opened { number, name, institution: &institution, charter: text });
        Some(number)
    }

    /// What the root log cannot tell: every entry that continues its journal's chain.
    fn journals_alone(&mut self) -> Result<(), String> {
        let origins: Vec<String> = self.evidence.entries.keys().cloned().collect();
        for origin in origins.into_iter().filter(|origin| !is_own(origin)) {
            while let Some(entries) = self.next_run(&origin) {
                let mut payload = Vec::new();
                let Some(number) = self.number(&origin, &mut payload) else { break };
                let Some(details) = self.details(&entries) else { break };
                let text = self.head_after(&origin, &entries).text();
                self.push_group((number, &origin), &entries, &text, &details, payload)?;
            }
        }
        Ok(())
    }

    fn next_run(&self, origin: &str) -> Option<Vec<Entry>> {
        let (from, prev) = match self.replica.line(origin) {
            Some(line) => (line.size, line.prev),
            None => (0, Digest::of(self.evidence.charters.get(origin)?.as_bytes())),
        };
        let known = self.evidence.entries.get(origin)?;
        let first = known.get(&from).filter(|first| first.prev == prev)?;
        let run = (from..).map_while(|seq| known.get(&seq)).take_while(|entry| alike(first, entry));
        let most = if is_control(first) { 1 } else { AT_ONCE };
        Some(run.take(most).copied().collect())
    }

    fn head_after(&self, origin: &str, entries: &[Entry]) -> Head {
        let mut tree = self.replica.line(origin).map_or_else(CompactRange::new, |line| line.tree.clone());
        entries.iter().for_each(|entry| tree.append(entry.leaf()));
        let (size, root) = (tree.size(), tree.root());
        Head { origin: origin.to_owned(), size, root, after: self.replica.after() }
    }

    fn push_group(
        &mut self,
        (number, origin): (u32, &str),
        entries: &[Entry],
        head: &str,
        details: &[u8],
        mut payload: Vec<u8>,
    ) -> Result<(), String> {
        let mut slots = Vec::new();
        for entry in entries {
            slots.extend_from_slice(&entry.request_id.0);
            slots.extend_from_slice(entry.digest.as_bytes());
        }
        let Entry { seq: first, time, bound, kind, .. } = entries[0];
        let group = Group { journal: number, kind, first, time, bound, head, slots: &slots, details };
        push_section(&mut payload, &Section::Group(group));
        self.push(payload)?;
        *self.outcome.restored.entry(origin.to_owned()).or_default() += entries.len() as u64;
        Ok(())
    }

    /// What the group of these entries holds beside them: of a control entry its statement. A freeze can do
    /// without; of a hand-over nothing else says whose the journal is.
    fn details(&self, entries: &[Entry]) -> Option<Vec<u8>> {
        let Entry { kind, digest, .. } = entries[0];
        let statement = self.evidence.statements.get(&digest).filter(|_| is_control(&entries[0]));
        match statement {
            Some(text) => Some([&(text.len() as u32).to_be_bytes()[..], text].concat()),
            None => (kind != EntryKind::HandOver as u16).then(Vec::new),
        }
    }

    /// The rebuilt record goes through the same check as one read at start.
    fn push(&mut self, payload: Vec<u8>) -> Result<(), String> {
        let bytes = record::encode([0; 16], 0, 0, Digest::default(), &payload);
        let record = Record::decode(&bytes).map_err(|e| e.to_string())?;
        self.replica
            .apply(&record, &mut |_, _, _| {})
            .map_err(|e| format!("the receipts contradict the log: {e}"))?;
        self.payloads.push(payload);
        Ok(())
    }

    /// The entry that begins the next epoch, of the last known time: this command has no trusted clock.
    /// It stands in the record that completes the restoration, so that neither is there without the other.
    fn epoch_change(&mut self, epoch: u64) -> Result<bool, String> {
        let origin = format!("{}/j/{}", self.replica.site(), OwnJournal::Events.name());
        let Some(line) = self.replica.line(&origin) else { return Ok(false) };
        let (size, root) = self.replica.root();
        let restored: u64 = self.outcome.restored.values().sum();
        let statement = EpochChange {
            event: EVENT.into(),
            epoch,
            why: Why::Resurrected,
            size,
            root,
            given_up: Vec::new(),
            description: format!("{restored} entries were restored from receipts"),
            agreed_by: Vec::new(),
        };
        let (detail, time) = (statement.text(), self.replica.last_time().max(0));
        let digest = Digest::of(&detail);
        let RequestId(id) = epoch::entry_id(&digest);
        let entry = Entry {
            journal: journal_id(&origin),
            seq: line.size,
            prev: line.prev,
            time,
            bound: u32::MAX,
            kind: EntryKind::EpochChange as u16,
            request_id: RequestId(id),
            digest,
        };
        let head = self.head_after(&origin, &[entry]).text();
        let slots = [&id[..], digest.as_bytes()].concat();
        let details = [&(detail.len() as u32).to_be_bytes()[..], &detail].concat();
        let group = Group {
            journal: line.number,
            kind: entry.kind,
            first: entry.seq,
            time,
            bound: entry.bound,
            head: &head,
            slots: &slots,
            details: &details,
        };
        let mut payload = Vec::new();
        push_section(&mut payload, &Section::Group(group));
        self.push(payload)?;
        let change = self.payloads.pop().unwrap_or_default();
        if let Some(last) = self.payloads.last_mut() {
            last.extend(change);
        }
        Ok(true)
    }

    /// By journal: from what it has now to what heads and entries show it had.
    fn missing(&self) -> Vec<Missing> {
        let mut missing = Vec::new();
        let origins: BTreeSet<&String> = self.evidence.sizes.keys().collect();
        for origin in origins {
            let known = self.evidence.entries.get(origin);
            let has = self.replica.line(origin).map_or(0, |line| line.size);
            let size = self.evidence.sizes[origin];
            let mut from = has;
            let later = known.into_iter().flat_map(|k| k.range(has..size));
            // A hand-over is known with its statement only.
            let later = later.filter(|(_, entry)| self.details(&[**entry]).is_some()).map(|(seq, _)| *seq);
            for seq in later.chain([size]) {
                if seq > from {
                    missing.push(Missing { origin: origin.clone(), from, until: seq });
                }
                from = seq + 1;
            }
            // Everything is there but the charter's text.
            let unopened =
                self.replica.line(origin).is_none() && !self.evidence.charters.contains_key(origin);
            if unopened && !missing.iter().any(|m| &m.origin == origin && m.from == 0) {
                missing.push(Missing { origin: origin.clone(), from: 0, until: 1 });
            }
        }
        missing
    }
}

/// Whether two entries can stand in one group.
fn alike(a: &Entry, b: &Entry) -> bool {
    (a.time, a.bound, a.kind) == (b.time, b.bound, b.kind)
}

/// Whether the entry stands alone in its group.
fn is_control(entry: &Entry) -> bool {
    [EntryKind::Freeze as u16, EntryKind::HandOver as u16].contains(&entry.kind)
}

fn is_own(origin: &str) -> bool {
    origin.split_once("/j/").is_some_and(|(_, name)| name.starts_with("own."))
}
