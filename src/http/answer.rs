//! The answer to `POST …/entries`: range receipts without what the client already knows. Pure.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::entries::request_id;
use super::problem::Problem;
use crate::digest::Digest;
use crate::journal::RequestId;
use crate::journal::note::Note;
use crate::journal::receipt::{RangeEntry, RangeReceipt};

/// Receipts for all digests of one request.
#[derive(Serialize, ToSchema)]
pub struct Sealed<'a> {
    /// One per run of entries that follow each other in the journal.
    #[schema(inline = false)]
    pub receipts: Vec<Run<'a>>,
}

/// A range receipt. With `entries` it is complete in itself; without, ids and digests are those of the
/// request: entry `first + k` is the request's `entries[offset + k]`, or `entries[covers[k]]`.
#[derive(Serialize, ToSchema)]
pub struct Run<'a> {
    /// Sequence of the run's first entry.
    first: u64,
    /// Entries in the run.
    count: usize,
    /// Index in the request of the run's first entry, when the run follows the request's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<usize>,
    /// Otherwise: for each entry of the run its index in the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    covers: Option<Vec<usize>>,
    /// Time of all entries, microseconds UTC since 1970; absent when they differ (see `entries`).
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<i64>,
    /// Clock error bound of all entries, microseconds; absent when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<u32>,
    /// Type of all entries; absent when they differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<u16>,
    /// `prev` of the first entry, hex.
    #[schema(value_type = String)]
    prev: &'a Digest,
    /// Roots of the subtrees left and right of the run, hex.
    #[schema(value_type = Vec<String>)]
    range_path: &'a [Digest],
    /// The root log's leaf text.
    head: &'a str,
    /// Index of that leaf in the root log.
    root_index: u64,
    /// Inclusion path of the leaf, hex.
    #[schema(value_type = Vec<String>)]
    root_path: &'a [Digest],
    /// The root log's checkpoint: a signed note.
    #[schema(value_type = String)]
    checkpoint: &'a Note,
    /// What each entry says, when asked for or when times differ within the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Entry>>)]
    entries: Option<&'a [RangeEntry]>,
}

/// One entry of a run.
#[derive(ToSchema)]
#[allow(dead_code)] // describes `RangeEntry`
pub struct Entry {
    /// 32 hex digits.
    request_id: String,
    /// SHA-256, hex.
    digest: String,
    /// Microseconds UTC since 1970.
    time: i64,
    /// Clock error bound, microseconds.
    bound: u32,
    /// Entry type.
    kind: u16,
}

impl Sealed<'_> {
    /// As JSON, into a buffer that need not grow on the way.
    pub fn to_json(&self) -> Result<Vec<u8>, Problem> {
        let room = self.receipts.iter().map(Run::room).sum::<usize>() + 64;
        let mut json = Vec::with_capacity(room);
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        serde_json::to_writer(&mut json, self).map_err(|_| Problem::internal())?;
        Ok(json)
    }
}

impl<'a> Run<'a> {
    /// Bytes of its JSON, about.
    fn room(&self) -> usize {
        let hashes = self.range_path.len() + self.root_path.len();
        let entries = self.entries.map_or(0, <[_]>::len);
        let covers = self.covers.as_ref().map_or(0, Vec::len);
        384 + 68 * hashes + self.head.len() + self.checkpoint.len() + 256 * entries + 8 * covers
    }

    /// The run as an answer to a request with these ids.
    pub fn new(receipt: &'a RangeReceipt, ids: &[RequestId], full: bool) -> Self {
        let mut run = Self::whole(receipt);
        match places(&receipt.entries, ids) {
            Places::Straight(offset) => run.offset = Some(offset),
            Places::Mixed(covers) => run.covers = Some(covers),
        }
        if !full && run.time.is_some() {
            run.entries = None;
        }
        run
    }

    /// The run with all its entries and no reference to a request.
    pub fn whole(receipt: &'a RangeReceipt) -> Self {
        let entries = receipt.entries.as_slice();
        let says = |e: &RangeEntry| (e.time, e.bound, e.kind);
        let same = entries.first().map(says).filter(|first| entries.iter().all(|e| says(e) == *first));
        Self {
            first: receipt.first,
            count: entries.len(),
            offset: None,
            covers: None,
            time: same.map(|s| s.0),
            bound: same.map(|s| s.1),
            kind: same.map(|s| s.2),
            prev: &receipt.prev,
            range_path: &receipt.range_path,
            head: &receipt.proof.head,
            root_index: receipt.proof.root_index,
            root_path: &receipt.proof.root_path,
            checkpoint: &receipt.proof.checkpoint,
            entries: Some(entries),
        }
    }
}

enum Places {
    Straight(usize),
    Mixed(Vec<usize>),
}

/// Where in the request the entries of a run stand.
fn places(entries: &[RangeEntry], ids: &[RequestId]) -> Places {
    let own: Vec<_> = entries.iter().filter_map(|e| request_id(&e.request_id)).collect();
    let start = own.first().and_then(|first| ids.iter().position(|id| id == first)).unwrap_or(0);
    if ids.get(start..start + own.len()) == Some(own.as_slice()) {
        return Places::Straight(start);
    }
    let index: HashMap<_, _> = ids.iter().enumerate().map(|(index, id)| (id, index)).collect();
    Places::Mixed(own.iter().filter_map(|id| index.get(id).copied()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;
    use crate::journal::receipt::HeadProof;

    fn id(n: u8) -> RequestId {
        RequestId([n; 16])
    }

    fn receipt(ids: &[u8], time_of: impl Fn(u8) -> i64) -> RangeReceipt {
        let entry = |n: &u8| RangeEntry {
            request_id: hex(&[*n; 16]),
            digest: Digest::of(&[*n]),
            time: time_of(*n),
            bound: 5,
            kind: 2,
        };
        let proof = HeadProof {
            head: "head\n".into(),
            root_index: 7,
            root_path: vec![],
            checkpoint: "note\n".into(),
        };
        let entries = ids.iter().map(entry).collect();
        RangeReceipt { first: 40, prev: Digest::of(b"prev"), entries, range_path: vec![], proof }
    }

    #[test]
    fn a_run_in_the_requests_order_names_its_offset_and_repeats_nothing() {
        let receipt = receipt(&[2, 3], |_| 9);
        let json = serde_json::to_value(Run::new(&receipt, &[id(1), id(2), id(3)], false)).unwrap();
        let expected = serde_json::json!({
            "first": 40, "count": 2, "offset": 1, "time": 9, "bound": 5, "kind": 2, "prev": Digest::of(b"prev"),
            "range_path": [], "head": "head\n", "root_index": 7, "root_path": [], "checkpoint": "note\n",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_run_in_another_order_names_each_place() {
        let receipt = receipt(&[3, 1], |_| 9);
        let run = Run::new(&receipt, &[id(1), id(2), id(3)], false);
        assert_eq!((run.offset, run.covers), (None, Some(vec![2, 0])));
    }

    #[test]
    fn a_full_answer_reads_back_as_the_range_receipt() {
        let receipt = receipt(&[1, 2], i64::from);
        for full in [true, false] {
            let json = serde_json::to_vec(&Run::new(&receipt, &[id(1), id(2)], full)).unwrap();
            assert_eq!(serde_json::from_slice::<RangeReceipt>(&json).unwrap(), receipt, "times differ");
        }
    }
}
