//! W threads, each with a session of its own, behind one bounded queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::pin::{OpenPin, Pin, PinSource};
use super::pkcs11::{CallClass, HsmError, KeyHandle, Token, TokenSession};
use super::process;
use super::watchdog::Watchdog;
use crate::keys::wire::{
    EXIT_PIN_REFUSED, EXIT_TOKEN_LOST, Failure, FailureClass, MAX_BATCH, SignJob, Signed,
};

/// Most jobs a worker takes at once: enough to share the cost of a wake and a write, few enough to keep the first
/// of them from waiting for the last.
const MOST_TAKEN: usize = 16;
/// Answers older than this leave before the next call.
const FLUSH_AFTER: Duration = Duration::from_millis(1);
/// Most jobs in the queue.
const QUEUE: usize = 2 * MAX_BATCH;

/// Where answers go.
pub(super) trait Answers: Send + Sync {
    /// Sends them, as one frame.
    fn send(&self, answers: Vec<Signed>);
}

/// A pinned key, as workers look for it.
pub(super) struct WantedKey {
    pub(super) label: String,
    pub(super) id: Vec<u8>,
    pub(super) spki: Vec<u8>,
}

/// The queue and its workers.
pub(super) struct Pool {
    token: Arc<Token>,
    keys: Vec<WantedKey>,
    watchdog: Arc<Watchdog>,
    call_limit: Duration,
    workers: usize,
    session_copies: bool,
    pin: PinSource,
    queue: Mutex<Queue>,
    work: Condvar,
    signed: AtomicU64,
    failed: AtomicU64,
}

struct Queue {
    jobs: VecDeque<(Work, Arc<dyn Answers>)>,
    idle: usize,
}

/// One signature to make.
pub(super) struct Work {
    pub(super) id: u64,
    pub(super) key: u16,
    pub(super) data: Data,
}

/// What is signed.
pub(super) enum Data {
    Digest([u8; 32]),
    Message(Vec<u8>),
}

impl From<&SignJob> for Work {
    fn from(job: &SignJob) -> Work {
        Work { id: job.id, key: job.key, data: Data::Digest(job.digest) }
    }
}

/// What one worker owns.
struct Worker {
    number: usize,
    session: TokenSession,
    handles: Vec<KeyHandle>,
}

impl Worker {
    fn sign(&self, key: usize, data: &Data) -> Result<[u8; 64], HsmError> {
        match data {
            Data::Digest(digest) => self.session.sign(self.handles[key], digest),
            Data::Message(message) => self.session.sign_message(self.handles[key], message),
        }
    }
}

impl Pool {
    /// Opens a session a worker, finds and checks every key in each, then starts the threads.
    /// Worker `n` is caller `n` of the watchdog.
    pub(super) fn start(
        token: Arc<Token>,
        keys: Vec<WantedKey>,
        watchdog: Arc<Watchdog>,
        call_limit: Duration,
        workers: usize,
        session_copies: bool,
        pin: PinSource,
    ) -> Result<Arc<Self>, HsmError> {
        let queue = Mutex::new(Queue { jobs: VecDeque::with_capacity(QUEUE), idle: 0 });
        let (work, signed, failed) = (Condvar::new(), AtomicU64::new(0), AtomicU64::new(0));
        let pool = Self {
            token,
            keys,
            watchdog,
            call_limit,
            workers,
            session_copies,
            pin,
            queue,
            work,
            signed,
            failed,
        };
        let ready = (0..workers).map(|n| pool.equip(n)).collect::<Result<Vec<_>, _>>()?;
        let pool = Arc::new(pool);
        for worker in ready {
            let pool = pool.clone();
            std::thread::spawn(move || pool.work(worker));
        }
        Ok(pool)
    }

