//! Tree storage: the growing edge in memory, full tiles of 256 hashes also at C2SP tlog-tiles paths.
//!
//! Tiles are caches of the log: written without fsync, compared and rewritten at start, and a tile
//! read back later must lead to its parent's hash.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use super::JournalError;
use super::disk::Disk;
use super::snapshot::TreeState;
use super::snapshots::forget;
use super::tile_name::groups;
use super::tree::{empty_root, node_hash};
use crate::digest::Digest;

/// Levels of hashes a tile spans; its width is 2^8.
const ROWS: usize = 8;
const WIDTH: usize = 1 << ROWS;
const TILE_BYTES: usize = WIDTH * 32;
/// Full tiles kept in memory over all trees, about 16 KiB each.
const KEPT: usize = 4096;
/// Unwritten tiles at which the replay at start waits for the writer.
const BACKLOG: usize = 1024;
/// Leaves appended under one write lock, so that readers wait microseconds only.
const CHUNK: usize = 512;

/// All complete subtrees within one tile: row `k` holds those of 2^k of the tile's hashes.
#[derive(Default)]
struct Nodes {
    rows: [Vec<Digest>; ROWS],
}

impl Nodes {
    /// Adds a hash; the tile's own root when that filled it.
    fn push(&mut self, hash: Digest) -> Option<Digest> {
        let mut hash = hash;
        for row in &mut self.rows {
            row.push(hash);
            let [.., left, right] = row.as_slice() else { return None };
            if row.len() % 2 == 1 {
                return None;
            }
            hash = node_hash(left, right);
        }
        Some(hash)
    }

    fn of_leaves(bytes: &[u8]) -> Option<(Nodes, Digest)> {
        let mut nodes = Nodes::default();
        let mut root = None;
        for leaf in bytes.chunks(32) {
            root = nodes.push(Digest::try_from(leaf).ok()?);
        }
        root.map(|root| (nodes, root))
    }

    fn bytes(&self) -> Vec<u8> {
        self.rows[0].iter().flat_map(|d| *d.as_bytes()).collect()
    }
}

#[derive(Default)]
struct Level {
    edge: Nodes,
    full: HashMap<u64, Arc<Nodes>>,
    /// Number of the edge tile.
    at: u64,
}

#[derive(Default)]
struct Core {
    size: u64,
    levels: Vec<Level>,
}

impl Core {
    fn append(&mut self, leaf: Digest, filled: &mut Vec<(u8, u64, Arc<Nodes>)>) {
        self.size += 1;
        let mut carry = Some(leaf);
        for depth in 0.. {
            let Some(hash) = carry else { return };
            if self.levels.len() == depth {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[depth];
            carry = level.edge.push(hash);
            if carry.is_some() {
                let tile = Arc::new(std::mem::take(&mut level.edge));
                level.full.insert(level.at, Arc::clone(&tile));
                filled.push((depth as u8, level.at, tile));
                level.at += 1;
            }
        }
    }

    fn node(&self, level: u8, index: u64) -> Option<Digest> {
        let (depth, tile, row, position) = locate(level, index);
        let level = self.levels.get(depth)?;
        let nodes = if tile == level.at { &level.edge } else { level.full.get(&tile)?.as_ref() };
        nodes.rows[row].get(position).copied()
    }
}

/// Tile level, tile number, row and position of the complete subtree `index` of 2^`level` leaves.
fn locate(level: u8, index: u64) -> (usize, u64, usize, usize) {
    let (depth, row) = (usize::from(level) / ROWS, usize::from(level) % ROWS);
    let bits = ROWS - row;
    (depth, index >> bits, row, (index & ((1 << bits) - 1)) as usize)
}

/// One RFC 6962 tree. Appended to by the sequencer alone, read from any thread.
pub struct Tree {
    core: RwLock<Core>,
    dir: PathBuf,
    keeper: Arc<Keeper>,
}

impl Tree {
    /// An empty tree whose tiles go below `dir`.
    pub fn new(dir: PathBuf, keeper: &Arc<Keeper>) -> Arc<Tree> {
        Arc::new(Tree { core: RwLock::default(), dir, keeper: Arc::clone(keeper) })
    }

    /// Leaves, durable or not.
    pub fn size(&self) -> u64 {
        self.core.read().unwrap_or_else(PoisonError::into_inner).size
    }

