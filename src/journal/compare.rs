//! Two exports of one journal: is one the beginning of the other, or where do they part? Read once, side by
//! side, in constant memory.

use std::fmt;
use std::io::Read;

use crate::digest::Digest;
use crate::journal::entry::{ENTRY_BYTES, Entry};
use crate::journal::export::{ExportError, ExportHeader};
use crate::journal::replay::{AT_ONCE, fill};
use crate::journal::tree::{self, CompactRange};
use crate::journal::verify::{HeadFacts, Trust, VerifyError, verify_head};

/// One of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first named.
    A,
    /// The second named.
    B,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Side::A) { "A" } else { "B" })
    }
}

/// Why two exports cannot be compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// One of them is no export.
    #[error("{0}: {1}")]
    Export(Side, ExportError),
    /// The head of one does not hold.
    #[error("{0}: {1}")]
    Head(Side, VerifyError),
    /// The head of one is not that of its entries.
    #[error("{0}: the header's origin or count is not that of its head")]
    Header(Side),
    /// One ends before the entries it announces.
    #[error("{side}: the file ends within entry {seq} of {count}")]
    Short {
        /// Which.
        side: Side,
        /// The first entry that is not whole.
        seq: u64,
        /// Entries announced.
        count: u64,
    },
    /// They are of different journals.
    #[error("A is of journal {0}, B of {1}")]
    Journals(String, String),
}

/// How the histories relate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The same entries.
    Same,
    /// All entries of this one are the first entries of the other.
    Beginning(Side),
    /// They part at this entry.
    Parted(Parting),
}

/// The first entry that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parting {
    /// Its sequence.
    pub seq: u64,
    /// Where it begins in A.
    pub offset_a: u64,
    /// Where it begins in B.
    pub offset_b: u64,
    /// Fields that differ, by name.
    pub fields: Vec<&'static str>,
}

/// Heads that cannot both be of the histories shown. Between verified heads, each is proof against their signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadConflict {
    /// The head says something else than the entries.
    #[error("the head of {side} over {size} entries has root {head}, but the entries have {entries}")]
    Root {
        /// Whose head.
        side: Side,
        /// Its size.
        size: u64,
        /// Its root.
        head: Digest,
        /// Root of the entries.
        entries: Digest,
    },
    /// Two heads of the same size that are not of the same tree.
    #[error("both heads have {size} entries, but their roots are {a} and {b}")]
    SameSize {
        /// Of both.
        size: u64,
        /// Root of A.
        a: Digest,
        /// Root of B.
        b: Digest,
    },
    /// One root log of one size with two roots.
    #[error("both checkpoints have {size} leaves, but their roots are {a} and {b}")]
    RootLog {
        /// Of both.
        size: u64,
        /// Root of A.
        a: Digest,
        /// Root of B.
        b: Digest,
    },
    /// One leaf of the root log with two texts.
    #[error("leaf {index} of the root log is the head of {a} entries and of {b} entries")]
    Leaf {
        /// The leaf.
        index: u64,
        /// Entries in A.
        a: u64,
        /// Entries in B.
        b: u64,
    },
    /// The longer journal stands earlier in the root log.
    #[error(
        "{longer} has more entries, but its head stands earlier in the root log, at leaf {index} before {other}"
    )]
    Order {
        /// Which.
        longer: Side,
        /// Its leaf.
        index: u64,
        /// The other's leaf.
        other: u64,
    },
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Entries that both have in common from the first on.
    pub common: u64,
    /// How the histories relate.
    pub outcome: Outcome,
    /// Heads that contradict entries or each other.
    pub conflicts: Vec<HeadConflict>,
    /// The head of A.
    pub a: HeadFacts,
    /// The head of B.
    pub b: HeadFacts,
}

impl Comparison {
    /// Whether both show one history and their heads agree.
    pub fn agrees(&self) -> bool {
        !matches!(self.outcome, Outcome::Parted(_)) && self.conflicts.is_empty()
    }
}

/// Compares two exports. It does not replay them: whether each holds by itself is
/// [`verify_export`](crate::journal::verify::verify_export)'s question.
pub fn compare<R: Read>(a: R, b: R, trust: &Trust) -> Result<Comparison, CompareError> {
    let mut a = Export::open(Side::A, a, trust)?;
    let mut b = Export::open(Side::B, b, trust)?;
    if a.head.head.origin != b.head.head.origin {
        return Err(CompareError::Journals(a.head.head.origin, b.head.head.origin));
    }
    let mut entries = CompactRange::new();
    let both = a.count.min(b.count);
    let parting = side_by_side(&mut a, &mut b, both, &mut entries)?;
    let common = entries.size();
    let mut conflicts = Vec::new();
    let outcome = match parting {
        Some(parting) => Outcome::Parted(parting),
        None => {
            let (shorter, longer) = if a.count <= b.count { (&a, &mut b) } else { (&b, &mut a) };
            conflicts.extend(shorter.against(&entries));
            let outcome = if both == longer.count { Outcome::Same } else { Outcome::Beginning(shorter.side) };
            longer.rest(&mut entries)?;
            conflicts.extend(longer.against(&entries));
            outcome
        }
    };
    conflicts.extend(between(&a, &b));
    Ok(Comparison { common, outcome, conflicts, a: a.head, b: b.head })
}

