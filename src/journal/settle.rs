//! The end of a quarantine by a gap record: one entry of kind 6 in every journal, in a new epoch.

use std::sync::atomic::Ordering;

use super::batch::{Open, Sequencer};
use super::entry::EntryKind;
use super::epoch::{EpochChange, entry_id};
use super::queue::Reply;
use super::record::Group;
use super::{DETAIL_MAX, JournalError, OwnJournal, Recorded, RequestId};
use crate::digest::Digest;

/// A statement ready to be written.
pub struct Settlement {
    /// Its text.
    pub detail: Vec<u8>,
    digest: Digest,
    id: RequestId,
    epoch: u64,
    given_up: Vec<(u64, Digest)>,
}

impl Settlement {
    /// Refuses a statement that is too long to be a detail, or that could not be read again.
    pub fn new(statement: &EpochChange) -> Result<Settlement, JournalError> {
        let detail = statement.text();
        let unfit =
            |why: String| JournalError::NotNow(format!("the gap statement cannot be recorded: {why}"));
        if detail.len() > DETAIL_MAX {
            return Err(unfit(format!("it has {} bytes, more than {DETAIL_MAX}", detail.len())));
        }
        EpochChange::parse(&detail).map_err(unfit)?;
        let digest = Digest::of(&detail);
        let given_up = statement.given_up.iter().map(|head| (head.size, head.root)).collect();
        Ok(Settlement { detail, digest, id: entry_id(&digest), epoch: statement.epoch, given_up })
    }
}

impl Sequencer {
    /// Begins the epoch, or says why not. Nothing changes unless the whole record is durable.
    pub(super) fn settle(&mut self, settlement: Settlement, reply: Reply<Recorded>) {
        let prepared = self.prepare(&settlement);
        let mut open = match prepared {
            Ok(open) => open,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let events =
            self.lines.iter().position(|line| line.journal.name.as_str() == OwnJournal::Events.name());
        if let Some(line) = events {
            open.recordings.push((reply, line, self.lines[line].next - 1));
        }
        let before = self.log.epoch();
        self.log.set_epoch(settlement.epoch);
        let (stamp, _) = self.stamp();
        match self.commit(&open, None, stamp) {
            Ok(()) => {
                self.shared.epoch.store(settlement.epoch, Ordering::Relaxed);
                self.shared.abandon(settlement.given_up);
                self.shared.lift();
                self.release(open, None, stamp);
            }
            Err(error) => {
                self.log.set_epoch(before);
                self.refuse(open, None, &error);
            }
        }
    }

    /// The own journals, should they have been lost, and one entry for each journal.
    fn prepare(&mut self, settlement: &Settlement) -> Result<Open, JournalError> {
        if self.shared.quarantine().is_none() {
            return Err(JournalError::NotNow("there is no quarantine to be ended".into()));
        }
        if settlement.epoch != self.log.epoch() + 1 {
            let (said, epoch) = (settlement.epoch, self.log.epoch());
            return Err(JournalError::NotNow(format!("the statement is of epoch {said}, this is {epoch}")));
        }
        self.open_lost()?;
        let mut open = Open::default();
        for number in 0..self.lines.len() {
            // A final record stays final.
            if self.lines[number].journal.tenure().frozen.is_some() {
                continue;
            }
            let (id, digest) = (settlement.id, settlement.digest);
            self.place(number, EntryKind::EpochChange, id, digest, &mut open)?;
            if self.lines[number].journal.institution.is_none()
                && let Some(group) = open.groups.last_mut()
            {
                group.details.push(settlement.detail.clone());
            }
        }
        Ok(open)
    }

    /// A burnt-down appliance has no own journals; they begin anew, in a record before.
    fn open_lost(&mut self) -> Result<(), JournalError> {
        let mut open = Open::default();
        let (stamp, _) = self.stamp();
        for own in OwnJournal::ALL {
            match self.stage_create(own.into(), None, stamp, &Ok(()), &mut open) {
                Ok(_) | Err(JournalError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        if open.created.is_empty() {
            return Ok(());
        }
        match self.commit(&open, None, stamp) {
            Ok(()) => self.release(open, None, stamp),
            Err(error) => {
                self.refuse(open, None, &error);
                return Err(error);
            }
        }
        Ok(())
    }
}

/// The heads that a recorded statement gave up, so that they are no contradiction at later starts.
pub fn given_up(group: &Group<'_>) -> Vec<(u64, Digest)> {
    if group.kind != EntryKind::EpochChange as u16 {
        return Vec::new();
    }
    // One statement a group: four bytes of length, then the text.
    let statement = group.details.get(4..).and_then(|text| EpochChange::parse(text).ok());
    let heads = statement.into_iter().flat_map(|statement| statement.given_up);
    heads.map(|head| (head.size, head.root)).collect()
}
