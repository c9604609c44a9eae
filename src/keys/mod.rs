//! Named HSM keys as the rest of the service sees them: ask for a signature, get it verified.

pub mod client;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Name of a key in the HSM token (CKA_LABEL): 1 to 32 of `a-z`, `0-9`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KeyLabel(String);

impl KeyLabel {
    /// Refuses other lengths and characters.
    pub fn new(_text: &str) -> Result<Self, KeyError> {
        todo!()
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The one thing a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPurpose {
    /// Signs issuing CA and TSU certificates and the root's CRL.
    RootCa,
    /// Signs certificates and the CRL of one environment.
    IssuingCa,
    /// Signs timestamp tokens.
    Timestamp,
    /// Signs checkpoints of the root log.
    JournalHead,
    /// Signs nothing but canaries: the health probe's key.
    Canary,
}

/// A P-256 public key, pinned at `pechat init`; written to `keys.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKey {
    /// CKA_LABEL.
    pub label: KeyLabel,
    /// What it may be used for.
    pub purpose: KeyPurpose,
    /// CKA_ID, hex.
    pub id: String,
    /// SubjectPublicKeyInfo, DER, as hex.
    pub spki: String,
}

/// All keys the service may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedKeys {
    /// One entry a key; labels and ids are distinct.
    pub keys: Vec<PinnedKey>,
}

/// A signature that verified under the pinned key: DER `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// The DER bytes.
    pub fn as_der(&self) -> &[u8] {
        &self.0
    }
}

/// Why there is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The queue before the HSM is full.
    #[error("the queue before the HSM is full")]
    Busy,
    /// No answer within the deadline.
    #[error("the HSM did not answer within {0:?}")]
    Deadline(Duration),
    /// The signer process is down; the text says why.
    #[error("the signer is not available: {0}")]
    Down(String),
    /// Nobody pinned a key of this name.
    #[error("no key {0:?} is pinned")]
    Unknown(String),
    /// The HSM answered with an error.
    #[error("the HSM refused: {0}")]
    Refused(String),
    /// The signature does not verify under the pinned key; the key is frozen.
    #[error("key {0:?} gave a signature that does not verify; the key is frozen until the service restarts")]
    WrongSignature(String),
    /// Not a key label.
    #[error("{0:?} is not a key label: 1 to 32 of a-z, 0-9 and -")]
    BadLabel(String),
}

/// One signature asked for: SHA-256 digest in, raw `r || s` (64 bytes, PKCS#11 form) out.
#[derive(Debug)]
pub struct Job {
    /// Which key.
    pub key: KeyLabel,
    /// What is signed (CKM_ECDSA over this SHA-256 value).
    pub digest: [u8; 32],
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<[u8; 64], KeyError>>,
}

/// State of the signer as the front sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum SignerState {
    /// Signing works.
    Ready,
    /// It does not, and why, in words; restarts are tried.
    Down {
        /// The reason.
        reason: String,
    },
}

/// Handle to the HSM's keys. Cheap to clone. Behind it is either the signer process
/// (`client::connect`) or, in tests, whoever reads the job channel.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);
struct Inner {}

impl Keys {
    /// A handle and the receiving end of its queue of `depth` jobs.
    pub fn channel(
        _pinned: PinnedKeys,
        _depth: usize,
        _deadline: Duration,
    ) -> Result<(Keys, mpsc::Receiver<Job>), KeyError> {
        todo!()
    }
    /// SHA-256 of `message` signed by `key`, verified with the pinned public key before it is returned.
    pub async fn sign(&self, _key: &KeyLabel, _message: &[u8]) -> Result<Signature, KeyError> {
        todo!()
    }
    /// SubjectPublicKeyInfo DER of a pinned key.
    pub fn public_key_der(&self, _key: &KeyLabel) -> Result<Vec<u8>, KeyError> {
        todo!()
    }
    /// All pinned keys.
    pub fn pinned(&self) -> &PinnedKeys {
        todo!()
    }
    /// Whether the signer works at the moment.
    pub fn state(&self) -> SignerState {
        todo!()
    }
}
