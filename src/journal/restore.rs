//! Resurrection on the files of a stopped appliance.

use std::path::Path;

use super::JournalError;
use super::evidence::Evidence;
use super::log::{self, AppendError};
use super::replica::Replica;
use super::resurrect::{Outcome, Plan, plan};

/// What is to be restored.
pub struct Restore<'a> {
    /// Directory of the journal; its lock is taken.
    pub dir: &'a Path,
    /// First part of every origin.
    pub site: &'a str,
    /// Bytes of one segment.
    pub segment_bytes: u64,
    /// Institutions whose charters may have to be written again.
    pub institutions: &'a [String],
}

impl Restore<'_> {
    /// What a run would do; changes nothing.
    pub fn dry_run(&self, evidence: &mut Evidence) -> Result<Outcome, JournalError> {
        let mut replica = Replica::new(self.site);
        let epoch = log::look(self.dir, &mut |_, record| replica.apply(record, &mut |_, _, _| {}))?;
        Ok(self.plan(replica, evidence, epoch)?.outcome)
    }

    /// Appends what the evidence gives. A run that is cut short is simply started again.
    pub fn run(&self, evidence: &mut Evidence) -> Result<Outcome, JournalError> {
        let mut replica = Replica::new(self.site);
        let mut follow = |_, record: &super::record::Record<'_>| replica.apply(record, &mut |_, _, _| {});
        let opening = log::Opening::of_files(self.segment_bytes, Some(0))?;
        let lock = log::claim(self.dir, &*opening.disk)?;
        let (mut log, _torn) = log::open(self.dir, &opening, lock, None, &mut follow)?;
        let Plan { payloads, new_epoch, outcome } = self.plan(replica, evidence, log.epoch())?;
        for (index, payload) in payloads.iter().enumerate() {
            if new_epoch && index + 1 == payloads.len() {
                log.set_epoch(log.epoch() + 1);
            }
            log.append(payload).map_err(storage)?;
        }
        Ok(outcome)
    }

    fn plan(&self, replica: Replica, evidence: &mut Evidence, epoch: u64) -> Result<Plan, JournalError> {
        plan(replica, evidence, self.institutions, epoch).map_err(JournalError::Damaged)
    }
}

fn storage(error: AppendError) -> JournalError {
    match error {
        AppendError::Full(why) | AppendError::Failed(why) => JournalError::Storage(why),
    }
}
