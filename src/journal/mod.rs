//! Hash-chained journals under one root log: entries, group commit, receipts, verification.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::{Clock, UtcMicros};
use crate::digest::Digest;
use crate::institution::InstitutionId;
use crate::keys::{KeyLabel, Keys};

/// Name of a journal within the appliance: 1 to 63 of `a-z`, `0-9`, `-`, beginning with a letter.
/// The appliance's own journals begin with `own.`, which no caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalName(String);

impl TryFrom<String> for JournalName {
    type Error = JournalError;
    fn try_from(_text: String) -> Result<Self, JournalError> {
        todo!()
    }
}
impl From<JournalName> for String {
    fn from(n: JournalName) -> String {
        n.0
    }
}
impl JournalName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The appliance's own journals; their entries carry a detail (JSON) whose SHA-256 is the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnJournal {
    /// `own.timestamps`: one entry a token, before it is signed.
    Timestamps,
    /// `own.certificates`: intents, outcomes, revocations, agreements.
    Certificates,
    /// `own.clock`: transitions of the clock.
    Clock,
    /// `own.events`: start, stop, officers' acts, journals opened.
    Events,
}

/// 16 bytes chosen by the client, unique within the journal; 32 hex digits (or a UUID) in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

/// One digest to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// The client's id of this record.
    pub request_id: RequestId,
    /// SHA-256 of salt and record.
    pub digest: Digest,
}

/// Where a recorded own entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Sequence within the own journal.
    pub seq: u64,
    /// Its time.
    pub time: UtcMicros,
}

/// What a journal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalInfo {
    /// Its name.
    pub name: JournalName,
    /// The institution it belongs to; `None` for own journals.
    pub institution: Option<InstitutionId>,
    /// Origin line, `{site}/j/{name}`.
    pub origin: String,
    /// Durable entries, charter included.
    pub size: u64,
}

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
    /// More digests than one request may carry (4,096), or none.
    #[error("a request carries 1 to 4096 digests, not {0}")]
    Count(usize),
}

/// Makes the RFC 3161 token (DER ContentInfo) over a SHA-256 imprint for a batch.
pub type StampFn =
    Arc<dyn Fn(Digest) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> + Send + Sync>;

/// What a set of journals needs from outside.
pub struct Parts {
    /// Directory of the segments; made if absent.
    pub dir: PathBuf,
    /// First part of every origin, e.g. `seal.example.gov`.
    pub site: String,
    /// The HSM.
    pub keys: Keys,
    /// Key of the root log's checkpoints.
    pub head_key: KeyLabel,
    /// The time-stamping unit.
    pub stamp: StampFn,
    /// Entry times and bounds; no seal while untrusted.
    pub clock: Clock,
    /// Bytes of one segment file (default 64 MiB).
    pub segment_bytes: u64,
}

/// All journals of one appliance. Cheap to clone.
#[derive(Clone)]
pub struct Journals(Arc<Inner>);
struct Inner {}

/// Counters for `/metrics` and `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// Entries made durable since start.
    pub entries: u64,
    /// Batches written.
    pub batches: u64,
    /// Root checkpoints signed and stamped.
    pub seals: u64,
    /// fdatasync calls.
    pub fsyncs: u64,
    /// Last fdatasync, microseconds.
    pub last_fsync_us: u64,
    /// Bytes at the tail that were a torn, never acknowledged record when the service started.
    pub torn_tail_bytes: u64,
}

impl Journals {
    /// Recovers what the directory holds and starts the sequencer thread and the sealer task
    /// (needs a tokio runtime).
    pub async fn open(_parts: Parts) -> Result<Journals, JournalError> {
        todo!()
    }
    /// Opens a journal for an institution; entry 0 is its charter.
    pub async fn create(
        &self,
        _name: JournalName,
        _institution: InstitutionId,
    ) -> Result<JournalInfo, JournalError> {
        todo!()
    }
    /// A control entry; returns when it is durable (not yet sealed). Works while the clock is
    /// untrusted (the entry then says so in its bound).
    pub async fn record(
        &self,
        _own: OwnJournal,
        _id: RequestId,
        _detail: Vec<u8>,
    ) -> Result<Recorded, JournalError> {
        todo!()
    }
    /// Appends digests; returns when they are durable and sealed. One [`receipt::RangeReceipt`] a
    /// contiguous run; digests sealed before (same id, same digest) return the receipt they had.
    pub async fn seal(
        &self,
        _journal: &JournalName,
        _submissions: Vec<Submission>,
        _expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        todo!()
    }
    /// The receipt (text, `journal-design.md` section 4.3) of one sealed entry; always the same bytes.
    pub async fn receipt(&self, _journal: &JournalName, _seq: u64) -> Result<String, JournalError> {
        todo!()
    }
    /// Range receipt of `count` entries from `first`, against the newest seal.
    pub async fn range(
        &self,
        _journal: &JournalName,
        _first: u64,
        _count: u64,
    ) -> Result<receipt::RangeReceipt, JournalError> {
        todo!()
    }
    /// The journal's newest sealed head, with its path to the signed and stamped root checkpoint.
    pub async fn head(&self, _journal: &JournalName) -> Result<receipt::HeadProof, JournalError> {
        todo!()
    }
    /// RFC 6962 consistency path between two sizes of the journal's tree.
    pub async fn consistency(
        &self,
        _journal: &JournalName,
        _old: u64,
        _new: u64,
    ) -> Result<Vec<Digest>, JournalError> {
        todo!()
    }
    /// The newest signed root checkpoint (signed note text).
    pub async fn root_checkpoint(&self) -> Result<String, JournalError> {
        todo!()
    }
    /// Writes the journal's export (see `docs/formats/journal.md`) to `out`.
    pub async fn export(&self, _journal: &JournalName) -> Result<Vec<u8>, JournalError> {
        todo!()
    }
    /// The journal, if there is one.
    pub fn info(&self, _journal: &JournalName) -> Option<JournalInfo> {
        todo!()
    }
    /// All journals, own ones included.
    pub fn list(&self) -> Vec<JournalInfo> {
        todo!()
    }
    /// The details of an own journal's entry, as recorded.
    pub async fn detail(&self, _own: OwnJournal, _seq: u64) -> Result<Vec<u8>, JournalError> {
        todo!()
    }
    /// Time of the last durable entry anywhere: the clock may never be read below it.
    pub fn last_time(&self) -> Option<UtcMicros> {
        todo!()
    }
    /// For metrics.
    pub fn stats(&self) -> JournalStats {
        todo!()
    }
    /// The storage error that stopped the journal, if one did.
    pub fn failed(&self) -> Option<String> {
        todo!()
    }
}

pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod receipt;
pub mod replay;
pub mod tree;
pub mod verify;
