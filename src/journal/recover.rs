//! From the files of a directory to a sequencer that can go on.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::log::{self, Log, Opening, Place};
use super::record::{Record, Section};
use super::replica::{Replayed, Replica};
use super::settle;
use super::state::{Journal, Shared};
use super::visible::Visible;
use super::{JournalError, JournalName, RequestId};
use crate::institution::InstitutionId;

/// What was found.
pub struct Recovered {
    /// The writing end.
    pub log: Log,
    /// The second path's state.
    pub replica: Replica,
    /// Journals by number, with their request ids.
    pub journals: Vec<(Arc<Journal>, HashMap<RequestId, u64>)>,
}

/// Replays the log in `dir` into `shared`.
pub fn recover(shared: &Arc<Shared>, dir: &Path, opening: &Opening) -> Result<Recovered, JournalError> {
    let mut replay = Replay { shared, replica: Replica::new(&shared.site), journals: Vec::new() };
    let (log, torn) = log::open(dir, opening, &mut |place, record| replay.record(place, record))?;
    let Replay { replica, journals, .. } = replay;
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
    if shared.segments.set(log.segments()).is_err() {
        return Err(JournalError::Storage("the journal is open already".into()));
    }
    Ok(Recovered { log, replica, journals })
}

struct Replay<'s> {
    shared: &'s Arc<Shared>,
    replica: Replica,
    journals: Vec<(Arc<Journal>, HashMap<RequestId, u64>)>,
}

impl Replay<'_> {
    fn record(&mut self, place: Place, record: &Record<'_>) -> Result<(), String> {
        let mut visible = Visible::new(self.shared, place, self.replica.root().0);
        let (journals, shared) = (&mut self.journals, self.shared);
        let mut fault = None;
        self.replica.apply(record, &mut |offset, section, replayed| match (section, replayed) {
            (Section::Seal { root_size, note }, _) => visible.seal(offset, *root_size, note),
            (Section::Opened { name, institution, charter, .. }, _) => {
                match opened(shared, journals.len() as u32, name, institution, charter) {
                    Ok(journal) => journals.push((journal, HashMap::new())),
                    Err(why) => fault = Some(why),
                }
            }
            (Section::Group(group), Some(replayed)) => {
                let Some((journal, index)) = journals.get_mut(group.journal as usize) else { return };
                if let Err(why) = entries(journal, index, &replayed) {
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
        fault.map_or(Ok(()), Err)
    }
}

fn opened(
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
    journal: &Arc<Journal>,
    index: &mut HashMap<RequestId, u64>,
    replayed: &Replayed<'_>,
) -> Result<(), String> {
    journal.tree.append(replayed.leaves);
    for ((id, _), seq) in replayed.group.entries().zip(replayed.group.first..) {
        if let Some(earlier) = index.insert(id, seq) {
            return Err(format!("{} has one request id at sequences {earlier} and {seq}", journal.origin));
        }
    }
    Ok(())
}
