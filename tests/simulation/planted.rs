//! Bugs planted between the journal and the disk: what a journal with that bug would do to its
//! files. Each must be caught, or the simulation proves nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pechat::journal::disk::{Access, Disk, DiskFile};

use super::checker::sha;
use super::disk::{SECTOR, SimDisk};
use super::schedule::run;

/// Schedules within which a bug must show.
const SCHEDULES: u64 = 1200;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    AcknowledgeBeforeSync,
    RetriedSync,
    SwallowedWrite,
    NoDirectorySync,
    NoDirectorySyncAtStart,
    NoLock,
    CutAtDamage,
    DropLastRecord,
    NoChecksum,
    ReusedNumber,
    NoPredecessor,
    WrittenOver,
    NoReadBack,
    WrongHead,
    CacheBelieved,
    TailLeft,
    SegmentOverlooked,
    FreezeForgotten,
}

struct Crooked {
    disk: SimDisk,
    bug: Bug,
    renamed: AtomicBool,
}

struct CrookedFile {
    file: Box<dyn DiskFile>,
    bug: Bug,
    /// Opened by recovery for its scan.
    scan: bool,
    last: std::sync::Mutex<Option<(u64, Vec<u8>)>>,
}

/// Bytes of the record at `offset`, if its header is sound.
fn length(bytes: &[u8], offset: usize) -> Option<usize> {
    let header = bytes.get(offset..offset + 88).filter(|header| &header[..4] == b"PWAL")?;
    let payload = u32::from_be_bytes(header[40..44].try_into().unwrap()) as usize;
    let total = (88 + payload + 32).div_ceil(SECTOR) * SECTOR;
    (offset + total <= bytes.len()).then_some(total)
}

/// Where each record begins and ends; those after the first that does not verify are left out.
fn sound(bytes: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut offset) = (Vec::new(), 0);
    while let Some(total) = length(bytes, offset) {
        let record = &bytes[offset..offset + total];
        if sha(&[&record[..total - 32]]) != record[total - 32..] {
            break;
        }
        found.push((offset, offset + total));
        offset += total;
    }
    found
}

/// Makes header check and record hash match whatever stands in between.
fn resign(record: &mut [u8]) {
    let check = sha(&[&record[..80]]);
    record[80..88].copy_from_slice(&check[..8]);
    let body = record.len() - 32;
    let hash = sha(&[&record[..body]]);
    record[body..].copy_from_slice(&hash);
}

/// Whether a record holds a group of kind 9.
fn freezes(record: &[u8]) -> bool {
    let end = 88 + u32::from_be_bytes(record[40..44].try_into().unwrap()) as usize;
    let mut at = 88;
    while at < end {
        let length = u32::from_be_bytes(record[at + 1..at + 5].try_into().unwrap()) as usize;
        if record[at] == 3 && record[at + 9..at + 11] == [0, 9] {
            return true;
        }
        at += 5 + length;
    }
    false
}

impl Disk for Crooked {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>> {
        self.renamed.store(false, Ordering::Relaxed);
        if self.bug == Bug::NoLock { Ok(Box::new(())) } else { self.disk.lock(path) }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.disk.list(dir)?;
        let newest = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).max().cloned();
        // The newest one is only prepared; the one before it holds the tail.
        let segments = paths.iter().filter(|path| path.extension().is_some_and(|e| e == "seg")).count();
        if self.bug == Bug::SegmentOverlooked && segments > 2 {
            let before = paths.iter().filter(|path| Some(*path) != newest.as_ref()).max().cloned();
            paths.retain(|path| Some(path) != newest.as_ref() && Some(path) != before.as_ref());
        }
        Ok(paths)
    }
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.open(path, access)?;
        if path.extension().is_none_or(|e| e != "seg") {
            return Ok(file);
        }
        let scan = access == Access::Read;
        Ok(Box::new(CrookedFile { file, bug: self.bug, scan, last: std::sync::Mutex::default() }))
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.renamed.store(true, Ordering::Relaxed);
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let since_start = self.renamed.load(Ordering::Relaxed);
        match self.bug {
            Bug::NoDirectorySync => Ok(()),
            Bug::NoDirectorySyncAtStart if !since_start => Ok(()),
            _ => self.disk.sync_dir(dir),
        }
    }
    fn sync_tree(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_tree(dir)
    }
    fn space(&self, dir: &Path) -> Option<(u64, u64)> {
        self.disk.space(dir)
    }
}

