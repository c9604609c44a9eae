//! How much of a journal an export takes away, and what then stands before its entries.

use super::JournalError;
use super::lookup::{Lookup, beyond};
use super::range_export::{Preamble, RangeHeader};
use super::state::Journal;
use super::tree::{inclusion_path, range_path};

/// Which entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All up to the newest sealed head.
    Whole,
    /// By sequence; up to the newest sealed head where no count is given.
    Numbers {
        /// The first.
        first: u64,
        /// How many.
        count: Option<u64>,
    },
    /// By time, microseconds since 1970 UTC, with the neighbour on either side: times never go back, so
    /// these show that nothing else is from then.
    Times {
        /// The earliest.
        since: Option<i64>,
        /// The first that is too late.
        until: Option<i64>,
    },
}

impl Lookup<'_> {
    /// What stands before the entries of an export under the newest sealed head.
    pub fn preamble(&self, journal: &Journal, extent: Extent) -> Result<Preamble, JournalError> {
        if extent == Extent::Whole {
            return self.export_header(journal).map(Preamble::Whole);
        }
        let (found, seal) = self.newest(journal)?;
        let size = found.0.end();
        let (first, end) = match extent {
            Extent::Whole => (0, size),
            Extent::Numbers { first, count } => (first, count.map_or(size, |n| first.saturating_add(n))),
            Extent::Times { since, until } => {
                let from = since.map_or(Ok(0), |time| self.first_from(journal, time, size))?;
                let to = until.map_or(Ok(size), |time| self.first_from(journal, time, size))?;
                (from.saturating_sub(1), to.max(from).saturating_add(1).min(size))
            }
        };
        if first >= end || end > size {
            return Err(beyond(journal, end.max(first.saturating_add(1)) - 1, size));
        }
        let count = end - first;
        let read = |level, index| journal.tree.read(level, index);
        let opening = self.entries(journal, 0, 1)?;
        Ok(Preamble::Part(RangeHeader {
            origin: journal.origin.clone(),
            charter: journal.charter.clone(),
            opening: opening.first().map(RangeHeader::opened_by).unwrap_or_default(),
            opening_path: inclusion_path(0, size, read)?,
            first,
            count,
            range_path: range_path(first, count, size, read)?,
            proof: self.proof(journal, &found, &seal)?,
        }))
    }

    /// The first of `size` entries whose time is not before `time`; `size` if there is none.
    fn first_from(&self, journal: &Journal, time: i64, size: u64) -> Result<u64, JournalError> {
        let (mut low, mut high) = (0, size);
        while low < high {
            let middle = low + (high - low) / 2;
            let (batch, _) = journal.batch_of(middle)?.ok_or_else(|| beyond(journal, middle, size))?;
            if batch.time < time { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }
}
