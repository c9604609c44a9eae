//! The seam under the write-ahead log: every call recovery and appending make of a file system.
//!
//! [`Files`] is the only implementation that ships. Tests put a simulated disk here that loses,
//! tears and reorders what was not synced (`tests/simulation.rs`, decision 0008).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the directory's lock is waited for: `LOCK_TRIES` pauses.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);
/// Zeros written at once.
const ZEROS: usize = 1 << 20;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading an existing file.
    Read,
    /// Reading and writing an existing file.
    Write,
    /// Writing a new file, or an old one emptied; mode 0600.
    Create,
}

/// Names in directories. What a call did is durable only after [`Disk::sync_dir`].
pub trait Disk: Send + Sync + 'static {
    /// Makes `dir` and its parents, mode 0700; existing ones are kept.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock of `path` until the answer is dropped.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
    /// Paths in `dir`, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    /// Opens a file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Whether `path` is there.
    fn exists(&self, path: &Path) -> bool;
    /// Gives `from` the name `to` in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes everything below `dir` durable, if it is there.
    fn sync_tree(&self, dir: &Path) -> io::Result<()>;
    /// Bytes free and bytes in total where `dir` is; `None` where that cannot be told.
    fn space(&self, dir: &Path) -> Option<(u64, u64)>;
}

/// An open file. What was written is durable only after a sync that succeeded; after one that
/// failed, what is durable is unknown, and a later success says nothing about earlier writes.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Send + Sync {
    /// Bytes in the file.
    fn len(&self) -> io::Result<u64>;
    /// Fills `bytes` from `offset`.
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes `count` zeros from `offset`.
    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()>;
    /// Makes the content durable, and of the metadata what reading it needs (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Makes content and metadata durable (fsync).
    fn sync_all(&self) -> io::Result<()>;
    /// Lets the next read come from the medium where the cache holds nothing unwritten.
    fn forget_cache(&self) -> io::Result<()>;
}

/// The machine's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files;

impl Disk for Files {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = open?;
        // A child process being started holds a copy of a former owner's lock until its exec.
        for _ in 0..LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => return Ok(Box::new(file)),
                Err(_) => std::thread::sleep(LOCK_PAUSE),
            }
        }
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(e) => {
                Err(io::Error::new(io::ErrorKind::WouldBlock, format!("it is held by another process: {e}")))
            }
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|item| item.map(|item| item.path())).collect()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::Write => options.read(true).write(true),
            Access::Create => options.read(true).write(true).create(true).truncate(true).mode(0o600),
        };
        Ok(Box::new(options.open(path)?))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        match File::open(dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => Ok(rustix::fs::syncfs(opened?)?),
        }
    }

    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        let stat = rustix::fs::statvfs(dir).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        Some((bytes(stat.f_bavail), bytes(stat.f_blocks)))
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|found| found.len())
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, bytes, offset)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS.min(count as usize)];
        let mut file = self;
        io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        let mut left = count;
        while left > 0 {
            let part = left.min(ZEROS as u64);
            file.write_all(&zeros[..part as usize])?;
            left -= part;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }

    fn forget_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(self, 0, None, rustix::fs::Advice::DontNeed)?)
    }
}
