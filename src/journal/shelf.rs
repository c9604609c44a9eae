//! Lists that only grow: the newest items in memory, full pages of older ones in one file.
//!
//! A journal of single seals has as many batches as entries, and a place takes 48 bytes: kept in
//! memory and in every snapshot, 10 million of them would be half a gigabyte. The file is a cache of the
//! log; the snapshot names each page by its hash, and whatever does not match is made again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use super::JournalError;
use super::disk::{Access, Disk, DiskFile};
use super::tiles::Keeper;
use crate::digest::Digest;

/// Items of one page.
pub const PAGE: usize = 256;
/// Newest items that stay in memory whatever is written.
const KEEP: usize = 64;

/// What a shelf holds: a value of a fixed number of bytes.
pub trait Item: Copy {
    /// That number.
    const BYTES: usize;
    /// Appends the bytes.
    fn encode(&self, out: &mut Vec<u8>);
    /// Reads exactly these bytes.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// A page in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page<T> {
    /// Its first item.
    pub first: T,
    /// Where it begins in the file.
    pub offset: u64,
    /// SHA-256 of its bytes.
    pub hash: Digest,
}

/// What a snapshot keeps of a shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelved<T> {
    /// Pages, oldest first.
    pub pages: Vec<Page<T>>,
    /// The items after them.
    pub tail: Vec<T>,
}

impl<T> Default for Shelved<T> {
    fn default() -> Self {
        Shelved { pages: Vec::new(), tail: Vec::new() }
    }
}

impl<T> Shelved<T> {
    fn len(&self) -> usize {
        self.pages.len() * PAGE + self.tail.len()
    }
}

/// The file of all shelves' pages; without one, everything stays in memory.
pub struct Pages {
    opened: OnceLock<Opened>,
    keeper: Arc<Keeper>,
}

struct Opened {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    end: Mutex<u64>,
}

/// The file's path in a journal directory.
pub fn pages_path(dir: &Path) -> PathBuf {
    dir.join("places.bin")
}

impl Pages {
    /// No file yet. Whatever turns out damaged is told to `keeper`.
    pub fn new(keeper: &Arc<Keeper>) -> Arc<Pages> {
        Arc::new(Pages { opened: OnceLock::new(), keeper: Arc::clone(keeper) })
    }

    /// An empty file in `dir`, for a replay of the whole log.
    pub fn create(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let path = pages_path(dir);
        let file = disk.open(&path, Access::Create)?;
        disk.sync_dir(dir)?;
        self.set(file, path, 0)
    }

    /// The file in `dir`, of which a snapshot names the first `end` bytes.
    pub fn open(&self, disk: &dyn Disk, dir: &Path, end: u64) -> io::Result<()> {
        let path = pages_path(dir);
        let file = disk.open(&path, Access::Write)?;
        let length = file.len()?;
        if length < end {
            return Err(io::Error::other(format!("{} has {length} bytes, not {end}", path.display())));
        }
        self.set(file, path, end)
    }

    fn set(&self, file: Box<dyn DiskFile>, path: PathBuf, end: u64) -> io::Result<()> {
        let opened = self.opened.set(Opened { file, path, end: Mutex::new(end) });
        opened.map_err(|_| io::Error::other("the journal is open already"))
    }

