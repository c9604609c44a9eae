//! Full replay of an export: every entry's form, place, link and time, then tree root against head.

use std::io::{self, Read};

use crate::digest::Digest;
use crate::journal::entry::{Charter, ENTRY_BYTES, Entry, EntryError, EntryKind, journal_id};
use crate::journal::export::ExportError;
use crate::journal::range_export::Preamble;
use crate::journal::tree::{self, CompactRange, ProofError};
use crate::journal::verify::{HeadFacts, Trust, VerifyError, entry_rules, verify_head};

/// Entries read at once.
pub(super) const AT_ONCE: usize = 1024;

/// What a verified export proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFacts {
    /// What the journal was opened as.
    pub charter: Charter,
    /// Sequence of the first entry; 0 in an export of the whole journal.
    pub first: u64,
    /// Entries replayed.
    pub count: u64,
    /// Time of the first entry, microseconds since 1970 UTC.
    pub first_time: i64,
    /// Time of the last entry.
    pub last_time: i64,
    /// Entries at which another writer epoch began.
    pub epochs: Vec<EpochEntry>,
    /// Entries by which it was handed over.
    pub hand_overs: Vec<EpochEntry>,
    /// The final record, if the journal was frozen.
    pub frozen: Option<EpochEntry>,
    /// The head over these entries; of a whole journal over exactly these.
    pub proof: HeadFacts,
}

impl ExportFacts {
    /// One past the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Whether nothing of the journal is missing up to its head.
    pub fn is_whole(&self) -> bool {
        self.first == 0 && self.end() == self.proof.head.size
    }
}

/// A control entry: another writer epoch began, the journal was handed over, or frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEntry {
    /// Its sequence.
    pub seq: u64,
    /// Its time, microseconds since 1970 UTC.
    pub time: i64,
    /// SHA-256 of the statement in `own.events` that says why.
    pub statement: Digest,
}

/// What is wrong with one entry, given those before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not an entry.
    #[error(transparent)]
    Form(#[from] EntryError),
    /// A rule of its kind or time.
    #[error("{0}")]
    Rule(&'static str),
    /// Of another journal.
    #[error("it belongs to another journal")]
    Journal,
    /// Out of order.
    #[error("its sequence number is {0}")]
    Sequence(u64),
    /// The entry after it is whole, but links to other bytes than these.
    #[error("it was altered: its hash is {found}, but the entry after it names {expected}")]
    Altered {
        /// Of the bytes in the file.
        found: Digest,
        /// Of the bytes that were sealed.
        expected: Digest,
    },
    /// The link to the entry (or charter) before it is broken.
    #[error("its prev is {found}, but the hash of what stands before it is {expected}")]
    Prev {
        /// What it says.
        found: Digest,
        /// What stands before it.
        expected: Digest,
    },
    /// The journal had ended.
    #[error("it stands after the final record, entry {0}")]
    AfterFreeze(u64),
    /// Time ran backwards.
    #[error("its time {time} µs is before {before} µs of the entry before it")]
    Time {
        /// Its time.
        time: i64,
        /// That of the entry before.
        before: i64,
    },
}

/// Why an export proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// Not an export.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The charter is not that of this journal.
    #[error("the charter is not that of the export's journal: {0}")]
    Charter(String),
    /// A part's entry 0 does not stand in the journal, or does not open it.
    #[error("the header's opening: {0}")]
    Opening(String),
    /// A part's path has another length than its place calls for.
    #[error("the header's range path: {0}")]
    Path(ProofError),
    /// Header fields contradict each other.
    #[error("the header's {0} is not that of its head")]
    Header(&'static str),
    /// The head does not hold.
    #[error(transparent)]
    Head(#[from] VerifyError),
    /// The first broken entry.
    #[error("entry {seq}, at byte {offset} of the file: {fault}")]
    Entry {
        /// Where it should stand in the journal.
        seq: u64,
        /// Where it begins in the file.
        offset: u64,
        /// What is wrong.
        fault: Fault,
    },
    /// Fewer or more bytes than the entries announced.
    #[error("the file has {found} entries and {spare} further bytes, not {count} entries")]
    Length {
        /// Whole entries read.
        found: u64,
        /// Bytes after them, as far as they were read.
        spare: usize,
        /// Entries announced.
        count: u64,
    },
    /// All links hold, but the head is over other entries.
    #[error(
        "entry {seq}, at byte {offset} of the file, was altered, or a run of entries up to it was replaced: \
         the entries' root is {computed}, but the head's is {expected}"
    )]
    Root {
        /// The last entry: the only one to which no other links.
        seq: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Of the entries.
        computed: Digest,
        /// Of the head.
        expected: Digest,
    },
    /// All links of a part hold, but they and its path do not lead to the head.
    #[error(
        "entry {seq}, at byte {offset} of the file, was altered, or a run of entries up to it or the header's path was \
         replaced: they lead to root {computed}, but the head's is {expected}"
    )]
    PartRoot {
        /// The last entry: the only one to which no other in the file links.
        seq: u64,
        /// Where it begins in the file.
        offset: u64,
        /// Of the entries and the path.
        computed: Digest,
        /// Of the head.
        expected: Digest,
    },
}

