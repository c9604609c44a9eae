//! Keeps the next segment written with zeros ahead of need, and watches the free space.
//!
//! A preallocated file makes fdatasync of the tail cheap: no size and no extent changes.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::disk::{Access, Disk};
use super::log::Opening;

/// How often free space is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const GIB: u64 = 1 << 30;

/// Why there is no next segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSegment {
    /// Nothing is broken, there is just no room; it may be asked for again.
    Full(String),
    /// The medium failed.
    Failed(String),
}

#[derive(Default)]
struct State {
    made: Option<(u64, Result<(), NoSegment>)>,
    low: Option<String>,
}

/// Where and how segments are made.
#[derive(Clone)]
struct Maker {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    bytes: u64,
    low_water: Option<u64>,
}

/// Handle to the background thread, or the maker itself where there is none.
pub struct Reserve {
    orders: Option<mpsc::Sender<u64>>,
    state: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
    /// Makes segments in the caller's thread.
    maker: Option<Maker>,
}

/// Path of segment `number` in `dir`.
pub fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

impl Reserve {
    /// Starts the thread, unless the opening wants segments made by whoever orders them.
    /// `low_water`: free bytes below which [`Reserve::low`] speaks up; `None`: 5 % of the file
    /// system or 1 GiB, whichever is smaller.
    pub fn start(dir: PathBuf, opening: &Opening) -> io::Result<Reserve> {
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let Opening { disk, segment_bytes, low_water, .. } = opening;
        let maker = Maker { disk: Arc::clone(disk), dir, bytes: *segment_bytes, low_water: *low_water };
        maker.look(&state);
        if !opening.ahead {
            return Ok(Reserve { orders: None, state, thread: None, maker: Some(maker) });
        }
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("journal-reserve".into())
            .spawn(move || work(&maker, &inbox, &shared))?;
        Ok(Reserve { orders: Some(orders), state, thread: Some(thread), maker: None })
    }

    /// Asks for segment `number`.
    pub fn order(&self, number: u64) {
        if let Some(orders) = &self.orders {
            // A dead thread shows in `take`, which then finds nothing made.
            let _ = orders.send(number);
        }
        if let Some(maker) = &self.maker {
            maker.work(number, &self.state);
        }
    }

    /// Waits for segment `number`, ordering it (again) if need be.
    pub fn take(&self, number: u64) -> Result<(), NoSegment> {
        let (lock, ready) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match state.made.take() {
                Some((made, outcome)) if made == number => {
                    drop(state);
                    if matches!(outcome, Err(NoSegment::Full(_))) {
                        self.order(number);
                    }
                    return outcome;
                }
                _ if self.thread.as_ref().is_none_or(JoinHandle::is_finished) => {
                    return Err(NoSegment::Failed("the thread that prepares segments ended".into()));
                }
                _ => {}
            }
            let waited = ready.wait_timeout(state, LOOK_EVERY);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Why new entries should be refused: free space is below the low-water mark.
    pub fn low(&self) -> Option<String> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).low.clone()
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

type Shared = (Mutex<State>, Condvar);

fn work(maker: &Maker, inbox: &mpsc::Receiver<u64>, shared: &Shared) {
    loop {
        match inbox.recv_timeout(LOOK_EVERY) {
            Ok(number) => maker.work(number, shared),
            Err(RecvTimeoutError::Timeout) => maker.look(shared),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

impl Maker {
    fn work(&self, number: u64, shared: &Shared) {
        let made = make(&*self.disk, &self.dir, number, self.bytes);
        let outcome = made.map_err(|e| judge(&self.dir, number, &e));
        let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.made = Some((number, outcome));
        shared.1.notify_all();
        drop(state);
        self.look(shared);
    }

    fn look(&self, shared: &Shared) {
        let Some((free, total)) = self.disk.space(&self.dir) else { return };
        let mark = self.low_water.unwrap_or_else(|| GIB.min(total / 20));
        let dir = self.dir.display();
        let low = (free < mark)
            .then(|| format!("{dir} has {free} bytes free, less than the low-water mark of {mark}"));
        shared.0.lock().unwrap_or_else(PoisonError::into_inner).low = low;
    }
}

fn judge(dir: &Path, number: u64, error: &io::Error) -> NoSegment {
    let text = format!("cannot prepare {}: {error}", segment_path(dir, number).display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            NoSegment::Full(text)
        }
        _ => NoSegment::Failed(text),
    }
}

/// Makes segment `number` of `bytes` zeros, durable under its name. An existing one is kept.
pub fn make(disk: &dyn Disk, dir: &Path, number: u64, bytes: u64) -> io::Result<()> {
    let path = segment_path(dir, number);
    if disk.exists(&path) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let made = fill(disk, &fresh, bytes);
    if made.is_err() {
        // Give the room back: it may be just what the open batch needs.
        let _ = disk.remove(&fresh);
    }
    made?;
    disk.rename(&fresh, &path)?;
    disk.sync_dir(dir)
}

fn fill(disk: &dyn Disk, path: &Path, bytes: u64) -> io::Result<()> {
    let file = disk.open(path, Access::Create)?;
    file.write_zeros(0, bytes)?;
    file.sync_all()
}
