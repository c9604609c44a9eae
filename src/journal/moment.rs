//! The head a journal had at a moment: the newest one whose token is not younger.

use super::JournalError;
use super::lookup::Lookup;
use super::receipt::HeadProof;
use super::state::Journal;

/// A journal's newest sealed head at a moment, and the one after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadAt {
    /// genTime of the token over the head's checkpoint, microseconds UTC.
    pub stamped: i64,
    /// That head under the newest checkpoint stamped by then.
    pub head: HeadProof,
    /// The next head under its first checkpoint, stamped later: nothing was sealed in between.
    /// `None` while there is none.
    pub next: Option<HeadProof>,
}

/// genTime of the token in a checkpoint note, microseconds UTC.
pub type TimeOf<'f> = &'f (dyn Fn(&str) -> Result<i64, String> + Send + Sync);

impl Lookup<'_> {
    /// The head at `at` (microseconds UTC); `None` before the journal's first.
    pub fn head_at(
        &self,
        journal: &Journal,
        at: i64,
        time_of: TimeOf<'_>,
    ) -> Result<Option<HeadAt>, JournalError> {
        // Seals are stamped one after the other, so their times never go back.
        let (mut stamped, mut low, mut high) = (None, 0, self.0.seal_count());
        while low < high {
            let middle = low + (high - low) / 2;
            let seal = self.0.seal(middle)?;
            let time = time_of(&seal.note).map_err(JournalError::Damaged)?;
            if time <= at {
                (stamped, low) = (Some((time, seal)), middle + 1);
            } else {
                high = middle;
            }
        }
        let Some((stamped, seal)) = stamped else { return Ok(None) };
        let Some(found) = journal.newest_within(seal.root_size)? else { return Ok(None) };
        let head = self.proof(journal, &found, &seal)?;
        Ok(Some(HeadAt { stamped, head, next: self.next(journal, found.0.end())? }))
    }

    fn next(&self, journal: &Journal, seq: u64) -> Result<Option<HeadProof>, JournalError> {
        let Some(found) = journal.batch_of(seq)? else { return Ok(None) };
        let Some(seal) = self.0.seal_over(found.0.root_index)? else { return Ok(None) };
        self.proof(journal, &found, &seal).map(Some)
    }
}