/// Verifies a whole export, read once from front to back in constant memory.
pub fn verify_export(input: impl Read, trust: &Trust) -> Result<ExportFacts, ReplayError> {
    visit_export(input, trust, |_, _| {})
}

/// [`verify_export`] that also shows every entry and the byte it begins at. What was shown counts only if
/// the whole export holds: the root is compared after the last entry.
pub fn visit_export(
    mut input: impl Read,
    trust: &Trust,
    visit: impl FnMut(&Entry, u64),
) -> Result<ExportFacts, ReplayError> {
    let opened = open(&mut input, trust)?;
    let mut replay = Replay::new(&opened.frame);
    replay.run(input, visit)?;
    let Replay { first_time, time, controls, .. } = replay;
    Ok(opened.facts(first_time, time, controls))
}

/// What the entries of a file must be, from its checked header.
pub(super) struct Frame {
    pub journal: Digest,
    pub first: u64,
    pub count: u64,
    /// Byte at which the entries begin.
    pub start: u64,
    /// What the first entry links to, where the file itself says that: the charter's hash.
    pub before: Option<Digest>,
    /// Roots of the complete subtrees left and right of the entries.
    pub left: Vec<Digest>,
    pub right: Vec<Digest>,
    pub size: u64,
    pub root: Digest,
    pub whole: bool,
}

/// A file whose header holds.
pub(super) struct Opened {
    pub frame: Frame,
    charter: Charter,
    proof: HeadFacts,
}

impl Opened {
    pub(super) fn facts(self, first_time: i64, last_time: i64, controls: Controls) -> ExportFacts {
        let Opened { frame: Frame { first, count, .. }, charter, proof } = self;
        let Controls { epochs, hand_overs, frozen } = controls;
        ExportFacts { charter, first, count, first_time, last_time, epochs, hand_overs, frozen, proof }
    }
}

/// Control entries so far.
#[derive(Debug, Default)]
pub(super) struct Controls {
    epochs: Vec<EpochEntry>,
    hand_overs: Vec<EpochEntry>,
    frozen: Option<EpochEntry>,
}

impl Controls {
    /// Takes the next entry; after a freeze there is none.
    pub(super) fn note(&mut self, entry: &Entry) -> Result<(), Fault> {
        if let Some(EpochEntry { seq, .. }) = self.frozen {
            return Err(Fault::AfterFreeze(seq));
        }
        let control = EpochEntry { seq: entry.seq, time: entry.time, statement: entry.digest };
        match EntryKind::from_wire(entry.kind)? {
            EntryKind::EpochChange => self.epochs.push(control),
            EntryKind::HandOver => self.hand_overs.push(control),
            EntryKind::Freeze => self.frozen = Some(control),
            EntryKind::Charter | EntryKind::Seal | EntryKind::Record => {}
        }
        Ok(())
    }

