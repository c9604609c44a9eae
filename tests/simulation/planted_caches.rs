//! Bugs planted in the writing and believing of the caches beside the log: snapshot and index.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pechat::journal::disk::{Access, Disk, DiskFile};
use pechat::journal::run::{Run, run_path};
use pechat::journal::snapshot::Snapshot;

use super::disk::SimDisk;
use super::planted::caught_among;
use super::schedule::run;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    RunNotSynced,
    SnapshotNotSynced,
    SnapshotNotNamed,
    RunsRemovedEarly,
    RunBelievedUnchecked,
    SnapshotAheadOfLog,
}

/// What was written at a place of a segment.
type Written = Arc<Mutex<BTreeMap<(PathBuf, u64), Vec<u8>>>>;

struct Careless {
    disk: SimDisk,
    bug: Bug,
    written: Written,
    /// Segments whose sync waits for the snapshot.
    unsynced: Arc<Mutex<Vec<PathBuf>>>,
}

struct CarelessFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    bug: Bug,
    access: Access,
    written: Written,
    unsynced: Arc<Mutex<Vec<PathBuf>>>,
}

fn ends_with(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e == extension)
}

fn is_snapshot(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "snapshot")
}

fn is_run(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("ids"))
}

impl Careless {
    /// Makes a snapshot believe whatever its runs hold now.
    fn bless(&self, path: &Path) -> Option<()> {
        let file = self.disk.open(path, Access::Write).ok()?;
        let mut bytes = vec![0; file.len().ok()? as usize];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let mut snapshot = Snapshot::decode(&bytes)?;
        let (dir, log_id) = (path.parent()?.join("ids"), snapshot.position.log_id);
        for (number, hash) in &mut snapshot.runs {
            if Run::open(&self.disk, &dir, *number, &log_id, hash).is_ok() {
                continue;
            }
            let damaged = self.disk.open(&run_path(&dir, *number), Access::Read).ok()?;
            let mut bytes = vec![0; damaged.len().ok()? as usize];
            damaged.read_exact_at(&mut bytes, 0).ok()?;
            let number_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
            let count = bytes.len().checked_sub(40 + 32)? / 16;
            let mut items: Vec<_> =
                (0..count).map(|i| (number_at(40 + 16 * i), number_at(48 + 16 * i))).collect();
            items.retain(|item| *item != (0, 0));
            items.sort_unstable();
            let count = items.len() as u64;
            let run =
                Run::write(&self.disk, &dir, *number, &log_id, count, items.into_iter().map(Ok)).ok()?;
            *hash = run.hash();
        }
        file.write_all_at(&snapshot.encode(), 0).ok()
    }
}

impl Disk for Careless {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        self.unsynced.lock().unwrap().clear();
        self.disk.lock(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if self.bug == Bug::RunBelievedUnchecked && ends_with(path, "bin") && is_snapshot(path) {
            let _ = self.bless(path);
        }
        let file = self.disk.open(path, access)?;
        let (written, unsynced) = (Arc::clone(&self.written), Arc::clone(&self.unsynced));
        Ok(Box::new(CarelessFile { file, path: path.to_owned(), bug: self.bug, access, written, unsynced }))
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)?;
        if self.bug == Bug::RunsRemovedEarly && ends_with(to, "ids") {
            let dir = to.parent().unwrap();
            for older in self.disk.list(dir)?.iter().filter(|path| *path != to) {
                self.disk.remove(older)?;
            }
            self.disk.sync_dir(dir)?;
        }
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let root = dir.parent() == Some(Path::new("/"));
        if self.bug == Bug::SnapshotNotNamed && root && self.disk.exists(&dir.join("snapshot.bin")) {
            return Ok(());
        }
        self.disk.sync_dir(dir)?;
        if root {
            for segment in std::mem::take(&mut *self.unsynced.lock().unwrap()) {
                self.disk.open(&segment, Access::Write)?.sync_data()?;
            }
        }
        Ok(())
    }
    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_tree(dir)
    }
    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        self.disk.space(dir)
    }
}

impl DiskFile for CarelessFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)?;
        // What the snapshot was taken after is believed to be there.
        if self.bug == Bug::SnapshotAheadOfLog && self.access == Access::Read && offset > 0 {
            let written = self.written.lock().unwrap();
            let meant = written.get(&(self.path.clone(), offset)).and_then(|w| w.get(..bytes.len()));
            meant.into_iter().for_each(|meant| bytes.copy_from_slice(meant));
        }
        Ok(())
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.bug == Bug::SnapshotAheadOfLog && ends_with(&self.path, "seg") {
            self.written.lock().unwrap().insert((self.path.clone(), offset), bytes.to_vec());
        }
        self.file.write_all_at(bytes, offset)
    }
    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()> {
        self.file.write_zeros(offset, count)
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.bug == Bug::SnapshotAheadOfLog && ends_with(&self.path, "seg") {
            self.unsynced.lock().unwrap().push(self.path.clone());
            return Ok(());
        }
        self.file.sync_data()
    }
    fn sync_all(&self) -> io::Result<()> {
        match self.bug {
            Bug::RunNotSynced | Bug::RunBelievedUnchecked if is_run(&self.path) => Ok(()),
            Bug::SnapshotNotSynced if is_snapshot(&self.path) => Ok(()),
            _ => self.file.sync_all(),
        }
    }
    fn forget_cache(&self) -> io::Result<()> {
        self.file.forget_cache()
    }
}

fn failure(bug: Bug, seed: u64) -> Option<String> {
    let between = |disk| -> Arc<dyn Disk> {
        Arc::new(Careless { disk, bug, written: Written::default(), unsynced: Arc::default() })
    };
    run(seed, &between).err()
}

fn caught(bug: Bug, signs: &[&str]) {
    caught_among(&format!("{bug:?}"), signs, |seed| failure(bug, seed));
}

#[test]
fn the_caches_without_a_bug_keep_every_promise() {
    assert_eq!((0..400).find_map(|seed| failure(Bug::None, seed)), None);
}

const NOT_TAKEN_UP: &str = "no snapshot was taken up";

#[test]
fn publishing_an_index_run_before_its_sync_is_caught() {
    caught(Bug::RunNotSynced, &[NOT_TAKEN_UP]);
}

#[test]
fn renaming_a_snapshot_before_its_sync_is_caught() {
    caught(Bug::SnapshotNotSynced, &[NOT_TAKEN_UP]);
}

#[test]
fn not_syncing_the_name_of_a_snapshot_is_caught() {
    caught(Bug::SnapshotNotNamed, &[NOT_TAKEN_UP]);
}

#[test]
fn removing_runs_before_the_snapshot_without_them_is_there_is_caught() {
    caught(Bug::RunsRemovedEarly, &[NOT_TAKEN_UP]);
}

#[test]
fn believing_an_index_run_unchecked_is_caught() {
    caught(Bug::RunBelievedUnchecked, &["stands elsewhere", "one id has two digests"]);
}

#[test]
fn believing_a_snapshot_ahead_of_the_durable_log_is_caught() {
    caught(Bug::SnapshotAheadOfLog, &["record number", "header check", "no record"]);
}
