//! What sequencer, sealer and readers share: journals, where each batch stands, seals, counters.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::entry::journal_id;
use super::known::{Doubt, Known, KnownHead, Quarantine};
use super::log::Place;
use super::note::Note;
use super::record::{GROUP_FIXED, SECTION_FIXED};
use super::segments::Segments;
use super::shelf::{Pages, Shelf, Shelved};
use super::snapshot::SealState;
use super::tenure::{Change, Tenure};
use super::tiles::{Keeper, Tree};
use super::{JournalError, JournalInfo, JournalName, JournalStats};
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// Newest heads and seals kept as text, so that fresh receipts need no disk.
const RECENT: usize = 64;

/// Where one journal's part of one record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Sequence of its first entry.
    pub first: u64,
    /// Its entries' time, microseconds UTC.
    pub time: i64,
    /// Index of its head in the root log.
    pub root_index: u64,
    /// The record.
    pub place: Place,
    /// Offset of the group's section in the record.
    pub section: u32,
    /// Entries.
    pub count: u32,
    /// Clock error bound, microseconds.
    pub bound: u32,
    /// Bytes of head text.
    pub head_bytes: u16,
    /// Entry type.
    pub kind: u16,
}

impl Batch {
    /// The journal's size after it.
    pub fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
    /// Offset of the head text in the record.
    pub fn head_offset(&self) -> usize {
        self.section as usize + SECTION_FIXED + GROUP_FIXED
    }
    /// Offset of the first slot in the record.
    pub fn slots_offset(&self) -> usize {
        self.head_offset() + usize::from(self.head_bytes)
    }
}

/// A batch, and its head text if that is recent.
pub type Found = (Batch, Option<Arc<str>>);

/// One journal as readers see it.
pub struct Journal {
    /// Number in this log.
    pub number: u32,
    /// Name.
    pub name: JournalName,
    /// Whom it was opened for; `None` for own journals. Whose it is, [`Journal::tenure`] says.
    pub institution: Option<InstitutionId>,
    /// Origin line.
    pub origin: String,
    /// SHA-256 of the origin.
    pub id: Digest,
    /// Charter text.
    pub charter: String,
    /// Its tree; leaves beyond the durable size are never shown.
    pub tree: Arc<Tree>,
    batches: Shelf<Batch>,
    /// Index in the root log and text of the newest heads.
    heads: RwLock<VecDeque<(u64, Arc<str>)>>,
    tenure: RwLock<Tenure>,
}

impl Journal {
    /// A journal without entries.
    pub fn new(
        number: u32,
        name: JournalName,
        institution: Option<InstitutionId>,
        charter: String,
        shared: &Shared,
    ) -> Arc<Journal> {
        let origin = format!("{}/j/{}", shared.site, name.as_str());
        let tree = Tree::new(shared.tiles_dir.join("j").join(name.as_str()), &shared.keeper);
        let id = journal_id(&origin);
        let (batches, heads) = (Shelf::new(&shared.pages), RwLock::default());
        let tenure = RwLock::new(Tenure::new(institution.clone()));
        Arc::new(Journal { number, name, institution, origin, id, charter, tree, batches, heads, tenure })
    }

    /// Adds a durable batch.
    pub fn push(&self, batch: Batch, head: Arc<str>) {
        self.batches.push(batch);
        let mut heads = self.heads.write().unwrap_or_else(PoisonError::into_inner);
        heads.push_back((batch.root_index, head));
        if heads.len() > RECENT {
            heads.pop_front();
        }
    }

    /// Writes what it can of the batches of the first `size` entries to the file of pages.
    pub fn spill(&self, size: u64) -> io::Result<()> {
        self.batches.spill(|batch| batch.end() <= size)
    }

    /// What a snapshot keeps of these batches.
    pub fn batches_within(&self, size: u64) -> Shelved<Batch> {
        self.batches.state(|batch| batch.end() <= size)
    }

    /// Takes up the batches of a snapshot, before the first reader.
    pub fn restore(&self, batches: Shelved<Batch>) {
        self.batches.restore(batches);
    }

