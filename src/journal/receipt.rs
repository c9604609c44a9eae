//! Receipts: evidence about one entry or a run of entries, complete in itself.

use base64ct::{Base64, Encoding};
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::{Digest, unhex_into};
use crate::journal::RequestId;
use crate::journal::checkpoint::{self, MAX_HEAD, MAX_NOTE};
use crate::journal::entry::{ENTRY_BYTES, Entry, EntryError};
use crate::journal::note::Note;
use crate::journal::tree::MAX_PATH;

/// First line of a single receipt (C2SP `tlog-proof`).
pub const SINGLE_LABEL: &str = "c2sp.org/tlog-proof@v1\n";
/// Longest single receipt, bytes: note, extra data and path at their limits.
pub const MAX_SINGLE: usize = MAX_NOTE + 16 * 1024;
/// Most entries of one range receipt.
pub const MAX_RANGE: usize = 4096;
/// Longest range receipt as JSON, bytes.
pub const MAX_RANGE_JSON: usize = 4 * 1024 * 1024;

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
    pub checkpoint: Note,
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

impl RangeReceipt {
    /// The receipt as JSON, which [`parse_range`] reads.
    pub fn to_json(&self) -> String {
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What an entry says beyond its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl RangeEntry {
    /// The request id's bytes, if the text is 32 hex digits.
    pub fn id(&self) -> Option<RequestId> {
        let mut bytes = [0; 16];
        unhex_into(&self.request_id, &mut bytes).map(|()| RequestId(bytes))
    }
}

/// A single receipt taken apart; nothing in it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SingleReceipt {
    /// The entry.
    pub entry: Entry,
    /// RFC 6962 inclusion path of its leaf in the journal's tree.
    pub journal_path: Vec<Digest>,
    /// The head and everything above it.
    pub proof: HeadProof,
}

/// Why bytes are no receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// Longer than any honest one.
    #[error("the receipt has {found} bytes, more than {limit}")]
    TooLong {
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A line does not have its form.
    #[error("the receipt's {0} line is missing or malformed")]
    Line(&'static str),
    /// The extra data is not entry, head and path.
    #[error("the receipt's extra data ends early or late, or a length in it is beyond its limit")]
    Extra,
    /// More hashes than a tree can call for.
    #[error("the receipt's root path has more than 64 hashes")]
    Path,
    /// The entry is none.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// Not the JSON of a range receipt.
    #[error("not a range receipt: {0}")]
    Json(String),
}

/// The text of a single receipt, C2SP `tlog-proof` version 1. `extra` is base64 of: entry (152 bytes),
/// length of the head text (u32), head text, count of hashes (u16), journal path (32 bytes each).
pub fn single_text(entry: &Entry, journal_path: &[Digest], proof: &HeadProof) -> String {
    let mut extra = Vec::with_capacity(ENTRY_BYTES + 6 + proof.head.len() + 32 * journal_path.len());
    extra.extend_from_slice(&entry.encode());
    extra.extend_from_slice(&(proof.head.len() as u32).to_be_bytes());
    extra.extend_from_slice(proof.head.as_bytes());
    extra.extend_from_slice(&(journal_path.len() as u16).to_be_bytes());
    for hash in journal_path {
        extra.extend_from_slice(hash.as_bytes());
    }
    let mut text =
        String::with_capacity(SINGLE_LABEL.len() + extra.len() * 2 + proof.checkpoint.len() + 4096);
    text.push_str(SINGLE_LABEL);
    text.push_str("extra ");
    text.push_str(&Base64::encode_string(&extra));
    text.push_str(&format!("\nindex {}\n", proof.root_index));
    for hash in &proof.root_path {
        text.push_str(&Base64::encode_string(hash.as_bytes()));
        text.push('\n');
    }
    text.push('\n');
    text.push_str(&proof.checkpoint);
    text
}

/// Takes a single receipt apart; whatever is accepted gives the same text again. The head text and
/// the checkpoint are cut out but not read.
pub fn parse_single(text: &str) -> Result<SingleReceipt, ReceiptError> {
    if text.len() > MAX_SINGLE {
        return Err(ReceiptError::TooLong { found: text.len(), limit: MAX_SINGLE });
    }
    let rest = text.strip_prefix(SINGLE_LABEL).ok_or(ReceiptError::Line("first"))?;
    let (extra, rest) = field(rest, "extra ").ok_or(ReceiptError::Line("extra"))?;
    let (index, mut rest) = field(rest, "index ").ok_or(ReceiptError::Line("index"))?;
    let root_index = checkpoint::decimal(index).ok_or(ReceiptError::Line("index"))?;
    let mut root_path = Vec::new();
    let checkpoint = loop {
        let (line, after) = rest.split_once('\n').ok_or(ReceiptError::Line("root path"))?;
        if line.is_empty() {
            break after.into();
        }
        if root_path.len() == MAX_PATH {
            return Err(ReceiptError::Path);
        }
        root_path.push(checkpoint::hash_line(line).ok_or(ReceiptError::Line("root path"))?);
        rest = after;
    };
    let extra = Base64::decode_vec(extra).map_err(|_| ReceiptError::Line("extra"))?;
    let (entry, head, journal_path) = split_extra(&extra)?;
    Ok(SingleReceipt { entry, journal_path, proof: HeadProof { head, root_index, root_path, checkpoint } })
}

fn field<'t>(text: &'t str, prefix: &str) -> Option<(&'t str, &'t str)> {
    text.strip_prefix(prefix)?.split_once('\n')
}

fn split_extra(extra: &[u8]) -> Result<(Entry, String, Vec<Digest>), ReceiptError> {
    let (entry, rest) = extra.split_at_checked(ENTRY_BYTES).ok_or(ReceiptError::Extra)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(ReceiptError::Extra)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (head, rest) = rest.split_at_checked(length).ok_or(ReceiptError::Extra)?;
    let (count, rest) = rest.split_first_chunk::<2>().ok_or(ReceiptError::Extra)?;
    let count = usize::from(u16::from_be_bytes(*count));
    if length > MAX_HEAD || count > MAX_PATH || rest.len() != 32 * count {
        return Err(ReceiptError::Extra);
    }
    let head = String::from_utf8(head.to_vec()).map_err(|_| ReceiptError::Extra)?;
    let path: Result<_, _> = rest.chunks_exact(32).map(Digest::try_from).collect();
    Ok((Entry::decode(entry)?, head, path.map_err(|_| ReceiptError::Extra)?))
}

/// The fields of [`RangeReceipt`], read with limits and without tolerance for unknown ones. What the API
/// adds for its callers' convenience may stand beside, but must agree with the entries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)] // offset and covers place the entries in the caller's request, which is not at hand
struct StrictRange {
    first: u64,
    prev: Digest,
    #[serde(deserialize_with = "at_most::<_, _, MAX_RANGE>")]
    entries: Vec<RangeEntry>,
    #[serde(deserialize_with = "at_most::<_, _, { 2 * MAX_PATH }>")]
    range_path: Vec<Digest>,
    head: String,
    root_index: u64,
    #[serde(deserialize_with = "at_most::<_, _, MAX_PATH>")]
    root_path: Vec<Digest>,
    checkpoint: Note,
    count: Option<usize>,
    offset: Option<usize>,
    covers: Option<IgnoredAny>,
    time: Option<i64>,
    bound: Option<u32>,
    kind: Option<u16>,
}

impl StrictRange {
    fn check(&self) -> Result<(), String> {
        if self.entries.is_empty() {
            return Err("it has no entries".into());
        }
        let odd = |e: &RangeEntry| e.id().is_none() || e.request_id.bytes().any(|b| b.is_ascii_uppercase());
        if let Some(at) = self.entries.iter().position(odd) {
            return Err(format!("request_id of entry {at} is not 32 lower-case hex digits"));
        }
        let differs = |e: &RangeEntry| {
            self.time.is_some_and(|t| t != e.time)
                || self.bound.is_some_and(|b| b != e.bound)
                || self.kind.is_some_and(|k| k != e.kind)
        };
        if self.count.is_some_and(|c| c != self.entries.len()) || self.entries.iter().any(differs) {
            return Err("count, time, bound or kind are not those of its entries".into());
        }
        Ok(())
    }