    /// Queues jobs; those for which there is no room come back.
    pub(super) fn push(&self, jobs: Vec<SignJob>, answers: &Arc<dyn Answers>) -> Vec<SignJob> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = QUEUE.saturating_sub(queue.jobs.len()).min(jobs.len());
        queue.jobs.extend(jobs[..room].iter().map(|job| (job.into(), answers.clone())));
        let wake = queue.idle.min(room);
        drop(queue);
        for _ in 0..wake {
            self.work.notify_one();
        }
        jobs[room..].to_vec()
    }

    /// The keys in the order of their numbers.
    pub(super) fn keys(&self) -> impl Iterator<Item = &WantedKey> {
        self.keys.iter()
    }

    /// Queues one signature of a whole message; whether there was room.
    pub(super) fn push_message(&self, work: Work, answers: &Arc<dyn Answers>) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.jobs.len() < QUEUE;
        if room {
            queue.jobs.push_back((work, answers.clone()));
            self.work.notify_one();
        }
        room
    }

    /// Signatures made, jobs failed, jobs waiting.
    pub(super) fn counts(&self) -> (u64, u64, usize) {
        let waiting = self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.len();
        (self.signed.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed), waiting)
    }

    fn guarded<T>(&self, worker: usize, call: impl FnOnce() -> T) -> T {
        self.watchdog.guard(worker, self.call_limit, call)
    }

    /// A new session with every key found in it; each search has the time of one call.
    fn equip(&self, number: usize) -> Result<Worker, HsmError> {
        let session = self.guarded(number, || self.token.session())?;
        let find = |key: &WantedKey| {
            self.guarded(number, || session.find(&key.label, &key.id, &key.spki, self.session_copies))
        };
        let handles = self.keys.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Worker { number, session, handles })
    }

    fn work(&self, mut worker: Worker) {
        loop {
            self.sign_all(&mut worker, self.take());
        }
    }

    /// A fair share of what waits, so that no worker idles while another sits on a pile.
    fn take(&self) -> Vec<(Work, Arc<dyn Answers>)> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        while queue.jobs.is_empty() {
            queue.idle += 1;
            queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
        let share = queue.jobs.len().div_ceil(self.workers).clamp(1, MOST_TAKEN);
        queue.jobs.drain(..share).collect()
    }

    /// Signs jobs in turn; answers to one connection leave together.
    fn sign_all(&self, worker: &mut Worker, jobs: Vec<(Work, Arc<dyn Answers>)>) {
        let mut done = Vec::with_capacity(jobs.len());
        let mut since = Instant::now();
        let mut jobs = jobs.into_iter().peekable();
        while let Some((job, answers)) = jobs.next() {
            let (outcome, end) = self.sign(worker, &job);
            let lost = end.zip(outcome.as_ref().err().map(|failure| failure.text.clone()));
            done.push(Signed { id: job.id, outcome });
            let same = jobs.peek().is_some_and(|(_, next)| Arc::ptr_eq(next, &answers));
            if lost.is_some() || !same || since.elapsed() > FLUSH_AFTER {
                answers.send(std::mem::take(&mut done));
                since = Instant::now();
            }
            if let Some((status, why)) = lost {
                process::end(status, &why);
            }
        }
    }

    /// The signature or why there is none; with it the exit status, where the process has to end.
    fn sign(&self, worker: &mut Worker, job: &Work) -> (Result<[u8; 64], Failure>, Option<i32>) {
        let at = usize::from(job.key);
        let Some(key) = self.keys.get(at) else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let unknown = Failure::new(FailureClass::UnknownKey, format!("there is no key number {at}"));
            return (Err(unknown), None);
        };
        let error = match self.sign_with_retry(worker, at, &job.data) {
            Ok(signature) => {
                self.signed.fetch_add(1, Ordering::Relaxed);
                return (Ok(signature), None);
            }
            Err(error) => error,
        };
        self.failed.fetch_add(1, Ordering::Relaxed);
        let (class, what) = match error.class() {
            CallClass::Request => (FailureClass::Refused, "cannot sign"),
            CallClass::Uncertain => {
                (FailureClass::Refused, "was lost within a signature, which was not repeated")
            }
            CallClass::WrongSignature => (FailureClass::WrongSignature, "does not sign"),
            CallClass::StaleHandle | CallClass::Fatal => (FailureClass::TokenLost, "cannot sign any more"),
        };
        let failure = Failure::new(class, format!("key {} {what}: {error}", key.label));
        let end = match (&error, class) {
            (HsmError::PinRefused(_), _) => Some(EXIT_PIN_REFUSED),
            (_, FailureClass::TokenLost) => Some(EXIT_TOKEN_LOST),
            // What state the session is in nobody knows: the next signature gets another one.
            _ => self.renew(worker).err().map(|lost| {
                process::say(&format!("no other session after it: {lost}"));
                match lost {
                    HsmError::PinRefused(_) => EXIT_PIN_REFUSED,
                    _ => EXIT_TOKEN_LOST,
                }
            }),
        };
        (Err(failure), end)
    }

    /// One retry, and only after a handle that died before it was given the digest: a handle may since belong to
    /// another key, so a new session finds every key again and compares its public half first.
    fn sign_with_retry(&self, worker: &mut Worker, key: usize, data: &Data) -> Result<[u8; 64], HsmError> {
        let number = worker.number;
        let first = self.guarded(number, || worker.sign(key, data));
        match first {
            Err(error) if error.class() == CallClass::StaleHandle => {
                process::say(&format!("worker {number} takes a new session: {error}"));
                self.renew(worker)?;
                self.guarded(number, || worker.sign(key, data))
            }
            other => other,
        }
    }

    /// Another session for this worker; a login before it, if the token forgot the one there was.
    fn renew(&self, worker: &mut Worker) -> Result<(), HsmError> {
        let number = worker.number;
        self.guarded(number, || self.token.login_again(|| self.pin()))?;
        let old = std::mem::replace(worker, self.equip(number)?);
        self.guarded(number, || old.session.close());
        Ok(())
    }

    /// The PIN once more: from its file; a descriptor gives it only once.
    fn pin(&self) -> Result<Pin, HsmError> {
        let no = |why: String| HsmError::NoPin(why);
        match &self.pin {
            PinSource::File(_) => self.pin.open().and_then(OpenPin::read).map_err(|e| no(e.to_string())),
            PinSource::Descriptor(_) => Err(no("the PIN came through a descriptor and is gone".into())),
        }
    }
}
