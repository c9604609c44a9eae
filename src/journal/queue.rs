//! The bounded queue before the sequencer: taken whole each time the last batch is durable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::control::Ordered;
use super::record::SLOT_BYTES;
use super::settle::Settlement;
use super::state::{Journal, Seal};
use super::{JournalError, JournalInfo, JournalName, Recorded, RequestId, Submission};
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// Commands and entries of one batch at most.
const BATCH_COMMANDS: usize = 4096;
const BATCH_ENTRIES: usize = 16_384;
/// Bytes a touched journal may add to a record beyond its entries: head text, section, charter.
const PER_COMMAND: usize = 1024;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Commands.
    pub commands: usize,
    /// Digests in them.
    pub entries: usize,
    /// Bytes of details in them.
    pub details: usize,
    /// Bytes of one batch's record, about; one command is taken whatever it has.
    pub batch_bytes: usize,
}

impl Default for Limits {
    /// Some 40 MiB of memory at most: sixteen of the largest batches, four of the largest in commands.
    fn default() -> Self {
        Limits { commands: 16_384, entries: 262_144, details: 16 << 20, batch_bytes: 8 << 20 }
    }
}

/// Where the submissions of a sealed request stand.
#[derive(Debug)]
pub enum Positions {
    /// All new, in order, from this sequence.
    Run(u64),
    /// One sequence a submission.
    Each(Vec<u64>),
}

/// A durable and sealed request.
#[derive(Debug)]
pub struct Placed {
    /// As they came.
    pub submissions: Vec<Submission>,
    /// Where they stand.
    pub positions: Positions,
}

impl Placed {
    /// Highest sequence among them.
    pub fn last(&self) -> u64 {
        match &self.positions {
            Positions::Run(first) => first + (self.submissions.len() as u64).saturating_sub(1),
            Positions::Each(each) => each.iter().copied().max().unwrap_or_default(),
        }
    }
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, JournalError>>;

/// What the sequencer is asked to do.
pub enum Command {
    /// Append digests, answer when sealed.
    Seal {
        /// Which journal.
        journal: Arc<Journal>,
        /// Whose it must be; `None`: the caller knows.
        by: Option<InstitutionId>,
        /// The digests.
        submissions: Vec<Submission>,
        /// The size the caller believes.
        expect: Option<u64>,
        /// Where the answer goes.
        reply: Reply<Placed>,
    },
    /// Append a control entry, answer when durable.
    Record {
        /// Which own journal.
        journal: Arc<Journal>,
        /// Id of the entry.
        id: RequestId,
        /// What it says.
        detail: Vec<u8>,
        /// SHA-256 of that.
        digest: Digest,
        /// Where the answer goes.
        reply: Reply<Recorded>,
    },
    /// Where an id stands among the durable entries.
    Find {
        /// Which journal.
        journal: Arc<Journal>,
        /// The id.
        id: RequestId,
        /// Where the answer goes.
        reply: Reply<Option<u64>>,
    },
    /// Freeze a journal or hand it over, in a batch of its own.
    Control {
        /// Which journal.
        journal: Arc<Journal>,
        /// What is to happen.
        ordered: Ordered,
        /// Where the answer goes.
        reply: Reply<Recorded>,
    },
    /// End the quarantine: a new epoch begins in every journal.
    Settle {
        /// What is recorded.
        settlement: Settlement,
        /// Where the answer goes.
        reply: Reply<Recorded>,
    },
    /// Open a journal, answer when durable.
    Create {
        /// Its name.
        name: JournalName,
        /// Its owner; `None` for own journals.
        institution: Option<InstitutionId>,
        /// Where the answer goes.
        reply: Reply<JournalInfo>,
    },
}

impl Command {
    fn entries(&self) -> usize {
        match self {
            Command::Seal { submissions, .. } => submissions.len(),
            Command::Record { .. }
            | Command::Create { .. }
            | Command::Find { .. }
            | Command::Control { .. }
            | Command::Settle { .. } => 1,
        }
    }
    fn details(&self) -> usize {
        match self {
            Command::Record { detail, .. } => detail.len(),
            Command::Settle { settlement, .. } => settlement.detail.len(),
            _ => 0,
        }
    }
}

/// What came of an attempt to seal.
pub enum SealOutcome {
    /// Signed and stamped; the answer says whether the record of it is durable.
    Done {
        /// The seal.
        seal: Arc<Seal>,
        /// Where the answer goes.
        durable: oneshot::Sender<Result<(), JournalError>>,
    },
    /// No seal now; who waits is told why.
    Failed(String),
}

/// Everything that was queued when the sequencer asked.
#[derive(Default)]
pub struct Work {
    /// Requests.
    pub commands: Vec<Command>,
    /// The sealer's message.
    pub seal: Option<SealOutcome>,
}

#[derive(Default)]
struct State {
    commands: VecDeque<Command>,
    entries: usize,
    details: usize,
    seal: Option<SealOutcome>,
    closed: bool,
}

/// The queue.
pub struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    limits: Limits,
}

impl Queue {
    /// An empty queue.
    pub fn new(limits: Limits) -> Queue {
        Queue { state: Mutex::default(), ready: Condvar::new(), limits }
    }

    /// Adds a command, or says at once that there is no room.
    pub fn push(&self, command: Command) -> Result<(), JournalError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (entries, details) = (state.entries + command.entries(), state.details + command.details());
        if state.closed {
            return Err(JournalError::NotNow("the service is stopping".into()));
        }
        let full = state.commands.len() >= self.limits.commands
            || entries > self.limits.entries
            || details > self.limits.details;
        if full {
            return Err(JournalError::Busy);
        }
        (state.entries, state.details) = (entries, details);
        state.commands.push_back(command);
        let first = state.commands.len() == 1;
        drop(state);
        if first {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// The sealer's message; there is at most one under way.
    pub fn push_seal(&self, outcome: SealOutcome) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seal = Some(outcome);
        self.ready.notify_one();
    }

    /// No more commands; what is queued is still done.
    pub fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.ready.notify_one();
    }

    /// The sequencer ended out of turn: what is queued is dropped, whose callers then learn it.
    pub fn abandon(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (state.closed, state.seal) = (true, None);
        state.commands.clear();
    }

    /// Waits for work and takes up to one batch of it; `None` when closed and empty.
    pub fn take(&self) -> Option<Work> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.commands.is_empty() && state.seal.is_none() {
            if state.closed {
                return None;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let mut work = Work { commands: Vec::new(), seal: state.seal.take() };
        let (mut entries, mut details, mut bytes) = (0, 0, 0);
        while let Some(command) = state.commands.front() {
            let (more_entries, more_details) = (command.entries(), command.details());
            let more_bytes = more_entries * SLOT_BYTES + more_details + PER_COMMAND;
            let beyond = work.commands.len() >= BATCH_COMMANDS
                || entries + more_entries > BATCH_ENTRIES
                || bytes + more_bytes > self.limits.batch_bytes;
            if beyond && !work.commands.is_empty() {
                break;
            }
            entries += more_entries;
            details += more_details;
            bytes += more_bytes;
            work.commands.extend(state.commands.pop_front());
        }
        state.entries -= entries;
        state.details -= details;
        Some(work)
    }
}