    fn finish(self) -> Result<RangeReceipt, String> {
        self.check()?;
        let Self { first, prev, entries, range_path, head, root_index, root_path, checkpoint, .. } = self;
        let proof = HeadProof { head, root_index, root_path, checkpoint };
        Ok(RangeReceipt { first, prev, entries, range_path, proof })
    }
}

/// Reads a range receipt from JSON: 1 to 4,096 entries, ids of 32 lower-case hex digits, no unknown fields.
pub fn parse_range(json: &[u8]) -> Result<RangeReceipt, ReceiptError> {
    if json.len() > MAX_RANGE_JSON {
        return Err(ReceiptError::TooLong { found: json.len(), limit: MAX_RANGE_JSON });
    }
    let r: StrictRange = serde_json::from_slice(json).map_err(|e| ReceiptError::Json(e.to_string()))?;
    r.finish().map_err(ReceiptError::Json)
}

/// Reads one range receipt, or several as the API answers them: `{"receipts": [...]}`.
pub fn parse_ranges(json: &[u8]) -> Result<Vec<RangeReceipt>, ReceiptError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Answer {
        #[serde(deserialize_with = "at_most::<_, _, MAX_RANGE>")]
        receipts: Vec<StrictRange>,
    }
    match parse_range(json) {
        Err(ReceiptError::Json(reason)) => match serde_json::from_slice::<Answer>(json) {
            Ok(answer) if !answer.receipts.is_empty() => {
                let all: Result<_, _> = answer.receipts.into_iter().map(StrictRange::finish).collect();
                all.map_err(ReceiptError::Json)
            }
            _ => Err(ReceiptError::Json(reason)),
        },
        one => Ok(vec![one?]),
    }
}