    /// Appends leaves.
    pub fn append(self: &Arc<Self>, leaves: &[Digest]) {
        let mut filled = Vec::new();
        for chunk in leaves.chunks(CHUNK) {
            let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
            chunk.iter().for_each(|leaf| core.append(*leaf, &mut filled));
        }
        for (level, index, tile) in filled {
            self.keeper.keep(Work { tree: Arc::downgrade(self), level, index, tile, written: false });
        }
    }

    /// Hash of the complete subtree `index` of 2^`level` leaves.
    pub fn read(self: &Arc<Self>, level: u8, index: u64) -> Result<Digest, JournalError> {
        let find = || self.core.read().unwrap_or_else(PoisonError::into_inner).node(level, index);
        if let Some(hash) = find() {
            return Ok(hash);
        }
        let (depth, tile, row, position) = locate(level, index);
        // The loaded tile itself is asked: the keeper may have forgotten it again.
        let nodes = self.load(depth as u8, tile)?;
        let hash = nodes.rows[row].get(position).copied();
        hash.ok_or_else(|| self.damage(depth as u8, tile, "it is not in the tree"))
    }

    /// The first `width` hashes of a tile, concatenated.
    pub fn tile(self: &Arc<Self>, level: u8, index: u64, width: u16) -> Result<Vec<u8>, JournalError> {
        let cut = |nodes: &Nodes| -> Option<Vec<u8>> {
            let hashes = nodes.rows[0].get(..usize::from(width))?;
            Some(hashes.iter().flat_map(|hash| *hash.as_bytes()).collect())
        };
        let in_memory = {
            let core = self.core.read().unwrap_or_else(PoisonError::into_inner);
            let depth = core.levels.get(usize::from(level));
            depth.and_then(|depth| {
                if index == depth.at {
                    cut(&depth.edge)
                } else {
                    depth.full.get(&index).and_then(|tile| cut(tile))
                }
            })
        };
        match in_memory {
            Some(bytes) => Ok(bytes),
            None => cut(&*self.load(level, index)?)
                .ok_or_else(|| self.damage(level, index, "it is not in the tree")),
        }
    }

    /// Root of the first `size` leaves.
    pub fn root(self: &Arc<Self>, size: u64) -> Result<Digest, JournalError> {
        let mut root = None;
        for level in (0..64).filter(|level| size >> level & 1 == 1) {
            let left = self.read(level, (size >> level) - 1)?;
            root = Some(root.map_or(left, |right| node_hash(&left, &right)));
        }
        Ok(root.unwrap_or_else(empty_root))
    }

    /// The first `size` leaves' unfinished tiles; what a snapshot keeps of a tree.
    pub fn state(self: &Arc<Self>, size: u64) -> Result<TreeState, JournalError> {
        let mut edges = Vec::new();
        for depth in 0..8 {
            let count = size >> (ROWS * depth);
            if count == 0 {
                break;
            }
            let edge = count - count % WIDTH as u64..count;
            edges.push(edge.map(|at| self.read((ROWS * depth) as u8, at)).collect::<Result<_, _>>()?);
        }
        Ok(TreeState { size, edges })
    }

    /// Takes up such a state; full tiles are then read from their files.
    pub fn restore(&self, state: &TreeState) {
        let mut core = Core { size: state.size, levels: Vec::new() };
        for (depth, edge) in state.edges.iter().enumerate() {
            let mut level = Level { at: state.size >> (ROWS * (depth + 1)), ..Level::default() };
            for hash in edge {
                level.edge.push(*hash);
            }
            core.levels.push(level);
        }
        *self.core.write().unwrap_or_else(PoisonError::into_inner) = core;
    }

    fn load(self: &Arc<Self>, level: u8, index: u64) -> Result<Arc<Nodes>, JournalError> {
        let whole = self.core.read().unwrap_or_else(PoisonError::into_inner);
        let beyond = whole.levels.get(usize::from(level)).is_none_or(|l| index >= l.at);
        drop(whole);
        if beyond || level > 6 {
            return Err(self.damage(level, index, "it is beyond the tree"));
        }
        let path = self.dir.join(tile_path(level, index));
        let bytes = fs::read(&path).map_err(|e| self.damage(level, index, &e.to_string()))?;
        let loaded = if bytes.len() == TILE_BYTES { Nodes::of_leaves(&bytes) } else { None };
        let (nodes, root) = loaded.ok_or_else(|| self.damage(level, index, "it is not 8192 bytes"))?;
        if self.read((level + 1) * ROWS as u8, index)? != root {
            return Err(self.damage(level, index, "it does not lead to its parent's hash"));
        }
        let tile = Arc::new(nodes);
        let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stored) = core.levels.get_mut(usize::from(level)) {
            stored.full.insert(index, Arc::clone(&tile));
        }
        drop(core);
        let kept = Arc::clone(&tile);
        self.keeper.keep(Work { tree: Arc::downgrade(self), level, index, tile: kept, written: true });
        Ok(tile)
    }

