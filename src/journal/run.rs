//! One sorted run of the request-id index: an immutable file of (key, sequence), its filter and fences.
//!
//! A run is a cache of the log: every block read is compared with a hash kept in memory, every hit is
//! confirmed by the log's own slot, and whatever does not verify is rebuilt from the log.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

use super::RequestId;
use super::disk::{Access, Disk, DiskFile};
use super::stream::Stream;
use crate::digest::Digest;

/// First bytes of the file; the last of them is the version.
const MAGIC: &[u8; 8] = b"pchtidx\x01";
const HEADER: usize = 40;
/// Bytes of one (key, sequence).
const ITEM: usize = 16;
/// Bytes of one block: what a lookup reads.
const BLOCK: usize = 4096;
/// Filter bits per id: about 0.8 % false positives with 7 probes.
const BITS: u64 = 10;
const PROBES: u64 = 7;
/// Largest filter of one run, in bits (64 MiB); beyond 50 million ids it only answers less sharply.
const FILTER_MAX: u64 = 1 << 29;

/// 64 bits of (log, journal, request id), spread evenly whatever the client chose.
pub fn key(log_id: &[u8; 16], journal: u32, id: RequestId) -> u64 {
    let [seed, salt] = halves(log_id);
    let [high, low] = halves(&id.0);
    mix(mix(mix(seed ^ u64::from(journal)) ^ low ^ salt) ^ high)
}

fn halves(bytes: &[u8; 16]) -> [u64; 2] {
    let whole = u128::from_be_bytes(*bytes);
    [(whole >> 64) as u64, whole as u64]
}

/// The finaliser of SplitMix64.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
}

/// A Bloom filter.
struct Filter(Vec<u8>);

impl Filter {
    fn bytes_for(count: u64) -> usize {
        (count.saturating_mul(BITS).clamp(64, FILTER_MAX) as usize).div_ceil(8)
    }

    fn places(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let bits = self.0.len() as u128 * 8;
        let step = mix(key) | 1;
        (0..PROBES).map(move |i| {
            let hash = mix(key.wrapping_add(i.wrapping_mul(step)));
            ((u128::from(hash) * bits) >> 64) as usize
        })
    }

    fn add(&mut self, key: u64) {
        self.places(key).for_each(|at| self.0[at / 8] |= 1 << (at % 8));
    }

    fn may_hold(&self, key: u64) -> bool {
        self.places(key).all(|at| self.0[at / 8] >> (at % 8) & 1 == 1)
    }
}

/// What is kept in memory of a run: the first key and the hash of every block, and the filter.
pub struct Table {
    log_id: [u8; 16],
    count: u64,
    fences: Vec<(u64, u64)>,
    filter: Filter,
    /// Over header, block hashes and filter hash.
    hash: Digest,
}

/// Reads and checks a whole run; sorted, of exactly the announced length, its hash right.
pub fn check(mut input: impl Read, length: u64) -> io::Result<Table> {
    let mut header = [0; HEADER];
    input.read_exact(&mut header)?;
    let count = number(&header[24..32]);
    let filter_bytes = number(&header[32..40]);
    let items = count.checked_mul(ITEM as u64).ok_or_else(|| wrong("its count is absurd"))?;
    let want = items.checked_add(filter_bytes).and_then(|n| n.checked_add((HEADER + 32) as u64));
    if header[..8] != *MAGIC || want != Some(length) || filter_bytes as usize != Filter::bytes_for(count) {
        return Err(wrong("it is no index run of this version and length"));
    }
    let mut whole = Whole::new(&header);
    let mut rest = items as usize;
    let mut block = vec![0; BLOCK];
    let mut before = 0;
    while rest > 0 {
        let block = &mut block[..rest.min(BLOCK)];
        input.read_exact(block)?;
        for item in block.chunks_exact(ITEM) {
            let key = number(&item[..8]);
            if key < before {
                return Err(wrong("its keys are not sorted"));
            }
            before = key;
        }
        whole.block(block);
        rest -= block.len();
    }
    let mut filter = Filter(vec![0; filter_bytes as usize]);
    input.read_exact(&mut filter.0)?;
    let mut stored = [0; 32];
    input.read_exact(&mut stored)?;
    let table = whole.table(count, filter);
    if *table.hash.as_bytes() != stored { Err(wrong("its hash is wrong")) } else { Ok(table) }
}

/// Gathers fences and the file's hash, block by block.
struct Whole {
    log_id: [u8; 16],
    context: Context,
    fences: Vec<(u64, u64)>,
}

impl Whole {
    fn new(header: &[u8; HEADER]) -> Whole {
        let mut context = Context::new(&SHA256);
        context.update(header);
        let mut log_id = [0; 16];
        log_id.copy_from_slice(&header[8..24]);
        Whole { log_id, context, fences: Vec::new() }
    }

    fn block(&mut self, block: &[u8]) {
        let hash = Digest::of(block);
        self.context.update(hash.as_bytes());
        self.fences.push((number(&block[..8]), number(&hash.as_bytes()[..8])));
    }

