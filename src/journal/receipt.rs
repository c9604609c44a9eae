//! Receipts: evidence about one entry or a run of entries, complete in itself.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A journal's head and its way up to a signed, stamped root checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadProof {
    /// The root log's leaf text: origin, size, root, `after`, (later) `twin`, each ended by a newline.
    pub head: String,
    /// Index of that leaf in the root log.
    pub root_index: u64,
    /// RFC 6962 inclusion path of the leaf.
    pub root_path: Vec<Digest>,
    /// The root log's checkpoint: signed note with the ECDSA line and the RFC 3161 token line.
    pub checkpoint: String,
}

/// Evidence for entries `first .. first + count` of one journal in one head.
/// All of one range have the same time, bound and type; the caller knows ids and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeReceipt {
    /// Sequence of the first entry.
    pub first: u64,
    /// The first entry's `prev`.
    pub prev: Digest,
    /// Per entry: request id (32 hex), digest, time (µs UTC), bound (µs).
    pub entries: Vec<RangeEntry>,
    /// Roots of the maximal subtrees left and right of the range, in order (see `docs/formats/journal.md`).
    pub range_path: Vec<Digest>,
    /// The head and everything above it.
    #[serde(flatten)]
    pub proof: HeadProof,
}

/// What an entry says beyond its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeEntry {
    /// Request id, 32 hex digits.
    pub request_id: String,
    /// The digest.
    pub digest: Digest,
    /// Microseconds UTC.
    pub time: i64,
    /// Clock error bound, microseconds.
    pub bound: u32,
    /// Entry type.
    pub kind: u16,
}