    /// Takes those of the entries that follow, if any may follow.
    pub(super) fn go_on(&mut self, next: Controls) -> Option<()> {
        if self.frozen.is_some() {
            return None;
        }
        self.epochs.extend(next.epochs);
        self.hand_overs.extend(next.hand_overs);
        self.frozen = next.frozen;
        Some(())
    }
}

/// Reads the header and checks all of it that needs no entry.
pub(super) fn open(input: &mut impl Read, trust: &Trust) -> Result<Opened, ReplayError> {
    let (header, start) = Preamble::read(input)?;
    let charter = Charter::parse(header.charter()).map_err(|e| ReplayError::Charter(e.to_string()))?;
    if charter.origin != header.origin() {
        return Err(ReplayError::Charter(format!("its origin is {}", charter.origin)));
    }
    let proof = verify_head(header.proof(), trust)?;
    if proof.head.origin != header.origin() {
        return Err(ReplayError::Header("origin"));
    }
    let (first, count, size) = (header.first(), header.count(), proof.head.size);
    let end = first.checked_add(count).filter(|end| count > 0 && *end <= size);
    let end = end.ok_or(ReplayError::Header("count"))?;
    let (left, right) = match &header {
        Preamble::Whole(_) if count != size => return Err(ReplayError::Header("count")),
        Preamble::Whole(_) => (Vec::new(), Vec::new()),
        Preamble::Part(part) => {
            part.check_opening(size, &proof.head.root).map_err(ReplayError::Opening)?;
            let sides = tree::sides_of(first, end, size, &part.range_path).map_err(ReplayError::Path)?;
            (sides.0.to_vec(), sides.1.to_vec())
        }
    };
    let before = (first == 0).then(|| Digest::of(header.charter().as_bytes()));
    let (journal, root) = (journal_id(header.origin()), proof.head.root);
    let whole = matches!(header, Preamble::Whole(_));
    let frame = Frame { journal, first, count, start, before, left, right, size, root, whole };
    Ok(Opened { frame, charter, proof })
}

impl Frame {
    /// The tree up to the first entry.
    pub(super) fn tree(&self) -> CompactRange {
        // `open` has compared the number of nodes with the place.
        CompactRange::from_nodes(self.first, self.left.clone()).unwrap_or_default()
    }

    /// The journal's root, from the tree up to the last entry.
    pub(super) fn root_after(&self, mut tree: CompactRange) -> Digest {
        tree.append_right(&self.right, self.size);
        tree.root()
    }

    /// Byte of the file at which an entry begins.
    pub(super) fn offset(&self, seq: u64) -> u64 {
        let index = seq.saturating_sub(self.first);
        self.start.saturating_add(index.saturating_mul(ENTRY_BYTES as u64))
    }
}

/// The state between two entries. The newest leaf waits outside the tree until the entry after it has
/// confirmed it, so that a broken link can be laid to the right one of the two.
struct Replay<'f> {
    frame: &'f Frame,
    end: u64,
    seq: u64,
    newest: Option<Digest>,
    first_time: i64,
    time: i64,
    tree: CompactRange,
    controls: Controls,
}

impl<'f> Replay<'f> {
    fn new(frame: &'f Frame) -> Self {
        Self {
            frame,
            end: frame.first + frame.count,
            seq: frame.first,
            newest: frame.before,
            first_time: 0,
            time: 0,
            tree: frame.tree(),
            controls: Controls::default(),
        }
    }

