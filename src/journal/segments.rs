//! The reading end of the segments: bytes by place, from any thread.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::JournalError;
use super::disk::{Access, Disk, DiskFile};
use super::log::Place;
use super::reserve::segment_path;

/// Open files kept; more are opened again when asked for.
const OPEN_FILES: usize = 64;

/// All segments of one log.
pub struct Segments {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    open: Mutex<HashMap<u32, Arc<dyn DiskFile>>>,
}

impl Segments {
    /// Segments in `dir` of `disk`.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Segments { disk, dir, open: Mutex::new(HashMap::new()) }
    }

    /// Their directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file system they are on.
    pub fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// `count` bytes from `offset` bytes after `place`.
    pub fn read(&self, place: Place, offset: usize, count: usize) -> Result<Vec<u8>, JournalError> {
        let mut bytes = vec![0; count];
        let from = u64::from(place.offset) + offset as u64;
        let path = segment_path(&self.dir, u64::from(place.segment));
        self.file(place.segment)
            .and_then(|file| file.read_exact_at(&mut bytes, from))
            .map_err(|e| JournalError::Damaged(format!("{} at offset {from}: {e}", path.display())))?;
        Ok(bytes)
    }

    fn file(&self, segment: u32) -> std::io::Result<Arc<dyn DiskFile>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        let path = segment_path(&self.dir, u64::from(segment));
        let file: Arc<dyn DiskFile> = Arc::from(self.disk.open(&path, Access::Read)?);
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }
}
