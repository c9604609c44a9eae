//! Reading: receipts, ranges, heads and proofs of what is sealed, each checked against the tree before
//! it leaves.

use std::sync::Arc;

use super::entry::Entry;
use super::export::ExportHeader;
use super::queue::{Placed, Positions};
use super::receipt::{HeadProof, RangeEntry, RangeReceipt};
use super::record::{self, SLOT_BYTES};
use super::state::{Batch, Found, Journal, Seal, Shared};
use super::tree::{consistency_path, inclusion_path, leaf_hash, range_path};
use super::{JournalError, Submission};
use crate::digest::{Digest, hex};

/// Entries a range receipt may hold.
pub const RANGE_MAX: u64 = 4096;

/// Reads one appliance's journals.
pub struct Lookup<'s>(pub &'s Shared);

impl Lookup<'_> {
    /// Receipts of a request that is durable and sealed: one a contiguous run within one batch.
    pub fn placed(&self, journal: &Journal, placed: Placed) -> Result<Vec<RangeReceipt>, JournalError> {
        let mut positions: Vec<(u64, Submission)> = match placed.positions {
            Positions::Run(first) => (first..).zip(placed.submissions).collect(),
            Positions::Each(each) => each.into_iter().zip(placed.submissions).collect(),
        };
        positions.sort_by_key(|(seq, _)| *seq);
        positions.dedup_by_key(|(seq, _)| *seq);
        let mut receipts = Vec::new();
        let mut rest = positions.as_slice();
        while let Some((first, _)) = rest.first() {
            let found = self.batch_of(journal, *first)?;
            let end = found.0.end();
            let run = (*first..end).zip(rest).take_while(|(seq, (at, _))| seq == at).count();
            let (taken, later) = rest.split_at(run);
            receipts.push(self.run(journal, found, taken)?);
            rest = later;
        }
        Ok(receipts)
    }

    fn run(
        &self,
        journal: &Journal,
        found: Found,
        run: &[(u64, Submission)],
    ) -> Result<RangeReceipt, JournalError> {
        let (batch, first) = (found.0, run[0].0);
        let entry = |(_, submission): &(u64, Submission)| RangeEntry {
            request_id: hex(&submission.request_id.0),
            digest: submission.digest,
            time: batch.time,
            bound: batch.bound,
            kind: batch.kind,
        };
        let seal = self.seal_over(journal, &batch)?;
        Ok(RangeReceipt {
            first,
            prev: self.prev(journal, first)?,
            entries: run.iter().map(entry).collect(),
            range_path: range_path(first, run.len() as u64, batch.end(), |l, i| journal.tree.read(l, i))?,
            proof: self.proof(journal, &found, &seal)?,
        })
    }

    /// Entry and journal path, head and root path of one sealed entry, as first sealed.
    pub fn single(
        &self,
        journal: &Journal,
        seq: u64,
    ) -> Result<(Entry, Vec<Digest>, HeadProof), JournalError> {
        let found = self.batch_of(journal, seq)?;
        let seal = self.seal_over(journal, &found.0)?;
        let entry = self.entry(journal, &found.0, seq)?;
        let path = inclusion_path(seq, found.0.end(), |l, i| journal.tree.read(l, i))?;
        Ok((entry, path, self.proof(journal, &found, &seal)?))
    }

    /// The same entry under another sealed checkpoint that covers it.
    pub fn single_under(
        &self,
        journal: &Journal,
        seq: u64,
        seal: &Seal,
    ) -> Result<(Entry, Vec<Digest>, HeadProof), JournalError> {
        let found = self.batch_of(journal, seq)?;
        if seal.root_size <= found.0.root_index {
            return Err(JournalError::NotNow("no cosigned checkpoint covers the entry yet".into()));
        }
        let entry = self.entry(journal, &found.0, seq)?;
        let path = inclusion_path(seq, found.0.end(), |l, i| journal.tree.read(l, i))?;
        Ok((entry, path, self.proof(journal, &found, seal)?))
    }

    /// One sealed entry as a range receipt of one, as first sealed: what its sealing was answered with.
    pub fn single_range(&self, journal: &Journal, seq: u64) -> Result<RangeReceipt, JournalError> {
        let found = self.batch_of(journal, seq)?;
        let Entry { request_id, digest, .. } = self.entry(journal, &found.0, seq)?;
        self.run(journal, found, &[(seq, Submission { request_id, digest })])
    }

    /// `count` entries from `first` in the newest sealed head.
    pub fn range(&self, journal: &Journal, first: u64, count: u64) -> Result<RangeReceipt, JournalError> {
        if count == 0 || count > RANGE_MAX {
            return Err(JournalError::Count(usize::try_from(count).unwrap_or(usize::MAX)));
        }
        let (found, seal) = self.newest(journal)?;
        let size = found.0.end();
        let last = first.saturating_add(count - 1);
        if last >= size {
            return Err(beyond(journal, last, size));
        }
        let entries = self.entries(journal, first, count)?;
        let path = range_path(first, count, size, |l, i| journal.tree.read(l, i))?;
        let prev = self.prev(journal, first)?;
        let entries = entries.iter().map(range_entry).collect();
        let proof = self.proof(journal, &found, &seal)?;
        Ok(RangeReceipt { first, prev, entries, range_path: path, proof })
    }

    /// Newest sealed head with its way up.
    pub fn head(&self, journal: &Journal) -> Result<HeadProof, JournalError> {
        let (found, seal) = self.newest(journal)?;
        self.proof(journal, &found, &seal)
    }

    /// Entries of the newest sealed head.
    pub fn sealed_size(&self, journal: &Journal) -> u64 {
        self.newest(journal).map_or(0, |(found, _)| found.0.end())
    }

    /// RFC 6962 consistency path between two sealed sizes.
    pub fn consistency(&self, journal: &Journal, old: u64, new: u64) -> Result<Vec<Digest>, JournalError> {
        let size = self.sealed_size(journal);
        if old > new || new > size {
            return Err(beyond(journal, old.max(new), size));
        }
        consistency_path(old, new, |l, i| journal.tree.read(l, i))
    }

    /// RFC 6962 consistency path between two sealed sizes of the root log.
    pub fn root_consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, JournalError> {
        let size = self.0.newest_seal().map_or(0, |seal| seal.root_size);
        if old > new || new > size {
            let journal = format!("{}/root", self.0.site);
            return Err(JournalError::Beyond { journal, seq: old.max(new), size });
        }
        consistency_path(old, new, |l, i| self.0.root.read(l, i))
    }

    /// Whole entries, `count` from `first`, all durable; each compared with the tree.
    pub fn entries(&self, journal: &Journal, first: u64, count: u64) -> Result<Vec<Entry>, JournalError> {
        let mut entries = Vec::with_capacity(count as usize);
        let end = first + count;
        let mut prev = self.prev(journal, first)?;
        while first + (entries.len() as u64) < end {
            let from = first + entries.len() as u64;
            let (batch, _) = self.batch_of(journal, from)?;
            let until = end.min(batch.end());
            let bytes = (until - from) as usize * SLOT_BYTES;
            let offset = batch.slots_offset() + (from - batch.first) as usize * SLOT_BYTES;
            let slots = self.0.read(batch.place, offset, bytes)?;
            for (slot, seq) in slots.chunks_exact(SLOT_BYTES).zip(from..) {
                let entry = whole(journal, &batch, seq, prev, slot);
                prev = entry.leaf();
                if journal.tree.read(0, seq)? != prev {
                    return Err(changed(journal, &batch, seq));
                }
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn entry(&self, journal: &Journal, batch: &Batch, seq: u64) -> Result<Entry, JournalError> {
        let entry = self.entries(journal, seq, 1)?.pop();
        entry.ok_or_else(|| changed(journal, batch, seq))
    }

    /// The detail of an own journal's entry.
    pub fn detail(&self, journal: &Journal, seq: u64) -> Result<Vec<u8>, JournalError> {
        let (batch, _) = self.batch_of(journal, seq)?;
        let count = batch.count as usize;
        if batch.first == 0 {
            return Ok(journal.charter.clone().into_bytes());
        }
        let entry = self.entry(journal, &batch, seq)?;
        let lengths_at = batch.slots_offset() + count * SLOT_BYTES;
        let lengths = self.0.read(batch.place, lengths_at, 4 * count)?;
        let length = |i: usize| lengths[4 * i..4 * i + 4].iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
        let index = (seq - batch.first) as usize;
        let before: usize = (0..index).map(length).sum();
        let detail = self.0.read(batch.place, lengths_at + 4 * count + before, length(index))?;
        if Digest::of(&detail) == entry.digest { Ok(detail) } else { Err(changed(journal, &batch, seq)) }
    }

    /// What stands before the entries of the newest sealed head in an export.
    pub fn export_header(&self, journal: &Journal) -> Result<ExportHeader, JournalError> {
        let (found, seal) = self.newest(journal)?;
        let (count, proof) = (found.0.end(), self.proof(journal, &found, &seal)?);
        let (origin, charter) = (journal.origin.clone(), journal.charter.clone());
        Ok(ExportHeader { origin, charter, count, proof })
    }

    pub(super) fn newest(&self, journal: &Journal) -> Result<(Found, Arc<Seal>), JournalError> {
        let nothing = || JournalError::NotNow("the journal has no sealed head yet".into());
        let seal = self.0.newest_seal().ok_or_else(nothing)?;
        let found = journal.newest_within(seal.root_size)?.ok_or_else(nothing)?;
        Ok((found, seal))
    }

    fn seal_over(&self, journal: &Journal, batch: &Batch) -> Result<Arc<Seal>, JournalError> {
        self.0
            .seal_over(batch.root_index)?
            .ok_or_else(|| beyond(journal, batch.first, self.sealed_size(journal)))
    }

    fn batch_of(&self, journal: &Journal, seq: u64) -> Result<Found, JournalError> {
        journal.batch_of(seq)?.ok_or_else(|| beyond(journal, seq, self.sealed_size(journal)))
    }

    fn prev(&self, journal: &Journal, seq: u64) -> Result<Digest, JournalError> {
        match seq.checked_sub(1) {
            Some(before) => journal.tree.read(0, before),
            None => Ok(Digest::of(journal.charter.as_bytes())),
        }
    }

    /// The head's text and its path under a seal.
    pub fn proof(&self, journal: &Journal, found: &Found, seal: &Seal) -> Result<HeadProof, JournalError> {
        let batch = &found.0;
        let head = self.head_text(journal, found)?;
        let root_path = inclusion_path(batch.root_index, seal.root_size, |l, i| self.0.root.read(l, i))?;
        Ok(HeadProof { head, root_index: batch.root_index, root_path, checkpoint: seal.note.clone() })
    }

    /// The head's text: a leaf of the root log.
    pub fn head_text(&self, journal: &Journal, (batch, head): &Found) -> Result<String, JournalError> {
        match head {
            Some(head) => Ok(head.to_string()),
            None => self.stored_head(journal, batch),
        }
    }

    fn stored_head(&self, journal: &Journal, batch: &Batch) -> Result<String, JournalError> {
        let bytes = self.0.read(batch.place, batch.head_offset(), usize::from(batch.head_bytes))?;
        let head = String::from_utf8(bytes).map_err(|_| changed(journal, batch, batch.first))?;
        if leaf_hash(head.as_bytes()) == self.0.root.read(0, batch.root_index)? {
            Ok(head)
        } else {
            Err(changed(journal, batch, batch.first))
        }
    }
}

fn whole(journal: &Journal, batch: &Batch, seq: u64, prev: Digest, slot: &[u8]) -> Entry {
    let (request_id, digest) = record::slot(slot);
    let (time, bound, kind) = (batch.time, batch.bound, batch.kind);
    Entry { journal: journal.id, seq, prev, time, bound, kind, request_id, digest }
}

fn range_entry(entry: &Entry) -> RangeEntry {
    RangeEntry {
        request_id: hex(&entry.request_id.0),
        digest: entry.digest,
        time: entry.time,
        bound: entry.bound,
        kind: entry.kind,
    }
}

pub(super) fn beyond(journal: &Journal, seq: u64, size: u64) -> JournalError {
    JournalError::Beyond { journal: journal.name.as_str().to_owned(), seq, size }
}

fn changed(journal: &Journal, batch: &Batch, seq: u64) -> JournalError {
    let place = batch.place;
    JournalError::Damaged(format!(
        "{} entry {seq}: segment {} has changed since start, record at offset {}",
        journal.origin, place.segment, place.offset
    ))
}
