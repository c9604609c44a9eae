//! From the files of a directory to a sequencer that can go on: the snapshot, if it agrees with the
//! log, and the records after it; or all records.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::index::{Ids, RECENT_IDS, Runs};
use super::log::{self, Log, Opening, Place};
use super::record::{Record, Section};
use super::replica::{Replayed, Replica};
use super::resume::{self, Restored};
use super::segments::Segments;
use super::settle;
use super::snapshots::{forget, index_dir};
use super::stage::durable_slot;
use super::state::{Journal, Shared};
use super::visible::Visible;
use super::{JournalError, JournalName};
use crate::institution::InstitutionId;

/// What was found.
pub struct Recovered {
    /// The writing end.
    pub log: Log,
    /// The second path's state.
    pub replica: Replica,
    /// Journals by number.
    pub journals: Vec<Arc<Journal>>,
    /// Their request ids.
    pub ids: Ids,
    /// Bytes of log replayed.
    pub replayed: u64,
    /// Whether a snapshot was taken up.
    pub resumed: bool,
}

/// Where a start begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// After the snapshot; at the first record if no snapshot agrees with the log.
    Snapshot,
    /// At the first record; the files beside the log are made again.
    WholeLog,
    /// At the first record, with nothing but the log's own files: request ids stay in memory.
    WithoutCaches,
}

/// Brings the log in `dir` into `shared`.
pub fn recover(
    shared: &Arc<Shared>,
    dir: &Path,
    opening: &Opening,
    begin: Begin,
) -> Result<Recovered, JournalError> {
    let lock = log::claim(dir, &*opening.disk)?;
    let segments = Arc::new(Segments::new(Arc::clone(&opening.disk), dir.join("segments")));
    if shared.segments.set(segments).is_err() {
        return Err(JournalError::Storage("the journal is open already".into()));
    }
    let filed = begin != Begin::WithoutCaches;
    if filed {
        shared.keeper.snapshots_in(Arc::clone(&opening.disk), dir.to_owned());
    }
    let restored = match begin {
        Begin::Snapshot => resume::resume(shared, dir, &opening.disk),
        Begin::WholeLog | Begin::WithoutCaches => None,
    };
    let mut position = None;
    let mut replay = match restored {
        Some(Restored { position: at, replica, journals, ids }) => {
            position = Some(at);
            Replay { shared, replica, journals, ids, bytes: 0, filed }
        }
        None => from_nothing(shared, dir, opening, filed).map_err(|e| storage(dir, &e))?,
    };
    let (log, torn) =
        log::open(dir, opening, lock, position.as_ref(), &mut |place, record| replay.record(place, record))?;
    let Replay { replica, journals, mut ids, bytes, .. } = replay;
    let (size, root) = replica.root();
    if shared.root.root(size)? != root {
        return Err(JournalError::Damaged(format!("two computations of the root of size {size} differ")));
    }
    shared.epoch.store(log.epoch(), Ordering::Relaxed);
    let counters = &shared.counters;
    for counter in [&counters.entries, &counters.batches, &counters.seals] {
        counter.store(0, Ordering::Relaxed);
    }
    AtomicU64::store(&counters.torn, torn.bytes, Ordering::Relaxed);
    let log_id = log.position().log_id;
    if filed && ids.log_id() != log_id {
        if !journals.is_empty() {
            let why = "the log's id changed while it was replayed; start again".to_string();
            return Err(JournalError::Storage(why));
        }
        // A log without a valid record gets a new id, and has no request ids.
        ids = Ids::new(
            Runs::open(Arc::clone(&opening.disk), &index_dir(dir), log_id, &[])
                .map_err(|e| storage(dir, &e))?,
        );
    }
    AtomicU64::store(&counters.replayed, bytes, Ordering::Relaxed);
    Ok(Recovered { log, replica, journals, ids, replayed: bytes, resumed: position.is_some() })
}

fn storage(dir: &Path, error: &std::io::Error) -> JournalError {
    JournalError::Storage(format!("{}: {error}", dir.display()))
}