    fn table(mut self, count: u64, filter: Filter) -> Table {
        self.context.update(Digest::of(&filter.0).as_bytes());
        let hash = Digest::try_from(self.context.finish().as_ref()).unwrap_or_default();
        Table { log_id: self.log_id, count, fences: self.fences, filter, hash }
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, b| sum << 8 | u64::from(*b))
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// An open run.
pub struct Run {
    /// Number in its name.
    pub number: u64,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    table: Table,
}

/// Path of run `number` in `dir`.
pub fn run_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.ids"))
}

impl Run {
    /// Opens a run and checks all of it.
    pub fn open(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        log_id: &[u8; 16],
        hash: &Digest,
    ) -> io::Result<Run> {
        let path = run_path(dir, number);
        let file = disk.open(&path, Access::Read)?;
        let length = file.len()?;
        let table = check(io::BufReader::with_capacity(1 << 18, Stream::new(&*file, length)), length)?;
        if table.log_id != *log_id || table.hash != *hash {
            return Err(wrong("it is another run than the snapshot names"));
        }
        Ok(Run { number, path, file, table })
    }

    /// Writes `count` items in order of their keys; durable under its name when this returns.
    pub fn write(
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        log_id: &[u8; 16],
        count: u64,
        items: impl Iterator<Item = io::Result<(u64, u64)>>,
    ) -> io::Result<Run> {
        let path = run_path(dir, number);
        let fresh = path.with_extension("new");
        let made = fill(disk, &fresh, log_id, count, items);
        let table = made.inspect_err(|_| drop(disk.remove(&fresh)))?;
        disk.rename(&fresh, &path)?;
        disk.sync_dir(dir)?;
        let file = disk.open(&path, Access::Read)?;
        Ok(Run { number, path, file, table })
    }

    /// Ids in it.
    pub fn count(&self) -> u64 {
        self.table.count
    }

    /// What the snapshot names it by.
    pub fn hash(&self) -> Digest {
        self.table.hash
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes it holds in memory.
    pub fn memory(&self) -> usize {
        self.table.filter.0.len() + self.table.fences.len() * 16
    }

    /// Sequences filed under `key`; nearly always none, and then nearly always without a read.
    pub fn find(&self, key: u64) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        if !self.table.filter.may_hold(key) {
            return Ok(found);
        }
        let fences = &self.table.fences;
        let first = fences.partition_point(|(start, _)| *start < key).saturating_sub(1);
        for index in (first..fences.len()).take_while(|index| *index == first || fences[*index].0 <= key) {
            let block = self.block(index)?;
            let items = block.chunks_exact(ITEM).filter(|item| number(&item[..8]) == key);
            found.extend(items.map(|item| number(&item[8..])));
        }
        Ok(found)
    }

    fn block(&self, index: usize) -> io::Result<Vec<u8>> {
        let start = index as u64 * BLOCK as u64;
        let rest = self.table.count * ITEM as u64 - start;
        let mut block = vec![0; rest.min(BLOCK as u64) as usize];
        self.file.read_exact_at(&mut block, HEADER as u64 + start)?;
        if number(&Digest::of(&block).as_bytes()[..8]) != self.table.fences[index].1 {
            return Err(wrong("a block has changed"));
        }
        Ok(block)
    }

    /// All items in order.
    pub fn items(&self) -> impl Iterator<Item = io::Result<(u64, u64)>> + '_ {
        (0..self.table.fences.len()).flat_map(|index| {
            let (block, error) = match self.block(index) {
                Ok(block) => (block, None),
                Err(error) => (Vec::new(), Some(Err(error))),
            };
            let items: Vec<_> =
                block.chunks_exact(ITEM).map(|item| Ok((number(&item[..8]), number(&item[8..])))).collect();
            error.into_iter().chain(items)
        })
    }
}

fn fill(
    disk: &dyn Disk,
    path: &Path,
    log_id: &[u8; 16],
    count: u64,
    items: impl Iterator<Item = io::Result<(u64, u64)>>,
) -> io::Result<Table> {
    let file = disk.open(path, Access::Create)?;
    let mut out = BufWriter::with_capacity(1 << 18, Stream::new(&*file, 0));
    let mut filter = Filter(vec![0; Filter::bytes_for(count)]);
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..24].copy_from_slice(log_id);
    header[24..32].copy_from_slice(&count.to_be_bytes());
    header[32..].copy_from_slice(&(filter.0.len() as u64).to_be_bytes());
    out.write_all(&header)?;
    let mut whole = Whole::new(&header);
    let (mut block, mut written) = (Vec::with_capacity(BLOCK), 0);
    for item in items {
        let (key, seq) = item?;
        filter.add(key);
        block.extend_from_slice(&key.to_be_bytes());
        block.extend_from_slice(&seq.to_be_bytes());
        written += 1;
        if block.len() == BLOCK || written == count {
            whole.block(&block);
            out.write_all(&block)?;
            block.clear();
        }
    }
    if written != count {
        return Err(wrong("another number of ids than announced"));
    }
    out.write_all(&filter.0)?;
    let table = whole.table(count, filter);
    out.write_all(table.hash.as_bytes())?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    Ok(table)
}
