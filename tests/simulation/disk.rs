//! A disk in memory that keeps what was written apart from what was synced, numbers every call, and
//! at a numbered call fails it or stops the machine in the middle of it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use pechat::journal::disk::{Access, Disk, DiskFile};

use super::file::SimFile;
use super::medium::{Change, Inode, Names, State};
use super::rng::Rng;

pub const SECTOR: usize = 512;

/// What happens in one life of the process.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Call in the middle of which everything stops.
    pub stop_at: Option<u64>,
    /// Calls that fail, and how.
    pub errors: Vec<(u64, io::ErrorKind)>,
    /// Sync of a segment, counted from 1, that fails.
    pub sync_error: Option<u64>,
}

/// A flipped bit.
#[derive(Debug, Clone, Copy)]
pub struct Rot {
    inode: usize,
    at: usize,
    right: u8,
    wrong: u8,
}

/// How a call goes.
pub enum Turn {
    Whole,
    /// Partly done, then the machine stops.
    Stop,
    Fail(io::ErrorKind),
}

#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk with the directory `root`.
    pub fn new(rng: Rng, root: &Path) -> SimDisk {
        let mut names = Names::default();
        names.dirs.insert(root.to_owned());
        SimDisk(Arc::new(Mutex::new(State {
            rng,
            inodes: Vec::new(),
            durable_names: names.clone(),
            names,
            pending: Vec::new(),
            locked: BTreeSet::new(),
            generation: 0,
            step: 0,
            syncs: 0,
            plan: Plan::default(),
            stopped: false,
            segment_failed: false,
            faults: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            told: std::env::var_os("TOLD").is_some(),
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The process ends, with `power` the machine too; the next life begins.
    pub fn restart(&self, power: bool, plan: Plan) {
        let mut state = self.state();
        state.note("restart", Path::new(if power { "power" } else { "process" }), &[]);
        if power {
            state.cut();
        }
        state.generation += 1;
        (state.step, state.syncs) = (0, 0);
        (state.plan, state.stopped, state.faults) = (plan, false, 0);
        state.segment_failed = false;
        state.locked.clear();
    }

    /// Faults injected in this life, a stop included.
    pub fn faults(&self) -> u64 {
        self.state().faults
    }

    pub fn stopped(&self) -> bool {
        self.state().stopped
    }

    pub fn segment_failed(&self) -> bool {
        self.state().segment_failed
    }

    /// Hash of every call so far, with what was written.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// Mixes something into the trace.
    pub fn witness(&self, what: &str, text: &str) {
        self.state().note(what, Path::new(text), &[]);
    }

    /// Segments by name, as a reader sees them.
    pub fn segments(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state();
        let segments =
            state.names.files.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
        segments
            .map(|(path, inode)| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), state.inodes[*inode].cached.clone())
            })
            .collect()
    }

    /// Flips a bit among the bytes in use of a segment; the answer lets [`SimDisk::mend`] undo it.
    pub fn rot(&self) -> Option<Rot> {
        let mut state = self.state();
        let segments: Vec<usize> =
            state.names.files.iter().filter(|(path, _)| is_segment(path)).map(|(_, inode)| *inode).collect();
        let pick = state.rng.below(segments.len() as u64) as usize;
        let inode = *segments.get(pick)?;
        let used = state.inodes[inode].durable.iter().rposition(|b| *b != 0)? + 1;
        let (at, bit) = (state.rng.below(used as u64) as usize, 1 << state.rng.below(8));
        let State { inodes, .. } = &mut *state;
        // Only what is the same in cache and on the medium rots here, so that it can be mended.
        if inodes[inode].cached.get(at) != inodes[inode].durable.get(at) {
            return None;
        }
        let right = inodes[inode].durable[at];
        inodes[inode].durable[at] ^= bit;
        inodes[inode].cached[at] = inodes[inode].durable[at];
        Some(Rot { inode, at, right, wrong: right ^ bit })
    }

    /// Puts the byte back, if it is still the wrong one.
    pub fn mend(&self, rot: Rot) {
        let mut state = self.state();
        let inode = &mut state.inodes[rot.inode];
        for bytes in [&mut inode.cached, &mut inode.durable] {
            if bytes.get(rot.at) == Some(&rot.wrong) {
                bytes[rot.at] = rot.right;
            }
        }
    }

    pub fn turn(
        &self,
        generation: Option<u64>,
        what: &str,
        path: &Path,
        data: &[u8],
    ) -> io::Result<(MutexGuard<'_, State>, Turn)> {
        let mut state = self.state();
        if state.stopped || generation.is_some_and(|g| g != state.generation) {
            return Err(io::Error::other("the machine is off"));
        }
        state.step += 1;
        state.note(what, path, data);
        let step = state.step;
        let syncing = is_segment(path) && what == "sync";
        state.syncs += u64::from(syncing);
        let planned = state.plan.errors.iter().find(|(at, _)| *at == step).map(|(_, kind)| *kind);
        let of_sync = (syncing && state.plan.sync_error == Some(state.syncs)).then_some(io::ErrorKind::Other);
        let turn = if state.plan.stop_at == Some(step) {
            (state.stopped, state.faults) = (true, state.faults + 1);
            state.tell("stops here");
            Turn::Stop
        } else if let Some(kind) = planned.or(of_sync) {
            state.faults += 1;
            state.tell("fails");
            state.segment_failed |= is_segment(path) && matches!(what, "write" | "sync");
            Turn::Fail(kind)
        } else {
            Turn::Whole
        };
        Ok((state, turn))
    }

    /// A call that happens whole or not at all; stopped, either.
    fn atomic(&self, what: &str, path: &Path) -> io::Result<MutexGuard<'_, State>> {
        let (state, turn) = self.turn(None, what, path, &[])?;
        turn.fault().map_or(Ok(state), Err)
    }

    fn change(&self, what: &str, change: Change) -> io::Result<()> {
        let path = change.parent().to_owned();
        let (mut state, turn) = self.turn(None, what, &path, &[])?;
        let happens = match turn {
            Turn::Whole => true,
            Turn::Stop => state.rng.one_in(2),
            Turn::Fail(_) => false,
        };
        if happens {
            state.names.apply(&change);
            state.pending.push(change);
        }
        turn.fault().map_or(Ok(()), Err)
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "seg")
}

