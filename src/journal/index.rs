//! Where every request id stands: the newest ids in memory, older ones in sorted runs on disk.
//!
//! The runs are a cache of the log, named by the snapshot that covers them. The sequencer never waits
//! for their writing, and an unknown id costs a few bits of a filter per run.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::disk::Disk;
use super::run::{self, Run};
use super::{JournalError, RequestId};
use crate::digest::Digest;

/// Ids of each journal, by its number.
pub type Recent = Vec<HashMap<RequestId, u64>>;

/// Ids in memory at which they are frozen and written, by default (about 20 MiB).
pub const RECENT_IDS: usize = 1 << 18;

/// What lies below the newest ids; shared by the sequencer and the thread that writes runs.
#[derive(Default)]
struct Layers {
    /// Oldest first; not on disk yet.
    frozen: Vec<Arc<Recent>>,
    /// Oldest and largest first.
    runs: Vec<Arc<Run>>,
    next: u64,
}

/// The part of the index that the writing thread works on.
pub struct Runs {
    /// None for an index that is never written.
    disk: Option<Arc<dyn Disk>>,
    dir: PathBuf,
    log_id: [u8; 16],
    layers: RwLock<Layers>,
}

impl Runs {
    /// For an index that is never frozen: without files.
    pub fn in_memory() -> Arc<Runs> {
        Arc::new(Runs { disk: None, dir: PathBuf::new(), log_id: [0; 16], layers: RwLock::default() })
    }

    /// The runs a snapshot names (number, hash), each checked whole; all other files are removed.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        log_id: [u8; 16],
        named: &[(u64, Digest)],
    ) -> io::Result<Arc<Runs>> {
        disk.create_dir(dir)?;
        if let Some(parent) = dir.parent() {
            disk.sync_dir(parent)?;
        }
        let mut layers = Layers::default();
        for (number, hash) in named {
            layers.runs.push(Arc::new(Run::open(&*disk, dir, *number, &log_id, hash)?));
            layers.next = layers.next.max(number + 1);
        }
        let runs = Runs { disk: Some(disk), dir: dir.to_owned(), log_id, layers: RwLock::new(layers) };
        runs.remove_strays();
        Ok(Arc::new(runs))
    }

    /// Puts ids below the newest ones.
    pub fn freeze(&self, recent: Recent) {
        self.layers.write().unwrap_or_else(PoisonError::into_inner).frozen.push(Arc::new(recent));
    }

    /// Writes everything frozen into one run, merges runs of like size; what then stands on disk.
    /// After an error all ids are still found, in memory.
    pub fn settle(&self) -> io::Result<Vec<(u64, Digest)>> {
        let Some(disk) = &self.disk else { return Ok(Vec::new()) };
        let (frozen, number) = {
            let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
            layers.next += 1;
            (layers.frozen.clone(), layers.next - 1)
        };
        let mut items: Vec<(u64, u64)> = Vec::new();
        for recent in &frozen {
            for (journal, ids) in recent.iter().enumerate() {
                items.extend(ids.iter().map(|(id, seq)| (run::key(&self.log_id, journal as u32, *id), *seq)));
            }
        }
        if !items.is_empty() {
            items.sort_unstable();
            let count = items.len() as u64;
            let run = Run::write(&**disk, &self.dir, number, &self.log_id, count, items.into_iter().map(Ok))?;
            let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
            layers.runs.push(Arc::new(run));
            layers.frozen.drain(..frozen.len());
        }
        while self.merge_last_two(&**disk)? {}
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        Ok(layers.runs.iter().map(|run| (run.number, run.hash())).collect())
    }

    /// Merges the newest two runs unless the older is more than twice as large.
    fn merge_last_two(&self, disk: &dyn Disk) -> io::Result<bool> {
        let (older, newer, number) = {
            let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
            let [.., older, newer] = layers.runs.as_slice() else { return Ok(false) };
            if older.count() > 2 * newer.count() {
                return Ok(false);
            }
            let pair = (Arc::clone(older), Arc::clone(newer));
            layers.next += 1;
            (pair.0, pair.1, layers.next - 1)
        };
        let count = older.count() + newer.count();
        let merged = Merge { left: older.items().peekable(), right: newer.items().peekable() };
        let run = Run::write(disk, &self.dir, number, &self.log_id, count, merged)?;
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let keep = layers.runs.len() - 2;
        layers.runs.truncate(keep);
        layers.runs.push(Arc::new(run));
        Ok(true)
    }

    /// Removes files that no run in use has: left by merges, crashes or older snapshots.
    pub fn remove_strays(&self) {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let Some(disk) = &self.disk else { return };
        let Ok(files) = disk.list(&self.dir) else { return };
        for path in files {
            let ours = path.extension().is_some_and(|e| e == "ids" || e == "new");
            if ours && !layers.runs.iter().any(|run| run.path() == path) {
                let _ = disk.remove(&path);
            }
        }
    }

    /// Number of runs, ids in them and bytes of memory they hold.
    pub fn measure(&self) -> (usize, u64, usize) {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let ids = layers.runs.iter().map(|run| run.count()).sum();
        (layers.runs.len(), ids, layers.runs.iter().map(|run| run.memory()).sum())
    }

    fn find(
        &self,
        journal: u32,
        id: RequestId,
        confirm: impl Fn(u64) -> Result<bool, JournalError>,
    ) -> Result<Option<u64>, JournalError> {
        let layers = self.layers.read().unwrap_or_else(PoisonError::into_inner);
        let at = |recent: &Arc<Recent>| recent.get(journal as usize).and_then(|ids| ids.get(&id).copied());
        if let Some(seq) = layers.frozen.iter().rev().find_map(at) {
            return Ok(Some(seq));
        }
        if layers.runs.is_empty() {
            return Ok(None);
        }
        let key = run::key(&self.log_id, journal, id);
        for run in layers.runs.iter().rev() {
            let found = run.find(key).map_err(|e| {
                let path = run.path().display();
                JournalError::Damaged(format!("{path}: {e} (a restart rebuilds the index)"))
            })?;
            for seq in found {
                if confirm(seq)? {
                    return Ok(Some(seq));
                }
            }
        }
        Ok(None)
    }
}