impl CrookedFile {
    /// What a scan with the bug takes the segment for.
    fn misread(&self, bytes: &mut [u8]) {
        let records = sound(bytes);
        match self.bug {
            Bug::CutAtDamage => {
                let end = records.last().map_or(0, |(_, end)| *end);
                bytes[end..].fill(0);
            }
            Bug::DropLastRecord if records.len() > 1 => {
                let (start, end) = records[records.len() - 1];
                bytes[start..end].fill(0);
            }
            Bug::FreezeForgotten => {
                let last = records.last().filter(|(start, end)| freezes(&bytes[*start..*end]));
                if let Some((start, end)) = last {
                    bytes[*start..*end].fill(0);
                }
            }
            Bug::NoChecksum => {
                let mut offset = 0;
                while let Some(total) = length(bytes, offset) {
                    resign(&mut bytes[offset..offset + total]);
                    offset += total;
                }
            }
            _ => {}
        }
    }

    /// What an append with the bug writes, and where.
    fn miswrite(&self, bytes: &mut [u8], offset: u64) -> u64 {
        let number = bytes.get(32..40).map_or(0, |n| u64::from_be_bytes(n.try_into().unwrap()));
        if length(bytes, 0) != Some(bytes.len()) || number % 4 != 3 {
            return offset;
        }
        match self.bug {
            Bug::ReusedNumber => {
                bytes[32..40].copy_from_slice(&(number - 1).to_be_bytes());
                resign(bytes);
            }
            Bug::NoPredecessor => {
                bytes[48..80].fill(0);
                resign(bytes);
            }
            Bug::NoReadBack => bytes[200] ^= 4,
            Bug::WrongHead => {
                // The last letter of the root, before its padding.
                let line = bytes.windows(8).position(|window| window == b"=\nafter ");
                if let Some(letter) = line.and_then(|at| at.checked_sub(2)) {
                    bytes[letter] = if bytes[letter] == b'A' { b'B' } else { b'A' };
                    resign(bytes);
                }
            }
            Bug::WrittenOver => return offset.saturating_sub(SECTOR as u64),
            _ => {}
        }
        offset
    }
}

impl DiskFile for CrookedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn read_exact_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(bytes, offset)?;
        if self.scan && offset == 0 {
            self.misread(bytes);
        }
        // Instead of the medium, what was meant to be written.
        match &*self.last.lock().unwrap() {
            Some((at, meant)) if *at == offset && meant.len() == bytes.len() => bytes.copy_from_slice(meant),
            _ => {}
        }
        Ok(())
    }
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = bytes.to_vec();
        let to = self.miswrite(&mut written, offset);
        if matches!(self.bug, Bug::NoReadBack | Bug::WrittenOver | Bug::WrongHead) {
            *self.last.lock().unwrap() = Some((offset, bytes.to_vec()));
        }
        let mut there = vec![0; bytes.len()];
        if self.bug == Bug::CacheBelieved
            && self.file.read_exact_at(&mut there, offset).is_ok_and(|()| there == bytes)
        {
            return Ok(());
        }
        let outcome = self.file.write_all_at(&written, to);
        if self.bug == Bug::SwallowedWrite { Ok(()) } else { outcome }
    }
    fn write_zeros(&self, offset: u64, count: u64) -> io::Result<()> {
        if self.bug == Bug::TailLeft { Ok(()) } else { self.file.write_zeros(offset, count) }
    }
    fn sync_data(&self) -> io::Result<()> {
        match self.bug {
            Bug::AcknowledgeBeforeSync => Ok(()),
            Bug::RetriedSync => self.file.sync_data().or_else(|_| self.file.sync_data()),
            _ => self.file.sync_data(),
        }
    }
    fn sync_all(&self) -> io::Result<()> {
        if self.bug == Bug::CacheBelieved { Ok(()) } else { self.file.sync_all() }
    }
    fn forget_cache(&self) -> io::Result<()> {
        if self.bug == Bug::CacheBelieved { Ok(()) } else { self.file.forget_cache() }
    }
}

