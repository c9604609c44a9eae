//! Named HSM keys as the rest of the service sees them: ask for a signature, get it verified.

pub mod client;
mod errand;
pub mod inventory;
mod link;
mod pinned;
mod process;
mod public;
mod supervisor;
pub mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use crate::digest::Digest;
pub use client::SignerControl;
pub use errand::Errand;
pub use pinned::{PinError, PinnedKey, PinnedKeys};
pub use public::{
    ED25519_SPKI_BYTES, PublicKey, SPKI_BYTES, ed25519_of_spki, spki_of_ed25519, spki_of_point,
};

/// Name of a key in the HSM token (CKA_LABEL): 1 to 32 of `a-z`, `0-9`, `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyLabel(String);

impl KeyLabel {
    /// Refuses other lengths and characters.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        let good = |c| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if (1..=32).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError::BadLabel(text.chars().take(64).collect()))
        }
    }
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyLabel {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::new(&text)
    }
}

impl From<KeyLabel> for String {
    fn from(label: KeyLabel) -> Self {
        label.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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
    /// Signs OCSP answers about one CA's certificates.
    OcspResponder,
    /// Signs timestamp tokens.
    Timestamp,
    /// Signs checkpoints of the root log.
    JournalHead,
    /// Signs published checkpoints of the root log once more, with Ed25519.
    JournalHeadEd25519,
    /// Signs nothing but canaries: the health probe's key.
    Canary,
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
    /// The key, or the whole HSM, is not what the pinned inventory says.
    #[error("key {key:?} is stopped, since the HSM differs from its pinned inventory: {what}")]
    Differs {
        /// Which key.
        key: String,
        /// What is different.
        what: String,
    },
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

struct Inner {
    pinned: PinnedKeys,
    checks: Arc<Checks>,
    queue: mpsc::Sender<Job>,
    errands: mpsc::Sender<Errand>,
    deadline: Duration,
    control: Option<SignerControl>,
}

impl Keys {
    /// A handle and the receiving end of its queue of `depth` jobs.
    pub fn channel(
        pinned: PinnedKeys,
        depth: usize,
        deadline: Duration,
    ) -> Result<(Keys, mpsc::Receiver<Job>), KeyError> {
        Self::channels(pinned, depth, deadline).map(|(keys, jobs, _)| (keys, jobs))
    }

    /// The same with the receiving end for rare requests, which [`Keys::channel`] leaves closed.
    pub fn channels(
        pinned: PinnedKeys,
        depth: usize,
        deadline: Duration,
    ) -> Result<(Keys, mpsc::Receiver<Job>, mpsc::Receiver<Errand>), KeyError> {
        let checks = Arc::new(Checks::new(&pinned)?);
        let (queue, jobs) = mpsc::channel(depth.max(1));
        let (errands, of_signer) = errand::queue();
        let inner = Inner { pinned, checks, queue, errands, deadline, control: None };
        Ok((Self(Arc::new(inner)), jobs, of_signer))
    }

    /// The same queue, with the process that serves it. Called before the handle has a second owner.
    fn with_control(self, control: SignerControl) -> Self {
        let Inner { pinned, checks, queue, errands, deadline, .. } = &*self.0;
        let (pinned, checks, queue, errands) =
            (pinned.clone(), checks.clone(), queue.clone(), errands.clone());
        let (deadline, control) = (*deadline, Some(control));
        Self(Arc::new(Inner { pinned, checks, queue, errands, deadline, control }))
    }

    /// SHA-256 of `message` signed by `key`, verified with the pinned public key before it is returned.
    pub async fn sign(&self, key: &KeyLabel, message: &[u8]) -> Result<Signature, KeyError> {
        let check = self.0.checks.of(key)?;
        check.refuse_frozen(key)?;
        if ed25519_of_spki(check.public.spki()).is_some() {
            return Err(KeyError::Refused(format!(
                "key {key} is an Ed25519 key: it signs whole messages only"
            )));
        }
        if let SignerState::Down { reason } = self.state() {
            return Err(KeyError::Down(reason));
        }
        let digest = *Digest::of(message).as_bytes();
        let (reply, answer) = oneshot::channel();
        self.0.queue.try_send(Job { key: key.clone(), digest, reply }).map_err(|e| match e {
            TrySendError::Full(_) => KeyError::Busy,
            TrySendError::Closed(_) => KeyError::Down("the signer was stopped".into()),
        })?;
        let raw = tokio::time::timeout(self.0.deadline, answer)
            .await
            .map_err(|_| KeyError::Deadline(self.0.deadline))?
            .map_err(|_| KeyError::Down("the signer ended before it answered".into()))?;
        check.release(key, &digest, raw)
    }

    /// SubjectPublicKeyInfo DER of a pinned key.
    pub fn public_key_der(&self, key: &KeyLabel) -> Result<Vec<u8>, KeyError> {
        self.0.checks.of(key).map(|check| check.public.spki().to_vec())
    }

    /// All pinned keys.
    pub fn pinned(&self) -> &PinnedKeys {
        &self.0.pinned
    }

    /// Whether the signer works at the moment.
    pub fn state(&self) -> SignerState {
        self.0.control.as_ref().map_or(SignerState::Ready, SignerControl::state)
    }

    /// The signer process behind this handle; `None` behind [`Keys::channel`].
    pub fn control(&self) -> Option<&SignerControl> {
        self.0.control.as_ref()
    }

    /// Keys that differ from the pinned inventory, and in what; they stay refused until the service restarts.
    pub fn differing(&self) -> Vec<(KeyLabel, String)> {
        let all = self.0.checks.keys.iter();
        all.filter_map(|(label, check)| check.differs.get().map(|what| (label.clone(), what.clone())))
            .collect()
    }

    /// Keys that gave a wrong signature; they stay refused until the service restarts.
    pub fn frozen(&self) -> Vec<KeyLabel> {
        let frozen = self.0.checks.keys.iter().filter(|(_, check)| check.frozen.load(Ordering::Acquire));
        frozen.map(|(label, _)| label.clone()).collect()
    }
}

/// The gate of every pinned key.
pub(crate) struct Checks {
    keys: HashMap<KeyLabel, Check>,
    pinned_inventory: OnceLock<inventory::Inventory>,
}

/// What a signature of one key must pass.
pub(crate) struct Check {
    public: PublicKey,
    frozen: AtomicBool,
    /// In what the key differs from the pinned inventory.
    differs: OnceLock<String>,
}

impl Checks {
    fn new(pinned: &PinnedKeys) -> Result<Self, KeyError> {
        let refused = |e: PinError| KeyError::Down(e.to_string());
        pinned.check().map_err(refused)?;
        let one = |key: &PinnedKey| {
            let public = key.public_key().map_err(refused)?;
            Ok((
                key.label.clone(),
                Check { public, frozen: AtomicBool::new(false), differs: OnceLock::new() },
            ))
        };
        let keys = pinned.keys.iter().map(one).collect::<Result<_, _>>()?;
        Ok(Self { keys, pinned_inventory: OnceLock::new() })
    }

    fn of(&self, key: &KeyLabel) -> Result<&Check, KeyError> {
        self.keys.get(key).ok_or_else(|| KeyError::Unknown(key.0.clone()))
    }
}

impl Check {
    fn refuse_frozen(&self, key: &KeyLabel) -> Result<(), KeyError> {
        if let Some(what) = self.differs.get() {
            return Err(KeyError::Differs { key: key.0.clone(), what: what.clone() });
        }
        let frozen = self.frozen.load(Ordering::Acquire);
        if frozen { Err(KeyError::WrongSignature(key.0.clone())) } else { Ok(()) }
    }

    /// The only place that makes a [`Signature`]. A key that failed once is never believed again: a damaged
    /// key file answers CKR_OK and a wrong value.
    fn release(
        &self,
        key: &KeyLabel,
        digest: &[u8; 32],
        answer: Result<[u8; 64], KeyError>,
    ) -> Result<Signature, KeyError> {
        let raw = match answer {
            Ok(raw) => Some(raw),
            // Of a wrong length, so that there was nothing to send.
            Err(KeyError::WrongSignature(_)) => None,
            Err(other) => return Err(other),
        };
        self.refuse_frozen(key)?;
        if let Some(raw) = raw.filter(|raw| self.public.verifies(digest, raw)) {
            return Ok(Signature(public::der_of_raw(&raw)));
        }
        Err(self.freeze(key))
    }

    /// The same of an Ed25519 signature, which is over the whole message.
    fn accept(&self, key: &KeyLabel, message: &[u8], raw: &[u8; 64]) -> Result<[u8; 64], KeyError> {
        self.refuse_frozen(key)?;
        if self.public.verifies_message(message, raw) { Ok(*raw) } else { Err(self.freeze(key)) }
    }

    fn freeze(&self, key: &KeyLabel) -> KeyError {
        self.frozen.store(true, Ordering::Release);
        tracing::error!(
            key = key.as_str(),
            "the HSM gave a signature that does not verify; the key is frozen"
        );
        KeyError::WrongSignature(key.0.clone())
    }
}

#[cfg(test)]
mod tests;
