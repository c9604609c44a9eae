//! Completeness: a register's own list of (request id, digest) against the entries of its journal. Pure.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io::{self, BufRead, Read};

use serde::Deserialize;

use crate::digest::{Digest, hex};
use crate::journal::RequestId;
use crate::journal::entry::{Entry, EntryKind};

/// Longest line of a list, bytes: a register may keep more beside id and digest.
const MAX_LINE: u64 = 64 * 1024;

/// Why a list cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A line is not an object with the two fields.
    #[error("line {line} of the list: {reason}")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The list cannot be read.
    #[error("the list cannot be read on after line {after}: {reason}")]
    Read {
        /// Lines read.
        after: u64,
        /// What the system said.
        reason: String,
    },
}

/// Something that stands on one side only, or differs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// The register lists it, the journal does not hold it.
    #[error("request {} of line {line} was never sealed: digest {digest}", hex(&.id.0))]
    NotSealed {
        /// Line of the list.
        line: u64,
        /// Request id.
        id: RequestId,
        /// As listed.
        digest: Digest,
    },
    /// The journal holds it, the register does not list it.
    #[error("entry {seq}, at byte {offset}, request {}, is not in the list: digest {digest}", hex(&.id.0))]
    NotListed {
        /// Its sequence.
        seq: u64,
        /// Where it begins in the export.
        offset: u64,
        /// Request id.
        id: RequestId,
        /// As sealed.
        digest: Digest,
    },
    /// Both know the request, with different digests.
    #[error(
        "request {} seals {sealed} in entry {seq}, at byte {offset}, but line {line} lists {listed}",
        hex(&.id.0)
    )]
    OtherDigest {
        /// Line of the list.
        line: u64,
        /// Sequence of the entry.
        seq: u64,
        /// Where the entry begins in the export.
        offset: u64,
        /// Request id.
        id: RequestId,
        /// As listed.
        listed: Digest,
        /// As sealed.
        sealed: Digest,
    },
    /// The list names one request on two lines.
    #[error("request {} stands on line {first} and again on line {line}", hex(&.id.0))]
    ListedTwice {
        /// The earlier line.
        first: u64,
        /// The later line.
        line: u64,
        /// Request id.
        id: RequestId,
    },
    /// The journal holds one request twice, which no honest appliance does.
    #[error("request {} was sealed in entry {first} and again in entry {seq}, at byte {offset}", hex(&.id.0))]
    SealedTwice {
        /// The earlier entry.
        first: u64,
        /// The later entry.
        seq: u64,
        /// Where the later entry begins in the export.
        offset: u64,
        /// Request id.
        id: RequestId,
    },
}

/// The outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Requests that both sides know with the same digest.
    pub agreed: u64,
    /// Everything else: the list's own faults, then by entry, then by line.
    pub findings: Vec<Finding>,
}

struct Known {
    line: Option<u64>,
    seq: Option<u64>,
    digest: Digest,
}

/// A list, against which entries are held one after another.
#[derive(Default)]
pub struct Reconciler {
    known: HashMap<RequestId, Known>,
    outcome: Reconciled,
}

/// One line; a register may keep further fields.
#[derive(Deserialize)]
struct Listed {
    request_id: String,
    digest: Digest,
}

impl Reconciler {
    /// Reads a list: one JSON object a line with `request_id` (32 hex digits or a UUID) and `digest`.
    pub fn of_list(mut list: impl BufRead) -> Result<Reconciler, ListError> {
        let mut this = Reconciler::default();
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let unreadable = |e: io::Error| ListError::Read { after: line - 1, reason: e.to_string() };
            list.by_ref().take(MAX_LINE).read_until(b'\n', &mut text).map_err(unreadable)?;
            if text.is_empty() {
                break;
            }
            let (id, digest) = listed(&text).map_err(|reason| ListError::Line { line, reason })?;
            this.list(line, id, digest);
        }
        Ok(this)
    }

    fn list(&mut self, line: u64, id: RequestId, digest: Digest) {
        match self.known.entry(id) {
            Slot::Vacant(slot) => drop(slot.insert(Known { line: Some(line), seq: None, digest })),
            Slot::Occupied(slot) => {
                let first = slot.get().line.unwrap_or_default();
                self.outcome.findings.push(Finding::ListedTwice { first, line, id });
            }
        }
    }

    /// Requests listed.
    pub fn listed(&self) -> usize {
        self.known.len()
    }

    /// Takes the journal's next entry, which begins at byte `offset` of its export. The charter is no request.
    pub fn entry(&mut self, entry: &Entry, offset: u64) {
        if ![EntryKind::Seal as u16, EntryKind::Record as u16].contains(&entry.kind) {
            return;
        }
        let (seq, id, digest) = (entry.seq, entry.request_id, entry.digest);
        let findings = &mut self.outcome.findings;
        match self.known.entry(id) {
            Slot::Vacant(slot) => {
                slot.insert(Known { line: None, seq: Some(seq), digest });
                findings.push(Finding::NotListed { seq, offset, id, digest });
            }
            Slot::Occupied(mut slot) => {
                let known = slot.get_mut();
                match (known.seq, known.line) {
                    (Some(first), _) => findings.push(Finding::SealedTwice { first, seq, offset, id }),
                    (None, Some(line)) if known.digest != digest => {
                        let (listed, sealed) = (known.digest, digest);
                        findings.push(Finding::OtherDigest { line, seq, offset, id, listed, sealed });
                    }
                    (None, _) => self.outcome.agreed += 1,
                }
                known.seq.get_or_insert(seq);
            }
        }
    }

    /// After the last entry: what is listed and was never sealed.
    pub fn finish(mut self) -> Reconciled {
        let open = self.known.into_iter().filter(|(_, known)| known.seq.is_none());
        let mut unsealed: Vec<_> =
            open.map(|(id, known)| (known.line.unwrap_or_default(), id, known.digest)).collect();
        unsealed.sort_unstable();
        let unsealed = unsealed.into_iter().map(|(line, id, digest)| Finding::NotSealed { line, id, digest });
        self.outcome.findings.extend(unsealed);
        self.outcome
    }
}

