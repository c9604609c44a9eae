//! The second path: rebuilds every tree from a record's bytes alone.
//!
//! Recovery replays all records through it; while running, each record read back from the file goes
//! through it before the sealer may sign, so a bit flipped on the way to the disk is found first.

use std::collections::VecDeque;

use super::checkpoint::{Head, open_note};
use super::entry::{Entry, EntryKind, journal_id};
use super::record::{Group, Record, Section};
use super::snapshot::{JournalState, Snapshot};
use super::tenure::{self, Tenure};
use super::tree::{CompactRange, leaf_hash};
use crate::digest::Digest;
use crate::institution::InstitutionId;

struct Line {
    origin: String,
    id: Digest,
    charter: Digest,
    own: bool,
    tenure: Tenure,
    tree: CompactRange,
    prev: Digest,
    time: i64,
}

/// Where one journal stands.
pub struct LineState<'r> {
    /// Number in this log.
    pub number: u32,
    /// Entries.
    pub size: u64,
    /// What the next entry's `prev` must be.
    pub prev: Digest,
    /// Its tree.
    pub tree: &'r CompactRange,
}

/// State after the records applied so far.
pub struct Replica {
    site: String,
    lines: Vec<Line>,
    root: CompactRange,
    after: Digest,
    /// Root-log states no seal covers yet, oldest first.
    unsealed: VecDeque<(u64, Digest)>,
    sealed: u64,
}

/// What a group meant, for whoever follows the replay.
pub struct Replayed<'a> {
    /// The group.
    pub group: &'a Group<'a>,
    /// Leaf hashes of its entries.
    pub leaves: &'a [Digest],
    /// Hash of its head text, the root log's new leaf.
    pub root_leaf: Digest,
}

impl Replica {
    /// Before the first record.
    pub fn new(site: &str) -> Replica {
        Replica {
            site: site.to_owned(),
            lines: Vec::new(),
            root: CompactRange::new(),
            after: Digest::default(),
            unsealed: VecDeque::new(),
            sealed: 0,
        }
    }

    /// Goes on where a snapshot stood; the journals follow by [`Replica::resume`].
    pub fn restored(site: &str, snapshot: &Snapshot, root: CompactRange) -> Replica {
        Replica {
            site: site.to_owned(),
            lines: Vec::new(),
            root,
            after: snapshot.after,
            unsealed: snapshot.unsealed.iter().copied().collect(),
            sealed: snapshot.sealed,
        }
    }

    /// Opens a journal again that had `tree`, `prev` as its newest leaf and `time` as its last time.
    pub fn resume(
        &mut self,
        journal: &JournalState,
        tree: CompactRange,
        prev: Digest,
        time: i64,
    ) -> Result<(), String> {
        let number = self.lines.len() as u32;
        self.open(number, &journal.name, &journal.institution, &journal.charter)?;
        if let Some(line) = self.lines.last_mut() {
            (line.tree, line.prev, line.time) = (tree, prev, time);
            journal.changes.iter().try_for_each(|change| line.tenure.apply(change))?;
        }
        Ok(())
    }

    /// Root-log states no seal covers yet, oldest first.
    pub fn unsealed(&self) -> Vec<(u64, Digest)> {
        self.unsealed.iter().copied().collect()
    }

    /// Size and root of the root log.
    pub fn root(&self) -> (u64, Digest) {
        (self.root.size(), self.root.root())
    }

    /// The first part of every origin.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// Journals opened so far.
    pub fn count(&self) -> u32 {
        self.lines.len() as u32
    }

    /// Time of the newest entry anywhere.
    pub fn last_time(&self) -> i64 {
        self.lines.iter().map(|line| line.time).max().unwrap_or_default()
    }

