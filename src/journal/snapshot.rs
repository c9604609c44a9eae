//! The snapshot file: everything a start needs besides the log's tail. Pure: bytes in, values out.
//!
//! It is a cache of the log (`journal-design.md` 4.4 step 2, "replay onto the last snapshot"): whoever
//! loads it compares it with the log, and without it the whole log is replayed.

use super::log::Place;
use super::state::Batch;
use crate::digest::Digest;

/// First bytes of the file; the last of them is the version.
const MAGIC: &[u8; 8] = b"pchtsnp\x01";

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
    /// Its tree.
    pub tree: TreeState,
    /// Where its batches stand.
    pub batches: Vec<Batch>,
}

/// Where a seal stands.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub seals: Vec<SealState>,
    /// Sizes and roots of signed heads that gap records gave up.
    pub abandoned: Vec<(u64, Digest)>,
    /// Journals by number.
    pub journals: Vec<JournalState>,
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
        out.long(self.seals.len() as u64);
        for seal in &self.seals {
            out.long(seal.root_size);
            out.place(seal.place);
            out.word(seal.offset);
            out.word(seal.bytes);
            out.digest(&seal.hash);
        }
        out.pairs(&self.abandoned);
        out.long(self.journals.len() as u64);
        for journal in &self.journals {
            out.journal(journal);
        }
        out.pairs(&self.runs);
        let hash = Digest::of(&out.0);
        out.digest(&hash);
        out.0
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
            seals: input.many(56, In::seal)?,
            abandoned: input.many(40, In::pair)?,
            journals: input.many(36, In::journal)?,
            runs: input.many(40, In::pair)?,
        };
        input.0.is_empty().then_some(snapshot)
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
        self.tree(&journal.tree);
        self.long(journal.batches.len() as u64);
        for batch in &journal.batches {
            self.long(batch.first);
            self.long(batch.time as u64);
            self.long(batch.root_index);
            self.place(batch.place);
            self.word(batch.section);
            self.word(batch.count);
            self.word(batch.bound);
            self.word(u32::from(batch.head_bytes) << 16 | u32::from(batch.kind));
        }
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
    fn seal(&mut self) -> Option<SealState> {
        let (root_size, place) = (self.long()?, self.place()?);
        Some(SealState { root_size, place, offset: self.word()?, bytes: self.word()?, hash: self.digest()? })
    }
    fn journal(&mut self) -> Option<JournalState> {
        Some(JournalState {
            name: self.text()?,
            institution: self.text()?,
            charter: self.text()?,
            tree: self.tree()?,
            batches: self.many(48, In::batch)?,
        })
    }
    fn batch(&mut self) -> Option<Batch> {
        let (first, time, root_index, place) =
            (self.long()?, self.long()? as i64, self.long()?, self.place()?);
        let (section, count, bound, last) = (self.word()?, self.word()?, self.word()?, self.word()?);
        let (head_bytes, kind) = ((last >> 16) as u16, last as u16);
        // Sums over these must not overflow later.
        first.checked_add(u64::from(count))?;
        Some(Batch { first, time, root_index, place, section, count, bound, head_bytes, kind })
    }
}
