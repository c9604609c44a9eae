//! Staging: what a command adds to the batch being built, and how a refused one is taken out again.

use std::cell::Cell;
use std::sync::Arc;

use super::batch::{Line, Open, Sequencer, Staged, Stamp};
use super::entry::EntryKind;
use super::lookup::Lookup;
use super::queue::{Command, Placed, Positions};
use super::record::{self, SLOT_BYTES};
use super::state::{Journal, Shared};
use super::{JournalError, JournalName, RequestId, Submission, charter_text};
use crate::clock::UtcMicros;
use crate::digest::{Digest, hex};
use crate::institution::InstitutionId;

impl Sequencer {
    /// Stages one command, or answers it at once with its refusal.
    pub(super) fn stage(
        &mut self,
        command: Command,
        open: &mut Open,
        stamp: Stamp,
        admission: &Result<(), JournalError>,
        own_admission: &Result<(), JournalError>,
    ) {
        match command {
            Command::Seal { journal, by, submissions, expect, reply } => {
                let staged = self.stage_seal(&journal, by.as_ref(), &submissions, expect, admission, open);
                match staged {
                    Ok(positions) => open.waiters.push((journal, Placed { submissions, positions }, reply)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Record { journal, id, detail, digest, reply } => {
                let line = journal.number as usize;
                match self.stage_record(line, id, detail, digest, own_admission, open) {
                    Ok(seq) => open.recordings.push((reply, line, seq)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
            Command::Find { journal, id, reply } => {
                let size = journal.size();
                let found = self.find(journal.number as usize, id, open);
                let _ = reply.send(found.map(|seq| seq.filter(|seq| *seq < size)));
            }
            // The round keeps these back: each has a batch of its own.
            Command::Settle { .. } | Command::Control { .. } => {}
            Command::Create { name, institution, reply } => {
                let allowed = if institution.is_some() { admission } else { own_admission };
                match self.stage_create(name, institution, stamp, allowed, open) {
                    Ok(journal) => open.creations.push((reply, journal)),
                    Err(error) => drop(reply.send(Err(error))),
                }
            }
        }
    }

    fn stage_seal(
        &mut self,
        journal: &Journal,
        by: Option<&InstitutionId>,
        submissions: &[Submission],
        expect: Option<u64>,
        admission: &Result<(), JournalError>,
        open: &mut Open,
    ) -> Result<Positions, JournalError> {
        let number = journal.number as usize;
        let before = self.lines[number].next;
        let mut each = Vec::new();
        for (done, submission) in submissions.iter().enumerate() {
            let fresh = before + done as u64;
            match self.place(number, EntryKind::Seal, submission.request_id, submission.digest, open) {
                Ok(seq) if seq == fresh && each.is_empty() => {}
                Ok(seq) => {
                    if each.is_empty() {
                        each = (before..fresh).collect();
                    }
                    each.push(seq);
                }
                Err(error) => {
                    self.take_back(number, before, open);
                    return Err(error);
                }
            }
        }
        if self.lines[number].next > before {
            let stale = expect.filter(|expected| *expected != before);
            let refusal = match stale {
                Some(expected) => Err(JournalError::Stale { expected, actual: before }),
                None => admission.clone(),
            };
            // A frozen journal, or another's, is told first: there no other request can help.
            if let Err(error) = journal.admit(by).and(refusal) {
                self.take_back(number, before, open);
                return Err(error);
            }
        }
        Ok(if each.is_empty() { Positions::Run(before) } else { Positions::Each(each) })
    }

    fn stage_record(
        &mut self,
        line: usize,
        id: RequestId,
        detail: Vec<u8>,
        digest: Digest,
        admission: &Result<(), JournalError>,
        open: &mut Open,
    ) -> Result<u64, JournalError> {
        let before = self.lines[line].next;
        let seq = self.place(line, EntryKind::Record, id, digest, open)?;
        if self.lines[line].next == before {
            return Ok(seq);
        }
        if let Err(error) = admission {
            self.take_back(line, before, open);
            return Err(error.clone());
        }
        if let Some(group) = self.lines[line].staged.and_then(|group| open.groups.get_mut(group)) {
            group.details.push(detail);
        }
        Ok(seq)
    }

    pub(super) fn stage_create(
        &mut self,
        name: JournalName,
        institution: Option<InstitutionId>,
        stamp: Stamp,
        admission: &Result<(), JournalError>,
        open: &mut Open,
    ) -> Result<Arc<Journal>, JournalError> {
        if self.lines.iter().any(|line| line.journal.name == name) {
            return Err(JournalError::Exists(name.into()));
        }
        admission.clone()?;
        let origin = format!("{}/j/{}", self.shared.site, name.as_str());
        let charter = charter_text(&origin, institution.as_ref(), UtcMicros(stamp.time));
        let digest = Digest::of(charter.as_bytes());
        let number = self.lines.len();
        let journal = Journal::new(number as u32, name, institution, charter, &self.shared);
        self.adopt(Arc::clone(&journal))?;
        // No client can know that id, being the charter's own hash.
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        self.place(number, EntryKind::Charter, RequestId(id), digest, open)?;
        open.created.push(Arc::clone(&journal));
        Ok(journal)
    }

    /// Sequence of the id: that it has, or the next one.
    pub(super) fn place(
        &mut self,
        number: usize,
        kind: EntryKind,
        id: RequestId,
        digest: Digest,
        open: &mut Open,
    ) -> Result<u64, JournalError> {
        let known = self.find(number, id, open)?;
        let line = &mut self.lines[number];
        let Some(seq) = known else {
            let seq = line.next;
            self.ids.insert(number as u32, id, seq);
            line.next += 1;
            let group = *line.staged.get_or_insert_with(|| {
                let (slots, details) = (Vec::new(), Vec::new());
                open.groups.push(Staged { line: number, kind, first: seq, slots, details });
                open.groups.len() - 1
            });
            let slots = &mut open.groups[group].slots;
            slots.extend_from_slice(&id.0);
            slots.extend_from_slice(digest.as_bytes());
            return Ok(seq);
        };
        match slot_at(&self.shared, line, seq, open)? {
            Some((_, stored)) if stored == digest => Ok(seq),
            Some(_) => Err(JournalError::Conflict { id: hex(&id.0), seq }),
            None => Err(JournalError::Damaged(format!("{} has no entry {seq}", line.journal.origin))),
        }
    }

    /// Sequence that an id has, durable or staged.
    fn find(&self, number: usize, id: RequestId, open: &Open) -> Result<Option<u64>, JournalError> {
        let line = &self.lines[number];
        let in_log = Cell::new(false);
        let confirm = |seq| {
            let slot = slot_at(&self.shared, line, seq, open).inspect_err(|_| in_log.set(true));
            Ok(slot?.is_some_and(|slot| slot.0 == id))
        };
        let known = self.ids.find(number as u32, id, confirm);
        // What is wrong in the index is made again by the next start; what is wrong in the log is not.
        known.inspect_err(|_| {
            if !in_log.get() {
                self.shared.keeper.distrust()
            }
        })
    }

    /// Undoes what a refused request staged: every entry from `before` on.
    pub(super) fn take_back(&mut self, number: usize, before: u64, open: &mut Open) {
        let line = &mut self.lines[number];
        line.next = before;
        let Some(staged) = line.staged.and_then(|group| open.groups.get_mut(group)) else { return };
        let keep = (before - staged.first) as usize * SLOT_BYTES;
        for slot in staged.slots[keep..].chunks_exact(SLOT_BYTES) {
            self.ids.remove(number as u32, record::slot(slot).0);
        }
        staged.slots.truncate(keep);
    }
}

/// Id and digest of an entry that is durable or staged; `None` beyond the journal.
fn slot_at(
    shared: &Shared,
    line: &Line,
    seq: u64,
    open: &Open,
) -> Result<Option<(RequestId, Digest)>, JournalError> {
    let staged = line.staged.and_then(|group| open.groups.get(group));
    if let Some(staged) = staged.filter(|staged| seq >= staged.first) {
        let at = (seq - staged.first) as usize * SLOT_BYTES;
        return Ok(staged.slots.get(at..at + SLOT_BYTES).map(record::slot));
    }
    durable_slot(shared, &line.journal, seq)
}

/// The same of a durable entry alone, compared with the tree: rot must not pass for another id or digest.
pub(super) fn durable_slot(
    shared: &Shared,
    journal: &Journal,
    seq: u64,
) -> Result<Option<(RequestId, Digest)>, JournalError> {
    if seq >= journal.size() {
        return Ok(None);
    }
    let entry = Lookup(shared).entries(journal, seq, 1)?.pop();
    Ok(entry.map(|entry| (entry.request_id, entry.digest)))
}
