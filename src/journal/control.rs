//! Control entries of an institution's journal: each in a batch of its own, together with the record in
//! `own.events`, so that log order decides between it and every seal.

use std::sync::Arc;

use super::batch::{Open, Sequencer};
use super::entry::EntryKind;
use super::epoch::{AgreedBy, entry_id};
use super::queue::Reply;
use super::state::Journal;
use super::tenure::{Event, Statement};
use super::{JournalError, OwnJournal, Recorded};
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// What two officers ordered. Who may order is the caller's to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// Whom they believe the journal belongs to: a hand-over in between makes the order void.
    pub institution: InstitutionId,
    /// Whom it shall belong to; `None`: it is frozen.
    pub to: Option<InstitutionId>,
    /// The order behind it.
    pub description: String,
    /// Who agreed.
    pub agreed_by: Vec<AgreedBy>,
}

impl Ordered {
    /// The statement of control entry `seq` of the journal with this origin line.
    pub fn statement(&self, origin: &str, seq: u64) -> Statement {
        let Ordered { institution, to, description, agreed_by } = self.clone();
        let event = if to.is_some() { Event::HandedOver } else { Event::Frozen };
        Statement { event, origin: origin.to_owned(), seq, institution, to, description, agreed_by }
    }
}

impl Sequencer {
    /// Writes the control entry, or says why not.
    pub(super) fn control(&mut self, journal: &Arc<Journal>, ordered: &Ordered, reply: Reply<Recorded>) {
        let (stamp, trusted) = self.stamp();
        let mut open = Open::default();
        let staged =
            self.admit_control(trusted).and_then(|()| self.stage_control(journal, ordered, &mut open));
        match staged {
            Ok(seq) => open.recordings.push((reply, journal.number as usize, seq)),
            Err(error) => {
                drop(reply.send(Err(error.clone())));
                return self.refuse(open, None, &error);
            }
        }
        match self.commit(&open, None, stamp) {
            Ok(()) => self.release(open, None, stamp),
            Err(error) => self.refuse(open, None, &error),
        }
    }

    fn admit_control(&self, trusted: Result<(), JournalError>) -> Result<(), JournalError> {
        if let Some(why) = self.shared.failure() {
            return Err(JournalError::Storage(why.to_owned()));
        }
        self.shared.admit()?;
        if let Some(why) = self.log.low_space() {
            return Err(JournalError::NotNow(why));
        }
        trusted
    }

    fn stage_control(
        &mut self,
        journal: &Journal,
        ordered: &Ordered,
        open: &mut Open,
    ) -> Result<u64, JournalError> {
        let unfit = |why| JournalError::NotNow(format!("the order cannot be recorded: {why}"));
        journal.admit(Some(&ordered.institution))?;
        let number = journal.number as usize;
        let statement = ordered.statement(&journal.origin, self.lines[number].next);
        let detail = statement.text();
        Statement::parse(&detail).map_err(unfit)?;
        let events = OwnJournal::Events.name();
        let events = self.lines.iter().position(|line| line.journal.name.as_str() == events);
        let events = events.ok_or_else(|| unfit(format!("there is no {}", OwnJournal::Events.name())))?;
        let digest = Digest::of(&detail);
        for (line, kind) in [(events, EntryKind::Record), (number, statement.kind())] {
            self.place(line, kind, entry_id(&digest), digest, open)?;
            if let Some(group) = open.groups.last_mut() {
                group.details.push(detail.clone());
            }
        }
        Ok(statement.seq)
    }
}
