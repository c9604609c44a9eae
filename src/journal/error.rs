//! Why a journal did not do what was asked.

/// Why a journal did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Not a journal name.
    #[error("{0:?} is not a journal name: 1 to 63 of a-z, 0-9 and -, beginning with a letter")]
    BadName(String),
    /// No such journal.
    #[error("there is no journal {0:?}")]
    Unknown(String),
    /// The name is taken.
    #[error("journal {0:?} exists already")]
    Exists(String),
    /// The id was used with another digest; nothing of the request was sealed.
    #[error("request id {id} already seals another digest, at sequence {seq}")]
    Conflict {
        /// The id, hex.
        id: String,
        /// Where it stands.
        seq: u64,
    },
    /// `expect` names another size than the journal has.
    #[error("the journal has {actual} entries, not the expected {expected}")]
    Stale {
        /// What the client believed.
        expected: u64,
        /// What is.
        actual: u64,
    },
    /// The clock or the HSM does not allow a seal now; entries may be durable: ask again with the same ids.
    #[error("no seal now: {0}")]
    NotNow(String),
    /// The queue is full.
    #[error("the journal's queue is full")]
    Busy,
    /// A storage error happened; the journal accepts nothing until the service restarts.
    #[error("storage failed, nothing more is accepted until restart: {0}")]
    Storage(String),
    /// A signed head is known that the log does not hold; nothing is written until that is resolved.
    #[error("the journals are in quarantine: {0}")]
    Quarantined(String),
    /// Damage found at start or while reading.
    #[error("journal damaged: {0}")]
    Damaged(String),
    /// The sequence number or size is beyond the journal.
    #[error("journal {journal:?} has {size} sealed entries; {seq} is beyond")]
    Beyond {
        /// Which journal.
        journal: String,
        /// What was asked for.
        seq: u64,
        /// How many are sealed.
        size: u64,
    },
    /// The journal has its final record; nothing can follow.
    #[error("journal {journal:?} was frozen: entry {seq} is its final record")]
    Frozen {
        /// Which journal.
        journal: String,
        /// The final record.
        seq: u64,
    },
    /// The journal belongs to another institution, since a hand-over if it was the caller's before.
    #[error("journal {journal:?} does not belong to {by:?} any more: it was handed over")]
    NotOwner {
        /// Which journal.
        journal: String,
        /// Whoever asked.
        by: String,
    },
    /// More digests than one request may carry (4,096), or none.
    #[error("a request carries 1 to 4096 digests, not {0}")]
    Count(usize),
}
