//! What a record makes visible to readers, held back until all of it verified.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::batch::Line;
use super::log::Place;
use super::record::{self, Group, Section};
use super::state::{Batch, Journal, Seal, Shared};
use super::tenure::{self, Change};

/// What a record makes visible, held back until all of it verified.
pub struct Visible<'s> {
    shared: &'s Shared,
    place: Place,
    root_index: u64,
    batches: Vec<(Arc<Journal>, Batch, Arc<str>)>,
    changes: Vec<(Arc<Journal>, Change)>,
    seal: Option<(Arc<Seal>, u32)>,
}

impl<'s> Visible<'s> {
    /// For the record at `place`, before which the root log has `root_size` leaves.
    pub fn new(shared: &'s Shared, place: Place, root_size: u64) -> Visible<'s> {
        Visible { shared, place, root_index: root_size, batches: Vec::new(), changes: Vec::new(), seal: None }
    }

    /// A section of a running sequencer's record.
    pub(super) fn note(&mut self, offset: usize, section: &Section<'_>, lines: &[Line]) {
        match section {
            Section::Group(group) => {
                self.group(offset, group, &lines[group.journal as usize].journal);
            }
            Section::Seal { root_size, note } => self.seal(offset, *root_size, note),
            Section::Opened { .. } => {}
        }
    }

    /// A group of `journal`.
    pub fn group(&mut self, offset: usize, group: &Group<'_>, journal: &Arc<Journal>) {
        let batch = Batch {
            first: group.first,
            time: group.time,
            root_index: self.root_index,
            place: self.place,
            section: offset as u32,
            count: group.count() as u32,
            bound: group.bound,
            head_bytes: group.head.len() as u16,
            kind: group.kind,
        };
        self.root_index += 1;
        if let Ok(Some(change)) = tenure::change(group, &journal.origin) {
            self.changes.push((Arc::clone(journal), change));
        }
        self.batches.push((Arc::clone(journal), batch, group.head.into()));
    }

    /// A seal.
    pub fn seal(&mut self, offset: usize, root_size: u64, note: &str) {
        let note_offset = (offset + record::SECTION_FIXED + 8) as u32;
        self.seal = Some((Arc::new(Seal { root_size, note: note.into() }), note_offset));
    }

    /// Shows it all.
    pub fn publish(self) {
        let counters = &self.shared.counters;
        if !self.batches.is_empty() {
            counters.batches.fetch_add(1, Ordering::Relaxed);
        }
        for (journal, batch, head) in self.batches {
            counters.entries.fetch_add(u64::from(batch.count), Ordering::Relaxed);
            self.shared.advance(batch.time);
            journal.push(batch, head);
            if batch.first == 0 {
                self.shared.add(journal);
            }
        }
        self.changes.iter().for_each(|(journal, change)| journal.changed(change));
        if let Some((seal, offset)) = self.seal {
            counters.seals.fetch_add(1, Ordering::Relaxed);
            self.shared.add_seal(seal, self.place, offset);
        }
    }
}
