//! From a directory to running journals.

use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::batch::{Sequencer, Target};
use super::known::{Held, Known};
use super::lookup::Lookup;
use super::queue::Queue;
use super::sealer::Sealer;
use super::state::Shared;
use super::{
    Inner, JournalError, Journals, OwnJournal, Parts, Tuning, log, recover, second, snapshots, tiles, twin,
};
use crate::clock::Clock;
use crate::witness::Witnesses;

impl Journals {
    /// Recovers what the directory holds and starts the sequencer thread and the sealer task
    /// (needs a tokio runtime).
    pub async fn open(parts: Parts) -> Result<Journals, JournalError> {
        Self::open_tuned(parts, Tuning::default()).await
    }

    /// [`Journals::open`] with other settings.
    pub async fn open_tuned(parts: Parts, tuning: Tuning) -> Result<Journals, JournalError> {
        Self::open_knowing(parts, tuning, Known::default()).await
    }

    /// [`Journals::open_tuned`] that compares what it recovered with heads known from elsewhere. If the
    /// log does not hold one of them it opens in quarantine: it answers reads and writes nothing.
    pub async fn open_knowing(parts: Parts, tuning: Tuning, known: Known) -> Result<Journals, JournalError> {
        Self::open_asking(parts, tuning, |_| known).await
    }

    /// [`Journals::open_knowing`] that asks for those heads once the log is recovered and before anything is
    /// written or signed. `ask` may block.
    pub async fn open_asking(
        parts: Parts,
        tuning: Tuning,
        ask: impl FnOnce(&Held<'_>) -> Known + Send + 'static,
    ) -> Result<Journals, JournalError> {
        let (target, sealed_by) = watch::channel(Target::default());
        let Parts { dir, site, keys, head_key, stamp, clock, segment_bytes } = parts;
        let origin = format!("{site}/root");
        let start = move || start(&dir, site, clock, segment_bytes, tuning, ask, target);
        let started = tokio::task::spawn_blocking(start).await;
        let (shared, queue, thread) =
            started.map_err(|e| JournalError::Storage(format!("the journal could not start: {e}")))??;
        let of_sealer = Arc::clone(&shared);
        let sealer = Sealer {
            shared: of_sealer,
            keys,
            head_key,
            stamp,
            origin,
            queue: Arc::clone(&queue),
            target: sealed_by,
        };
        let sealer = tokio::spawn(sealer.run());
        let (sequencer, witnesses) = (Mutex::new(Some(thread)), Witnesses::default());
        let (twins, second) = (twin::rounds::Twins::default(), second::Second::default());
        let journals =
            Journals(Arc::new(Inner { shared, queue, sequencer, sealer, witnesses, twins, second }));
        if journals.quarantine().is_none() {
            journals.open_own().await?;
        }
        Ok(journals)
    }

    async fn open_own(&self) -> Result<(), JournalError> {
        for own in OwnJournal::ALL {
            match self.create_any(own.into(), None).await {
                Ok(_) | Err(JournalError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

type Started = (Arc<Shared>, Arc<Queue>, JoinHandle<()>);

fn start(
    dir: &std::path::Path,
    site: String,
    clock: Clock,
    segment_bytes: u64,
    tuning: Tuning,
    ask: impl FnOnce(&Held<'_>) -> Known,
    target: watch::Sender<Target>,
) -> Result<Started, JournalError> {
    let storage = |e: std::io::Error| JournalError::Storage(format!("cannot start a journal thread: {e}"));
    let keeper = tiles::Keeper::start(tuning.tiles_in_memory).map_err(storage)?;
    let shared = Arc::new(Shared::new(site, dir.join("tiles"), keeper));
    let opening = log::Opening::of_files(segment_bytes, tuning.low_water_bytes)?;
    let begin = if tuning.replay_all { recover::Begin::WholeLog } else { recover::Begin::Snapshot };
    let recovered = recover::recover(&shared, dir, &opening, begin)?;
    shared.compare(&ask(&Held(Lookup(&shared))))?;
    let mut limits = tuning.limits;
    limits.batch_bytes = limits.batch_bytes.min(log::segment_size(segment_bytes) as usize / 2);
    let queue = Arc::new(Queue::new(limits));
    let recover::Recovered { log, replica, journals, ids, replayed, .. } = recovered;
    let every = tuning.snapshot_bytes.unwrap_or(snapshots::BYTES_BETWEEN);
    let writer = snapshots::Writer {
        shared: Arc::clone(&shared),
        runs: Arc::clone(ids.runs()),
        disk: opening.disk,
        dir: dir.to_owned(),
    };
    let snapshots = snapshots::Snapshots::start(writer, every, replayed).map_err(storage)?;
    let (of_thread, in_thread) = (Arc::clone(&shared), Arc::clone(&queue));
    let mut sequencer = Sequencer::new(of_thread, in_thread, log, clock, replica, (ids, snapshots), target);
    for journal in journals {
        sequencer.adopt(journal)?;
    }
    let thread = std::thread::Builder::new().name("journal".into()).spawn(move || sequencer.run());
    Ok((shared, queue, thread.map_err(storage)?))
}
