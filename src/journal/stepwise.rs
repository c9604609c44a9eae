//! The journal without threads: one call is one batch. For simulation, where one seed must give one
//! history; the sequencer, the log and the recovery are those of [`super::Journals`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::watch;

use super::batch::{Sequencer, Target};
use super::control::Ordered;
use super::disk::Disk;
use super::log::Opening;
use super::queue::{Command, Limits, Placed, Positions, Queue, SealOutcome, Work};
use super::recover::{Begin, Recovered, recover};
use super::snapshots::{Snapshots, Writer};
use super::state::{Seal, Shared};
use super::tiles::Keeper;
use super::{JournalError, JournalInfo, JournalName, OwnJournal, Recorded, RequestId, Submission};
use crate::clock::Clock;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// What is asked of the journal.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Open a journal; without an institution, an own one.
    Create(JournalName, Option<InstitutionId>),
    /// Seal digests in a journal that claims to have as many entries, if one is named.
    Seal(JournalName, Vec<Submission>, Option<u64>),
    /// Record a detail.
    Record(OwnJournal, RequestId, Vec<u8>),
    /// Freeze a journal or hand it over.
    Control(JournalName, Ordered),
}

/// An answer that may not be there yet.
pub enum Pending {
    /// To [`Ask::Create`].
    Created(oneshot::Receiver<Result<JournalInfo, JournalError>>),
    /// To [`Ask::Seal`].
    Placed(oneshot::Receiver<Result<Placed, JournalError>>),
    /// To [`Ask::Record`] and [`Ask::Control`].
    Recorded(oneshot::Receiver<Result<Recorded, JournalError>>),
    /// To [`Stepwise::seal`].
    Sealed(oneshot::Receiver<Result<(), JournalError>>),
}

impl Pending {
    /// The sequences of what was asked for, once it is answered. Answers but once.
    pub fn answer(&mut self) -> Option<Result<Vec<u64>, JournalError>> {
        match self {
            Pending::Created(reply) => take(reply, |_| vec![0]),
            Pending::Placed(reply) => take(reply, |placed| match placed.positions {
                Positions::Run(first) => (first..).take(placed.submissions.len()).collect(),
                Positions::Each(each) => each,
            }),
            Pending::Recorded(reply) => take(reply, |recorded| vec![recorded.seq]),
            Pending::Sealed(reply) => take(reply, |()| Vec::new()),
        }
    }
}

fn take<T>(
    reply: &mut oneshot::Receiver<Result<T, JournalError>>,
    sequences: impl Fn(T) -> Vec<u64>,
) -> Option<Result<Vec<u64>, JournalError>> {
    match reply.try_recv() {
        Ok(answer) => Some(answer.map(sequences)),
        Err(TryRecvError::Empty) => None,
        Err(TryRecvError::Closed) => Some(Err(JournalError::Storage("the sequencer is gone".into()))),
    }
}

/// What a journal without threads is opened with.
pub struct StepwiseParts {
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// First part of every origin.
    pub site: String,
    /// Entry times and bounds.
    pub clock: Clock,
    /// Bytes of one segment; as asked, without the limits of the appliance.
    pub segment_bytes: u64,
    /// Id of the log, if it is a new one.
    pub fresh_id: [u8; 16],
    /// Bytes of log between two snapshots; `None`: no snapshots, and none is looked at.
    pub snapshot_bytes: Option<u64>,
}

/// Journals driven by their caller. Tiles stay in memory.
pub struct Stepwise {
    shared: Arc<Shared>,
    sequencer: Sequencer,
    target: watch::Receiver<Target>,
    work: Work,
    resumed: bool,
}

impl Stepwise {
    /// Recovers what `dir` holds.
    pub fn open(dir: &Path, parts: StepwiseParts) -> Result<Stepwise, JournalError> {
        let StepwiseParts { disk, site, clock, segment_bytes, fresh_id, snapshot_bytes } = parts;
        let shared = Arc::new(Shared::new(site, dir.join("tiles"), Keeper::idle()));
        let begin = if snapshot_bytes.is_some() { Begin::Snapshot } else { Begin::WithoutCaches };
        let opening =
            Opening { disk: Arc::clone(&disk), segment_bytes, low_water: Some(0), fresh_id, ahead: false };
        let Recovered { log, replica, journals, ids, replayed, resumed } =
            recover(&shared, dir, &opening, begin)?;
        let snapshots = match snapshot_bytes {
            Some(every) => {
                let (shared, runs) = (Arc::clone(&shared), Arc::clone(ids.runs()));
                Snapshots::here(Writer { shared, runs, disk, dir: dir.to_owned() }, every, replayed)
            }
            None => Snapshots::never(),
        };
        let (announce, target) = watch::channel(Target::default());
        let queue = Arc::new(Queue::new(Limits::default()));
        let mut sequencer =
            Sequencer::new(Arc::clone(&shared), queue, log, clock, replica, (ids, snapshots), announce);
        for journal in journals {
            sequencer.adopt(journal)?;
        }
        sequencer.announce();
        Ok(Stepwise { shared, sequencer, target, work: Work::default(), resumed })
    }

    /// Puts a request into the next batch.
    pub fn ask(&mut self, ask: Ask) -> Result<Pending, JournalError> {
        Ok(match ask {
            Ask::Create(name, institution) => {
                let (reply, answer) = oneshot::channel();
                self.work.commands.push(Command::Create { name, institution, reply });
                Pending::Created(answer)
            }
            Ask::Seal(name, submissions, expect) => {
                let journal = self.shared.journal(name.as_str())?;
                let (reply, answer) = oneshot::channel();
                self.work.commands.push(Command::Seal { journal, by: None, submissions, expect, reply });
                Pending::Placed(answer)
            }
            Ask::Control(name, ordered) => {
                let journal = self.shared.journal(name.as_str())?;
                let (reply, answer) = oneshot::channel();
                self.work.commands.push(Command::Control { journal, ordered, reply });
                Pending::Recorded(answer)
            }
            Ask::Record(own, id, detail) => {
                let (journal, digest) = (self.shared.journal(own.name())?, Digest::of(&detail));
                let (reply, answer) = oneshot::channel();
                self.work.commands.push(Command::Record { journal, id, detail, digest, reply });
                Pending::Recorded(answer)
            }
        })
    }

    /// Root-log leaves that may be signed, their root, and how many a durable seal covers.
    pub fn to_sign(&self) -> (u64, Digest, u64) {
        let Target { root_size, root, sealed, .. } = *self.target.borrow();
        (root_size, root, sealed)
    }

    /// Puts a signed and stamped note into the next batch.
    pub fn seal(&mut self, root_size: u64, note: String) -> Pending {
        let (durable, answer) = oneshot::channel();
        self.work.seal =
            Some(SealOutcome::Done { seal: Arc::new(Seal { root_size, note: note.into() }), durable });
        Pending::Sealed(answer)
    }

    /// Writes the batch.
    pub fn round(&mut self) {
        self.sequencer.round(std::mem::take(&mut self.work));
        self.sequencer.after_round();
    }

    /// Whether the start went on from a snapshot.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// Snapshots written since.
    pub fn snapshots(&self) -> u64 {
        self.shared.counters.snapshots.load(Ordering::Relaxed)
    }

    /// The journal, if there is one.
    pub fn info(&self, name: &JournalName) -> Option<JournalInfo> {
        self.shared.journal(name.as_str()).ok().map(|journal| journal.info())
    }
}