    /// Whose it is now, and whether it was frozen.
    pub fn tenure(&self) -> Tenure {
        self.tenure.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether new entries are accepted, from `by` if the caller is named.
    pub fn admit(&self, by: Option<&InstitutionId>) -> Result<(), JournalError> {
        self.tenure.read().unwrap_or_else(PoisonError::into_inner).admit(self.name.as_str(), by)
    }

    /// A durable control entry; what does not follow was refused by the second path.
    pub fn changed(&self, change: &Change) {
        if let Err(why) = self.tenure.write().unwrap_or_else(PoisonError::into_inner).apply(change) {
            tracing::error!(journal = self.name.as_str(), %why, "a control entry does not follow");
        }
    }

    /// Sequences of its control entries.
    pub fn controls(&self) -> Vec<u64> {
        self.tenure.read().unwrap_or_else(PoisonError::into_inner).changes.iter().map(Change::seq).collect()
    }

    /// The batch that holds `seq`, and its head text if that is recent.
    pub fn batch_of(&self, seq: u64) -> Result<Option<Found>, JournalError> {
        Ok(self.newest(|batch| batch.first <= seq)?.filter(|(batch, _)| seq < batch.end()))
    }

    /// The newest batch whose head a root log of `root_size` leaves holds.
    pub fn newest_within(&self, root_size: u64) -> Result<Option<Found>, JournalError> {
        self.newest(|batch| batch.root_index < root_size)
    }

    /// The first size of at least `leaves` that a head below `root_size` has.
    pub fn published(&self, leaves: u64, root_size: u64) -> Result<Option<u64>, JournalError> {
        let found = self.batches.get(self.batches.count_while(|batch| batch.end() < leaves)?)?;
        Ok(found.filter(|batch| batch.root_index < root_size).map(|batch| batch.end()))
    }

    /// All batches whose heads stand at these indices of the root log.
    pub fn heads_in(&self, span: &Range<u64>) -> Result<Vec<Found>, JournalError> {
        let before = |batch: &Batch| batch.root_index < span.start;
        let batches = self.batches.between(before, |batch| batch.root_index < span.end)?;
        Ok(batches.into_iter().map(|batch| (batch, self.recent_head(&batch))).collect())
    }

    fn newest(&self, holds: impl Fn(&Batch) -> bool) -> Result<Option<Found>, JournalError> {
        let Some(index) = self.batches.count_while(holds)?.checked_sub(1) else { return Ok(None) };
        Ok(self.batches.get(index)?.map(|batch| (batch, self.recent_head(&batch))))
    }

    fn recent_head(&self, batch: &Batch) -> Option<Arc<str>> {
        let heads = self.heads.read().unwrap_or_else(PoisonError::into_inner);
        let index = heads.binary_search_by_key(&batch.root_index, |(index, _)| *index).ok()?;
        heads.get(index).map(|(_, head)| Arc::clone(head))
    }

    /// Durable entries.
    pub fn size(&self) -> u64 {
        self.batches.last().map_or(0, |batch| batch.end())
    }

    /// For callers.
    pub fn info(&self) -> JournalInfo {
        // Every request asks for it: the history of the journal is not copied along.
        let (institution, frozen) = {
            let tenure = self.tenure.read().unwrap_or_else(PoisonError::into_inner);
            (tenure.owner.clone(), tenure.frozen)
        };
        let (name, origin) = (self.name.clone(), self.origin.clone());
        JournalInfo { name, institution, origin, size: self.size(), frozen }
    }
}

/// A durable, signed and stamped root checkpoint.
#[derive(Debug, PartialEq, Eq)]
pub struct Seal {
    /// Root-log leaves it covers.
    pub root_size: u64,
    /// The signed note.
    pub note: Note,
}

/// Shared by sequencer, sealer and readers.
pub struct Shared {
    /// First part of every origin.
    pub site: String,
    /// Where tiles go.
    pub tiles_dir: PathBuf,
    /// Writes them.
    pub keeper: Arc<Keeper>,
    /// The root log's tree.
    pub root: Arc<Tree>,
    /// The segments, to read from.
    pub segments: OnceLock<Arc<Segments>>,
    /// Counters.
    pub counters: Counters,
    journals: RwLock<BTreeMap<String, Arc<Journal>>>,
    /// The file of places.
    pub pages: Arc<Pages>,
    seals: Shelf<SealState>,
    newest_seals: RwLock<VecDeque<Arc<Seal>>>,
    failure: OnceLock<String>,
    last_time: AtomicI64,
    /// The writer epoch.
    pub epoch: AtomicU64,
    quarantine: RwLock<Option<Arc<Quarantine>>>,
    /// Heads that gap records gave up: known, and no contradiction any more.
    abandoned: RwLock<BTreeSet<(u64, Option<Digest>)>>,
}

/// Counters behind [`JournalStats`].
#[derive(Default)]
pub struct Counters {
    /// Entries made durable.
    pub entries: AtomicU64,
    /// Records written that hold entries.
    pub batches: AtomicU64,
    /// Seals made durable.
    pub seals: AtomicU64,
    /// fdatasync calls.
    pub fsyncs: AtomicU64,
    /// Duration of the last write and fdatasync.
    pub last_fsync_us: AtomicU64,
    /// Torn bytes at start.
    pub torn: AtomicU64,
    /// Bytes of log replayed at start.
    pub replayed: AtomicU64,
    /// Snapshots written.
    pub snapshots: AtomicU64,
}

impl Shared {
    /// Nothing recovered yet.
    pub fn new(site: String, tiles_dir: PathBuf, keeper: Arc<Keeper>) -> Shared {
        let root = Tree::new(tiles_dir.join("root"), &keeper);
        let pages = Pages::new(&keeper);
        let seals = Shelf::new(&pages);
        Shared {
            site,
            tiles_dir,
            keeper,
            root,
            segments: OnceLock::new(),
            counters: Counters::default(),
            journals: RwLock::default(),
            pages,
            seals,
            newest_seals: RwLock::default(),
            failure: OnceLock::new(),
            last_time: AtomicI64::new(i64::MIN),
            epoch: AtomicU64::new(1),
            quarantine: RwLock::default(),
            abandoned: RwLock::default(),
        }
    }

