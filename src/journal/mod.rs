//! Hash-chained journals under one root log: entries, group commit, receipts, verification.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};

use self::batch::{Sequencer, Target};
use self::known::{Known, Quarantine};
use self::lookup::Lookup;
use self::queue::{Command, Queue};
use self::sealer::Sealer;
use self::state::Shared;
use crate::clock::{Clock, UtcMicros};
use crate::digest::Digest;
use crate::institution::InstitutionId;
use crate::keys::{KeyLabel, Keys};
use crate::witness::Witnesses;

/// Submissions of one request at most.
const SUBMISSIONS_MAX: usize = 4096;
/// Bytes of one own entry's detail at most.
const DETAIL_MAX: usize = 256 << 10;

/// Name of a journal within the appliance: 1 to 63 of `a-z`, `0-9`, `-`, beginning with a letter.
/// The appliance's own journals begin with `own.`, which no caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalName(String);

impl TryFrom<String> for JournalName {
    type Error = JournalError;
    fn try_from(text: String) -> Result<Self, JournalError> {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let own = OwnJournal::ALL.iter().any(|own| own.name() == text);
        if fits || own { Ok(Self(text)) } else { Err(JournalError::BadName(text)) }
    }
}
impl From<JournalName> for String {
    fn from(n: JournalName) -> String {
        n.0
    }
}
impl JournalName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The appliance's own journals; their entries carry a detail (JSON) whose SHA-256 is the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnJournal {
    /// `own.timestamps`: one entry a token, before it is signed.
    Timestamps,
    /// `own.certificates`: intents, outcomes, revocations, agreements.
    Certificates,
    /// `own.clock`: transitions of the clock.
    Clock,
    /// `own.identifiers`: runs of register numbers, before they are handed out.
    Identifiers,
    /// `own.events`: start, stop, officers' acts, journals opened.
    Events,
}

impl OwnJournal {
    /// All of them.
    pub const ALL: [OwnJournal; 5] = [
        OwnJournal::Timestamps,
        OwnJournal::Certificates,
        OwnJournal::Clock,
        OwnJournal::Events,
        OwnJournal::Identifiers,
    ];

    /// Its journal name.
    pub fn name(self) -> &'static str {
        match self {
            OwnJournal::Timestamps => "own.timestamps",
            OwnJournal::Certificates => "own.certificates",
            OwnJournal::Clock => "own.clock",
            OwnJournal::Identifiers => "own.identifiers",
            OwnJournal::Events => "own.events",
        }
    }
}

impl From<OwnJournal> for JournalName {
    fn from(own: OwnJournal) -> JournalName {
        JournalName(own.name().to_owned())
    }
}

/// 16 bytes chosen by the client, unique within the journal; 32 hex digits (or a UUID) in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

/// One digest to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// The client's id of this record.
    pub request_id: RequestId,
    /// SHA-256 of salt and record.
    pub digest: Digest,
}

/// Where a recorded own entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Sequence within the own journal.
    pub seq: u64,
    /// Its time.
    pub time: UtcMicros,
}

/// What a journal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalInfo {
    /// Its name.
    pub name: JournalName,
    /// The institution it belongs to; `None` for own journals.
    pub institution: Option<InstitutionId>,
    /// Origin line, `{site}/j/{name}`.
    pub origin: String,
    /// Durable entries, charter included.
    pub size: u64,
    /// Sequence of the final record, if the journal was frozen.
    pub frozen: Option<u64>,
}