    /// Bytes in use.
    pub fn end(&self) -> u64 {
        self.opened.get().map_or(0, |o| *o.end.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes every page so far durable.
    pub fn sync(&self) -> io::Result<()> {
        self.opened.get().map_or(Ok(()), |opened| opened.file.sync_data())
    }

    fn append(&self, opened: &Opened, bytes: &[u8]) -> io::Result<u64> {
        let mut end = opened.end.lock().unwrap_or_else(PoisonError::into_inner);
        opened.file.write_all_at(bytes, *end)?;
        let offset = *end;
        *end += bytes.len() as u64;
        Ok(offset)
    }

    fn load<T: Item>(&self, page: &Page<T>) -> Result<Vec<T>, JournalError> {
        let damaged = |what: &str| {
            self.keeper.distrust();
            let path = self.opened.get().map(|o| o.path.display().to_string()).unwrap_or_default();
            let offset = page.offset;
            JournalError::Damaged(format!("{path} at offset {offset}: {what} (a restart rebuilds it)"))
        };
        let opened = self.opened.get().ok_or_else(|| damaged("it is not open"))?;
        let mut bytes = vec![0; PAGE * T::BYTES];
        opened.file.read_exact_at(&mut bytes, page.offset).map_err(|e| damaged(&e.to_string()))?;
        if Digest::of(&bytes) != page.hash {
            return Err(damaged("a page has changed"));
        }
        let items: Option<Vec<T>> = bytes.chunks_exact(T::BYTES).map(T::decode).collect();
        items.ok_or_else(|| damaged("a page cannot be read"))
    }
}

/// One list. Pushed to by one thread, written to the file by another, read by any.
pub struct Shelf<T> {
    items: RwLock<Shelved<T>>,
    pages: Arc<Pages>,
}

impl<T: Item> Shelf<T> {
    /// Nothing yet.
    pub fn new(pages: &Arc<Pages>) -> Shelf<T> {
        Shelf { items: RwLock::default(), pages: Arc::clone(pages) }
    }

    /// Takes up what a snapshot kept.
    pub fn restore(&self, state: Shelved<T>) {
        *self.items.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Adds an item.
    pub fn push(&self, item: T) {
        self.items.write().unwrap_or_else(PoisonError::into_inner).tail.push(item);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.items.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The newest.
    pub fn last(&self) -> Option<T> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).tail.last().copied()
    }

    /// Number of items at the front for which `holds`; no later one may.
    pub fn count_while(&self, holds: impl Fn(&T) -> bool) -> Result<usize, JournalError> {
        let (number, page) = {
            let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
            let shelved = items.pages.len() * PAGE;
            if shelved == 0 || items.tail.first().is_some_and(&holds) {
                return Ok(shelved + items.tail.partition_point(&holds));
            }
            let holding = items.pages.partition_point(|page| holds(&page.first));
            let Some(number) = holding.checked_sub(1) else { return Ok(0) };
            (number, items.pages[number])
        };
        Ok(number * PAGE + self.pages.load(&page)?.partition_point(&holds))
    }

    /// Item `index`.
    pub fn get(&self, index: usize) -> Result<Option<T>, JournalError> {
        let page = {
            let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
            match items.pages.get(index / PAGE) {
                Some(page) => *page,
                None => return Ok(items.tail.get(index - items.pages.len() * PAGE).copied()),
            }
        };
        Ok(self.pages.load(&page)?.get(index % PAGE).copied())
    }

    /// The items after all that are `before` and up to the last one `within`; both as in
    /// [`Shelf::count_while`].
    pub fn between(
        &self,
        before: impl Fn(&T) -> bool,
        within: impl Fn(&T) -> bool,
    ) -> Result<Vec<T>, JournalError> {
        let (pages, tail) = {
            let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
            let first = items.pages.partition_point(|page| before(&page.first)).saturating_sub(1);
            let last = items.pages.partition_point(|page| within(&page.first));
            // The last page that begins before is not needed if the tail does too.
            let passed = items.tail.first().is_some_and(&before);
            let pages = if passed { Vec::new() } else { items.pages[first.min(last)..last].to_vec() };
            let (start, end) = (items.tail.partition_point(&before), items.tail.partition_point(&within));
            (pages, items.tail[start.min(end)..end].to_vec())
        };
        let mut found = Vec::new();
        for page in &pages {
            found.extend(self.pages.load(page)?.into_iter().filter(|item| !before(item) && within(item)));
        }
        found.extend(tail);
        Ok(found)
    }

    /// Writes full pages of the items for which `within`, all but the newest; they are durable after
    /// [`Pages::sync`].
    pub fn spill(&self, within: impl Fn(&T) -> bool) -> io::Result<()> {
        let Some(opened) = self.pages.opened.get() else { return Ok(()) };
        let full: Vec<T> = {
            let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
            let count = items.tail.partition_point(within).min(items.tail.len().saturating_sub(KEEP));
            items.tail[..count - count % PAGE].to_vec()
        };
        let mut written = Vec::new();
        for items in full.chunks_exact(PAGE) {
            let mut bytes = Vec::with_capacity(PAGE * T::BYTES);
            items.iter().for_each(|item| item.encode(&mut bytes));
            let offset = self.pages.append(opened, &bytes)?;
            written.push(Page { first: items[0], offset, hash: Digest::of(&bytes) });
        }
        if !written.is_empty() {
            let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
            items.pages.extend(written);
            items.tail = items.tail.split_off(full.len());
        }
        Ok(())
    }

    /// What a snapshot keeps of the items for which `within`; after [`Shelf::spill`] with the same.
    pub fn state(&self, within: impl Fn(&T) -> bool) -> Shelved<T> {
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        let count = items.tail.partition_point(within);
        Shelved { pages: items.pages.clone(), tail: items.tail[..count].to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::disk::Files;

    impl Item for u64 {
        const BYTES: usize = 8;
        fn encode(&self, out: &mut Vec<u8>) {
            out.extend_from_slice(&self.to_be_bytes());
        }
        fn decode(bytes: &[u8]) -> Option<u64> {
            Some(u64::from_be_bytes(bytes.try_into().ok()?))
        }
    }

    fn spilled(dir: &Path, count: u64) -> (Arc<Pages>, Shelf<u64>) {
        let pages = Pages::new(&Keeper::idle());
        pages.create(&Files, dir).unwrap();
        let shelf = Shelf::new(&pages);
        (0..count).for_each(|n| shelf.push(2 * n));
        (pages, shelf)
    }

    #[test]
    fn items_are_found_alike_in_memory_in_pages_and_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (pages, shelf) = spilled(dir.path(), 1000);
        shelf.spill(|n| *n < 1200).unwrap();
        assert_eq!(pages.end(), 2 * 256 * 8, "600 items are within, two pages are full");
        shelf.spill(|_| true).unwrap();
        assert_eq!(pages.end(), 3 * 256 * 8, "the newest stay in memory");
        let again = Pages::new(&Keeper::idle());
        again.open(&Files, dir.path(), pages.end()).unwrap();
        let restored = Shelf::new(&again);
        restored.restore(shelf.state(|n| *n < 1900));
        for (shelf, count) in [(&shelf, 1000), (&restored, 950)] {
            assert_eq!((shelf.len(), shelf.last()), (count, Some(2 * count as u64 - 2)));
            for index in 0..count {
                assert_eq!(shelf.get(index).unwrap(), Some(2 * index as u64));
                assert_eq!(shelf.count_while(|n| *n < 2 * index as u64).unwrap(), index);
            }
            assert_eq!(shelf.get(count).unwrap(), None);
            assert_eq!(shelf.count_while(|_| true).unwrap(), count);
            for (start, end) in [(0, 1), (0, 2000), (255, 257), (256, 512), (700, 800), (800, 900), (5, 5)] {
                let expected: Vec<u64> = (start..end.min(count as u64)).map(|n| 2 * n).collect();
                let found = shelf.between(|n| *n < 2 * start, |n| *n < 2 * end).unwrap();
                assert_eq!(found, expected, "{start} to {end}");
            }
        }
    }

    #[test]
    fn a_changed_page_and_a_short_file_are_refused_by_place() {
        let dir = tempfile::tempdir().unwrap();
        let (pages, shelf) = spilled(dir.path(), 1000);
        shelf.spill(|_| true).unwrap();
        let path = pages_path(dir.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[2048 + 9] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(shelf.get(255).unwrap(), Some(510));
        let refused = shelf.get(256).unwrap_err().to_string();
        assert!(refused.contains("places.bin at offset 2048: a page has changed"), "{refused}");
        assert!(pages.keeper.distrusted(), "no snapshot may rely on it");
        assert!(Pages::new(&Keeper::idle()).open(&Files, dir.path(), bytes.len() as u64 + 1).is_err());
    }
}
