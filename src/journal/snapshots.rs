//! The thread that writes snapshots: settle tiles and index, then one file by rename.
//!
//! The sequencer only tells it sizes ([`Cut`]); trees and batch lists grow at their ends alone, so the
//! thread reads the state of that moment from what the journal has become since.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread::JoinHandle;

use super::JournalError;
use super::disk::Disk;
use super::index::{Ids, RECENT_IDS, Runs};
use super::snapshot::{JournalState, Position, Snapshot};
use super::state::{Journal, Shared};
use super::stream;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// Bytes of log between two snapshots, by default; a start replays them in a fraction of a second.
pub const BYTES_BETWEEN: u64 = 32 << 20;
/// At a clean stop a snapshot pays off for this part of it.
const AT_STOP: u64 = 8;

/// One moment between two records.
pub struct Cut {
    /// Where the log stood.
    pub position: Position,
    /// Journals by number, with their sizes.
    pub journals: Vec<(Arc<Journal>, u64)>,
    /// Size and root of the root log.
    pub root: (u64, Digest),
    /// Hash of the newest token.
    pub after: Digest,
    /// Root-log leaves sealed.
    pub sealed: u64,
    /// States not sealed.
    pub unsealed: Vec<(u64, Digest)>,
    /// Heads given up.
    pub abandoned: Vec<(u64, Digest)>,
}

/// The snapshot's path in a journal directory.
pub fn snapshot_path(dir: &Path) -> PathBuf {
    dir.join("snapshot.bin")
}

/// Directory of the index's runs.
pub fn index_dir(dir: &Path) -> PathBuf {
    dir.join("ids")
}

/// Writes snapshots of one journal directory.
pub struct Writer {
    /// What readers see.
    pub shared: Arc<Shared>,
    /// Runs of the index.
    pub runs: Arc<Runs>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// The directory.
    pub dir: PathBuf,
}

/// Who does it.
enum Way {
    Never,
    /// The caller.
    Here(Writer),
    /// A thread, which ends when the sender is gone.
    Beside(Option<SyncSender<Cut>>, Option<JoinHandle<()>>),
}

/// The sequencer's handle: decides when, and freezes the index at that moment.
pub struct Snapshots {
    way: Way,
    busy: Arc<AtomicBool>,
    every_bytes: u64,
    recent_ids: usize,
    since: u64,
}

impl Snapshots {
    /// Starts the thread; `since`: bytes of log after the last snapshot.
    pub fn start(writer: Writer, every_bytes: u64, since: u64) -> io::Result<Snapshots> {
        let (cuts, inbox) = mpsc::sync_channel::<Cut>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let working = Arc::clone(&busy);
        let work = move || {
            while let Ok(cut) = inbox.recv() {
                writer.write(&cut);
                working.store(false, Ordering::Release);
            }
        };
        let thread = std::thread::Builder::new().name("journal-snapshots".into()).spawn(work)?;
        let way = Way::Beside(Some(cuts), Some(thread));
        Ok(Snapshots { way, busy, every_bytes, recent_ids: RECENT_IDS, since })
    }

    /// Without a thread.
    pub fn here(writer: Writer, every_bytes: u64, since: u64) -> Snapshots {
        let (way, busy) = (Way::Here(writer), Arc::default());
        Snapshots { way, busy, every_bytes, recent_ids: RECENT_IDS, since }
    }

    /// Never takes one.
    pub fn never() -> Snapshots {
        let (way, busy) = (Way::Never, Arc::default());
        Snapshots { way, busy, every_bytes: u64::MAX, recent_ids: usize::MAX, since: 0 }
    }

    /// After a record of `bytes`: takes a snapshot if it is time and the thread is free.
    pub fn after_record(&mut self, bytes: u64, ids: &mut Ids, cut: impl FnOnce() -> Cut) {
        self.since += bytes;
        let due = self.since >= self.every_bytes || ids.recent() >= self.recent_ids;
        if matches!(self.way, Way::Never) || !due {
            return;
        }
        // Memory is bounded: far behind, the sequencer waits for the disk.
        if !self.busy.load(Ordering::Acquire) || ids.recent() >= 4 * self.recent_ids {
            self.order(ids, cut());
        }
    }

    fn order(&mut self, ids: &mut Ids, cut: Cut) {
        // First the ids, so that the runs the thread writes cover the cut.
        ids.freeze();
        self.since = 0;
        match &self.way {
            Way::Never => {}
            Way::Here(writer) => writer.write(&cut),
            Way::Beside(cuts, _) => {
                self.busy.store(true, Ordering::Release);
                // Without the thread there are no snapshots: the ids stay in memory, the log has everything.
                if let Some(cuts) = cuts {
                    let _ = cuts.send(cut);
                }
            }
        }
    }

    /// A clean stop: one more snapshot if it spares the next start some work; ends the thread.
    pub fn stop(mut self, ids: &mut Ids, cut: impl FnOnce() -> Cut) {
        if !matches!(self.way, Way::Never) && self.since > 0 && self.since >= self.every_bytes / AT_STOP {
            self.order(ids, cut());
        }
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        if let Way::Beside(cuts, thread) = &mut self.way {
            *cuts = None;
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
    }
}

impl Writer {
    fn write(&self, cut: &Cut) {
        match self.runs.settle().and_then(|runs| self.take(cut, runs)) {
            Ok(()) => {
                self.shared.counters.snapshots.fetch_add(1, Ordering::Relaxed);
                self.runs.remove_strays();
            }
            Err(error) => {
                tracing::warn!(%error, "no snapshot was written; the next start replays more of the log");
            }
        }
    }

    /// Reads the state at the cut from what has grown since, and puts it under the snapshot's name.
    fn take(&self, cut: &Cut, runs: Vec<(u64, Digest)>) -> io::Result<()> {
        let Writer { shared, disk, dir, .. } = self;
        let other = |e: JournalError| io::Error::other(e.to_string());
        // Places and tiles up to the cut must be on the medium before a file says that nothing makes
        // them again.
        shared.spill(cut.sealed, &cut.journals)?;
        shared.pages.sync()?;
        shared.keeper.settle(&**disk, &shared.tiles_dir)?;
        let mut snapshot = Snapshot {
            site: shared.site.clone(),
            position: cut.position.clone(),
            root: shared.root.state(cut.root.0).map_err(other)?,
            root_hash: cut.root.1,
            after: cut.after,
            sealed: cut.sealed,
            unsealed: cut.unsealed.clone(),
            seals: shared.seals_within(cut.sealed),
            abandoned: cut.abandoned.clone(),
            journals: Vec::with_capacity(cut.journals.len()),
            pages_end: shared.pages.end(),
            runs,
        };
        for (journal, size) in &cut.journals {
            snapshot.journals.push(JournalState {
                name: journal.name.as_str().to_owned(),
                institution: journal.institution.as_ref().map_or("", InstitutionId::as_str).to_owned(),
                charter: journal.charter.clone(),
                changes: journal.tenure().changes.into_iter().filter(|change| change.seq() < *size).collect(),
                tree: journal.tree.state(*size).map_err(other)?,
                batches: journal.batches_within(*size),
            });
        }
        stream::replace(&**disk, dir, &snapshot_path(dir), &snapshot.encode())?;
        if shared.keeper.distrusted() { forget(&**disk, dir) } else { Ok(()) }
    }
}

/// Removes the snapshot: the next start replays the whole log and makes every cache again.
pub fn forget(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    match disk.remove(&snapshot_path(dir)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => disk.sync_dir(dir),
    }
}
