//! One set of journals in a directory: a software key that answers the HSM's queue, a clock set by
//! hand, and a stamp that can be told to fail.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::hazmat::PrehashSigner;
use p256::pkcs8::EncodePublicKey;
use pechat::clock::system::Machine;
use pechat::clock::{Clock, ClockState, HandSet};
use pechat::digest::{Digest, hex};
use pechat::institution::InstitutionId;
use pechat::journal::epoch::{AgreedBy, EVENT, EpochChange, GivenUp, Why};
use pechat::journal::known::{Held, Known};
use pechat::journal::receipt::RangeReceipt;
use pechat::journal::verify::{RangeFacts, Trust, verify_range, verify_receipt};
use pechat::journal::{JournalError, JournalName, Journals, Parts, RequestId, StampFn, Submission, Tuning};
use pechat::keys::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKey, PinnedKeys};

pub const SITE: &str = "seal.example.gov";
pub const SEGMENT: u64 = 1 << 20;

/// What the outside does.
pub struct World {
    pub hand: HandSet,
    clock: Clock,
    signing: SigningKey,
    pub hsm_works: Arc<AtomicBool>,
    pub stamp_works: Arc<AtomicBool>,
    /// Counts stamps; each is another token.
    pub stamps: Arc<AtomicU64>,
    /// What the HSM signed, in order.
    pub signed: Arc<Mutex<Vec<[u8; 32]>>>,
}

impl World {
    pub fn new() -> World {
        Self::with(HandSet::synchronised(Duration::from_millis(2)))
    }

    /// A world whose clock reads another machine's time.
    #[allow(dead_code)] // not every test turns the clock
    pub fn on(machine: Arc<dyn Machine>) -> World {
        Self::with(HandSet::on(machine, Duration::from_millis(2)))
    }

    pub fn with((hand, clock): (HandSet, Clock)) -> World {
        World {
            hand,
            clock,
            signing: SigningKey::from_slice(&[7; 32]).unwrap(),
            hsm_works: Arc::new(AtomicBool::new(true)),
            stamp_works: Arc::new(AtomicBool::new(true)),
            stamps: Arc::default(),
            signed: Arc::default(),
        }
    }

    pub fn spki(&self) -> Vec<u8> {
        self.signing.verifying_key().to_public_key_der().unwrap().into_vec()
    }

    fn keys(&self) -> Keys {
        let label = KeyLabel::new("journal-head").unwrap();
        let (purpose, id, spki) = (KeyPurpose::JournalHead, "01".into(), hex(&self.spki()));
        let pinned = PinnedKeys { keys: vec![PinnedKey { label, purpose, id, spki }] };
        let (keys, mut jobs) = Keys::channel(pinned, 16, Duration::from_secs(5)).unwrap();
        let (key, works, signed) = (self.signing.clone(), self.hsm_works.clone(), self.signed.clone());
        std::thread::spawn(move || {
            while let Some(job) = jobs.blocking_recv() {
                let signature: p256::ecdsa::Signature = key.sign_prehash(&job.digest).unwrap();
                let answer = if works.load(Ordering::SeqCst) {
                    signed.lock().unwrap().push(job.digest);
                    Ok(signature.to_bytes().into())
                } else {
                    Err(KeyError::Refused("CKR_DEVICE_ERROR".into()))
                };
                let _ = job.reply.send(answer);
            }
        });
        keys
    }

    fn stamp(&self) -> StampFn {
        let (works, stamps) = (self.stamp_works.clone(), self.stamps.clone());
        Arc::new(move |imprint: Digest| {
            let (works, number) = (works.load(Ordering::SeqCst), stamps.fetch_add(1, Ordering::SeqCst));
            Box::pin(async move {
                if works {
                    Ok(format!("token {number} over {imprint}").into_bytes())
                } else {
                    Err("timeNotAvailable".into())
                }
            })
        })
    }

    #[allow(dead_code)] // not every test asks for it
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    pub fn untrust_clock(&self) {
        let state = ClockState::Untrusted { reason: "step".into(), detail: "it stepped".into() };
        self.hand.set(state, Duration::ZERO);
    }

    pub fn trust_clock(&self) {
        self.hand.set(ClockState::Synchronised, Duration::from_millis(2));
    }

    pub async fn open(&self, dir: &Path) -> Result<Journals, JournalError> {
        self.open_tuned(dir, Tuning { low_water_bytes: Some(0), ..Tuning::default() }).await
    }

    pub async fn open_tuned(&self, dir: &Path, tuning: Tuning) -> Result<Journals, JournalError> {
        self.open_all(dir, tuning, SEGMENT).await
    }