/// Two sorted sequences as one; an error comes first.
struct Merge<L: Iterator, R: Iterator> {
    left: std::iter::Peekable<L>,
    right: std::iter::Peekable<R>,
}

type Item = io::Result<(u64, u64)>;

impl<L: Iterator<Item = Item>, R: Iterator<Item = Item>> Iterator for Merge<L, R> {
    type Item = Item;
    fn next(&mut self) -> Option<Item> {
        let right_first = match (self.left.peek(), self.right.peek()) {
            (Some(Ok(left)), Some(Ok(right))) => right < left,
            (None, _) | (_, Some(Err(_))) => true,
            _ => false,
        };
        if right_first { self.right.next() } else { self.left.next() }
    }
}

/// All request ids, as the sequencer sees them.
pub struct Ids {
    recent: Recent,
    count: usize,
    runs: Arc<Runs>,
}

impl Ids {
    /// Nothing newer than the runs.
    pub fn new(runs: Arc<Runs>) -> Ids {
        Ids { recent: Vec::new(), count: 0, runs }
    }

    /// The runs.
    pub fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }

    /// The log they are of.
    pub fn log_id(&self) -> [u8; 16] {
        self.runs.log_id
    }

    /// Ids held in memory here.
    pub fn recent(&self) -> usize {
        self.count
    }

    /// Sequence of the id. `confirm` says whether the log's slot at a sequence has it.
    pub fn find(
        &self,
        journal: u32,
        id: RequestId,
        confirm: impl Fn(u64) -> Result<bool, JournalError>,
    ) -> Result<Option<u64>, JournalError> {
        if let Some(seq) = self.recent.get(journal as usize).and_then(|ids| ids.get(&id)) {
            return Ok(Some(*seq));
        }
        self.runs.find(journal, id, confirm)
    }

    /// Files a new id.
    pub fn insert(&mut self, journal: u32, id: RequestId, seq: u64) {
        let number = journal as usize;
        if self.recent.len() <= number {
            self.recent.resize_with(number + 1, HashMap::new);
        }
        if self.recent[number].insert(id, seq).is_none() {
            self.count += 1;
        }
    }

    /// Takes a staged id out again; it never was durable, so it is in memory.
    pub fn remove(&mut self, journal: u32, id: RequestId) {
        if self.recent.get_mut(journal as usize).is_some_and(|ids| ids.remove(&id).is_some()) {
            self.count -= 1;
        }
    }

    /// Hands the newest ids to the layer below; all of them must be durable.
    pub fn freeze(&mut self) {
        self.count = 0;
        self.runs.freeze(std::mem::take(&mut self.recent));
    }
}