fn missing(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, path.display().to_string())
}

impl Turn {
    pub fn fault(&self) -> Option<io::Error> {
        match self {
            Turn::Whole => None,
            Turn::Stop => Some(io::Error::other("the machine stopped")),
            Turn::Fail(kind) => Some((*kind).into()),
        }
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if self.state().names.dirs.contains(dir) {
            return Ok(());
        }
        self.change("mkdir", Change::Dir(dir.to_owned()))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let mut state = self.atomic("lock", path)?;
        if !state.locked.insert(path.to_owned()) {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "it is held by another process"));
        }
        let generation = state.generation;
        Ok(Box::new(Held { disk: self.clone(), path: path.to_owned(), generation }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.atomic("list", dir)?;
        Ok(state.names.files.keys().filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.atomic("open", path)?;
        let inode = match (access, state.names.files.get(path).copied()) {
            (Access::Create, found) => {
                // Emptying a file is a change of names here: the old content may come back.
                let _ = found;
                state.inodes.push(Inode::default());
                let change = Change::Set(path.to_owned(), state.inodes.len() - 1);
                state.names.apply(&change);
                state.pending.push(change);
                state.inodes.len() - 1
            }
            (_, found) => found.ok_or_else(|| missing(path))?,
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            path: path.to_owned(),
            inode,
            generation: state.generation,
        }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.state().names.files.contains_key(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.state().names.files.get(from).copied().ok_or_else(|| missing(from))?;
        self.change("rename", Change::Rename(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path) {
            return Err(missing(path));
        }
        self.change("remove", Change::Remove(path.to_owned()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, turn) = self.turn(None, "sync-dir", dir, &[])?;
        let happens = match turn {
            Turn::Whole => true,
            Turn::Stop => state.rng.one_in(2),
            Turn::Fail(_) => false,
        };
        if happens {
            let (mine, others) =
                std::mem::take(&mut state.pending).into_iter().partition(|c| c.parent() == dir);
            state.pending = others;
            let mine: Vec<Change> = mine;
            mine.iter().for_each(|change| state.durable_names.apply(change));
        }
        turn.fault().map_or(Ok(()), Err)
    }

    fn sync_tree(&self, _: &Path) -> io::Result<()> {
        // Nothing lies below it here: without a writer, tiles stay in memory.
        Ok(())
    }

    fn space(&self, _: &Path) -> Option<(u64, u64)> {
        Some((1 << 30, 1 << 31))
    }
}

struct Held {
    disk: SimDisk,
    path: PathBuf,
    generation: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.generation == self.generation {
            state.locked.remove(&self.path);
        }
    }
}