/// One export being read.
struct Export<R> {
    side: Side,
    input: R,
    start: u64,
    count: u64,
    root_index: u64,
    leaf: Digest,
    head: HeadFacts,
    seq: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Export<R> {
    fn open(side: Side, mut input: R, trust: &Trust) -> Result<Self, CompareError> {
        let (header, start) = ExportHeader::read(&mut input).map_err(|e| CompareError::Export(side, e))?;
        let head = verify_head(&header.proof, trust).map_err(|e| CompareError::Head(side, e))?;
        if head.head.origin != header.origin || head.head.size != header.count {
            return Err(CompareError::Header(side));
        }
        let (count, root_index) = (header.count, header.proof.root_index);
        let leaf = tree::leaf_hash(header.proof.head.as_bytes());
        Ok(Self { side, input, start, count, root_index, leaf, head, seq: 0, buffer: Vec::new() })
    }

    /// Reads the next entries, at most `most`; all of them are whole.
    fn next(&mut self, most: u64) -> Result<(), CompareError> {
        let wanted = most.min(AT_ONCE as u64) as usize * ENTRY_BYTES;
        self.buffer.resize(wanted, 0);
        let filled =
            fill(&mut self.input, &mut self.buffer).map_err(|e| CompareError::Export(self.side, e))?;
        if filled < wanted {
            let (side, seq) = (self.side, self.seq + (filled / ENTRY_BYTES) as u64);
            return Err(CompareError::Short { side, seq, count: self.count });
        }
        self.seq += (wanted / ENTRY_BYTES) as u64;
        Ok(())
    }

    fn rest(&mut self, entries: &mut CompactRange) -> Result<(), CompareError> {
        while self.seq < self.count {
            self.next(self.count - self.seq)?;
            self.buffer.chunks_exact(ENTRY_BYTES).for_each(|e| entries.append(tree::leaf_hash(e)));
        }
        Ok(())
    }

    fn against(&self, entries: &CompactRange) -> Option<HeadConflict> {
        let (side, size, head, entries) = (self.side, self.count, self.head.head.root, entries.root());
        (head != entries).then_some(HeadConflict::Root { side, size, head, entries })
    }

    fn offset(&self, seq: u64) -> u64 {
        self.start.saturating_add(seq.saturating_mul(ENTRY_BYTES as u64))
    }
}

/// Reads both up to `both` entries; equal ones go into the tree.
fn side_by_side<R: Read>(
    a: &mut Export<R>,
    b: &mut Export<R>,
    both: u64,
    entries: &mut CompactRange,
) -> Result<Option<Parting>, CompareError> {
    while a.seq < both {
        let before = a.seq;
        a.next(both - before)?;
        b.next(both - before)?;
        let pairs = a.buffer.chunks_exact(ENTRY_BYTES).zip(b.buffer.chunks_exact(ENTRY_BYTES));
        for (seq, (of_a, of_b)) in (before..).zip(pairs) {
            if of_a != of_b {
                let (offset_a, offset_b) = (a.offset(seq), b.offset(seq));
                return Ok(Some(Parting { seq, offset_a, offset_b, fields: differing(of_a, of_b) }));
            }
            entries.append(tree::leaf_hash(of_a));
        }
    }
    Ok(None)
}

fn differing(a: &[u8], b: &[u8]) -> Vec<&'static str> {
    let (Ok(a), Ok(b)) = (Entry::decode(a), Entry::decode(b)) else { return vec!["form"] };
    let fields = [
        ("journal", a.journal != b.journal),
        ("sequence", a.seq != b.seq),
        ("prev", a.prev != b.prev),
        ("time", a.time != b.time),
        ("bound", a.bound != b.bound),
        ("kind", a.kind != b.kind),
        ("request id", a.request_id != b.request_id),
        ("digest", a.digest != b.digest),
    ];
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

/// What the two heads say of each other, whatever the entries are.
fn between<R>(a: &Export<R>, b: &Export<R>) -> Vec<HeadConflict> {
    let (head_a, head_b) = (&a.head.head, &b.head.head);
    let (root_a, root_b) = (&a.head.checkpoint, &b.head.checkpoint);
    let mut conflicts = Vec::new();
    if head_a.size == head_b.size && head_a.root != head_b.root {
        conflicts.push(HeadConflict::SameSize { size: head_a.size, a: head_a.root, b: head_b.root });
    }
    if root_a.size == root_b.size && root_a.root != root_b.root {
        conflicts.push(HeadConflict::RootLog { size: root_a.size, a: root_a.root, b: root_b.root });
    }
    let (index_a, index_b) = (a.root_index, b.root_index);
    if index_a == index_b && a.leaf != b.leaf {
        conflicts.push(HeadConflict::Leaf { index: index_a, a: head_a.size, b: head_b.size });
    } else if head_a.size > head_b.size && index_a < index_b {
        conflicts.push(HeadConflict::Order { longer: Side::A, index: index_a, other: index_b });
    } else if head_b.size > head_a.size && index_b < index_a {
        conflicts.push(HeadConflict::Order { longer: Side::B, index: index_b, other: index_a });
    }
    conflicts
}
