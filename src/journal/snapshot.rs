//! The snapshot file: everything a start needs besides the log's tail. Pure: bytes in, values out.
//!
//! It is a cache of the log (`journal-design.md` 4.4 step 2, "replay onto the last snapshot"): whoever
//! loads it compares it with the log, and without it the whole log is replayed.

use super::log::Place;
use super::shelf::{Item, PAGE, Page, Shelved};
use super::state::Batch;
use super::tenure::Change;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// First bytes of the file; the last of them is the version.
const MAGIC: &[u8; 8] = b"pchtsnp\x03";

/// The log after its last record within the snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// The log's id.
    pub log_id: [u8; 16],
    /// Its epoch.
    pub epoch: u64,
    /// Number of the next record.
    pub number: u64,
    /// Hash of the last record.
    pub previous: Digest,
    /// Segment and offset of the last record.
    pub last: (u32, u32),
}

/// A tree: its size, and the leaves or tile roots of its unfinished tiles, level by level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeState {
    /// Leaves.
    pub size: u64,
    /// Hashes of each level's unfinished tile.
    pub edges: Vec<Vec<Digest>>,
}

/// One journal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalState {
    /// Name.
    pub name: String,
    /// Owner, empty for own journals.
    pub institution: String,
    /// Charter text.
    pub charter: String,
    /// Its control entries: hand-overs and the freeze, oldest first.
    pub changes: Vec<Change>,
    /// Its tree.
    pub tree: TreeState,
    /// Where its batches stand.
    pub batches: Shelved<Batch>,
}

/// Where a seal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealState {
    /// Root-log leaves it covers.
    pub root_size: u64,
    /// The record.
    pub place: Place,
    /// Offset of the note in the record.
    pub offset: u32,
    /// Bytes of the note.
    pub bytes: u32,
    /// SHA-256 of the note.
    pub hash: Digest,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// First part of every origin.
    pub site: String,
    /// Where the log stood.
    pub position: Position,
    /// The root log's tree.
    pub root: TreeState,
    /// Its root hash.
    pub root_hash: Digest,
    /// Hash of the newest token, zeros before the first.
    pub after: Digest,
    /// Root-log leaves the newest seal covers.
    pub sealed: u64,
    /// Root-log states no seal covers yet.
    pub unsealed: Vec<(u64, Digest)>,
    /// All seals, oldest first.
    pub seals: Shelved<SealState>,
    /// Sizes and roots of signed heads that gap records gave up.
    pub abandoned: Vec<(u64, Digest)>,
    /// Journals by number.
    pub journals: Vec<JournalState>,
    /// Bytes of the file of pages that the lists above rely on.
    pub pages_end: u64,
    /// Runs of the request-id index that cover every id up to here: number and hash.
    pub runs: Vec<(u64, Digest)>,
}

impl Snapshot {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Out(MAGIC.to_vec());
        let Position { log_id, epoch, number, previous, last } = &self.position;
        out.0.extend_from_slice(log_id);
        out.text(&self.site);
        out.long(*epoch);
        out.long(*number);
        out.digest(previous);
        out.place(Place { segment: last.0, offset: last.1 });
        out.tree(&self.root);
        out.digest(&self.root_hash);
        out.digest(&self.after);
        out.long(self.sealed);
        out.pairs(&self.unsealed);
        out.shelved(&self.seals);
        out.pairs(&self.abandoned);
        out.long(self.journals.len() as u64);
        for journal in &self.journals {
            out.journal(journal);
        }
        out.long(self.pages_end);
        out.pairs(&self.runs);
        let hash = Digest::of(&out.0);
        out.digest(&hash);
        out.0
    }

    /// Whether every page lies in the part of the file it relies on.
    fn pages_lie_within(&self) -> bool {
        fn ends<T: Item>(shelved: &Shelved<T>) -> impl Iterator<Item = Option<u64>> {
            shelved.pages.iter().map(|page| page.offset.checked_add((PAGE * T::BYTES) as u64))
        }
        let ends_of_batches = self.journals.iter().flat_map(|journal| ends(&journal.batches));
        ends(&self.seals).chain(ends_of_batches).all(|end| end.is_some_and(|end| end <= self.pages_end))
    }

    /// Reads a file back; `None` unless it is whole, of this version, and its hash right.
    pub fn decode(bytes: &[u8]) -> Option<Snapshot> {
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        let rest = body.strip_prefix(MAGIC)?;
        if Digest::of(body).as_bytes() != hash {
            return None;
        }
        let mut input = In(rest);
        let log_id = input.array()?;
        let site = input.text()?;
        let (epoch, number, previous) = (input.long()?, input.long()?, input.digest()?);
        let Place { segment, offset } = input.place()?;
        let snapshot = Snapshot {
            site,
            position: Position { log_id, epoch, number, previous, last: (segment, offset) },
            root: input.tree()?,
            root_hash: input.digest()?,
            after: input.digest()?,
            sealed: input.long()?,
            unsealed: input.many(40, In::pair)?,
            seals: input.shelved()?,
            abandoned: input.many(40, In::pair)?,
            journals: input.many(56, In::journal)?,
            pages_end: input.long()?,
            runs: input.many(40, In::pair)?,
        };
        (input.0.is_empty() && snapshot.pages_lie_within()).then_some(snapshot)
    }
}

struct Out(Vec<u8>);

