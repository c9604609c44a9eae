//! Keeps the next segment written with zeros ahead of need, and watches the free space.
//!
//! A preallocated file makes fdatasync of the tail cheap: no size and no extent changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

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

/// Handle to the background thread.
pub struct Reserve {
    orders: Option<mpsc::Sender<u64>>,
    state: Arc<(Mutex<State>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// Path of segment `number` in `dir`.
pub fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.seg"))
}

impl Reserve {
    /// Starts the thread. `low_water`: free bytes below which [`Reserve::low`] speaks up; `None`:
    /// 5 % of the file system or 1 GiB, whichever is smaller.
    pub fn start(dir: PathBuf, segment_bytes: u64, low_water: Option<u64>) -> io::Result<Reserve> {
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let (orders, inbox) = mpsc::channel();
        let shared = Arc::clone(&state);
        look(&dir, low_water, &shared);
        let thread = std::thread::Builder::new()
            .name("journal-reserve".into())
            .spawn(move || work(&dir, segment_bytes, low_water, &inbox, &shared))?;
        Ok(Reserve { orders: Some(orders), state, thread: Some(thread) })
    }

    /// Asks for segment `number`.
    pub fn order(&self, number: u64) {
        if let Some(orders) = &self.orders {
            // A dead thread shows in `take`, which then finds nothing made.
            let _ = orders.send(number);
        }
    }

    /// Waits for segment `number`, ordering it (again) if need be.
    pub fn take(&self, number: u64) -> Result<(), NoSegment> {
        let (lock, ready) = &*self.state;
        let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match state.made.take() {
                Some((made, outcome)) if made == number => {
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

fn work(dir: &Path, bytes: u64, low_water: Option<u64>, inbox: &mpsc::Receiver<u64>, shared: &Shared) {
    loop {
        match inbox.recv_timeout(LOOK_EVERY) {
            Ok(number) => {
                let outcome = make(dir, number, bytes).map_err(|e| judge(dir, number, &e));
                let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                state.made = Some((number, outcome));
                shared.1.notify_all();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        look(dir, low_water, shared);
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

fn look(dir: &Path, low_water: Option<u64>, shared: &Shared) {
    let Ok(stat) = rustix::fs::statvfs(dir) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let mark = low_water.unwrap_or_else(|| GIB.min(stat.f_blocks.saturating_mul(stat.f_frsize) / 20));
    let low = (free < mark)
        .then(|| format!("{} has {free} bytes free, less than the low-water mark of {mark}", dir.display()));
    shared.0.lock().unwrap_or_else(PoisonError::into_inner).low = low;
}

/// Makes segment `number` of `bytes` zeros, durable under its name. An existing one is kept.
pub fn make(dir: &Path, number: u64, bytes: u64) -> io::Result<()> {
    let path = segment_path(dir, number);
    if path.exists() {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let made = fill(&fresh, bytes);
    if made.is_err() {
        // Give the room back: it may be just what the open batch needs.
        let _ = fs::remove_file(&fresh);
    }
    made?;
    fs::rename(&fresh, &path)?;
    File::open(dir)?.sync_all()
}

fn fill(path: &Path, bytes: u64) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    write_zeros(&mut file, bytes)?;
    file.sync_all()
}

/// Writes `bytes` zeros at the file's position.
pub fn write_zeros(file: &mut File, mut bytes: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    while bytes > 0 {
        let part = bytes.min(zeros.len() as u64);
        file.write_all(&zeros[..part as usize])?;
        bytes -= part;
    }
    Ok(())
}
