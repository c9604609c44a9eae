//! An open file on the simulated disk.

use std::io;
use std::path::PathBuf;
use std::sync::MutexGuard;

use pechat::journal::disk::DiskFile;

use super::disk::{SECTOR, SimDisk, Turn};
use super::medium::State;

pub struct SimFile {
    pub disk: SimDisk,
    pub path: PathBuf,
    pub inode: usize,
    pub generation: u64,
}

impl SimFile {
    fn turn(&self, what: &str, data: &[u8]) -> io::Result<(MutexGuard<'_, State>, Turn)> {
        self.disk.turn(Some(self.generation), what, &self.path, data)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state().inodes[self.inode].cached.len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let (state, turn) = self.turn("read", &[])?;
        if let Some(fault) = turn.fault() {
            return Err(fault);
        }
        let from = offset as usize;
        let found = state.inodes[self.inode].cached.get(from..from + bytes.len());
        bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut state, turn) = self.turn("write", bytes)?;
        let count = match turn {
            Turn::Whole => bytes.len(),
            _ => state.rng.below(bytes.len() as u64 / SECTOR as u64 + 1) as usize * SECTOR,
        };
        state.inodes[self.inode].put(offset as usize, &bytes[..count]);
        turn.fault().map_or(Ok(()), Err)
    }

    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()> {
        self.write_all_at(&vec![0; count as usize], offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        let (mut state, turn) = self.turn("sync", &[])?;
        let State { inodes, rng, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        if matches!(turn, Turn::Whole) || rng.one_in(2) {
            let length = inode.cached.len();
            inode.durable.resize(length, 0);
        }
        for sector in inode.dirty.clone() {
            if matches!(turn, Turn::Whole) || rng.one_in(2) {
                inode.harden(sector);
            }
        }
        // As Linux does it: a failed sync leaves the pages clean, so the next one "succeeds".
        if !matches!(turn, Turn::Stop) {
            inode.dirty.clear();
        }
        turn.fault().map_or(Ok(()), Err)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn forget_cache(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let State { inodes, rng, .. } = &mut *state;
        let inode = &mut inodes[self.inode];
        // The kernel need not do it.
        if rng.one_in(2) {
            let length = inode.cached.len();
            let mut fresh = inode.durable.clone();
            fresh.resize(length, 0);
            for sector in &inode.dirty {
                let range = sector * SECTOR..((sector + 1) * SECTOR).min(length);
                fresh[range.clone()].copy_from_slice(&inode.cached[range]);
            }
            inode.cached = fresh;
        }
        Ok(())
    }
}