    fn damage(&self, level: u8, index: u64, what: &str) -> JournalError {
        self.keeper.distrust();
        let path = self.dir.join(tile_path(level, index));
        JournalError::Damaged(format!("tile {}: {what} (a restart rebuilds tiles)", path.display()))
    }

    fn forget(&self, level: u8, index: u64) {
        let mut core = self.core.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(level) = core.levels.get_mut(usize::from(level)) {
            level.full.remove(&index);
        }
    }
}

/// Where a full tile's file stands (C2SP tlog-tiles).
fn tile_path(level: u8, index: u64) -> String {
    format!("tile/{level}/{}", groups(index))
}

struct Work {
    tree: Weak<Tree>,
    level: u8,
    index: u64,
    tile: Arc<Nodes>,
    /// It came from its file.
    written: bool,
}

/// Writes full tiles in the background and forgets the oldest written ones.
#[derive(Default)]
pub struct Keeper {
    works: Mutex<Option<mpsc::Sender<Work>>>,
    backlog: Arc<AtomicUsize>,
    /// Works ever taken up and ever finished; both only grow.
    ordered: AtomicU64,
    finished: Arc<AtomicU64>,
    /// Set when a cache turned out wrong or could not be written: no snapshot may rely on it.
    distrusted: Arc<AtomicBool>,
    snapshots: OnceLock<(Arc<dyn Disk>, PathBuf)>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    /// Starts the thread; at most `kept` written tiles stay in memory.
    pub fn start(kept: Option<usize>) -> io::Result<Arc<Keeper>> {
        let (works, inbox) = mpsc::channel::<Work>();
        let backlog = Arc::new(AtomicUsize::new(0));
        let open = Arc::clone(&backlog);
        let (finished, distrusted) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let (done, failed) = (Arc::clone(&finished), Arc::clone(&distrusted));
        let kept = kept.unwrap_or(KEPT);
        let thread = std::thread::Builder::new()
            .name("journal-tiles".into())
            .spawn(move || work(&inbox, &open, &done, &failed, kept))?;
        let (works, thread) = (Mutex::new(Some(works)), Mutex::new(Some(thread)));
        let (ordered, snapshots) = (AtomicU64::new(0), OnceLock::new());
        Ok(Arc::new(Keeper { works, backlog, ordered, finished, distrusted, snapshots, thread }))
    }

    /// Without a writer: tiles stay in memory.
    pub fn idle() -> Arc<Keeper> {
        Arc::new(Keeper::default())
    }

    fn keep(&self, work: Work) {
        if let Some(works) = &*self.works.lock().unwrap_or_else(PoisonError::into_inner) {
            self.backlog.fetch_add(1, Ordering::Relaxed);
            self.ordered.fetch_add(1, Ordering::Relaxed);
            // Without a writer the tile simply stays in memory.
            let _ = works.send(work);
        }
    }

    /// Waits until every tile ordered so far is written, and the file system below `dir` durable.
    pub fn settle(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let target = self.ordered.load(Ordering::Relaxed);
        while self.finished.load(Ordering::Acquire) < target {
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            if thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(io::Error::other("the tile writer is gone"));
            }
            drop(thread);
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.distrusted() {
            return Err(io::Error::other("a tile or the index is wrong or unwritten"));
        }
        disk.sync_tree(dir)
    }

    /// Where snapshots lie that rely on the tiles.
    pub fn snapshots_in(&self, disk: Arc<dyn Disk>, dir: PathBuf) {
        let _ = self.snapshots.set((disk, dir));
    }