/// A JSON array that may not have more than `LIMIT` elements; stops reading at the first one beyond.
fn at_most<'de, D, T, const LIMIT: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Limited<T, const LIMIT: usize>(std::marker::PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for Limited<T, LIMIT> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "an array of at most {LIMIT} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = seq.next_element()? {
                if items.len() == LIMIT {
                    return Err(A::Error::custom(format_args!("more than {LIMIT} elements")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }
    deserializer.deserialize_seq(Limited::<T, LIMIT>(std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::journal_id;

    fn proof() -> HeadProof {
        HeadProof {
            head: "a.b/j/c\n1\n".into(),
            root_index: 5,
            root_path: vec![Digest::of(b"1"), Digest::of(b"2")],
            checkpoint: "a.b/root\n7\n".into(),
        }
    }

    fn single() -> SingleReceipt {
        let entry = Entry {
            journal: journal_id("a.b/j/c"),
            seq: 9,
            prev: Digest::of(b"p"),
            time: 1,
            bound: 2,
            kind: 2,
            request_id: RequestId([7; 16]),
            digest: Digest::of(b"d"),
        };
        SingleReceipt { entry, journal_path: vec![Digest::of(b"3")], proof: proof() }
    }

    fn range() -> RangeReceipt {
        let entry = RangeEntry {
            request_id: "00112233445566778899aabbccddeeff".into(),
            digest: Digest::of(b"d"),
            time: 1,
            bound: 2,
            kind: 2,
        };
        RangeReceipt {
            first: 3,
            prev: Digest::of(b"p"),
            entries: vec![entry; 2],
            range_path: vec![Digest::of(b"l")],
            proof: proof(),
        }
    }

    #[test]
    fn a_single_receipt_survives_its_text() {
        let receipt = single();
        let text = single_text(&receipt.entry, &receipt.journal_path, &receipt.proof);
        assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra "));
        assert!(text.ends_with("\n\na.b/root\n7\n"));
        assert_eq!(parse_single(&text), Ok(receipt));
    }

    #[test]
    fn a_single_receipt_of_another_form_is_refused() {
        let receipt = single();
        let good = single_text(&receipt.entry, &receipt.journal_path, &receipt.proof);
        let first_hash = Base64::encode_string(Digest::of(b"1").as_bytes());
        for (from, to, error) in [
            ("@v1", "@v2", ReceiptError::Line("first")),
            ("extra ", "extra  ", ReceiptError::Line("extra")),
            ("extra ", "Extra ", ReceiptError::Line("extra")),
            ("index 5", "index 05", ReceiptError::Line("index")),
            ("index 5", "index -5", ReceiptError::Line("index")),
            (first_hash.as_str(), "AAAA", ReceiptError::Line("root path")),
            ("\n\na.b", "\na.b", ReceiptError::Line("root path")),
        ] {
            assert_eq!(parse_single(&good.replacen(from, to, 1)), Err(error), "{from:?} → {to:?}");
        }
        let long = format!("{good}{}", " ".repeat(MAX_SINGLE));
        assert!(matches!(parse_single(&long), Err(ReceiptError::TooLong { .. })));
    }

    #[test]
    fn lengths_within_the_extra_data_are_checked() {
        let good = {
            let r = single();
            let text = single_text(&r.entry, &r.journal_path, &r.proof);
            let line = text.lines().nth(1).unwrap();
            Base64::decode_vec(line.strip_prefix("extra ").unwrap()).unwrap()
        };
        assert!(split_extra(&good).is_ok());
        for cut in 0..good.len() {
            assert_eq!(split_extra(&good[..cut]), Err(ReceiptError::Extra), "{cut}");
        }
        let mut long = good.clone();
        long.push(0);
        assert_eq!(split_extra(&long), Err(ReceiptError::Extra));
        let mut huge = good;
        huge[152] = 0xff;
        assert_eq!(split_extra(&huge), Err(ReceiptError::Extra));
    }

    #[test]
    fn a_range_receipt_survives_its_json() {
        let json = serde_json::to_vec(&range()).unwrap();
        assert_eq!(parse_range(&json), Ok(range()));
    }

    #[test]
    fn a_range_receipt_beyond_its_limits_is_refused() {
        let refused =
            |r: &RangeReceipt| parse_range(&serde_json::to_vec(r).unwrap()).unwrap_err().to_string();
        let mut many = range();
        many.entries = vec![many.entries[0].clone(); MAX_RANGE];
        assert!(parse_range(&serde_json::to_vec(&many).unwrap()).is_ok());
        many.entries.push(many.entries[0].clone());
        assert!(refused(&many).contains("more than 4096 elements"));
        let mut none = range();
        none.entries.clear();
        assert!(refused(&none).contains("no entries"));
        let mut odd = range();
        odd.entries[1].request_id.replace_range(30.., "FF");
        assert!(refused(&odd).contains("request_id of entry 1"));
        let mut deep = range();
        deep.proof.root_path = vec![Digest::default(); 65];
        assert!(refused(&deep).contains("more than 64 elements"));
        let extra = serde_json::to_string(&range()).unwrap().replacen('{', "{\"note\":1,", 1);
        assert!(parse_range(extra.as_bytes()).is_err());
    }
}
