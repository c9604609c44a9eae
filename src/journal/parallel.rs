//! Replay of one export on several cores, with the verdict of [`replay`](super::replay) on one.
//!
//! The journal's chain looks sequential, but each entry carries the hash of the one before it, so every
//! chunk can be checked alone and only its borders need its neighbours. If anything at all does not hold,
//! the sequential replay goes over the file and has the word: same verdict, same entry, same byte.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::nodes::Nodes;
use super::replay::{Controls, ExportFacts, Frame, ReplayError, fill, open, visit_export};
use super::tree::{leaf_hash, node_hash};
use super::verify::{Trust, entry_rules};
use crate::digest::Digest;
use crate::journal::entry::{ENTRY_BYTES, Entry};

/// Bytes that several threads read at once.
pub trait Bytes: Sync {
    /// How many there are.
    fn length(&self) -> io::Result<u64>;
    /// Reads from a place; fewer than asked for only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Bytes for File {
    fn length(&self) -> io::Result<u64> {
        self.metadata().map(|data| data.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl Bytes for [u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, mut buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        io::Write::write(&mut buffer, &self[from..])
    }
}

/// How the work is cut.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Threads.
    pub cores: usize,
    /// Entries a chunk, a power of two.
    pub chunk: u64,
}

impl Default for Pace {
    /// All cores, 2.5 MB a chunk.
    fn default() -> Self {
        Self { cores: std::thread::available_parallelism().map_or(1, usize::from), chunk: 1 << 14 }
    }
}

/// Entries that were asked for, with the byte each begins at, in order.
pub type Picked = Vec<(Entry, u64)>;

/// A file that verified, and what was found in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What it proves.
    pub facts: ExportFacts,
    /// Entries that were asked for.
    pub picked: Picked,
    /// From which inclusion paths follow.
    pub nodes: Nodes,
}

/// Verifies an export or a part of one. `pick` says which entries to give back; `done` hears of entries
/// checked, in parts and from any thread.
pub fn verify_parallel(
    input: &(impl Bytes + ?Sized),
    trust: &Trust,
    pace: Pace,
    pick: &(dyn Fn(&Entry) -> bool + Sync),
    done: &(dyn Fn(u64) + Sync),
) -> Result<Checked, ReplayError> {
    let opened = open(&mut BufReader::new(Reader { bytes: input, at: 0 }), trust)?;
    let work = Work { input, frame: &opened.frame, chunk: pace.chunk.next_power_of_two(), pick, done };
    let whole = work.run(pace.cores.max(1));
    let mut nodes = Nodes::beside(&opened.frame);
    if let Some(Run { first_time, last_time, cover, controls, picked, .. }) = whole {
        nodes.known.extend(cover.into_iter().map(|(level, index, node)| ((level, index), node)));
        return Ok(Checked { facts: opened.facts(first_time, last_time, controls), picked, nodes });
    }
    let mut picked = Picked::new();
    let reader = BufReader::with_capacity(1 << 16, Reader { bytes: input, at: 0 });
    let facts = visit_export(reader, trust, |entry, offset| {
        if pick(entry) {
            picked.push((*entry, offset));
        }
    })?;
    Ok(Checked { facts, picked, nodes })
}

struct Reader<'b, B: ?Sized> {
    bytes: &'b B,
    at: u64,
}

impl<B: Bytes + ?Sized> Read for Reader<'_, B> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// What is known of neighbouring entries that hold among themselves.
struct Run {
    /// What the first one links to.
    before: Digest,
    last: Digest,
    first_time: i64,
    last_time: i64,
    /// Maximal complete subtrees that cover them, left to right.
    cover: Vec<Subtree>,
    controls: Controls,
    picked: Picked,
}

struct Work<'w, B: ?Sized> {
    input: &'w B,
    frame: &'w Frame,
    chunk: u64,
    pick: &'w (dyn Fn(&Entry) -> bool + Sync),
    done: &'w (dyn Fn(u64) + Sync),
}

