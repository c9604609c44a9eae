//! A start from the snapshot: taken only if all of it agrees with the log it was made from.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::canonical::head_text;
use super::disk::Disk;
use super::index::{Ids, Runs};
use super::log;
use super::recover::opened;
use super::replica::Replica;
use super::snapshot::{JournalState, Position, Snapshot, TreeState};
use super::snapshots::{index_dir, snapshot_path};
use super::state::{Batch, Journal, Seal, Shared};
use super::stream;
use super::tiles::Tree;
use super::tree::{CompactRange, leaf_hash};
use crate::digest::Digest;

/// The state at the snapshot.
pub struct Restored {
    /// Where the log goes on.
    pub position: Position,
    /// The second path's state.
    pub replica: Replica,
    /// Journals by number.
    pub journals: Vec<Arc<Journal>>,
    /// Request ids up to there.
    pub ids: Ids,
}

/// Loads the snapshot of `dir` into `shared`; `None`, with a note and nothing changed, if there is none
/// that holds.
pub fn resume(shared: &Arc<Shared>, dir: &Path, disk: &Arc<dyn Disk>) -> Option<Restored> {
    let path = snapshot_path(dir);
    let read = stream::read(&**disk, &path);
    if read.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
        return None;
    }
    let attempted = read.map_err(|e| e.to_string()).and_then(|bytes| attempt(shared, dir, disk, &bytes));
    match attempted {
        Ok(restored) => Some(restored),
        Err(why) => {
            shared.root.restore(&TreeState::default());
            let path = path.display();
            tracing::warn!(%path, %why, "the snapshot is not used; the whole log is replayed");
            None
        }
    }
}

fn attempt(shared: &Arc<Shared>, dir: &Path, disk: &Arc<dyn Disk>, bytes: &[u8]) -> Result<Restored, String> {
    let snapshot = Snapshot::decode(bytes).ok_or("it is damaged or of another version")?;
    if snapshot.site != shared.site {
        return Err(format!("it is of {:?}, this service is {:?}", snapshot.site, shared.site));
    }
    let held = log::holds(dir, &**disk, &snapshot.position);
    if !held.map_err(|e| format!("the log cannot be read where it was taken: {e}"))? {
        return Err("the log has another record where it was taken".into());
    }
    let root = grow(&shared.root, &snapshot.root)?;
    if root.root() != snapshot.root_hash {
        return Err("its root log has another root".into());
    }
    let mut replica = Replica::restored(&shared.site, &snapshot, root);
    let newest = newest_seal(shared, &snapshot)?;
    let mut journals = Vec::with_capacity(snapshot.journals.len());
    for state in &snapshot.journals {
        journals.push(journal(shared, journals.len() as u32, state, &mut replica)?);
    }
    let log_id = snapshot.position.log_id;
    let runs = Runs::open(Arc::clone(disk), &index_dir(dir), log_id, &snapshot.runs)
        .map_err(|e| format!("its request-id index is damaged or missing: {e}"))?;
    // Nothing may fail after this.
    let pages = shared.pages.open(&**disk, dir, snapshot.pages_end);
    pages.map_err(|e| format!("its file of places is missing or short: {e}"))?;
    for (journal, state) in journals.iter().zip(snapshot.journals) {
        shared.advance(state.batches.tail.last().map_or(i64::MIN, |batch| batch.time));
        // The second path has taken the same changes already.
        state.changes.iter().for_each(|change| journal.changed(change));
        journal.restore(state.batches);
        shared.add(Arc::clone(journal));
    }
    shared.abandon(snapshot.abandoned);
    shared.restore_seals(snapshot.seals, newest);
    Ok(Restored { position: snapshot.position, replica, journals, ids: Ids::new(runs) })
}

/// The tree, and its compact range for the second path.
fn grow(tree: &Arc<Tree>, state: &TreeState) -> Result<CompactRange, String> {
    tree.restore(state);
    let size = state.size;
    let complete = (0..64).rev().filter(|level| size >> level & 1 == 1);
    let nodes = complete.map(|level| tree.read(level, (size >> level) - 1)).collect::<Result<_, _>>();
    CompactRange::from_nodes(size, nodes.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

fn journal(
    shared: &Arc<Shared>,
    number: u32,
    state: &JournalState,
    replica: &mut Replica,
) -> Result<Arc<Journal>, String> {
    let journal = opened(shared, number, &state.name, &state.institution, &state.charter)?;
    let last = state.batches.tail.last().ok_or_else(|| format!("{} has no batch", state.name))?;
    if last.end() != state.tree.size {
        return Err(format!("the tree of {} has another size than its batches", state.name));
    }
    let tree = grow(&journal.tree, &state.tree)?;
    head_holds(shared, &journal, last, &tree)?;
    let prev = journal.tree.read(0, last.end() - 1).map_err(|e| e.to_string())?;
    replica.resume(state, tree, prev, last.time)?;
    Ok(journal)
}

/// The newest head in the log is that of the restored tree, and the root log has it.
fn head_holds(shared: &Shared, journal: &Journal, last: &Batch, tree: &CompactRange) -> Result<(), String> {
    let head = shared.read(last.place, last.head_offset(), usize::from(last.head_bytes));
    let head = head.map_err(|e| e.to_string())?;
    // All lines but the last, which names the token before it.
    let expected = head_text(&journal.origin, tree.size(), &tree.root(), &Digest::default());
    let lines = expected.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let leaf = shared.root.read(0, last.root_index).map_err(|e| e.to_string())?;
    if !head.starts_with(&expected.as_bytes()[..lines]) || leaf_hash(&head) != leaf {
        return Err(format!("the head of {} is not that of its entries", journal.origin));
    }
    Ok(())
}

/// The note of the newest seal, from the log.
fn newest_seal(shared: &Shared, snapshot: &Snapshot) -> Result<Option<Arc<Seal>>, String> {
    let Some(at) = snapshot.seals.tail.last() else { return Ok(None) };
    let bytes = shared.read(at.place, at.offset as usize, at.bytes as usize).map_err(|e| e.to_string())?;
    let note = String::from_utf8(bytes).ok().filter(|note| Digest::of(note.as_bytes()) == at.hash);
    let note = note.ok_or("the newest seal has changed")?;
    Ok(Some(Arc::new(Seal { root_size: at.root_size, note: note.into() })))
}
