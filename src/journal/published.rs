//! Tiles and entry bundles of what is sealed, byte for byte as C2SP `tlog-tiles` has them.
//!
//! Published sizes of the root log are those of its signed checkpoints, of a journal those of its heads
//! below the newest of them. A partial tile exists only for such a size.

use super::JournalError;
use super::lookup::Lookup;
use super::state::Journal;
use super::tile_name::{Content, TileName, WIDTH, bundle};

impl Lookup<'_> {
    /// A tile of the root log; `None` if no checkpoint has it. Its entries are the heads' texts.
    pub fn root_tile(&self, name: &TileName) -> Result<Option<Vec<u8>>, JournalError> {
        let published = name.needs().map_or(Ok(None), |leaves| self.0.published(leaves))?;
        if !published.is_some_and(|size| name.is_of(size)) {
            return Ok(None);
        }
        match name.content {
            Content::Hashes { level } => self.0.root.tile(level, name.index, name.width).map(Some),
            Content::Entries => self.heads(name).map(Some),
        }
    }

    /// A tile of a journal; `None` if no sealed head has it. Its entries are those of the format.
    pub fn tile(&self, journal: &Journal, name: &TileName) -> Result<Option<Vec<u8>>, JournalError> {
        let root_size = self.0.newest_seal().map_or(0, |seal| seal.root_size);
        let published = name.needs().map_or(Ok(None), |leaves| journal.published(leaves, root_size))?;
        if !published.is_some_and(|size| name.is_of(size)) {
            return Ok(None);
        }
        match name.content {
            Content::Hashes { level } => journal.tree.tile(level, name.index, name.width).map(Some),
            Content::Entries => {
                let first = name.index * u64::from(WIDTH);
                let entries = self.entries(journal, first, u64::from(name.width))?;
                Ok(Some(bundle(entries.iter().map(|entry| entry.encode()))))
            }
        }
    }

    /// The root log's leaves, gathered from the journals.
    fn heads(&self, name: &TileName) -> Result<Vec<u8>, JournalError> {
        let first = name.index * u64::from(WIDTH);
        let span = first..first + u64::from(name.width);
        let mut heads = Vec::with_capacity(usize::from(name.width));
        for journal in self.0.journals() {
            for found in journal.heads_in(&span)? {
                heads.push((found.0.root_index, self.head_text(&journal, &found)?));
            }
        }
        heads.sort_unstable_by_key(|(index, _)| *index);
        if !heads.iter().map(|(index, _)| *index).eq(span) {
            return Err(JournalError::Damaged(format!("the root log's {name} lacks a head")));
        }
        Ok(bundle(heads.iter().map(|(_, text)| text)))
    }
}