/// Before the first record; every cache is made again.
fn from_nothing<'s>(
    shared: &'s Arc<Shared>,
    dir: &Path,
    opening: &Opening,
    filed: bool,
) -> std::io::Result<Replay<'s>> {
    let runs = if filed {
        let disk = &opening.disk;
        let log_id = log::id_of(dir, &**disk)?.unwrap_or_default();
        forget(&**disk, dir)?;
        shared.keeper.trust();
        shared.pages.create(&**disk, dir)?;
        Runs::open(Arc::clone(disk), &index_dir(dir), log_id, &[])?
    } else {
        Runs::in_memory()
    };
    let (replica, ids) = (Replica::new(&shared.site), Ids::new(runs));
    Ok(Replay { shared, replica, journals: Vec::new(), ids, bytes: 0, filed })
}

struct Replay<'s> {
    shared: &'s Arc<Shared>,
    replica: Replica,
    journals: Vec<Arc<Journal>>,
    ids: Ids,
    bytes: u64,
    /// Whether request ids may go to files.
    filed: bool,
}

impl Replay<'_> {
    fn record(&mut self, place: Place, record: &Record<'_>) -> Result<(), String> {
        let mut visible = Visible::new(self.shared, place, self.replica.root().0);
        let (journals, ids, shared) = (&mut self.journals, &mut self.ids, self.shared);
        let mut fault = None;
        self.replica.apply(record, &mut |offset, section, replayed| match (section, replayed) {
            (Section::Seal { root_size, note }, _) => visible.seal(offset, *root_size, note),
            (Section::Opened { name, institution, charter, .. }, _) => {
                match opened(shared, journals.len() as u32, name, institution, charter) {
                    Ok(journal) => journals.push(journal),
                    Err(why) => fault = Some(why),
                }
            }
            (Section::Group(group), Some(replayed)) => {
                let Some(journal) = journals.get(group.journal as usize) else { return };
                if let Err(why) = entries(shared, journal, ids, &replayed) {
                    fault = Some(why);
                }
                shared.abandon(settle::given_up(group));
                shared.root.append(&[replayed.root_leaf]);
                visible.group(offset, group, journal);
            }
            (Section::Group(_), None) => {}
        })?;
        shared.keeper.throttle();
        visible.publish();
        self.bytes += record.header.total() as u64;
        if self.filed && self.ids.recent() >= RECENT_IDS {
            self.ids.freeze();
            self.ids.runs().settle().map_err(|e| format!("its request ids cannot be filed: {e}"))?;
            self.ids.runs().remove_strays();
            let whole: Vec<_> = self.journals.iter().map(|j| (Arc::clone(j), j.size())).collect();
            let spilled = self.shared.spill(u64::MAX, &whole);
            spilled.map_err(|e| format!("the places of batches cannot be filed: {e}"))?;
        }
        fault.map_or(Ok(()), Err)
    }
}

/// A journal as the log opened it, without entries.
pub(super) fn opened(
    shared: &Shared,
    number: u32,
    name: &str,
    institution: &str,
    charter: &str,
) -> Result<Arc<Journal>, String> {
    let name = JournalName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
    let institution = match institution {
        "" => None,
        text => Some(InstitutionId::try_from(text.to_owned()).map_err(|e| e.to_string())?),
    };
    Ok(Journal::new(number, name, institution, charter.to_owned(), shared))
}

fn entries(
    shared: &Shared,
    journal: &Arc<Journal>,
    ids: &mut Ids,
    replayed: &Replayed<'_>,
) -> Result<(), String> {
    journal.tree.append(replayed.leaves);
    for ((id, _), seq) in replayed.group.entries().zip(replayed.group.first..) {
        let confirm = |seq| Ok(durable_slot(shared, journal, seq)?.is_some_and(|slot| slot.0 == id));
        if let Some(earlier) = ids.find(journal.number, id, confirm).map_err(|e| e.to_string())? {
            return Err(format!("{} has one request id at sequences {earlier} and {seq}", journal.origin));
        }
        ids.insert(journal.number, id, seq);
    }
    Ok(())
}