/// Why a journal did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// Not a journal name.
    #[error("{0:?} is not a journal name: 1 to 63 of a-z, 0-9 and -, beginning with a letter")]
    BadName(String),
    /// No such journal.
    #[error("there is no journal {0:?}")]
    Unknown(String),
    /// The name is taken.
    #[error("journal {0:?} exists already")]
    Exists(String),
    /// The id was used with another digest; nothing of the request was sealed.
    #[error("request id {id} already seals another digest, at sequence {seq}")]
    Conflict {
        /// The id, hex.
        id: String,
        /// Where it stands.
        seq: u64,
    },
    /// `expect` names another size than the journal has.
    #[error("the journal has {actual} entries, not the expected {expected}")]
    Stale {
        /// What the client believed.
        expected: u64,
        /// What is.
        actual: u64,
    },
    /// The clock or the HSM does not allow a seal now; entries may be durable: ask again with the same ids.
    #[error("no seal now: {0}")]
    NotNow(String),
    /// The queue is full.
    #[error("the journal's queue is full")]
    Busy,
    /// A storage error happened; the journal accepts nothing until the service restarts.
    #[error("storage failed, nothing more is accepted until restart: {0}")]
    Storage(String),
    /// A signed head is known that the log does not hold; nothing is written until that is resolved.
    #[error("the journals are in quarantine: {0}")]
    Quarantined(String),
    /// Damage found at start or while reading.
    #[error("journal damaged: {0}")]
    Damaged(String),
    /// The sequence number or size is beyond the journal.
    #[error("journal {journal:?} has {size} sealed entries; {seq} is beyond")]
    Beyond {
        /// Which journal.
        journal: String,
        /// What was asked for.
        seq: u64,
        /// How many are sealed.
        size: u64,
    },
    /// The journal has its final record; nothing can follow.
    #[error("journal {journal:?} was frozen: entry {seq} is its final record")]
    Frozen {
        /// Which journal.
        journal: String,
        /// The final record.
        seq: u64,
    },
    /// The journal belongs to another institution, since a hand-over if it was the caller's before.
    #[error("journal {journal:?} does not belong to {by:?} any more: it was handed over")]
    NotOwner {
        /// Which journal.
        journal: String,
        /// Whoever asked.
        by: String,
    },
    /// More digests than one request may carry (4,096), or none.
    #[error("a request carries 1 to 4096 digests, not {0}")]
    Count(usize),
}

/// Makes the RFC 3161 token (DER ContentInfo) over a SHA-256 imprint for a batch.
pub type StampFn =
    Arc<dyn Fn(Digest) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>> + Send + Sync>;

/// What a set of journals needs from outside.
pub struct Parts {
    /// Directory of the segments; made if absent.
    pub dir: PathBuf,
    /// First part of every origin, e.g. `seal.example.gov`.
    pub site: String,
    /// The HSM.
    pub keys: Keys,
    /// Key of the root log's checkpoints.
    pub head_key: KeyLabel,
    /// The time-stamping unit.
    pub stamp: StampFn,
    /// Entry times and bounds; no seal while untrusted.
    pub clock: Clock,
    /// Bytes of one segment file (default 64 MiB).
    pub segment_bytes: u64,
}

/// Settings beside [`Parts`]; the defaults are right outside of tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tuning {
    /// Free bytes below which new entries are refused; `None`: 5 % of the file system or 1 GiB,
    /// whichever is smaller.
    pub low_water_bytes: Option<u64>,
    /// Full tiles kept in memory over all trees (about 16 KiB each); `None`: 4,096.
    pub tiles_in_memory: Option<usize>,
    /// Bounds of the queue before the sequencer.
    pub limits: queue::Limits,
    /// Bytes of log between two snapshots; `None`: 32 MiB. A clean stop takes one after an eighth of it.
    pub snapshot_bytes: Option<u64>,
    /// Replay and check the whole log at start, whatever snapshot there is.
    pub replay_all: bool,
}

/// All journals of one appliance. Cheap to clone. When the last handle is dropped, what is queued
/// is still written, the threads end and the directory's lock is released.
#[derive(Clone)]
pub struct Journals(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    sequencer: Mutex<Option<JoinHandle<()>>>,
    sealer: tokio::task::JoinHandle<()>,
    witnesses: Witnesses,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
        self.sealer.abort();
        if let Some(thread) = self.sequencer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
        self.shared.keeper.stop();
    }
}