    /// The journal of that name.
    pub fn journal(&self, name: &str) -> Result<Arc<Journal>, JournalError> {
        let journals = self.journals.read().unwrap_or_else(PoisonError::into_inner);
        journals.get(name).cloned().ok_or_else(|| JournalError::Unknown(name.to_owned()))
    }

    /// All journals by name.
    pub fn journals(&self) -> Vec<Arc<Journal>> {
        let journals = self.journals.read().unwrap_or_else(PoisonError::into_inner);
        journals.values().cloned().collect()
    }

    /// Makes a journal visible.
    pub fn add(&self, journal: Arc<Journal>) {
        let mut journals = self.journals.write().unwrap_or_else(PoisonError::into_inner);
        journals.insert(journal.name.as_str().to_owned(), journal);
    }

    /// Makes a durable seal visible; `offset` and length are those of the note within the record.
    pub fn add_seal(&self, seal: Arc<Seal>, place: Place, offset: u32) {
        let (bytes, hash) = (seal.note.len() as u32, Digest::of(seal.note.as_bytes()));
        self.seals.push(SealState { root_size: seal.root_size, place, offset, bytes, hash });
        let mut newest = self.newest_seals.write().unwrap_or_else(PoisonError::into_inner);
        newest.push_back(seal);
        if newest.len() > RECENT {
            newest.pop_front();
        }
    }

    /// Writes what it can of these seals, and of the journals' batches, to the file of pages.
    pub fn spill(&self, root_size: u64, journals: &[(Arc<Journal>, u64)]) -> io::Result<()> {
        self.seals.spill(|seal| seal.root_size <= root_size)?;
        journals.iter().try_for_each(|(journal, size)| journal.spill(*size))
    }

    /// Where the seals of the first `root_size` leaves of the root log stand, for a snapshot.
    pub fn seals_within(&self, root_size: u64) -> Shelved<SealState> {
        self.seals.state(|seal| seal.root_size <= root_size)
    }

    /// Takes up the seals of a snapshot, before the first reader; the newest with its note.
    pub fn restore_seals(&self, all: Shelved<SealState>, newest: Option<Arc<Seal>>) {
        self.seals.restore(all);
        *self.newest_seals.write().unwrap_or_else(PoisonError::into_inner) = newest.into_iter().collect();
    }

    /// The first seal over the root log's leaf `root_index`.
    pub fn seal_over(&self, root_index: u64) -> Result<Option<Arc<Seal>>, JournalError> {
        let index = self.seals.count_while(|seal| seal.root_size <= root_index)?;
        self.seals.get(index)?.map(|found| self.noted(&found)).transpose()
    }

    /// How many seals there are.
    pub fn seal_count(&self) -> usize {
        self.seals.count()
    }

    /// One of the seals, the oldest being number 0.
    pub fn seal(&self, index: usize) -> Result<Arc<Seal>, JournalError> {
        let missing = || JournalError::Damaged(format!("there is no seal {index}"));
        self.noted(&self.seals.get(index)?.ok_or_else(missing)?)
    }

    /// With its note, from memory or from the log.
    fn noted(&self, found: &SealState) -> Result<Arc<Seal>, JournalError> {
        let SealState { root_size, place, offset, bytes, hash } = *found;
        {
            let newest = self.newest_seals.read().unwrap_or_else(PoisonError::into_inner);
            if let Ok(index) = newest.binary_search_by_key(&root_size, |seal| seal.root_size) {
                return Ok(Arc::clone(&newest[index]));
            }
        }
        let bytes = self.read(place, offset as usize, bytes as usize)?;
        let note = String::from_utf8(bytes).ok().filter(|note| Digest::of(note.as_bytes()) == hash);
        let note = note.ok_or_else(|| JournalError::Damaged(format!("seal at {place:?} has changed")))?;
        Ok(Arc::new(Seal { root_size, note: note.into() }))
    }

