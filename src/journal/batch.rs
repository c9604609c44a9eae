//! The sequencer: one thread that owns order, times and request ids, and closes a batch whenever
//! the last one is durable.
//!
//! Each round: stage what is queued → extend the trees → one record, one fdatasync → read it back
//! and recompute every root by [`Replica`] → only now tell the sealer and whoever waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use super::canonical::{EntryBytes, head_text};
use super::entry::EntryKind;
use super::index::Ids;
use super::log::{AppendError, Log, Place};
use super::queue::{Command, Placed, Queue, SealOutcome, Work};
use super::record::{Group, Record, SLOT_BYTES, Section, push_section};
use super::replica::Replica;
use super::snapshots::{Cut, Snapshots};
use super::state::{Found, Journal, Seal, Shared};
use super::tree::leaf_hash;
use super::visible::Visible;
use super::{JournalError, JournalInfo, Recorded};
use crate::clock::{Clock, UtcMicros};
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// Bound of an entry whose time is not trusted.
const UNKNOWN_BOUND: u32 = u32::MAX;

/// What the sealer should cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Target {
    /// Durable, verified leaves of the root log.
    pub root_size: u64,
    /// Their root.
    pub root: Digest,
    /// Leaves a durable seal covers.
    pub sealed: u64,
    /// Whether a caller waits for it.
    pub waiting: bool,
}

/// What only the sequencer knows of a journal.
pub(super) struct Line {
    pub(super) journal: Arc<Journal>,
    pub(super) next: u64,
    pub(super) prev: Digest,
    /// Position of its group in the batch being built.
    pub(super) staged: Option<usize>,
}

/// A journal's part of the batch being built.
pub(super) struct Staged {
    pub(super) line: usize,
    pub(super) kind: EntryKind,
    pub(super) first: u64,
    pub(super) slots: Vec<u8>,
    pub(super) details: Vec<Vec<u8>>,
}

/// A request whose entries wait for a seal.
struct Waiter {
    /// Root-log size that must be sealed.
    until: u64,
    placed: Placed,
    reply: oneshot::Sender<Result<Placed, JournalError>>,
}

type Recording = (oneshot::Sender<Result<Recorded, JournalError>>, usize, u64);
type Waiting = (Arc<Journal>, Placed, oneshot::Sender<Result<Placed, JournalError>>);
type Creation = (oneshot::Sender<Result<JournalInfo, JournalError>>, Arc<Journal>);

/// The batch being built.
#[derive(Default)]
pub(super) struct Open {
    pub(super) groups: Vec<Staged>,
    pub(super) created: Vec<Arc<Journal>>,
    pub(super) waiters: Vec<Waiting>,
    pub(super) recordings: Vec<Recording>,
    pub(super) creations: Vec<Creation>,
}

/// A seal whose record is not durable yet.
pub(super) struct PendingSeal {
    seal: Arc<Seal>,
    /// SHA-256 of its token.
    token: Digest,
    durable: oneshot::Sender<Result<(), JournalError>>,
}

/// The time of a batch.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    pub(super) time: i64,
    pub(super) bound: u32,
}

/// See the module.
pub struct Sequencer {
    pub(super) shared: Arc<Shared>,
    queue: Arc<Queue>,
    pub(super) log: Log,
    clock: Clock,
    replica: Replica,
    pub(super) ids: Ids,
    snapshots: Snapshots,
    target: watch::Sender<Target>,
    pub(super) lines: Vec<Line>,
    after: Digest,
    sealed: u64,
    awaiting: Vec<Waiter>,
    /// Bytes of log since the last round.
    written: u64,
}

impl Sequencer {
    /// A sequencer that goes on where `replica` stands; [`Sequencer::adopt`] gives it the journals.
    pub fn new(
        shared: Arc<Shared>,
        queue: Arc<Queue>,
        log: Log,
        clock: Clock,
        replica: Replica,
        (ids, snapshots): (Ids, Snapshots),
        target: watch::Sender<Target>,
    ) -> Sequencer {
        let (after, sealed) = (replica.after(), replica.sealed());
        let (lines, awaiting) = (Vec::new(), Vec::new());
        Sequencer {
            shared,
            queue,
            log,
            clock,
            replica,
            ids,
            snapshots,
            target,
            lines,
            after,
            sealed,
            awaiting,
            written: 0,
        }
    }

    /// Adds a recovered journal; in the order of numbers.
    pub fn adopt(&mut self, journal: Arc<Journal>) -> Result<(), JournalError> {
        let next = journal.size();
        let prev = match next.checked_sub(1) {
            Some(last) => journal.tree.read(0, last)?,
            None => Digest::of(journal.charter.as_bytes()),
        };
        self.lines.push(Line { journal, next, prev, staged: None });
        Ok(())
    }

