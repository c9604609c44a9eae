//! Full replay of an export: every entry's form, place, link and time, then tree root against head.

use std::io::{self, Read};

use crate::digest::Digest;
use crate::journal::entry::{Charter, ENTRY_BYTES, Entry, EntryError, EntryKind, journal_id};
use crate::journal::export::{ExportError, ExportHeader};
use crate::journal::tree::{self, CompactRange};
use crate::journal::verify::{HeadFacts, Trust, VerifyError, entry_rules, verify_head};

/// Entries read at once.
pub(super) const AT_ONCE: usize = 1024;

/// What a verified export proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFacts {
    /// What the journal was opened as.
    pub charter: Charter,
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
    /// The head over exactly these entries.
    pub proof: HeadFacts,
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
    let (header, start) = ExportHeader::read(&mut input)?;
    let charter = Charter::parse(&header.charter).map_err(|e| ReplayError::Charter(e.to_string()))?;
    if charter.origin != header.origin {
        return Err(ReplayError::Charter(format!("its origin is {}", charter.origin)));
    }
    let proof = verify_head(&header.proof, trust)?;
    if proof.head.origin != header.origin {
        return Err(ReplayError::Header("origin"));
    }
    if proof.head.size != header.count || header.count == 0 {
        return Err(ReplayError::Header("count"));
    }
    let mut replay = Replay::new(&header, start, proof.head.root);
    replay.run(input, visit)?;
    let (count, first_time, last_time) = (header.count, replay.first_time, replay.time);
    let Replay { epochs, hand_overs, frozen, .. } = replay;
    Ok(ExportFacts { charter, count, first_time, last_time, epochs, hand_overs, frozen, proof })
}

/// The state between two entries. The newest leaf waits outside the tree until the entry after it has
/// confirmed it, so that a broken link can be laid to the right one of the two.
struct Replay {
    journal: Digest,
    count: u64,
    start: u64,
    root: Digest,
    seq: u64,
    newest: Digest,
    first_time: i64,
    time: i64,
    tree: CompactRange,
    epochs: Vec<EpochEntry>,
    hand_overs: Vec<EpochEntry>,
    frozen: Option<EpochEntry>,
}

impl Replay {
    fn new(header: &ExportHeader, start: u64, root: Digest) -> Self {
        Self {
            journal: journal_id(&header.origin),
            count: header.count,
            start,
            root,
            seq: 0,
            newest: Digest::of(header.charter.as_bytes()),
            first_time: 0,
            time: 0,
            tree: CompactRange::new(),
            epochs: Vec::new(),
            hand_overs: Vec::new(),
            frozen: None,
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
                if self.seq == self.count {
                    return Err(self.length(filled - index * ENTRY_BYTES));
                }
                match self.step(bytes) {
                    Ok(entry) => visit(&entry, self.offset(entry.seq)),
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
        if entry.journal != self.journal {
            return Err(Fault::Journal);
        }
        if entry.seq != self.seq {
            return Err(Fault::Sequence(entry.seq));
        }
        if entry.prev != self.newest {
            return Err(Fault::Prev { found: entry.prev, expected: self.newest });
        }
        entry_rules(&entry).map_err(Fault::Rule)?;
        if let Some(EpochEntry { seq, .. }) = self.frozen {
            return Err(Fault::AfterFreeze(seq));
        }
        if entry.time < self.time {
            return Err(Fault::Time { time: entry.time, before: self.time });
        }
        if self.seq == 0 {
            self.first_time = entry.time;
        } else {
            self.tree.append(self.newest);
        }
        let control = EpochEntry { seq: entry.seq, time: entry.time, statement: entry.digest };
        match EntryKind::from_wire(entry.kind)? {
            EntryKind::EpochChange => self.epochs.push(control),
            EntryKind::HandOver => self.hand_overs.push(control),
            EntryKind::Freeze => self.frozen = Some(control),
            EntryKind::Charter | EntryKind::Seal | EntryKind::Record => {}
        }
        self.time = entry.time;
        self.newest = tree::leaf_hash(bytes);
        self.seq += 1;
        Ok(entry)
    }

    fn finish(&mut self, spare: usize) -> Result<(), ReplayError> {
        if self.seq != self.count || spare != 0 {
            return Err(self.length(spare));
        }
        self.tree.append(self.newest);
        let computed = self.tree.root();
        if computed == self.root {
            return Ok(());
        }
        let seq = self.seq - 1;
        Err(ReplayError::Root { seq, offset: self.offset(seq), computed, expected: self.root })
    }

    /// Lays a broken link to the entry that holds it or to the one before. The former is whole if its
    /// successor links to it or, where it is the last one, if the head's root follows from it.
    fn blame(&self, fault: Fault, bytes: &[u8], next: Option<&[u8]>) -> ReplayError {
        let here = tree::leaf_hash(bytes);
        if let Fault::Prev { found, expected } = fault
            && self.seq > 0
        {
            let whole = match next {
                Some(next) => Entry::decode(next).is_ok_and(|next| next.prev == here),
                None => {
                    let mut tree = self.tree.clone();
                    tree.append(found);
                    tree.append(here);
                    tree.root() == self.root
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
        ReplayError::Entry { seq, offset: self.offset(seq), fault }
    }

    fn offset(&self, seq: u64) -> u64 {
        self.start.saturating_add(seq.saturating_mul(ENTRY_BYTES as u64))
    }

    fn length(&self, spare: usize) -> ReplayError {
        ReplayError::Length { found: self.seq, spare, count: self.count }
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