fn listed(text: &[u8]) -> Result<(RequestId, Digest), String> {
    if text.len() as u64 == MAX_LINE {
        return Err(format!("it is longer than {MAX_LINE} bytes"));
    }
    let Listed { request_id, digest } = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let id = RequestId::parse(&request_id)
        .ok_or("request_id is neither 32 hex digits, nor a UUID, nor a register number")?;
    Ok((id, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, id: u8, kind: EntryKind) -> Entry {
        let none = Digest::default();
        let (request_id, digest) = (RequestId([id; 16]), Digest::of(&[id]));
        Entry { journal: none, seq, prev: none, time: 0, bound: 0, kind: kind as u16, request_id, digest }
    }

    fn line(id: u8, digest: u8) -> String {
        let id = hex(&[id; 16]);
        format!("{{\"request_id\":\"{id}\",\"digest\":\"{}\"}}\n", Digest::of(&[digest]))
    }

    fn reconciled(list: &str, ids: &[u8]) -> Reconciled {
        let mut both = Reconciler::of_list(list.as_bytes()).unwrap();
        both.entry(&entry(0, 0, EntryKind::Charter), 500);
        for (seq, id) in (1..).zip(ids) {
            both.entry(&entry(seq, *id, EntryKind::Seal), 500 + 152 * seq);
        }
        both.finish()
    }

    fn id(id: u8) -> RequestId {
        RequestId([id; 16])
    }

    #[test]
    fn a_complete_list_agrees_in_any_order_and_without_a_last_newline() {
        let list = [line(3, 3), line(1, 1), line(2, 2)].concat();
        let all = Reconciled { agreed: 3, findings: Vec::new() };
        assert_eq!(reconciled(&list, &[1, 2, 3]), all);
        assert_eq!(reconciled(list.trim_end(), &[1, 2, 3]), all);
        assert_eq!(reconciled("", &[]), Reconciled::default());
    }

    #[test]
    fn what_stands_on_one_side_only_is_named_with_its_place() {
        let list = [line(9, 9), line(1, 1), line(8, 8)].concat();
        let outcome = reconciled(&list, &[1, 2]);
        let digest = Digest::of(&[2]);
        let expected = [
            Finding::NotListed { seq: 2, offset: 804, id: id(2), digest },
            Finding::NotSealed { line: 1, id: id(9), digest: Digest::of(&[9]) },
            Finding::NotSealed { line: 3, id: id(8), digest: Digest::of(&[8]) },
        ];
        assert_eq!(outcome, Reconciled { agreed: 1, findings: expected.to_vec() });
        let text =
            format!("entry 2, at byte 804, request {}, is not in the list: digest {digest}", hex(&[2; 16]));
        assert_eq!(outcome.findings[0].to_string(), text);
    }

    #[test]
    fn another_digest_under_a_known_request_is_no_agreement() {
        let (listed, sealed) = (Digest::of(&[7]), Digest::of(&[1]));
        let other = Finding::OtherDigest { line: 1, seq: 1, offset: 652, id: id(1), listed, sealed };
        let outcome = reconciled(&line(1, 7), &[1]);
        assert_eq!(outcome, Reconciled { agreed: 0, findings: vec![other] });
    }

    #[test]
    fn what_either_side_says_twice_is_named() {
        let list = [line(1, 1), line(1, 1)].concat();
        let outcome = reconciled(&list, &[1, 1, 5, 5]);
        let expected = [
            Finding::ListedTwice { first: 1, line: 2, id: id(1) },
            Finding::SealedTwice { first: 1, seq: 2, offset: 804, id: id(1) },
            Finding::NotListed { seq: 3, offset: 956, id: id(5), digest: Digest::of(&[5]) },
            Finding::SealedTwice { first: 3, seq: 4, offset: 1108, id: id(5) },
        ];
        assert_eq!(outcome, Reconciled { agreed: 1, findings: expected.to_vec() });
    }

    #[test]
    fn uuids_and_further_fields_are_read() {
        let list =
            "{\"record\":17,\"request_id\":\"01010101-0101-0101-0101-010101010101\",\"digest\":\"DIGEST\"}";
        let list = list.replace("DIGEST", &Digest::of(&[1]).to_string());
        assert_eq!(reconciled(&list, &[1]).agreed, 1);
    }

    #[test]
    fn a_line_that_is_no_pair_is_refused_by_its_number() {
        let bad = ["\n", "[]\n", "{}\n", "{\"request_id\":\"1\",\"digest\":\"2\"}\n", "{\"a\":"];
        let long = format!("{}{}", " ".repeat(70_000), line(2, 2));
        let short = line(2, 2).replacen("02", "2", 1);
        for bad in bad.into_iter().chain([long.as_str(), short.as_str()]) {
            let refused = Reconciler::of_list([line(1, 1).as_str(), bad].concat().as_bytes()).err();
            assert!(matches!(refused, Some(ListError::Line { line: 2, .. })), "{bad}: {refused:?}");
        }
    }
}