    /// Works until the queue is closed and empty.
    pub fn run(mut self) {
        let _watch = Watch(Arc::clone(&self.shared), Arc::clone(&self.queue));
        self.announce();
        while let Some(work) = self.queue.take() {
            self.round(work);
            self.after_round();
        }
        if self.shared.failure().is_none() {
            let Sequencer { shared, snapshots, mut ids, log, lines, replica, .. } = self;
            snapshots.stop(&mut ids, || cut(&shared, &log, &lines, &replica));
        }
    }

    /// Between two batches everything in memory is durable: a moment for a snapshot.
    pub(super) fn after_round(&mut self) {
        if self.shared.failure().is_none() && self.written > 0 {
            let Sequencer { shared, snapshots, ids, log, lines, replica, written, .. } = self;
            snapshots.after_record(std::mem::take(written), ids, || cut(shared, log, lines, replica));
        }
    }

    /// One batch.
    pub fn round(&mut self, work: Work) {
        if let Some(why) = self.shared.failure() {
            let error = JournalError::Storage(why.to_owned());
            return refuse_all(work, &error);
        }
        let seal = match work.seal {
            Some(SealOutcome::Done { seal, durable }) => self.admit_seal(seal, durable),
            Some(SealOutcome::Failed(why)) => {
                self.dismiss(&JournalError::NotNow(why));
                None
            }
            None => None,
        };
        let low = self.log.low_space();
        let (stamp, trusted) = self.stamp();
        let admission = low.clone().map_or(trusted, |why| Err(JournalError::NotNow(why)));
        let own_admission = low.map_or(Ok(()), |why| Err(JournalError::NotNow(why)));
        let sound = self.shared.admit();
        let (admission, own_admission) = (sound.clone().and(admission), sound.and(own_admission));
        let mut open = Open::default();
        let (mut controls, mut settlements) = (Vec::new(), Vec::new());
        for command in work.commands {
            match command {
                Command::Settle { settlement, reply } => settlements.push((settlement, reply)),
                Command::Control { journal, ordered, reply } => controls.push((journal, ordered, reply)),
                command => self.stage(command, &mut open, stamp, &admission, &own_admission),
            }
        }
        let quiet = open.groups.iter().all(|group| group.slots.is_empty()) && seal.is_none();
        let outcome = if quiet { Ok(()) } else { self.commit(&open, seal.as_ref(), stamp) };
        match outcome {
            Ok(()) => self.release(open, seal, stamp),
            Err(error) => self.refuse(open, seal, &error),
        }
        controls.into_iter().for_each(|(journal, ordered, reply)| self.control(&journal, &ordered, reply));
        settlements.into_iter().for_each(|(settlement, reply)| self.settle(settlement, reply));
    }

    /// Lets a seal into the batch, unless it is not one of a durable state or that state has one already.
    fn admit_seal(
        &mut self,
        seal: Arc<Seal>,
        durable: oneshot::Sender<Result<(), JournalError>>,
    ) -> Option<PendingSeal> {
        if seal.root_size <= self.sealed {
            let _ = durable.send(Ok(()));
            return None;
        }
        if let Err(error) = self.shared.admit() {
            let _ = durable.send(Err(error.clone()));
            self.dismiss(&error);
            return None;
        }
        match self.replica.check_seal(seal.root_size, &seal.note) {
            Ok(token) => Some(PendingSeal { seal, token, durable }),
            Err(why) => {
                let error = JournalError::NotNow(why);
                let _ = durable.send(Err(error.clone()));
                self.dismiss(&error);
                None
            }
        }
    }

    /// The batch's time; an error when sealing must be refused.
    pub(super) fn stamp(&self) -> (Stamp, Result<(), JournalError>) {
        let last = self.shared.last_time().map_or(i64::MIN, |t| t.0);
        match self.clock.permit() {
            Ok(permit) => {
                let utc = permit.reading.utc.0;
                // Time never decreases; what that moves it by is added to the bound.
                let time = utc.max(last);
                let bound = i64::try_from(permit.reading.bound.as_micros()).unwrap_or(i64::MAX);
                let bound = bound.saturating_add(time - utc).clamp(0, i64::from(UNKNOWN_BOUND));
                (Stamp { time, bound: bound as u32 }, Ok(()))
            }
            // An untrusted clock may stand anywhere: taking its time could push every later entry forward.
            Err(why) => {
                let stamp = Stamp { time: last.max(0), bound: UNKNOWN_BOUND };
                (stamp, Err(JournalError::NotNow(why.to_string())))
            }
        }
    }