    /// The first size of at least `leaves` that a checkpoint of the root log has.
    pub fn published(&self, leaves: u64) -> Result<Option<u64>, JournalError> {
        let index = self.seals.count_while(|seal| seal.root_size < leaves)?;
        Ok(self.seals.get(index)?.map(|seal| seal.root_size))
    }

    /// The newest seal.
    pub fn newest_seal(&self) -> Option<Arc<Seal>> {
        self.newest_seals.read().unwrap_or_else(PoisonError::into_inner).back().cloned()
    }

    /// Bytes of a record.
    pub fn read(&self, place: Place, offset: usize, count: usize) -> Result<Vec<u8>, JournalError> {
        let segments = self.segments.get().ok_or_else(|| JournalError::Storage("not open yet".into()))?;
        segments.read(place, offset, count)
    }

    /// Stops the journal for good.
    pub fn fail(&self, why: String) {
        tracing::error!(error = %why, "journal storage failed; nothing more is accepted");
        let _ = self.failure.set(why);
    }

    /// What stopped it.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Whether nothing may be written, and why.
    pub fn quarantine(&self) -> Option<Arc<Quarantine>> {
        self.quarantine.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The refusal of everything that writes or signs.
    pub fn admit(&self) -> Result<(), JournalError> {
        self.quarantine().map_or(Ok(()), |why| Err(JournalError::Quarantined(why.reason())))
    }

    /// Begins the quarantine if the log does not hold one of these heads. What is doubted already stays so.
    pub fn compare(&self, known: &Known) -> Result<(), JournalError> {
        let mut doubts = known.doubts.clone();
        doubts.retain(|doubt| !matches!(doubt, Doubt::Disputed { known, .. } if self.given_up(known)));
        for head in &known.heads {
            doubts.extend(self.doubt(head)?);
        }
        if doubts.is_empty() {
            return Ok(());
        }
        let size = self.root.size();
        let root = self.root.root(size)?;
        let mut quarantine = self.quarantine.write().unwrap_or_else(PoisonError::into_inner);
        let earlier = quarantine.as_ref().map_or(Vec::new(), |q| q.doubts.clone());
        doubts.retain(|doubt| !earlier.contains(doubt));
        let found = Quarantine { size, root, doubts: [earlier, doubts].concat() };
        tracing::error!(reason = found.reason(), "quarantine: nothing is sealed, stamped or issued");
        *quarantine = Some(Arc::new(found));
        Ok(())
    }

    fn doubt(&self, known: &KnownHead) -> Result<Option<Doubt>, JournalError> {
        if self.given_up(known) {
            return Ok(None);
        }
        let ours = self.root.size();
        if known.size > ours {
            return Ok(Some(Doubt::Ahead { known: known.clone(), ours }));
        }
        let Some(root) = known.root else { return Ok(None) };
        let ours = self.root.root(known.size)?;
        Ok((ours != root).then(|| Doubt::Differs { known: known.clone(), ours }))
    }

    /// Whether a gap record gave the head up; a size without a root is any head of that size.
    fn given_up(&self, known: &KnownHead) -> bool {
        let abandoned = self.abandoned.read().unwrap_or_else(PoisonError::into_inner);
        let of_size = |(size, _): &&(u64, Option<Digest>)| *size == known.size;
        abandoned.iter().filter(of_size).any(|(_, root)| known.root.is_none() || *root == known.root)
    }

    /// A durable gap record gave these heads up.
    pub fn abandon(&self, heads: impl IntoIterator<Item = (u64, Option<Digest>)>) {
        self.abandoned.write().unwrap_or_else(PoisonError::into_inner).extend(heads);
    }

    /// The heads given up so far.
    pub fn abandoned(&self) -> Vec<(u64, Option<Digest>)> {
        self.abandoned.read().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Ends the quarantine.
    pub fn lift(&self) {
        *self.quarantine.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes the time of a durable entry.
    pub fn advance(&self, time: i64) {
        self.last_time.fetch_max(time, Ordering::Relaxed);
    }

    /// Time of the last durable entry.
    pub fn last_time(&self) -> Option<UtcMicros> {
        Some(self.last_time.load(Ordering::Relaxed)).filter(|t| *t != i64::MIN).map(UtcMicros)
    }

    /// For metrics.
    pub fn stats(&self) -> JournalStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        JournalStats {
            entries: count(&self.counters.entries),
            batches: count(&self.counters.batches),
            seals: count(&self.counters.seals),
            fsyncs: count(&self.counters.fsyncs),
            last_fsync_us: count(&self.counters.last_fsync_us),
            torn_tail_bytes: count(&self.counters.torn),
            replayed_bytes: count(&self.counters.replayed),
        }
    }
}
