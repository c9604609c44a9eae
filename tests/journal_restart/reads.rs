//! Each read of a start fails once: the start is refused or whole, and never forgets a request id.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pechat::clock::HandSet;
use pechat::journal::checkpoint::{Checkpoint, note};
use pechat::journal::disk::{Access, Disk, DiskFile, Files};
use pechat::journal::stepwise::{Ask, Pending, Stepwise, StepwiseParts};

use super::fixture::*;

/// The machine's files, one of whose reads fails.
#[derive(Clone)]
struct BadRead {
    reads: Arc<AtomicU64>,
    fails: u64,
}

struct BadFile(Box<dyn DiskFile>, BadRead);

impl Disk for BadRead {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        Files.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        Files.lock(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        Files.list(dir)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(BadFile(Files.open(path, access)?, self.clone())))
    }
    fn exists(&self, path: &Path) -> bool {
        Files.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Files.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        Files.remove(path)
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn sync_tree(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        Files.space(dir)
    }
}

impl DiskFile for BadFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if self.1.reads.fetch_add(1, Ordering::Relaxed) + 1 == self.1.fails {
            return Err(io::Error::other("a bad sector"));
        }
        self.0.read_exact_at(bytes, offset)
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()> {
        self.0.write_zeros(offset, count)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        Ok(())
    }
    fn forget_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

fn open(dir: &Path, disk: BadRead) -> Result<Stepwise, String> {
    let (_hand, clock) = HandSet::synchronised(std::time::Duration::from_millis(2));
    let parts = StepwiseParts {
        disk: Arc::new(disk),
        site: SITE.into(),
        clock,
        segment_bytes: 16 << 10,
        fresh_id: [7; 16],
        snapshot_bytes: Some(1),
    };
    Stepwise::open(dir, parts).map_err(|e| e.to_string())
}

fn sound() -> BadRead {
    BadRead { reads: Arc::default(), fails: 0 }
}

/// Everything there is to sign is signed, so that requests are answered.
fn seal(journals: &mut Stepwise) {
    let (size, root, _) = journals.to_sign();
    let origin = format!("{SITE}/root");
    let body = Checkpoint { origin: origin.clone(), size, root }.body();
    journals.seal(size, note(&body, &origin, b"key", b"signature", b"token"));
    journals.round();
}

fn ask(journals: &mut Stepwise, numbers: std::ops::Range<u64>) -> Pending {
    let pending = journals.ask(Ask::Seal(name("land"), submissions(numbers), None)).unwrap();
    journals.round();
    pending
}

fn written(dir: &Path) {
    let mut journals = open(dir, sound()).unwrap();
    journals.ask(Ask::Create(name("land"), Some(institution()))).unwrap();
    journals.round();
    for first in [0, 10, 20] {
        let mut pending = ask(&mut journals, first..first + 10);
        seal(&mut journals);
        assert_eq!(pending.answer().unwrap().unwrap(), (first + 1..first + 11).collect::<Vec<_>>());
    }
    assert!(journals.snapshots() > 3);
}

#[test]
fn whichever_read_fails_no_request_id_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    for from_snapshot in [true, false] {
        let (mut refused, mut answered) = (0, 0);
        for fails in 1.. {
            let broken = tempfile::tempdir().unwrap();
            copy(dir.path(), broken.path());
            if !from_snapshot {
                std::fs::remove_file(broken.path().join("snapshot.bin")).unwrap();
            }
            let disk = BadRead { fails, ..sound() };
            match open(broken.path(), disk.clone()) {
                Err(why) => {
                    assert!(why.contains("a bad sector"), "read {fails}: {why}");
                    refused += 1;
                }
                Ok(mut journals) => {
                    match ask(&mut journals, 0..30).answer() {
                        Some(Ok(found)) => assert_eq!(found, (1..31).collect::<Vec<_>>(), "read {fails}"),
                        Some(Err(why)) => assert!(why.to_string().contains("bad sector"), "{fails}: {why}"),
                        None => panic!("read {fails}: what was sealed waits for a seal"),
                    }
                    assert_eq!(journals.info(&name("land")).unwrap().size, 31, "read {fails}");
                    answered += 1;
                }
            }
            let mut journals = open(broken.path(), sound()).unwrap();
            let found = ask(&mut journals, 0..30).answer().unwrap().unwrap();
            assert_eq!(found, (1..31).collect::<Vec<_>>(), "after read {fails}");
            if disk.reads.load(Ordering::Relaxed) < fails {
                break;
            }
        }
        assert!(refused >= 2 && answered >= 2, "{refused} refused, {answered} answered");
    }
}
