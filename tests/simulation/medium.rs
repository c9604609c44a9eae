//! What the simulated disk holds: names and sectors, as a reader sees them and as they survive.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::disk::{Plan, SECTOR};
use super::rng::Rng;

#[derive(Default)]
pub struct Inode {
    pub cached: Vec<u8>,
    pub durable: Vec<u8>,
    /// Sectors of `cached` not yet on the medium.
    pub dirty: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
pub enum Change {
    Set(PathBuf, usize),
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
    Dir(PathBuf),
}

impl Change {
    pub fn parent(&self) -> &Path {
        let (Change::Set(path, _) | Change::Rename(_, path, _) | Change::Remove(path) | Change::Dir(path)) =
            self;
        path.parent().unwrap()
    }
}

#[derive(Default, Clone)]
pub struct Names {
    pub files: BTreeMap<PathBuf, usize>,
    pub dirs: BTreeSet<PathBuf>,
}

impl Names {
    pub fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Set(path, inode) => drop(self.files.insert(path, inode)),
            Change::Rename(from, to, inode) => {
                self.files.remove(&from);
                self.files.insert(to, inode);
            }
            Change::Remove(path) => drop(self.files.remove(&path)),
            Change::Dir(path) => drop(self.dirs.insert(path)),
        }
    }
}

pub struct State {
    pub rng: Rng,
    pub inodes: Vec<Inode>,
    pub names: Names,
    pub durable_names: Names,
    pub pending: Vec<Change>,
    pub locked: BTreeSet<PathBuf>,
    pub generation: u64,
    pub step: u64,
    /// Syncs of segments in this life.
    pub syncs: u64,
    pub plan: Plan,
    pub stopped: bool,
    /// Whether a write or sync of a segment failed in this life.
    pub segment_failed: bool,
    pub faults: u64,
    pub trace: u64,
    /// Whether each call is printed.
    pub told: bool,
}

impl State {
    pub fn tell(&self, what: &str) {
        if self.told {
            println!("     {what}");
        }
    }

    pub fn note(&mut self, what: &str, path: &Path, data: &[u8]) {
        if self.told {
            println!("{:4} {what} {} {}", self.step, path.display(), data.len());
        }
        let step = self.step.to_be_bytes();
        for byte in step.iter().chain(what.as_bytes()).chain(path.as_os_str().as_encoded_bytes()).chain(data)
        {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Power cut: of what was not synced, nothing, everything, or any part survives.
    pub fn cut(&mut self) {
        let mood = self.rng.below(4);
        let survives = |rng: &mut Rng| match mood {
            0 => false,
            1 => true,
            2 => rng.one_in(2),
            _ => !rng.one_in(4),
        };
        for change in std::mem::take(&mut self.pending) {
            if survives(&mut self.rng) {
                self.durable_names.apply(&change);
            }
        }
        let dirs = self.durable_names.dirs.clone();
        self.durable_names.files.retain(|path, _| dirs.contains(path.parent().unwrap()));
        self.names = self.durable_names.clone();
        for inode in &mut self.inodes {
            if inode.cached.len() != inode.durable.len() && survives(&mut self.rng) {
                inode.durable.resize(inode.cached.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                if survives(&mut self.rng) {
                    inode.harden(sector);
                }
            }
            inode.cached = inode.durable.clone();
        }
    }
}

impl Inode {
    /// Brings a sector onto the medium, as far as the file's durable length goes.
    pub fn harden(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.cached.len()).min(self.durable.len());
        if from < to {
            self.durable[from..to].copy_from_slice(&self.cached[from..to]);
        }
    }

    pub fn put(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.cached.len() < end {
            self.cached.resize(end, 0);
        }
        self.cached[offset..end].copy_from_slice(bytes);
        if !bytes.is_empty() {
            self.dirty.extend(offset / SECTOR..=(end - 1) / SECTOR);
        }
    }
}