    fn run(&mut self, mut input: impl Read, mut visit: impl FnMut(&Entry, u64)) -> Result<(), ReplayError> {
        let mut buffer = vec![0; AT_ONCE * ENTRY_BYTES];
        let mut kept = 0; // bytes of the entry before, kept in front for the sake of `blame`
        loop {
            let filled = kept + fill(&mut input, &mut buffer[kept..])?;
            let whole = filled / ENTRY_BYTES;
            let last = filled < buffer.len();
            // The last entry of a full buffer waits for the next one, which may have to speak for it.
            let ready = if last { whole } else { whole - 1 };
            for index in 0..ready {
                let bytes = &buffer[index * ENTRY_BYTES..][..ENTRY_BYTES];
                if self.seq == self.end {
                    return Err(self.length(filled - index * ENTRY_BYTES));
                }
                match self.step(bytes) {
                    Ok(entry) => visit(&entry, self.frame.offset(entry.seq)),
                    Err(fault) => {
                        let next = buffer[..filled].get((index + 1) * ENTRY_BYTES..(index + 2) * ENTRY_BYTES);
                        return Err(self.blame(fault, bytes, next));
                    }
                }
            }
            if last {
                return self.finish(filled % ENTRY_BYTES);
            }
            buffer.copy_within(ready * ENTRY_BYTES.., 0);
            kept = ENTRY_BYTES;
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Entry, Fault> {
        let entry = Entry::decode(bytes)?;
        if entry.journal != self.frame.journal {
            return Err(Fault::Journal);
        }
        if entry.seq != self.seq {
            return Err(Fault::Sequence(entry.seq));
        }
        if let Some(expected) = self.newest.filter(|newest| entry.prev != *newest) {
            return Err(Fault::Prev { found: entry.prev, expected });
        }
        entry_rules(&entry).map_err(Fault::Rule)?;
        self.controls.note(&entry)?;
        if entry.time < self.time {
            return Err(Fault::Time { time: entry.time, before: self.time });
        }
        match self.newest {
            Some(newest) if self.seq > self.frame.first => self.tree.append(newest),
            _ => self.first_time = entry.time,
        }
        self.time = entry.time;
        self.newest = Some(tree::leaf_hash(bytes));
        self.seq += 1;
        Ok(entry)
    }

    fn finish(&mut self, spare: usize) -> Result<(), ReplayError> {
        let newest = self.newest.filter(|_| self.seq == self.end && spare == 0);
        let Some(newest) = newest else { return Err(self.length(spare)) };
        let mut tree = self.tree.clone();
        tree.append(newest);
        let (computed, expected) = (self.frame.root_after(tree), self.frame.root);
        let seq = self.seq - 1;
        let offset = self.frame.offset(seq);
        match self.frame.whole {
            _ if computed == expected => Ok(()),
            true => Err(ReplayError::Root { seq, offset, computed, expected }),
            false => Err(ReplayError::PartRoot { seq, offset, computed, expected }),
        }
    }

    /// Lays a broken link to the entry that holds it or to the one before. The former is whole if its
    /// successor links to it or, where it is the last one, if the head's root follows from it.
    fn blame(&self, fault: Fault, bytes: &[u8], next: Option<&[u8]>) -> ReplayError {
        let here = tree::leaf_hash(bytes);
        if let Fault::Prev { found, expected } = fault
            && self.seq > self.frame.first
        {
            let whole = match next {
                Some(next) => Entry::decode(next).is_ok_and(|next| next.prev == here),
                None => {
                    let mut tree = self.tree.clone();
                    tree.append(found);
                    tree.append(here);
                    self.frame.root_after(tree) == self.frame.root
                }
            };
            if whole {
                let (found, expected) = (expected, found);
                return self.broken(self.seq - 1, Fault::Altered { found, expected });
            }
        }
        self.broken(self.seq, fault)
    }

    fn broken(&self, seq: u64, fault: Fault) -> ReplayError {
        ReplayError::Entry { seq, offset: self.frame.offset(seq), fault }
    }

    fn length(&self, spare: usize) -> ReplayError {
        ReplayError::Length { found: self.seq - self.frame.first, spare, count: self.frame.count }
    }
}

/// Reads until the buffer is full or the input ends.
pub(super) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> Result<usize, ExportError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ExportError::Read(e.to_string())),
        }
    }
    Ok(filled)
}