impl<B: Bytes + ?Sized> Work<'_, B> {
    /// The whole as one run, or nothing if anything does not hold.
    fn run(&self, cores: usize) -> Option<Run> {
        let Frame { first, count, start, .. } = *self.frame;
        let length = count.checked_mul(ENTRY_BYTES as u64)?.checked_add(start)?;
        if self.input.length().ok()? != length {
            return None;
        }
        let (from, to) = (first / self.chunk, (first + count).div_ceil(self.chunk));
        let (next, broken) = (AtomicU64::new(from), AtomicBool::new(false));
        let runs = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..cores.min(usize::try_from(to - from).unwrap_or(cores)) {
                scope.spawn(|| self.chunks(to, &next, &broken, &runs));
            }
        });
        if broken.into_inner() {
            return None;
        }
        let mut runs = runs.into_inner().unwrap_or_else(PoisonError::into_inner);
        runs.sort_unstable_by_key(|(number, _)| *number);
        self.join(runs.into_iter().map(|(_, run)| run))
    }

    fn chunks(&self, to: u64, next: &AtomicU64, broken: &AtomicBool, runs: &Mutex<Vec<(u64, Run)>>) {
        let mut buffer = Vec::new();
        while !broken.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= to {
                return;
            }
            match self.one(number, &mut buffer) {
                Some(run) => runs.lock().unwrap_or_else(PoisonError::into_inner).push((number, run)),
                None => broken.store(true, Ordering::Relaxed),
            }
        }
    }

    fn one(&self, number: u64, buffer: &mut Vec<u8>) -> Option<Run> {
        let frame = self.frame;
        let from = frame.first.max(number.saturating_mul(self.chunk));
        let to = (frame.first + frame.count).min((number + 1).saturating_mul(self.chunk));
        buffer.resize(usize::try_from(to - from).ok()? * ENTRY_BYTES, 0);
        let mut reader = Reader { bytes: self.input, at: frame.offset(from) };
        if fill(&mut reader, buffer).ok()? != buffer.len() {
            return None;
        }
        let mut run: Option<Run> = None;
        let mut subtrees = Subtrees(Vec::new());
        for (bytes, seq) in buffer.chunks_exact(ENTRY_BYTES).zip(from..) {
            let entry = Entry::decode(bytes).ok()?;
            if entry.journal != frame.journal || entry.seq != seq || entry_rules(&entry).is_err() {
                return None;
            }
            let leaf = leaf_hash(bytes);
            match &mut run {
                Some(run) if entry.prev == run.last && entry.time >= run.last_time => {
                    (run.last, run.last_time) = (leaf, entry.time);
                }
                Some(_) => return None,
                None => run = Some(Run::of(&entry, leaf)),
            }
            let run = run.as_mut()?;
            run.controls.note(&entry).ok()?;
            if (self.pick)(&entry) {
                run.picked.push((entry, frame.offset(seq)));
            }
            subtrees.push(seq, leaf);
        }
        (self.done)(to - from);
        run.map(|run| Run { cover: subtrees.0, ..run })
    }

    /// The runs as one, if each continues the one before it and all lead to the head.
    fn join(&self, runs: impl Iterator<Item = Run>) -> Option<Run> {
        let mut tree = self.frame.tree();
        let mut whole: Option<Run> = None;
        for run in runs {
            run.cover.iter().for_each(|(level, _, node)| tree.append_complete(*level, *node));
            match &mut whole {
                None if self.frame.before.is_some_and(|before| before != run.before) => return None,
                None => whole = Some(run),
                Some(whole) if run.before != whole.last || run.first_time < whole.last_time => return None,
                Some(whole) => whole.go_on(run)?,
            }
        }
        whole.filter(|_| {
            tree.size() == self.frame.first + self.frame.count
                && self.frame.root_after(tree) == self.frame.root
        })
    }
}

impl Run {
    fn of(entry: &Entry, leaf: Digest) -> Run {
        let (before, time) = (entry.prev, entry.time);
        let (cover, controls, picked) = (Vec::new(), Controls::default(), Vec::new());
        Run { before, last: leaf, first_time: time, last_time: time, cover, controls, picked }
    }

    fn go_on(&mut self, next: Run) -> Option<()> {
        (self.last, self.last_time) = (next.last, next.last_time);
        self.picked.extend(next.picked);
        self.cover.extend(next.cover);
        self.controls.go_on(next.controls)
    }
}

/// Level, index within the level, node.
type Subtree = (u32, u64, Digest);

/// Maximal complete subtrees of a run of leaves.
struct Subtrees(Vec<Subtree>);

impl Subtrees {
    fn push(&mut self, seq: u64, leaf: Digest) {
        let (mut level, mut index, mut node) = (0, seq, leaf);
        while let Some((_, _, left)) =
            self.0.pop_if(|(l, i, _)| *l == level && index == *i + 1 && index & 1 == 1)
        {
            node = node_hash(&left, &node);
            (level, index) = (level + 1, index >> 1);
        }
        self.0.push((level, index, node));
    }
}
