//! Whole files through the [`Disk`] seam: read at once, written front to back, replaced in one step.

use std::io::{self, Read, Write};
use std::path::Path;

use super::disk::{Access, Disk, DiskFile};

/// A file read or written from its beginning on.
pub struct Stream<'f> {
    file: &'f dyn DiskFile,
    at: u64,
    /// Where reading ends; writing does not.
    end: u64,
}

impl<'f> Stream<'f> {
    /// At the beginning of a file of `length` bytes.
    pub fn new(file: &'f dyn DiskFile, length: u64) -> Stream<'f> {
        Stream { file, at: 0, end: length }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        if count > 0 {
            self.file.read_exact_at(&mut buffer[..count], self.at)?;
        }
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for Stream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        self.end = self.end.max(self.at);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// All bytes of a file.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    if !bytes.is_empty() {
        file.read_exact_at(&mut bytes, 0)?;
    }
    Ok(bytes)
}

/// Gives `bytes` the name `path` in `dir`: durable under it, or not there at all.
pub fn replace(disk: &dyn Disk, dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let file = disk.open(&fresh, Access::Create)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    disk.rename(&fresh, path)?;
    disk.sync_dir(dir)
}