/// Counters for `/metrics` and `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct JournalStats {
    /// Entries made durable since start.
    pub entries: u64,
    /// Batches written.
    pub batches: u64,
    /// Root checkpoints signed and stamped.
    pub seals: u64,
    /// fdatasync calls.
    pub fsyncs: u64,
    /// Last fdatasync, microseconds.
    pub last_fsync_us: u64,
    /// Bytes at the tail that were a torn, never acknowledged record when the service started.
    pub torn_tail_bytes: u64,
    /// Bytes of log replayed at start: all of it, or what followed the snapshot.
    pub replayed_bytes: u64,
}

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
        let (target, sealed_by) = watch::channel(Target::default());
        let Parts { dir, site, keys, head_key, stamp, clock, segment_bytes } = parts;
        let origin = format!("{site}/root");
        let start = move || start(&dir, site, clock, segment_bytes, tuning, known, target);
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
        let journals = Journals(Arc::new(Inner { shared, queue, sequencer, sealer, witnesses }));
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

    /// Opens a journal for an institution; entry 0 is its charter. Returns when that is durable.
    pub async fn create(
        &self,
        name: JournalName,
        institution: InstitutionId,
    ) -> Result<JournalInfo, JournalError> {
        if is_own(&name) {
            return Err(JournalError::BadName(name.into()));
        }
        self.create_any(name, Some(institution)).await
    }

    async fn create_any(
        &self,
        name: JournalName,
        institution: Option<InstitutionId>,
    ) -> Result<JournalInfo, JournalError> {
        self.ask(|reply| Command::Create { name, institution, reply }).await
    }

    /// A control entry; returns when it is durable (not yet sealed). Works while the clock is
    /// untrusted (the entry then says so in its bound, `u32::MAX`, and repeats the last trusted time).
    /// The same id and detail again return where the entry stands.
    pub async fn record(
        &self,
        own: OwnJournal,
        id: RequestId,
        detail: Vec<u8>,
    ) -> Result<Recorded, JournalError> {
        if detail.len() > DETAIL_MAX {
            let bytes = detail.len();
            return Err(JournalError::NotNow(format!(
                "a detail has at most {DETAIL_MAX} bytes, not {bytes}"
            )));
        }
        let journal = self.0.shared.journal(own.name())?;
        let digest = Digest::of(&detail);
        self.ask(|reply| Command::Record { journal, id, detail, digest, reply }).await
    }

    /// Where the entry with this id stands in an own journal; durable or not there.
    pub async fn position(&self, own: OwnJournal, id: RequestId) -> Result<Option<u64>, JournalError> {
        let journal = self.0.shared.journal(own.name())?;
        self.ask(|reply| Command::Find { journal, id, reply }).await
    }

    /// Appends digests; returns when they are durable and sealed. One [`receipt::RangeReceipt`] a
    /// contiguous run; digests sealed before (same id, same digest) return the receipt they had.
    /// Receipts come in order of sequence; `expect` is not compared when nothing is new.
    pub async fn seal(
        &self,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        self.seal_for(None, journal, submissions, expect).await
    }

    /// [`Journals::seal`] for an institution: whether the journal is its own is decided where the sequence
    /// is, so that of a seal and a hand-over at the same time one comes first. What it sealed before a
    /// hand-over keeps its receipts.
    pub async fn seal_as(
        &self,
        by: &InstitutionId,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        self.seal_for(Some(by.clone()), journal, submissions, expect).await
    }

    async fn seal_for(
        &self,
        by: Option<InstitutionId>,
        journal: &JournalName,
        submissions: Vec<Submission>,
        expect: Option<u64>,
    ) -> Result<Vec<receipt::RangeReceipt>, JournalError> {
        if submissions.is_empty() || submissions.len() > SUBMISSIONS_MAX {
            return Err(JournalError::Count(submissions.len()));
        }
        if is_own(journal) {
            return Err(JournalError::Unknown(journal.as_str().to_owned()));
        }
        let journal = self.0.shared.journal(journal.as_str())?;
        let to = Arc::clone(&journal);
        let placed = self.ask(|reply| Command::Seal { journal: to, by, submissions, expect, reply }).await?;
        Lookup(&self.0.shared).placed(&journal, placed)
    }

    /// The receipt (text, `journal-design.md` section 4.3) of one sealed entry; always the same bytes.
    pub async fn receipt(&self, journal: &JournalName, seq: u64) -> Result<String, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let (entry, path, proof) = Lookup(&self.0.shared).single(&journal, seq)?;
        Ok(receipt::single_text(&entry, &path, &proof))
    }

    /// The receipt of one sealed entry under the newest checkpoint with at least `count` cosignatures.
    pub async fn cosigned_receipt(
        &self,
        journal: &JournalName,
        seq: u64,
        count: usize,
    ) -> Result<String, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let few = || JournalError::NotNow(format!("no checkpoint has {count} cosignatures yet"));
        let (root_size, note) = self.0.witnesses.newest_with(count).ok_or_else(few)?;
        let seal = state::Seal { root_size, note: note.into() };
        let (entry, path, proof) = Lookup(&self.0.shared).single_under(&journal, seq, &seal)?;
        Ok(receipt::single_text(&entry, &path, &proof))
    }

    /// The same evidence as [`Journals::receipt`] in the form that [`Journals::seal`] returns.
    pub async fn range_receipt(
        &self,
        journal: &JournalName,
        seq: u64,
    ) -> Result<receipt::RangeReceipt, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).single_range(&journal, seq)
    }

    /// Range receipt of `count` entries from `first`, against the newest seal.
    pub async fn range(
        &self,
        journal: &JournalName,
        first: u64,
        count: u64,
    ) -> Result<receipt::RangeReceipt, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).range(&journal, first, count)
    }

    /// The journal's newest sealed head, with its path to the signed and stamped root checkpoint.
    pub async fn head(&self, journal: &JournalName) -> Result<receipt::HeadProof, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).head(&journal)
    }

    /// The journal's newest sealed head at `at`, `None` before its first. `time_of` reads genTime
    /// (microseconds UTC) from the token of a checkpoint note.
    pub async fn head_at(
        &self,
        journal: &JournalName,
        at: UtcMicros,
        time_of: impl Fn(&str) -> Result<i64, String> + Send + Sync + 'static,
    ) -> Result<Option<moment::HeadAt>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        self.reading(move |lookup| lookup.head_at(&journal, at.0, &time_of)).await
    }

    /// RFC 6962 consistency path between two sizes of the root log.
    pub async fn root_consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, JournalError> {
        self.reading(move |lookup| lookup.root_consistency(old, new)).await
    }

    /// RFC 6962 consistency path between two sizes of the journal's tree.
    pub async fn consistency(
        &self,
        journal: &JournalName,
        old: u64,
        new: u64,
    ) -> Result<Vec<Digest>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        Lookup(&self.0.shared).consistency(&journal, old, new)
    }

    /// A tile of the root log, or `None` if no checkpoint has it (C2SP `tlog-tiles`).
    pub async fn root_tile(&self, tile: tile_name::TileName) -> Result<Option<Vec<u8>>, JournalError> {
        self.reading(move |lookup| lookup.root_tile(&tile)).await
    }

    /// A tile of a journal, or `None` if no sealed head has it.
    pub async fn tile(
        &self,
        journal: &JournalName,
        tile: tile_name::TileName,
    ) -> Result<Option<Vec<u8>>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        self.reading(move |lookup| lookup.tile(&journal, &tile)).await
    }

    /// Runs what may read files where it holds nobody up.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(Lookup<'_>) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let shared = Arc::clone(&self.0.shared);
        let done = tokio::task::spawn_blocking(move || read(Lookup(&shared))).await;
        done.map_err(|e| JournalError::Storage(format!("reading ended: {e}")))?
    }

    /// The newest root checkpoint, with the cosignatures it has so far.
    pub async fn root_checkpoint(&self) -> Result<String, JournalError> {
        let (size, note) =
            self.newest_root().ok_or_else(|| JournalError::NotNow("nothing is sealed yet".into()))?;
        Ok(self.0.witnesses.with_lines(size, &note))
    }

    /// The newest root checkpoint that has at least `count` cosignatures; any number for 0.
    pub async fn cosigned_checkpoint(&self, count: usize) -> Result<String, JournalError> {
        if count == 0 {
            return self.root_checkpoint().await;
        }
        let few = || JournalError::NotNow(format!("no checkpoint has {count} cosignatures yet"));
        self.0.witnesses.newest_with(count).map(|(_, note)| note).ok_or_else(few)
    }

    /// Size and note of the newest sealed root, as it was sealed.
    pub fn newest_root(&self) -> Option<(u64, String)> {
        self.0.shared.newest_seal().map(|seal| (seal.root_size, seal.note.to_string()))
    }

    /// Origin line of the root log.
    pub fn root_origin(&self) -> String {
        format!("{}/root", self.0.shared.site)
    }

    /// What the witnesses of the root log said.
    pub fn witnesses(&self) -> &Witnesses {
        &self.0.witnesses
    }

    /// The journal's export (see `docs/formats/journal.md`), part by part in bounded memory.
    pub async fn export(&self, journal: &JournalName) -> Result<outflow::Outflow, JournalError> {
        self.export_of(journal, extent::Extent::Whole).await
    }

    /// The same of a part of the journal, or of all of it.
    pub async fn export_of(
        &self,
        journal: &JournalName,
        extent: extent::Extent,
    ) -> Result<outflow::Outflow, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        outflow::Outflow::start(Arc::clone(&self.0.shared), journal, extent).await
    }

    /// The journal, if there is one.
    pub fn info(&self, journal: &JournalName) -> Option<JournalInfo> {
        self.0.shared.journal(journal.as_str()).ok().map(|journal| journal.info())
    }

    /// All journals, own ones included.
    pub fn list(&self) -> Vec<JournalInfo> {
        self.0.shared.journals().iter().map(|journal| journal.info()).collect()
    }

    /// The details of an own journal's entry, as recorded; of entry 0 the charter.
    pub async fn detail(&self, own: OwnJournal, seq: u64) -> Result<Vec<u8>, JournalError> {
        let journal = self.0.shared.journal(own.name())?;
        Lookup(&self.0.shared).detail(&journal, seq)
    }

    /// Time of the last durable entry anywhere: the clock may never be read below it.
    pub fn last_time(&self) -> Option<UtcMicros> {
        self.0.shared.last_time()
    }

    /// For metrics.
    pub fn stats(&self) -> JournalStats {
        self.0.shared.stats()
    }

    /// Why nothing is written, if a signed head is known that the log does not hold.
    pub fn quarantine(&self) -> Option<Arc<Quarantine>> {
        self.0.shared.quarantine()
    }

    /// Compares the log with heads known from any source, a witness for instance, at any time. One that the
    /// log does not hold begins the quarantine.
    pub fn compare(&self, known: &Known) -> Result<(), JournalError> {
        self.0.shared.compare(known)
    }

    /// The writer epoch: it rises when a lost tail was restored or given up.
    pub fn epoch(&self) -> u64 {
        self.0.shared.epoch.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends the quarantine: writes the statement into every own journal and its digest into all others, in
    /// a new epoch. Where the entry in `own.events` stands. Who may decide that is the caller's to know.
    pub async fn settle(&self, statement: &epoch::EpochChange) -> Result<Recorded, JournalError> {
        let settlement = settle::Settlement::new(statement)?;
        self.ask(|reply| Command::Settle { settlement, reply }).await
    }

    /// Freezes an institution's journal or hands it over, with a record in `own.events`; where the control
    /// entry stands, durable. Who may order that is the caller's to know.
    pub async fn control(
        &self,
        journal: &JournalName,
        ordered: control::Ordered,
    ) -> Result<Recorded, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        self.ask(|reply| Command::Control { journal, ordered, reply }).await
    }

    /// Whose a journal is and was, and whether it was frozen.
    pub fn tenure(&self, journal: &JournalName) -> Result<tenure::Tenure, JournalError> {
        Ok(self.0.shared.journal(journal.as_str())?.tenure())
    }

    /// The control entries of a journal.
    pub fn statements(&self, journal: &JournalName) -> Result<Vec<tenure::Stated>, JournalError> {
        let journal = self.0.shared.journal(journal.as_str())?;
        let lookup = Lookup(&self.0.shared);
        Ok(journal.controls().into_iter().map(|seq| (seq, lookup.detail(&journal, seq).ok())).collect())
    }

    /// The storage error that stopped the journal, if one did.
    pub fn failed(&self) -> Option<String> {
        self.0.shared.failure().map(str::to_owned)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, JournalError>>) -> Command,
    ) -> Result<T, JournalError> {
        if let Some(why) = self.0.shared.failure() {
            return Err(JournalError::Storage(why.to_owned()));
        }
        let (reply, answer) = oneshot::channel();
        self.0.queue.push(command(reply))?;
        answer.await.unwrap_or_else(|_| Err(JournalError::Storage("the sequencer is gone".into())))
    }
}