fn failure(bug: Bug, seed: u64) -> Option<String> {
    let between =
        |disk| -> Arc<dyn Disk> { Arc::new(Crooked { disk, bug, renamed: AtomicBool::new(false) }) };
    run(seed, &between).err()
}

/// Asserts that some schedule fails with what this bug does, not merely with something.
fn caught(bug: Bug, signs: &[&str]) {
    caught_among(&format!("{bug:?}"), signs, |seed| failure(bug, seed));
}

/// The same of any bug, given what a schedule fails with.
pub fn caught_among(bug: &str, signs: &[&str], failure: impl Fn(u64) -> Option<String>) {
    let failures = || (0..SCHEDULES).filter_map(&failure);
    let found = failures().find(|why| signs.iter().any(|sign| why.contains(sign)));
    let why = found.unwrap_or_else(|| {
        panic!("{bug} was not caught in {SCHEDULES} schedules; they say {:?}", failures().next())
    });
    println!("{bug}: {why}");
}

#[test]
fn without_a_bug_nothing_is_caught() {
    assert_eq!((0..SCHEDULES).find_map(|seed| failure(Bug::None, seed)), None);
}

macro_rules! planted {
    ($($name:ident: $bug:ident, $($sign:literal),+;)+) => {
        $(#[test]
        fn $name() {
            caught(Bug::$bug, &[$($sign),+]);
        })+
    };
}

// A torn record that passes for whole is caught by the heads, which the journal recomputes as well:
// it then refuses to start after a mere crash.
planted! {
    acknowledging_before_the_sync_is_caught: AcknowledgeBeforeSync, "lost:";
    believing_a_retried_sync_is_caught: RetriedSync, "lost:";
    a_write_error_passed_over_is_caught: SwallowedWrite, "after a storage error";
    never_syncing_a_directory_is_caught: NoDirectorySync, "lost:";
    not_syncing_names_found_at_start_is_caught: NoDirectorySyncAtStart, "lost:";
    two_writers_without_a_lock_are_caught: NoLock, "fork:";
    cutting_the_log_at_damage_is_caught: CutAtDamage, "does not match its hash", "header check";
    dropping_a_valid_last_record_is_caught: DropLastRecord, "fork:", "stands elsewhere";
    ignoring_the_checksum_is_caught: NoChecksum, "does not match its hash", "refused to start";
    reusing_a_record_number_is_caught: ReusedNumber, "record number";
    not_naming_the_predecessor_is_caught: NoPredecessor, "does not name its predecessor";
    writing_over_an_acknowledged_record_is_caught: WrittenOver, "does not match its hash";
    not_reading_back_what_was_written_is_caught: NoReadBack, "does not match its hash";
    not_comparing_the_head_with_its_entries_is_caught: WrongHead, "is not that of the entries";
    believing_the_cache_after_a_failed_sync_is_caught: CacheBelieved, "lost:", "refused to start without cause";
    leaving_a_torn_tail_in_place_is_caught: TailLeft, "does not match its hash", "no record";
    accepting_after_a_freeze_is_caught: FreezeForgotten, "accepted after the freeze";
    overlooking_the_newest_segment_is_caught: SegmentOverlooked, "stands elsewhere", "fork:";
}
