//! What a set of journals needs from outside, and what it counts.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;

use super::queue;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::keys::{KeyLabel, Keys};

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

/// Settings beside [`Parts`]; the defaults are right outside of tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuning {
    /// Free bytes below which new entries are refused; `None`: 5 % of the file system or 1 GiB,
    /// whichever is smaller.
    pub low_water_bytes: Option<u64>,
    /// Full tiles kept in memory over all trees (about 16 KiB each); `None`: 4,096.
    pub tiles_in_memory: Option<usize>,
    /// Bounds of the queue before the sequencer.
    pub limits: queue::Limits,
    /// Bytes of log between two snapshots; `None`: 32 MiB. A clean stop takes one after an eighth of it.
    pub snapshot_bytes: Option<u64>,
    /// Replay and check the whole log at start, whatever snapshot there is.
    pub replay_all: bool,
}

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
    /// Bytes of log replayed at start: all of it, or what followed the snapshot.
    pub replayed_bytes: u64,
}