type Started = (Arc<Shared>, Arc<Queue>, JoinHandle<()>);

fn start(
    dir: &std::path::Path,
    site: String,
    clock: Clock,
    segment_bytes: u64,
    tuning: Tuning,
    known: Known,
    target: watch::Sender<Target>,
) -> Result<Started, JournalError> {
    let storage = |e: std::io::Error| JournalError::Storage(format!("cannot start a journal thread: {e}"));
    let keeper = tiles::Keeper::start(tuning.tiles_in_memory).map_err(storage)?;
    let shared = Arc::new(Shared::new(site, dir.join("tiles"), keeper));
    let opening = log::Opening::of_files(segment_bytes, tuning.low_water_bytes)?;
    let begin = if tuning.replay_all { recover::Begin::WholeLog } else { recover::Begin::Snapshot };
    let recovered = recover::recover(&shared, dir, &opening, begin)?;
    shared.compare(&known)?;
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

fn is_own(name: &JournalName) -> bool {
    name.as_str().starts_with("own.")
}

fn charter_text(origin: &str, institution: Option<&InstitutionId>, opened: UtcMicros) -> String {
    let institution = institution.map(|id| id.as_str().to_owned());
    entry::Charter { origin: origin.to_owned(), institution, opened: opened.iso8601() }.text()
}

mod batch;
mod canonical;
pub mod checkpoint;
pub mod compare;
pub mod control;
pub mod disk;
pub mod entry;
pub mod epoch;
pub mod evidence;
pub mod export;
pub mod extent;
pub mod index;
pub mod known;
pub mod life;
mod log;
mod lookup;
pub mod moment;
pub mod nodes;
pub mod note;
pub mod outflow;
pub mod parallel;
mod published;
pub mod queue;
pub mod range_export;
pub mod receipt;
pub mod reconcile;
pub mod record;
mod recover;
pub mod replay;
mod replica;
mod reserve;
pub mod restore;
mod resume;
pub mod resurrect;
pub mod run;
mod sealer;
mod segments;
mod settle;
pub mod shelf;
pub mod snapshot;
mod snapshots;
mod stage;
mod state;
pub mod stepwise;
mod stream;
pub mod tenure;
pub mod tile_name;
mod tiles;
pub mod tree;
pub mod verify;
mod visible;