    pub async fn open_sized(&self, dir: &Path, segment_bytes: u64) -> Result<Journals, JournalError> {
        self.open_all(dir, Tuning { low_water_bytes: Some(0), ..Tuning::default() }, segment_bytes).await
    }

    /// Opens and compares with heads known from elsewhere.
    #[allow(dead_code)] // what is known from elsewhere is a matter of tests/journal_rollback.rs
    pub async fn open_knowing(&self, dir: &Path, known: Known) -> Result<Journals, JournalError> {
        let tuning = Tuning { low_water_bytes: Some(0), ..Tuning::default() };
        Journals::open_knowing(self.parts(dir, SEGMENT), tuning, known).await
    }

    /// The same with other settings.
    #[allow(dead_code)] // as above, and of tests/journal_restart.rs
    pub async fn open_all_knowing(
        &self,
        dir: &Path,
        tuning: Tuning,
        known: Known,
    ) -> Result<Journals, JournalError> {
        Journals::open_knowing(self.parts(dir, SEGMENT), tuning, known).await
    }

    /// Opens and asks for heads known from elsewhere once the log is recovered.
    #[allow(dead_code)] // so is this
    pub async fn open_asking(
        &self,
        dir: &Path,
        ask: impl FnOnce(&Held<'_>) -> Known + Send + 'static,
    ) -> Result<Journals, JournalError> {
        let tuning = Tuning { low_water_bytes: Some(0), ..Tuning::default() };
        Journals::open_asking(self.parts(dir, SEGMENT), tuning, ask).await
    }

    async fn open_all(
        &self,
        dir: &Path,
        tuning: Tuning,
        segment_bytes: u64,
    ) -> Result<Journals, JournalError> {
        Journals::open_tuned(self.parts(dir, segment_bytes), tuning).await
    }

    fn parts(&self, dir: &Path, segment_bytes: u64) -> Parts {
        Parts {
            dir: dir.to_owned(),
            site: SITE.into(),
            keys: self.keys(),
            head_key: KeyLabel::new("journal-head").unwrap(),
            stamp: self.stamp(),
            clock: self.clock.clone(),
            segment_bytes,
        }
    }

    /// Verifies a range receipt down to the head key's signature.
    pub fn check(&self, receipt: &RangeReceipt) -> RangeFacts {
        let spki = self.spki();
        verify_range(receipt, &Trust { head_key_spki: Some(&spki), token: None }).unwrap()
    }

    /// Verifies a single receipt and gives its sequence and digest.
    pub fn check_text(&self, text: &str) -> (u64, Digest) {
        let spki = self.spki();
        let facts = verify_receipt(text, &Trust { head_key_spki: Some(&spki), token: None }).unwrap();
        (facts.entry.seq, facts.entry.digest)
    }
}

pub fn name(text: &str) -> JournalName {
    JournalName::try_from(text.to_owned()).unwrap()
}

pub fn institution() -> InstitutionId {
    InstitutionId::try_from("cadastre".to_owned()).unwrap()
}

pub async fn land(journals: &Journals) -> JournalName {
    let land = name("land");
    if journals.info(&land).is_none() {
        journals.create(land.clone(), institution()).await.unwrap();
    }
    land
}

pub fn id(number: u64) -> RequestId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    RequestId(id)
}

/// The submission of record `number`.
pub fn submission(number: u64) -> Submission {
    Submission { request_id: id(number), digest: Digest::of(&number.to_be_bytes()) }
}

pub fn submissions(numbers: impl IntoIterator<Item = u64>) -> Vec<Submission> {
    numbers.into_iter().map(submission).collect()
}

pub fn segment(dir: &Path, number: u64) -> PathBuf {
    dir.join("segments").join(format!("{number:020}.seg"))
}

/// A copy of a journal directory.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for item in std::fs::read_dir(from).unwrap() {
        let item = item.unwrap();
        let target = to.join(item.file_name());
        if item.file_type().unwrap().is_dir() {
            copy(&item.path(), &target);
        } else {
            std::fs::copy(item.path(), target).unwrap();
        }
    }
}

/// What two officers agree to when a lost tail is given up.
#[allow(dead_code)] // of the tests with a rollback
pub fn gap(journals: &Journals) -> EpochChange {
    let found = journals.quarantine().expect("quarantine");
    let by = |person: &str| AgreedBy { person: person.into(), certificate: Digest::of(person.as_bytes()) };
    EpochChange {
        event: EVENT.into(),
        epoch: journals.epoch() + 1,
        why: Why::Gap,
        size: found.size,
        root: found.root,
        given_up: found.heads().map(GivenUp::from).collect(),
        description: "the disk was replaced; the last records are lost".into(),
        agreed_by: vec![by("operator/ana"), by("operator/boris")],
    }
}