    /// Where the journal of that origin stands.
    pub fn line(&self, origin: &str) -> Option<LineState<'_>> {
        let number = self.lines.iter().position(|line| line.origin == origin)?;
        let Line { tree, prev, .. } = &self.lines[number];
        Some(LineState { number: number as u32, size: tree.size(), prev: *prev, tree })
    }

    /// Root-log leaves covered by the newest seal.
    pub fn sealed(&self) -> u64 {
        self.sealed
    }

    /// Hash of the newest token, zeros before the first.
    pub fn after(&self) -> Digest {
        self.after
    }

    /// Applies one record; the text says what in it does not follow.
    pub fn apply(
        &mut self,
        record: &Record<'_>,
        follow: &mut dyn FnMut(usize, &Section<'_>, Option<Replayed<'_>>),
    ) -> Result<(), String> {
        let before = self.root.size();
        for (offset, section) in &record.sections {
            match section {
                Section::Seal { root_size, note } => {
                    self.seal(*root_size, note)?;
                    follow(*offset, section, None);
                }
                Section::Opened { number, name, institution, charter } => {
                    self.open(*number, name, institution, charter)?;
                    follow(*offset, section, None);
                }
                Section::Group(group) => {
                    let (leaves, root_leaf) = self.group(group)?;
                    follow(*offset, section, Some(Replayed { group, leaves: &leaves, root_leaf }));
                }
            }
        }
        if self.root.size() > before {
            self.unsealed.push_back(self.root());
        }
        Ok(())
    }

    /// Whether a seal follows from the entries; the hash of its token. What this refuses must not be
    /// written, or the log could not be replayed.
    pub fn check_seal(&self, root_size: u64, text: &str) -> Result<Digest, String> {
        let states = self.unsealed.binary_search_by_key(&root_size, |(size, _)| *size);
        let state = states.ok().and_then(|index| self.unsealed.get(index));
        let (_, root) =
            state.ok_or_else(|| format!("its seal names root size {root_size}, which no batch ended at"))?;
        let note = open_note(text).map_err(|e| format!("its seal is no signed note: {e}"))?;
        let body = &note.checkpoint;
        let origin = format!("{}/root", self.site);
        if body.origin != origin {
            return Err(format!("its seal is of {:?}, this service is {origin:?}", body.origin));
        }
        if body.size != root_size || body.root != *root {
            return Err(format!("its signed head of size {} is not that of the entries", body.size));
        }
        let token = note.token().ok_or("its seal carries no token")?;
        Ok(Digest::of(&token.payload))
    }

    fn seal(&mut self, root_size: u64, text: &str) -> Result<(), String> {
        self.after = self.check_seal(root_size, text)?;
        self.unsealed.retain(|(size, _)| *size > root_size);
        self.sealed = root_size;
        Ok(())
    }

    fn open(&mut self, number: u32, name: &str, institution: &str, charter: &str) -> Result<(), String> {
        let origin = format!("{}/j/{name}", self.site);
        let owner = if institution.is_empty() { "-" } else { institution };
        if number as usize != self.lines.len() {
            return Err(format!("it opens journal number {number}, expected {}", self.lines.len()));
        }
        if !charter.starts_with(&format!("pechat charter v1\norigin {origin}\ninstitution {owner}\n")) {
            return Err(format!("the charter of {name:?} is not one of {origin} and {owner}"));
        }
        let charter = Digest::of(charter.as_bytes());
        let owner = match institution {
            "" => None,
            id => Some(InstitutionId::try_from(id.to_owned()).map_err(|e| e.to_string())?),
        };
        self.lines.push(Line {
            id: journal_id(&origin),
            origin,
            charter,
            own: institution.is_empty(),
            tenure: Tenure::new(owner),
            tree: CompactRange::new(),
            prev: charter,
            time: i64::MIN,
        });
        Ok(())
    }

    fn group(&mut self, group: &Group<'_>) -> Result<(Vec<Digest>, Digest), String> {
        let line = self
            .lines
            .get_mut(group.journal as usize)
            .ok_or_else(|| format!("it has entries of journal number {}, never opened", group.journal))?;
        line.check(group)?;
        let leaves = line.chain(group);
        let head = Head {
            origin: line.origin.clone(),
            size: line.tree.size(),
            root: line.tree.root(),
            after: self.after,
        };
        if head.text() != group.head {
            return Err(format!(
                "the head of {} at size {} is not that of its entries",
                head.origin, head.size
            ));
        }
        let root_leaf = leaf_hash(group.head.as_bytes());
        self.root.append(root_leaf);
        Ok((leaves, root_leaf))
    }
}

impl Line {
    fn check(&mut self, group: &Group<'_>) -> Result<(), String> {
        let fault = |what: &str| Err(format!("{} at sequence {}: {what}", self.origin, group.first));
        if group.first != self.tree.size() {
            return fault(&format!("the journal has {} entries", self.tree.size()));
        }
        if let Some(seq) = self.tenure.frozen {
            return fault(&format!("an entry after the freeze at sequence {seq}"));
        }
        if group.time < self.time {
            return fault("time decreases");
        }
        let kind = match (group.first, self.own) {
            (0, _) => EntryKind::Charter,
            (_, _) if group.kind == EntryKind::EpochChange as u16 => EntryKind::EpochChange,
            (_, true) => EntryKind::Record,
            (_, _) if group.kind == EntryKind::Freeze as u16 => EntryKind::Freeze,
            (_, _) if group.kind == EntryKind::HandOver as u16 => EntryKind::HandOver,
            (_, false) => EntryKind::Seal,
        };
        if group.kind != kind as u16 {
            return fault(&format!("type {} instead of {}", group.kind, kind as u16));
        }
        if group.first == 0 && (group.count() != 1 || group.entries().any(|(_, d)| d != self.charter)) {
            return fault("the first entry is not the charter alone");
        }
        let detailed = self.own || !group.details.is_empty();
        if detailed && group.first > 0 && !details_match(group) {
            return fault("the details are not those of the digests");
        }
        let change = tenure::change(group, &self.origin);
        let changed = change.and_then(|c| c.map_or(Ok(()), |change| self.tenure.apply(&change)));
        if let Err(why) = changed {
            return Err(format!("{} at sequence {}: {why}", self.origin, group.first));
        }
        self.time = group.time;
        Ok(())
    }

    fn chain(&mut self, group: &Group<'_>) -> Vec<Digest> {
        let mut leaves = Vec::with_capacity(group.count());
        for (index, (request_id, digest)) in group.entries().enumerate() {
            let entry = Entry {
                journal: self.id,
                seq: group.first + index as u64,
                prev: self.prev,
                time: group.time,
                bound: group.bound,
                kind: group.kind,
                request_id,
                digest,
            };
            let leaf = entry.leaf();
            self.tree.append(leaf);
            self.prev = leaf;
            leaves.push(leaf);
        }
        leaves
    }
}

fn details_match(group: &Group<'_>) -> bool {
    let Some((lengths, mut blobs)) = group.details.split_at_checked(4 * group.count()) else { return false };
    lengths.chunks_exact(4).zip(group.entries()).all(|(length, (_, digest))| {
        let length = length.iter().fold(0, |sum, b| sum << 8 | usize::from(*b));
        let Some((blob, rest)) = blobs.split_at_checked(length) else { return false };
        blobs = rest;
        Digest::of(blob) == digest
    })
}