impl Out {
    fn word(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn long(&mut self, n: u64) {
        self.0.extend_from_slice(&n.to_be_bytes());
    }
    fn digest(&mut self, digest: &Digest) {
        self.0.extend_from_slice(digest.as_bytes());
    }
    fn place(&mut self, place: Place) {
        self.word(place.segment);
        self.word(place.offset);
    }
    fn text(&mut self, text: &str) {
        self.long(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }
    fn pairs(&mut self, pairs: &[(u64, Digest)]) {
        self.long(pairs.len() as u64);
        for (number, digest) in pairs {
            self.long(*number);
            self.digest(digest);
        }
    }
    fn tree(&mut self, tree: &TreeState) {
        self.long(tree.size);
        tree.edges.iter().flatten().for_each(|hash| self.digest(hash));
    }
    fn journal(&mut self, journal: &JournalState) {
        self.text(&journal.name);
        self.text(&journal.institution);
        self.text(&journal.charter);
        self.long(journal.changes.len() as u64);
        journal.changes.iter().for_each(|change| self.change(change));
        self.tree(&journal.tree);
        self.shelved(&journal.batches);
    }
    /// A freeze has no institutions.
    fn change(&mut self, change: &Change) {
        self.long(change.seq());
        let (from, to) = match change {
            Change::Frozen(_) => ("", ""),
            Change::HandedOver { from, to, .. } => (from.as_str(), to.as_str()),
        };
        self.text(from);
        self.text(to);
    }
    fn shelved<T: Item>(&mut self, shelved: &Shelved<T>) {
        self.long(shelved.pages.len() as u64);
        for page in &shelved.pages {
            page.first.encode(&mut self.0);
            self.long(page.offset);
            self.digest(&page.hash);
        }
        self.long(shelved.tail.len() as u64);
        shelved.tail.iter().for_each(|item| item.encode(&mut self.0));
    }
}

struct In<'b>(&'b [u8]);

impl In<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }
    fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
    fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }
    fn place(&mut self) -> Option<Place> {
        Some(Place { segment: self.word()?, offset: self.word()? })
    }
    fn pair(&mut self) -> Option<(u64, Digest)> {
        Some((self.long()?, self.digest()?))
    }
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.long()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).ok()
    }
    /// A list whose items take `least` bytes at least, so that a false count reserves nothing.
    fn many<T>(&mut self, least: usize, one: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.long()?).ok()?;
        if count > self.0.len() / least {
            return None;
        }
        (0..count).map(|_| one(self)).collect()
    }
    fn tree(&mut self) -> Option<TreeState> {
        let size = self.long()?;
        let mut edges = Vec::new();
        let mut level = size;
        while level > 0 {
            edges.push((0..level % 256).map(|_| self.digest()).collect::<Option<_>>()?);
            level >>= 8;
        }
        Some(TreeState { size, edges })
    }
    fn change(&mut self) -> Option<Change> {
        let (seq, from, to) = (self.long()?, self.text()?, self.text()?);
        if from.is_empty() && to.is_empty() {
            return Some(Change::Frozen(seq));
        }
        let (from, to) = (InstitutionId::try_from(from).ok()?, InstitutionId::try_from(to).ok()?);
        Some(Change::HandedOver { seq, from, to })
    }
    fn item<T: Item>(&mut self) -> Option<T> {
        let (item, rest) = self.0.split_at_checked(T::BYTES)?;
        self.0 = rest;
        T::decode(item)
    }
    fn shelved<T: Item>(&mut self) -> Option<Shelved<T>> {
        let page = |input: &mut Self| {
            Some(Page { first: input.item()?, offset: input.long()?, hash: input.digest()? })
        };
        let pages = self.many(T::BYTES + 40, page)?;
        Some(Shelved { pages, tail: self.many(T::BYTES, In::item)? })
    }
    fn journal(&mut self) -> Option<JournalState> {
        Some(JournalState {
            name: self.text()?,
            institution: self.text()?,
            charter: self.text()?,
            changes: self.many(24, In::change)?,
            tree: self.tree()?,
            batches: self.shelved()?,
        })
    }
}

impl Item for Batch {
    const BYTES: usize = 48;

    fn encode(&self, out: &mut Vec<u8>) {
        for long in [self.first, self.time as u64, self.root_index] {
            out.extend_from_slice(&long.to_be_bytes());
        }
        let kind = u32::from(self.head_bytes) << 16 | u32::from(self.kind);
        for word in [self.place.segment, self.place.offset, self.section, self.count, self.bound, kind] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }

    fn decode(bytes: &[u8]) -> Option<Batch> {
        let mut input = In(bytes);
        let (first, time, root_index, place) =
            (input.long()?, input.long()? as i64, input.long()?, input.place()?);
        let (section, count, bound, last) = (input.word()?, input.word()?, input.word()?, input.word()?);
        let (head_bytes, kind) = ((last >> 16) as u16, last as u16);
        // Sums over these must not overflow later.
        first.checked_add(u64::from(count))?;
        Some(Batch { first, time, root_index, place, section, count, bound, head_bytes, kind })
    }
}

impl Item for SealState {
    const BYTES: usize = 56;

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.root_size.to_be_bytes());
        for word in [self.place.segment, self.place.offset, self.offset, self.bytes] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(self.hash.as_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<SealState> {
        let mut input = In(bytes);
        let (root_size, place) = (input.long()?, input.place()?);
        Some(SealState {
            root_size,
            place,
            offset: input.word()?,
            bytes: input.word()?,
            hash: input.digest()?,
        })
    }
}
