//! The write-ahead log: append-only segments, one record and one fdatasync a batch, recovery.
//!
//! What recovery may drop is exactly what was never acknowledged: the bytes of one unfinished
//! record after the last valid one. They are copied to `torn-<record>.bin` and reported. Anything
//! else that does not verify refuses the start and names file, offset and record.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::JournalError;
use super::disk::{Access, Disk, DiskFile, Files};
use super::record::{self, HEADER_BYTES, Header, Record, SECTOR};
use super::reserve::{self, NoSegment, Reserve, segment_path};
use super::segments::Segments;
use super::snapshot::Position;
use crate::digest::Digest;

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Segment number.
    pub segment: u32,
    /// Byte offset in it.
    pub offset: u32,
}

/// Smallest and largest segment: a record of the largest batch must fit, offsets are 32 bits wide.
const SEGMENT_MIN: u64 = 1 << 20;
const SEGMENT_MAX: u64 = 1 << 30;
/// Trailing zeros that show that a record's end was never written (its hash ends there).
const UNWRITTEN: usize = 8;

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppendError {
    /// Nothing was written: no room for another segment.
    Full(String),
    /// A write or sync failed: what is durable is unknown; the log must not be used again.
    Failed(String),
}

impl From<NoSegment> for AppendError {
    fn from(why: NoSegment) -> Self {
        match why {
            NoSegment::Full(text) => Self::Full(text),
            NoSegment::Failed(text) => Self::Failed(text),
        }
    }
}

/// The writing end. Holds the exclusive lock of the directory.
pub struct Log {
    segments: Arc<Segments>,
    reserve: Reserve,
    log_id: [u8; 16],
    epoch: u64,
    number: u64,
    previous: Digest,
    last: (u32, u32),
    segment: u64,
    offset: u64,
    capacity: u64,
    file: Box<dyn DiskFile>,
    failed: bool,
    _lock: Box<dyn Send>,
}

/// Where and how a log is opened.
pub struct Opening {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Bytes of a new segment.
    pub segment_bytes: u64,
    /// See [`Reserve::start`].
    pub low_water: Option<u64>,
    /// Id of the log, if it is a new one.
    pub fresh_id: [u8; 16],
    /// Whether a thread prepares the next segment ahead of need.
    pub ahead: bool,
}

impl Opening {
    /// The files of this machine, with a segment size within limits.
    pub fn of_files(segment_bytes: u64, low_water: Option<u64>) -> Result<Opening, JournalError> {
        let mut fresh_id = [0; 16];
        let random = aws_lc_rs::rand::fill(&mut fresh_id);
        random.map_err(|_| JournalError::Storage("no random bytes".into()))?;
        let segment_bytes = segment_size(segment_bytes);
        Ok(Opening { disk: Arc::new(Files), segment_bytes, low_water, fresh_id, ahead: true })
    }
}

/// What was found after the last valid record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Torn {
    /// Bytes set aside.
    pub bytes: u64,
}

/// Makes `dir` and takes its exclusive lock, to be handed to [`open`].
pub fn claim(dir: &Path, disk: &dyn Disk) -> Result<Box<dyn Send>, JournalError> {
    let storage = |path: &Path, e: io::Error| JournalError::Storage(format!("{}: {e}", path.display()));
    disk.create_dir(&dir.join("segments")).map_err(|e| storage(dir, e))?;
    let path = dir.join("lock");
    disk.lock(&path).map_err(|e| storage(&path, e))
}