    /// Trees, record, fdatasync, read back, second path. An error after writing began has stopped the journal.
    pub(super) fn commit(
        &mut self,
        open: &Open,
        seal: Option<&PendingSeal>,
        stamp: Stamp,
    ) -> Result<(), JournalError> {
        let room = self.log.make_room(estimate(open, seal.map(|pending| &*pending.seal)));
        room.map_err(|e| self.judge(e))?;
        let mut payload = Vec::new();
        if let Some(PendingSeal { seal, token, .. }) = seal {
            self.after = *token;
            push_section(&mut payload, &Section::Seal { root_size: seal.root_size, note: &seal.note });
        }
        for journal in &open.created {
            let institution = journal.institution.as_ref().map_or("", InstitutionId::as_str);
            let (name, charter) = (journal.name.as_str(), journal.charter.as_str());
            push_section(
                &mut payload,
                &Section::Opened { number: journal.number, name, institution, charter },
            );
        }
        for staged in open.groups.iter().filter(|group| !group.slots.is_empty()) {
            self.extend(staged, stamp, &mut payload).inspect_err(|e| self.shared.fail(e.to_string()))?;
        }
        let begun = Instant::now();
        let place = self.log.append(&payload).map_err(|e| self.judge(e))?;
        self.written += payload.len() as u64;
        let counters = &self.shared.counters;
        counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        counters.last_fsync_us.store(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.verify(place, payload.len()).map_err(|why| {
            self.shared.fail(why.clone());
            JournalError::Storage(why)
        })
    }

    fn judge(&self, error: AppendError) -> JournalError {
        match error {
            AppendError::Full(why) => JournalError::NotNow(why),
            AppendError::Failed(why) => {
                self.shared.fail(why.clone());
                JournalError::Storage(why)
            }
        }
    }

    /// First path: the group's leaves into the journal's tree, its head into the root log's.
    fn extend(&mut self, staged: &Staged, stamp: Stamp, payload: &mut Vec<u8>) -> Result<(), JournalError> {
        let line = &mut self.lines[staged.line];
        let journal = &line.journal;
        let mut entry = EntryBytes::new(journal.id, staged.kind, stamp.time, stamp.bound);
        let mut leaves = Vec::with_capacity(staged.slots.len() / SLOT_BYTES);
        for (slot, seq) in staged.slots.chunks_exact(SLOT_BYTES).zip(staged.first..) {
            line.prev = entry.leaf(seq, &line.prev, slot);
            leaves.push(line.prev);
        }
        journal.tree.append(&leaves);
        let root = journal.tree.root(line.next)?;
        let head = head_text(&journal.origin, line.next, &root, &self.after);
        self.shared.root.append(&[leaf_hash(head.as_bytes())]);
        let mut details = Vec::new();
        if !staged.details.is_empty() {
            staged.details.iter().for_each(|d| details.extend_from_slice(&(d.len() as u32).to_be_bytes()));
            staged.details.iter().for_each(|d| details.extend_from_slice(d));
        }
        let group = Group {
            journal: journal.number,
            kind: staged.kind as u16,
            first: staged.first,
            time: stamp.time,
            bound: stamp.bound,
            head: &head,
            slots: &staged.slots,
            details: &details,
        };
        push_section(payload, &Section::Group(group));
        Ok(())
    }

    /// Second path over the bytes read back; makes the batch visible to readers.
    fn verify(&mut self, place: Place, payload: usize) -> Result<(), String> {
        let bytes =
            self.log.read_back(place, payload).map_err(|e| format!("cannot read back {place:?}: {e}"))?;
        let record = Record::decode(&bytes).map_err(|e| format!("read back {place:?}: {e}"))?;
        let mut visible = Visible::new(&self.shared, place, self.replica.root().0);
        self.replica.apply(&record, &mut |offset, section, _| visible.note(offset, section, &self.lines))?;
        let (size, root) = self.replica.root();
        let first_path = self.shared.root.root(size).map_err(|e| e.to_string())?;
        if self.shared.root.size() != size || first_path != root {
            return Err(format!(
                "two computations of the root of size {size} differ: {first_path} and {root}"
            ));
        }
        visible.publish();
        self.sealed = self.replica.sealed();
        Ok(())
    }

    /// Answers who waited for durability, or for the seal that is durable now.
    pub(super) fn release(&mut self, open: Open, seal: Option<PendingSeal>, stamp: Stamp) {
        for staged in &open.groups {
            self.lines[staged.line].staged = None;
        }
        for (reply, line, seq) in open.recordings {
            let found = self.lines[line].journal.batch_of(seq);
            let time = |(batch, _): Found| batch.time;
            let time = found.map(|found| UtcMicros(found.map_or(stamp.time, time)));
            let _ = reply.send(time.map(|time| Recorded { seq, time }));
        }
        for (reply, journal) in open.creations {
            let _ = reply.send(Ok(journal.info()));
        }
        for (journal, placed, reply) in open.waiters {
            match journal.batch_of(placed.last()) {
                Ok(newest) => {
                    let until = newest.map_or(u64::MAX, |(batch, _)| batch.root_index + 1);
                    self.awaiting.push(Waiter { until, placed, reply });
                }
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        let sealed = self.sealed;
        let ready = |waiter: &mut Waiter| waiter.until <= sealed;
        for Waiter { placed, reply, .. } in self.awaiting.extract_if(.., ready) {
            let _ = reply.send(Ok(placed));
        }
        // Before the sealer is answered: it looks at the target next.
        self.announce();
        if let Some(PendingSeal { durable, .. }) = seal {
            let _ = durable.send(Ok(()));
        }
    }

    pub(super) fn announce(&self) {
        if self.shared.quarantine().is_some() {
            return;
        }
        let (root_size, root) = self.replica.root();
        let waiting = !self.awaiting.is_empty();
        self.target.send_replace(Target { root_size, root, sealed: self.sealed, waiting });
    }

    /// Nothing of the batch became durable for sure: whoever waits is told, nothing is acknowledged.
    pub(super) fn refuse(&mut self, mut open: Open, seal: Option<PendingSeal>, error: &JournalError) {
        for index in 0..open.groups.len() {
            let (line, first) = (open.groups[index].line, open.groups[index].first);
            self.take_back(line, first, &mut open);
            self.lines[line].staged = None;
        }
        self.lines.truncate(self.lines.len() - open.created.len());
        open.recordings.into_iter().for_each(|(reply, ..)| drop(reply.send(Err(error.clone()))));
        open.creations.into_iter().for_each(|(reply, _)| drop(reply.send(Err(error.clone()))));
        open.waiters.into_iter().for_each(|(.., reply)| drop(reply.send(Err(error.clone()))));
        if let Some(PendingSeal { durable, .. }) = seal {
            let _ = durable.send(Err(error.clone()));
            self.dismiss(error);
        } else if matches!(error, JournalError::Storage(_)) {
            self.dismiss(error);
        }
    }

    /// Tells everyone who waits for a seal that there is none now.
    fn dismiss(&mut self, error: &JournalError) {
        for waiter in self.awaiting.drain(..) {
            let _ = waiter.reply.send(Err(error.clone()));
        }
    }
}

fn cut(shared: &Shared, log: &Log, lines: &[Line], replica: &Replica) -> Cut {
    Cut {
        position: log.position(),
        journals: lines.iter().map(|line| (Arc::clone(&line.journal), line.next)).collect(),
        root: replica.root(),
        after: replica.after(),
        sealed: replica.sealed(),
        unsealed: replica.unsealed(),
        abandoned: shared.abandoned(),
    }
}

/// Tells everyone when the thread panics.
struct Watch(Arc<Shared>, Arc<Queue>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the sequencer panicked".into());
            self.1.abandon();
        }
    }
}

fn refuse_all(work: Work, error: &JournalError) {
    for command in work.commands {
        match command {
            Command::Seal { reply, .. } => drop(reply.send(Err(error.clone()))),
            Command::Record { reply, .. } => drop(reply.send(Err(error.clone()))),
            Command::Create { reply, .. } => drop(reply.send(Err(error.clone()))),
            Command::Find { reply, .. } => drop(reply.send(Err(error.clone()))),
            Command::Control { reply, .. } => drop(reply.send(Err(error.clone()))),
            Command::Settle { reply, .. } => drop(reply.send(Err(error.clone()))),
        }
    }
    if let Some(SealOutcome::Done { durable, .. }) = work.seal {
        let _ = durable.send(Err(error.clone()));
    }
}

fn estimate(open: &Open, seal: Option<&Seal>) -> usize {
    let group = |g: &Staged| g.slots.len() + g.details.iter().map(|d| d.len() + 4).sum::<usize>() + 1024;
    let opened = |j: &Arc<Journal>| j.charter.len() + 256;
    open.groups.iter().map(group).sum::<usize>()
        + open.created.iter().map(opened).sum::<usize>()
        + seal.map_or(0, |seal| seal.note.len() + 64)
}
