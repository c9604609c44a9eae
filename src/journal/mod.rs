//! Hash-chained journals under one root log: entries, group commit, receipts, verification.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use self::queue::Queue;
use self::state::Shared;
use crate::witness::Witnesses;

pub use error::JournalError;
pub use name::{JournalInfo, JournalName, OwnJournal, Recorded, RequestId, Submission};
pub use parts::{JournalStats, Parts, StampFn, Tuning};

use name::charter_text;

/// Submissions of one request at most.
const SUBMISSIONS_MAX: usize = 4096;
/// Bytes of one own entry's detail at most.
const DETAIL_MAX: usize = 256 << 10;

/// All journals of one appliance. Cheap to clone. When the last handle is dropped, what is queued
/// is still written, the threads end and the directory's lock is released.
#[derive(Clone)]
pub struct Journals(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    sequencer: Mutex<Option<JoinHandle<()>>>,
    sealer: tokio::task::JoinHandle<()>,
    witnesses: Witnesses,
    twins: twin::rounds::Twins,
    second: second::Second,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.sealer.abort();
        if let Some(thread) = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        self.shared.keeper.stop();
    }
}

mod batch;
mod canonical;
pub mod checkpoint;
pub mod compare;
pub mod control;
pub mod disk;
pub mod entry;
pub mod epoch;
mod error;
pub mod evidence;
pub mod export;
pub mod extent;
pub mod index;
pub mod known;
pub mod life;
mod log;
mod lookup;
pub mod moment;
mod name;
pub mod nodes;
pub mod note;
mod open;
pub mod outflow;
pub mod parallel;
mod parts;
mod published;
pub mod queue;
pub mod range_export;
mod read;
pub mod receipt;
pub mod reconcile;
pub mod record;
mod recover;
pub mod replay;
mod replica;
mod reserve;
pub mod restore;
mod resume;
pub mod resurrect;
pub mod run;
mod sealer;
pub mod second;
mod segments;
mod settle;
pub mod shelf;
pub mod snapshot;
mod snapshots;
mod stage;
mod standing;
mod state;
pub mod stepwise;
mod stream;
pub mod tenure;
pub mod tile_name;
mod tiles;
pub mod tree;
pub mod twin;
pub mod verify;
mod visible;
mod write;
