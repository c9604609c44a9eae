//! Where the journals stand: the newest root, witnesses, counters, quarantine, failure.

use std::sync::Arc;

use super::known::{Known, Quarantine};
use super::{JournalError, JournalStats, Journals, twin};
use crate::clock::UtcMicros;
use crate::witness::Witnesses;

impl Journals {
    /// Size and note of the newest sealed root, as it was sealed.
    pub fn newest_root(&self) -> Option<(u64, String)> {
        self.0.shared.newest_seal().map(|seal| (seal.root_size, seal.note.to_string()))
    }

    /// Origin line of the root log.
    pub fn root_origin(&self) -> String {
        format!("{}/root", self.0.shared.site)
    }

    /// Origin line of a journal.
    pub fn origin(&self, name: &str) -> String {
        format!("{}/j/{name}", self.0.shared.site)
    }

    /// Where the newest SHA3-256 roots stand.
    pub fn twins(&self) -> &twin::rounds::Twins {
        &self.0.twins
    }

    /// What the witnesses of the root log said.
    pub fn witnesses(&self) -> &Witnesses {
        &self.0.witnesses
    }

    /// Time of the last durable entry anywhere: the clock may never be read below it.
    pub fn last_time(&self) -> Option<UtcMicros> {
        self.0.shared.last_time()
    }

    /// For metrics.
    pub fn stats(&self) -> JournalStats {
        self.0.shared.stats()
    }

    /// Why nothing is written, if a signed head is known that the log does not hold.
    pub fn quarantine(&self) -> Option<Arc<Quarantine>> {
        self.0.shared.quarantine()
    }

    /// Compares the log with heads known from any source, a witness for instance, at any time. One that the
    /// log does not hold begins the quarantine.
    pub fn compare(&self, known: &Known) -> Result<(), JournalError> {
        self.0.shared.compare(known)
    }

    /// The writer epoch: it rises when a lost tail was restored or given up.
    pub fn epoch(&self) -> u64 {
        self.0.shared.epoch.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The storage error that stopped the journal, if one did.
    pub fn failed(&self) -> Option<String> {
        self.0.shared.failure().map(str::to_owned)
    }
}
