//! What reads: receipts, ranges, heads, proofs, tiles, exports, details.

use std::sync::Arc;

use super::lookup::Lookup;
use super::{
    JournalError, JournalInfo, JournalName, Journals, OwnJournal, extent, moment, outflow, receipt, state,
    tenure, tile_name,
};
use crate::clock::UtcMicros;
use crate::digest::Digest;

impl Journals {
    /// The receipt (text, `journal-design.md` section 4.3) of one sealed entry; always the same bytes.
    pub async fn receipt(&self, journal: &JournalName, seq: u64) -> Result<String, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let (entry, path, proof) = Lookup(&self.0.shared).single(&journal, seq)?;
        Ok(receipt::single_text(&entry, &path, &proof))
    }

    /// The receipt of one sealed entry under the newest checkpoint with at least `count` cosignatures.
    pub async fn cosigned_receipt(
        &self,
        journal: &JournalName,
        seq: u64,
        count: usize,
    ) -> Result<String, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let few = || JournalError::NotNow(format!("no checkpoint has {count} cosignatures yet"));
        let (root_size, note) = self.0.witnesses.newest_with(count).ok_or_else(few)?;
        let seal = state::Seal { root_size, note: note.into() };
        let (entry, path, proof) = Lookup(&self.0.shared).single_under(&journal, seq, &seal)?;
        Ok(receipt::single_text(&entry, &path, &proof))
    }

    /// The same evidence as [`Journals::receipt`] in the form that [`Journals::seal`] returns.
    pub async fn range_receipt(
        &self,
        journal: &JournalName,
        seq: u64,
    ) -> Result<receipt::RangeReceipt, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).single_range(&journal, seq)
    }

    /// Range receipt of `count` entries from `first`, against the newest seal.
    pub async fn range(
        &self,
        journal: &JournalName,
        first: u64,
        count: u64,
    ) -> Result<receipt::RangeReceipt, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).range(&journal, first, count)
    }

    /// The journal's newest sealed head, with its path to the signed and stamped root checkpoint.
    pub async fn head(&self, journal: &JournalName) -> Result<receipt::HeadProof, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).head(&journal)
    }

    /// The journal's newest sealed head at `at`, `None` before its first. `time_of` reads genTime
    /// (microseconds UTC) from the token of a checkpoint note.
    pub async fn head_at(
        &self,
        journal: &JournalName,
        at: UtcMicros,
        time_of: impl Fn(&str) -> Result<i64, String> + Send + Sync + 'static,
    ) -> Result<Option<moment::HeadAt>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        self.reading(move |lookup| lookup.head_at(&journal, at.0, &time_of)).await
    }

    /// RFC 6962 consistency path between two sizes of the root log.
    pub async fn root_consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, JournalError> {
        self.reading(move |lookup| lookup.root_consistency(old, new)).await
    }

    /// RFC 6962 consistency path between two sizes of the journal's tree.
    pub async fn consistency(
        &self,
        journal: &JournalName,
        old: u64,
        new: u64,
    ) -> Result<Vec<Digest>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).consistency(&journal, old, new)
    }

    /// A tile of the root log, or `None` if no checkpoint has it (C2SP `tlog-tiles`).
    pub async fn root_tile(&self, tile: tile_name::TileName) -> Result<Option<Vec<u8>>, JournalError> {
        self.reading(move |lookup| lookup.root_tile(&tile)).await
    }

    /// A tile of a journal, or `None` if no sealed head has it.
    pub async fn tile(
        &self,
        journal: &JournalName,
        tile: tile_name::TileName,
    ) -> Result<Option<Vec<u8>>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        self.reading(move |lookup| lookup.tile(&journal, &tile)).await
    }

    /// The newest root checkpoint, with the cosignatures it has so far.
    pub async fn root_checkpoint(&self) -> Result<String, JournalError> {
        let (size, note) =
            self.newest_root().ok_or_else(|| JournalError::NotNow("nothing is sealed yet".into()))?;
        Ok(self.0.witnesses.with_lines(size, &note))
    }

    /// The newest root checkpoint that has at least `count` cosignatures; any number for 0.
    pub async fn cosigned_checkpoint(&self, count: usize) -> Result<String, JournalError> {
        if count == 0 {
            return self.root_checkpoint().await;
        }
        let few = || JournalError::NotNow(format!("no checkpoint has {count} cosignatures yet"));
        self.0.witnesses.newest_with(count).map(|(_, note)| note).ok_or_else(few)
    }

    /// The journal's export (see `docs/formats/journal.md`), part by part in bounded memory.
    pub async fn export(&self, journal: &JournalName) -> Result<outflow::Outflow, JournalError> {
        self.export_of(journal, extent::Extent::Whole).await
    }

    /// The same of a part of the journal, or of all of it.
    pub async fn export_of(
        &self,
        journal: &JournalName,
        extent: extent::Extent,
    ) -> Result<outflow::Outflow, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        outflow::Outflow::start(Arc::clone(&self.0.shared), journal, extent).await
    }

    /// The journal, if there is one.
    pub fn info(&self, journal: &JournalName) -> Option<JournalInfo> {
        self.0.shared.journal(journal.as_str()).ok().map(|journal| journal.info())
    }

    /// All journals, own ones included.
    pub fn list(&self) -> Vec<JournalInfo> {
        self.0.shared.journals().iter().map(|journal| journal.info()).collect()
    }

    /// The details of an own journal's entry, as recorded; of entry 0 the charter.
    pub async fn detail(&self, own: OwnJournal, seq: u64) -> Result<Vec<u8>, JournalError> {
        let journal = self.0.shared.journal(own.name())?;
        Lookup(&self.0.shared).detail(&journal, seq)
    }

    /// Whose a journal is and was, and whether it was frozen.
    pub fn tenure(&self, journal: &JournalName) -> Result<tenure::Tenure, JournalError> {
        Ok(self.0.shared.journal(journal.as_str())?.tenure())
    }

    /// The control entries of a journal.
    pub fn statements(&self, journal: &JournalName) -> Result<Vec<tenure::Stated>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let lookup = Lookup(&self.0.shared);
        Ok(journal.controls().into_iter().map(|seq| (seq, lookup.detail(&journal, seq).ok())).collect())
    }

    /// Runs what may read files where it holds nobody up.
    pub(super) async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(Lookup<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let shared = Arc::clone(&self.0.shared);
        let done = tokio::task::spawn_blocking(move || read(Lookup(&shared))).await;
        done.map_err(|e| JournalError::Storage(format!("reading ended: {e}")))?
    }
}