    /// A cache turned out wrong: the next start must replay the whole log, which makes them all again.
    pub fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
        if let Some((disk, dir)) = self.snapshots.get()
            && let Err(error) = forget(&**disk, dir)
        {
            tracing::warn!(%error, dir = %dir.display(), "remove snapshot.bin there: it relies on damaged files");
        }
    }

    /// The whole log is replayed: every cache is made again.
    pub fn trust(&self) {
        self.distrusted.store(false, Ordering::Release);
    }

    /// Whether that happened.
    pub fn distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Acquire)
    }

    /// Waits until the writer has nearly caught up: the replay at start makes tiles faster than disks take them.
    pub fn throttle(&self) {
        while self.backlog.load(Ordering::Relaxed) > BACKLOG {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes what is left and ends the thread.
    pub fn stop(&self) {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn work(
    inbox: &mpsc::Receiver<Work>,
    backlog: &AtomicUsize,
    finished: &AtomicU64,
    failed: &AtomicBool,
    kept: usize,
) {
    let mut written: VecDeque<(Weak<Tree>, u8, u64)> = VecDeque::new();
    while let Ok(work) = inbox.recv() {
        let Work { tree, level, index, tile, written: already } = work;
        let stored = tree.upgrade().map_or(Ok(()), |tree| {
            if already { Ok(()) } else { write(&tree.dir, level, index, &tile.bytes()) }
        });
        match stored {
            Ok(()) => written.push_back((tree, level, index)),
            // It stays in memory; the next start writes it again.
            Err(e) => {
                failed.store(true, Ordering::Release);
                tracing::warn!(error = %e, level, index, "a tile could not be written");
            }
        }
        while written.len() > kept {
            if let Some((tree, level, index)) = written.pop_front()
                && let Some(tree) = tree.upgrade()
            {
                tree.forget(level, index);
            }
        }
        backlog.fetch_sub(1, Ordering::Relaxed);
        finished.fetch_add(1, Ordering::Release);
    }
}

fn write(dir: &Path, level: u8, index: u64, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(tile_path(level, index));
    match fs::read(&path) {
        Ok(stored) if stored == bytes => return Ok(()),
        Ok(_) => tracing::warn!(path = %path.display(), "a tile was wrong and is rebuilt"),
        Err(_) => {}
    }
    let folder = path.parent().unwrap_or(dir);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let fresh = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(options.write(true).create(true).truncate(true), 0o600);
    io::Write::write_all(&mut options.open(&fresh)?, bytes)?;
    fs::rename(&fresh, &path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tree::{CompactRange, inclusion_path, leaf_hash, verify_inclusion};

    fn leaves(count: u32) -> Vec<Digest> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn roots_of_every_size_equal_those_of_the_compact_range() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::start(None).unwrap();
        let tree = Tree::new(dir.path().into(), &keeper);
        let leaves = leaves(700);
        tree.append(&leaves);
        let mut range = CompactRange::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(tree.root(size as u64).unwrap(), range.root());
            range.append(*leaf);
        }
        assert_eq!(tree.root(700).unwrap(), range.root());
    }

    #[test]
    fn forgotten_tiles_are_read_from_disk_and_wrong_ones_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::start(Some(0)).unwrap();
        let tree = Tree::new(dir.path().into(), &keeper);
        let leaves = leaves(70_000);
        tree.append(&leaves);
        keeper.stop();
        let root = tree.root(70_000).unwrap();
        for index in [0, 255, 256, 65_535, 65_536, 69_999] {
            let path = inclusion_path(index, 70_000, |l, i| tree.read(l, i)).unwrap();
            verify_inclusion(&leaves[index as usize], index, 70_000, &path, &root).unwrap();
        }
        let other = dir.path().join("tile/0/009");
        let mut bytes = fs::read(&other).unwrap();
        bytes[100] ^= 1;
        fs::write(&other, bytes).unwrap();
        let refused = tree.read(0, 9 * 256 + 3).unwrap_err();
        assert!(matches!(refused, JournalError::Damaged(text) if text.contains("tile/0/009")));
    }

    #[test]
    fn a_wrong_or_missing_tile_is_rewritten_by_the_next_replay() {
        let dir = tempfile::tempdir().unwrap();
        let first = dir.path().join("tile/0/000");
        let keeper = Keeper::start(None).unwrap();
        let tree = Tree::new(dir.path().into(), &keeper);
        tree.append(&leaves(300));
        keeper.stop();
        let good = fs::read(&first).unwrap();
        fs::write(&first, b"short").unwrap();
        let keeper = Keeper::start(None).unwrap();
        let tree = Tree::new(dir.path().into(), &keeper);
        tree.append(&leaves(300));
        keeper.stop();
        assert_eq!(fs::read(&first).unwrap(), good);
    }
}