/// The log's id, from its first record; `None` if there is none yet.
pub fn id_of(dir: &Path, disk: &dyn Disk) -> io::Result<Option<[u8; 16]>> {
    let mut header = [0; HEADER_BYTES];
    let read = disk
        .open(&segment_path(&dir.join("segments"), 0), Access::Read)
        .and_then(|file| file.read_exact_at(&mut header, 0));
    match read {
        Ok(()) => Ok(Header::decode(&header).ok().map(|header| header.log_id)),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Opens the log in `dir`, hands every valid record after `from` to `on_record`, sets a torn tail aside.
pub fn open(
    dir: &Path,
    opening: &Opening,
    lock: Box<dyn Send>,
    from: Option<&Position>,
    on_record: &mut dyn FnMut(Place, &Record<'_>) -> Result<(), String>,
) -> Result<(Log, Torn), JournalError> {
    let (disk, segment_bytes) = (&opening.disk, opening.segment_bytes);
    let segments_dir = dir.join("segments");
    let storage = |e: io::Error| JournalError::Storage(format!("{}: {e}", dir.display()));
    let count = list(&**disk, &segments_dir)?;
    if count == 0 {
        reserve::make(&**disk, &segments_dir, 0, segment_bytes).map_err(storage)?;
    }
    // A process that ended between giving a name and syncing it leaves a name that only the cache
    // knows: records would go into a segment that a power cut takes away.
    for named in [&segments_dir, dir] {
        disk.sync_dir(named).map_err(storage)?;
    }
    let mut scan = Scan::new(&**disk, &segments_dir, count.max(1));
    if let Some(position) = from {
        scan.resume(position)?;
    }
    scan.run(on_record)?;
    let torn = scan.set_aside_tail(dir)?;
    scan.harden(segment_bytes).map_err(storage)?;
    let reserve = Reserve::start(segments_dir.clone(), opening).map_err(storage)?;
    let log = scan.into_log(opening, reserve, lock).map_err(storage)?;
    Ok((log, torn))
}

/// Reads the log in `dir` without changing anything in it; also gives its epoch.
pub fn look(
    dir: &Path,
    on_record: &mut dyn FnMut(Place, &Record<'_>) -> Result<(), String>,
) -> Result<u64, JournalError> {
    let segments_dir = dir.join("segments");
    if !segments_dir.exists() {
        return Ok(1);
    }
    let path = dir.join("lock");
    let _lock = Files.lock(&path).map_err(|e| JournalError::Storage(format!("{}: {e}", path.display())))?;
    let mut scan = Scan::new(&Files, &segments_dir, list(&Files, &segments_dir)?);
    scan.run(on_record)?;
    Ok(scan.epoch)
}

/// The segment size used when `asked` for: within limits.
pub fn segment_size(asked: u64) -> u64 {
    asked.clamp(SEGMENT_MIN, SEGMENT_MAX)
}

/// Number of segments; they must be numbered densely from 0.
fn list(disk: &dyn Disk, dir: &Path) -> Result<u64, JournalError> {
    let storage = |e: io::Error| JournalError::Storage(format!("{}: {e}", dir.display()));
    let mut numbers = Vec::new();
    for path in disk.list(dir).map_err(storage)? {
        if path.extension().is_some_and(|e| e == "seg") {
            let stem = path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse::<u64>().ok());
            numbers.push(stem.ok_or_else(|| damaged(&path, 0, "its name is not a segment number"))?);
        }
    }
    numbers.sort_unstable();
    match numbers.iter().zip(0..).find(|(have, want)| **have != *want) {
        Some((_, want)) => Err(damaged(&segment_path(dir, want), 0, "the segment is missing")),
        None => Ok(numbers.len() as u64),
    }
}

fn damaged(path: &Path, offset: usize, what: &str) -> JournalError {
    JournalError::Damaged(format!("{} at offset {offset}: {what}", path.display()))
}

/// Whether the log in `dir` has the record a snapshot was taken after.
pub fn holds(dir: &Path, disk: &dyn Disk, position: &Position) -> io::Result<bool> {
    last_record(disk, &dir.join("segments"), position).map(|found| found.is_some())
}

/// That record, read from the medium.
fn last_record(disk: &dyn Disk, segments: &Path, position: &Position) -> io::Result<Option<Vec<u8>>> {
    let (segment, offset) = (u64::from(position.last.0), u64::from(position.last.1));
    let file = match disk.open(&segment_path(segments, segment), Access::Read) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    file.forget_cache()?;
    let length = file.len()?;
    let mut header = [0; HEADER_BYTES];
    if offset + HEADER_BYTES as u64 > length {
        return Ok(None);
    }
    file.read_exact_at(&mut header, offset)?;
    let Ok(header) = Header::decode(&header) else { return Ok(None) };
    let total = header.total();
    if offset + total as u64 > length {
        return Ok(None);
    }
    let mut bytes = vec![0; total];
    file.read_exact_at(&mut bytes, offset)?;
    let same = header.log_id == position.log_id
        && header.epoch == position.epoch
        && header.number.checked_add(1) == Some(position.number)
        && Record::decode(&bytes).is_ok_and(|record| record.hash == position.previous);
    Ok(same.then_some(bytes))
}

/// A pass over all segments.
struct Scan<'d> {
    disk: &'d dyn Disk,
    dir: &'d Path,
    count: u64,
    log_id: Option<[u8; 16]>,
    epoch: u64,
    number: u64,
    previous: Digest,
    /// End of the last valid record.
    segment: u64,
    offset: usize,
    last: Option<(u64, usize, Vec<u8>)>,
    /// Segment and offset of the last valid record.
    newest: (u32, u32),
}

impl<'d> Scan<'d> {
    fn new(disk: &'d dyn Disk, dir: &'d Path, count: u64) -> Self {
        Scan {
            disk,
            dir,
            count,
            log_id: None,
            epoch: 1,
            number: 0,
            previous: Digest::default(),
            segment: 0,
            offset: 0,
            last: None,
            newest: (0, 0),
        }
    }

    fn run(
        &mut self,
        on_record: &mut dyn FnMut(Place, &Record<'_>) -> Result<(), String>,
    ) -> Result<(), JournalError> {
        for segment in self.segment..self.count {
            let bytes = self.read(segment)?;
            let mut offset = if segment == self.segment { self.offset.min(bytes.len()) } else { 0 };
            while let Some(record) = self.next(&bytes[offset..]) {
                let place = Place { segment: segment as u32, offset: offset as u32 };
                let total = record.header.total();
                on_record(place, &record).map_err(|what| {
                    damaged(
                        &segment_path(self.dir, segment),
                        offset,
                        &format!("record {}: {what}", self.number),
                    )
                })?;
                self.log_id = Some(record.header.log_id);
                (self.epoch, self.previous) = (record.header.epoch, record.hash);
                self.number += 1;
                self.newest = (place.segment, place.offset);
                self.last = Some((segment, offset, bytes[offset..offset + total].to_vec()));
                offset += total;
                (self.segment, self.offset) = (segment, offset);
            }
            // A segment that did not continue the chain at its start ends the log.
            if offset == 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Goes on after the last record of a snapshot, which must stand where it says ([`holds`]).
    fn resume(&mut self, position: &Position) -> Result<(), JournalError> {
        let (segment, offset) = (u64::from(position.last.0), position.last.1 as usize);
        let path = segment_path(self.dir, segment);
        let bytes = last_record(self.disk, self.dir, position)
            .map_err(|e| JournalError::Storage(format!("{}: {e}", path.display())))?
            .ok_or_else(|| damaged(&path, offset, "the record has changed"))?;
        (self.log_id, self.epoch) = (Some(position.log_id), position.epoch);
        (self.number, self.previous) = (position.number, position.previous);
        (self.segment, self.offset) = (segment, offset + bytes.len());
        self.newest = position.last;
        self.last = Some((segment, offset, bytes));
        Ok(())
    }

    /// The record at the start of `bytes`, if it continues the chain.
    fn next<'b>(&self, bytes: &'b [u8]) -> Option<Record<'b>> {
        let record = Record::decode(bytes).ok()?;
        let header = record.header;
        let ours = self.log_id.is_none_or(|id| id == header.log_id);
        let follows =
            header.number == self.number && header.previous == self.previous && header.epoch >= self.epoch;
        (ours && follows).then_some(record)
    }

    /// Reads a segment from the medium: after a failed fsync the page cache may hold what the disk does not.
    fn read(&self, segment: u64) -> Result<Vec<u8>, JournalError> {
        let path = segment_path(self.dir, segment);
        let read = || -> io::Result<Vec<u8>> {
            let file = self.disk.open(&path, Access::Read)?;
            file.forget_cache()?;
            let mut bytes = vec![0; file.len()? as usize];
            file.read_exact_at(&mut bytes, 0)?;
            Ok(bytes)
        };
        read().map_err(|e| JournalError::Storage(format!("{}: {e}", path.display())))
    }

    /// Judges everything after the last valid record; copies a torn record aside and clears it.
    fn set_aside_tail(&mut self, dir: &Path) -> Result<Torn, JournalError> {
        let mut torn = Torn::default();
        for segment in self.segment..self.count {
            let bytes = self.read(segment)?;
            let start = if segment == self.segment { self.offset.min(bytes.len()) } else { 0 };
            let tail = &bytes[start..];
            self.refuse_later_records(segment, start, tail)?;
            let Some(end) = end_of_data(tail) else { continue };
            let first_candidate = segment <= self.segment + 1 && torn.bytes == 0;
            if !first_candidate || !self.is_torn(tail, end) {
                let what = format!(
                    "record {} does not verify and was not torn by a crash: {}",
                    self.number,
                    Record::decode(tail)
                        .err()
                        .map_or_else(|| "it does not follow its predecessor".into(), |e| e.to_string()),
                );
                return Err(damaged(&segment_path(self.dir, segment), start, &what));
            }
            self.clear(dir, segment, start, &tail[..end])
                .map_err(|e| JournalError::Storage(format!("cannot set a torn record aside: {e}")))?;
            torn.bytes = end as u64;
        }
        Ok(torn)
    }

    /// A header of this log beyond the first bad place proves that the bad place was acknowledged.
    fn refuse_later_records(&self, segment: u64, start: usize, tail: &[u8]) -> Result<(), JournalError> {
        for (index, sector) in tail.chunks(SECTOR).enumerate() {
            let Ok(header) = Header::decode(sector) else { continue };
            let foreign = self.log_id.is_some_and(|id| id != header.log_id);
            let may_be_torn = index == 0 && header.number == self.number && header.previous == self.previous;
            if foreign || !may_be_torn {
                let what = format!(
                    "record {} is missing or damaged, but record {} follows at offset {}{}",
                    self.number,
                    header.number,
                    start + index * SECTOR,
                    if foreign { " (of another log)" } else { "" },
                );
                return Err(damaged(&segment_path(self.dir, segment), start, &what));
            }
        }
        Ok(())
    }

    /// Whether the bytes look like one record whose writing was cut, by prefix or by lost sectors.
    /// A record all of whose sectors were written but whose hash is wrong has rotted instead.
    fn is_torn(&self, tail: &[u8], end: usize) -> bool {
        match Header::decode(tail) {
            Ok(header) => {
                let total = header.total();
                let written = &tail[..total.min(tail.len())];
                let lost = written.chunks(SECTOR).any(|s| s.iter().all(|b| *b == 0));
                let cut = written.iter().rev().take_while(|b| **b == 0).count() >= UNWRITTEN;
                end <= total && (written.len() < total || lost || cut)
            }
            Err(_) => {
                let first = &tail[..SECTOR.min(tail.len())];
                end <= HEADER_BYTES || first.len() < HEADER_BYTES || first.iter().all(|b| *b == 0)
            }
        }
    }

    fn clear(&self, dir: &Path, segment: u64, start: usize, bytes: &[u8]) -> io::Result<()> {
        let aside = dir.join(format!("torn-{}.bin", self.number));
        let copy = self.disk.open(&aside, Access::Create)?;
        copy.write_all_at(bytes, 0)?;
        copy.sync_all()?;
        self.disk.sync_dir(dir)?;
        let file = self.disk.open(&segment_path(self.dir, segment), Access::Write)?;
        file.write_zeros(start as u64, bytes.len() as u64)?;
        file.sync_all()
    }

    /// Writes the last record again and syncs: its first sync may have failed unseen by this process.
    /// Also brings a shortened segment back to its size.
    fn harden(&mut self, segment_bytes: u64) -> io::Result<()> {
        if let Some((segment, offset, bytes)) = self.last.take() {
            let file = self.disk.open(&segment_path(self.dir, segment), Access::Write)?;
            file.write_all_at(&bytes, offset as u64)?;
            file.sync_all()?;
        }
        for segment in self.segment..self.count {
            let file = self.disk.open(&segment_path(self.dir, segment), Access::Write)?;
            let length = file.len()?;
            if length < segment_bytes {
                file.write_zeros(length, segment_bytes - length)?;
                file.sync_all()?;
            }
        }
        Ok(())
    }

    fn into_log(self, opening: &Opening, reserve: Reserve, lock: Box<dyn Send>) -> io::Result<Log> {
        let log_id = self.log_id.unwrap_or(opening.fresh_id);
        let file = self.disk.open(&segment_path(self.dir, self.segment), Access::Write)?;
        let capacity = file.len()?;
        reserve.order(self.segment + 1);
        Ok(Log {
            segments: Arc::new(Segments::new(Arc::clone(&opening.disk), self.dir.to_owned())),
            reserve,
            log_id,
            epoch: self.epoch,
            number: self.number,
            previous: self.previous,
            last: self.newest,
            segment: self.segment,
            offset: self.offset as u64,
            capacity,
            file,
            failed: false,
            _lock: lock,
        })
    }
}

/// Bytes up to the last that is not zero; whole zero sectors are skipped by comparison.
fn end_of_data(bytes: &[u8]) -> Option<usize> {
    let (index, sector) =
        bytes.chunks(SECTOR).enumerate().rev().find(|(_, s)| **s != [0; SECTOR][..s.len()])?;
    sector.iter().rposition(|b| *b != 0).map(|last| index * SECTOR + last + 1)
}

impl Log {
    /// Where the log stands, for a snapshot.
    pub fn position(&self) -> Position {
        let Log { log_id, epoch, number, previous, last, .. } = *self;
        Position { log_id, epoch, number, previous, last }
    }

    /// Why new entries should be refused for lack of space.
    pub fn low_space(&self) -> Option<String> {
        self.reserve.low()
    }

    /// Makes sure that a record with `payload` bytes of payload can be appended without asking for room.
    pub fn make_room(&mut self, payload: usize) -> Result<(), AppendError> {
        if self.offset + record::total_bytes(payload) as u64 <= self.capacity {
            return Ok(());
        }
        let next = self.segment + 1;
        self.reserve.take(next)?;
        let path = segment_path(self.segments.dir(), next);
        let open = || -> io::Result<(Box<dyn DiskFile>, u64)> {
            let file = self.segments.disk().open(&path, Access::Write)?;
            let capacity = file.len()?;
            Ok((file, capacity))
        };
        let (file, capacity) = open().map_err(|e| AppendError::Failed(format!("{}: {e}", path.display())))?;
        (self.segment, self.offset, self.capacity, self.file) = (next, 0, capacity, file);
        self.reserve.order(next + 1);
        Ok(())
    }

    /// The writer epoch that records are written in.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Later records are of this epoch. An epoch no record was written in is not remembered.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Writes one record and makes it durable. After [`AppendError::Failed`] every later call fails too.
    pub fn append(&mut self, payload: &[u8]) -> Result<Place, AppendError> {
        if self.failed {
            return Err(AppendError::Failed("an earlier write failed".into()));
        }
        self.make_room(payload.len())?;
        let record = record::encode(self.log_id, self.epoch, self.number, self.previous, payload);
        if self.offset + record.len() as u64 > self.capacity {
            return Err(AppendError::Full(format!("a record of {} bytes fits in no segment", record.len())));
        }
        let written = self.file.write_all_at(&record, self.offset).and_then(|()| self.file.sync_data());
        if let Err(e) = written {
            self.failed = true;
            let path = segment_path(self.segments.dir(), self.segment);
            return Err(AppendError::Failed(format!("{} at offset {}: {e}", path.display(), self.offset)));
        }
        let place = Place { segment: self.segment as u32, offset: self.offset as u32 };
        self.previous = Digest::try_from(&record[record.len() - 32..]).unwrap_or_default();
        self.last = (place.segment, place.offset);
        self.offset += record.len() as u64;
        self.number += 1;
        Ok(place)
    }

    /// Reads back the record at `place`, as the medium (or the kernel's cache) has it now.
    pub fn read_back(&self, place: Place, payload: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; record::total_bytes(payload)];
        self.file.read_exact_at(&mut bytes, u64::from(place.offset))?;
        Ok(bytes)
    }
}
