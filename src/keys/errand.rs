//! Rare requests to the signer, beside the stream of signatures: the head that the HSM token keeps, and
//! signatures of whole messages.

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::wire::MAX_MESSAGE;
use super::{KeyError, KeyLabel, Keys};

/// How many may wait.
const DEPTH: usize = 4;

/// One such request.
pub enum Errand {
    /// See [`Keys::keep`].
    Keep {
        /// Empty: only read.
        head: Vec<u8>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Vec<Vec<u8>>, KeyError>>,
    },
    /// See [`Keys::sign_message`].
    SignMessage {
        /// Which key.
        key: KeyLabel,
        /// What it signs.
        message: Vec<u8>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<[u8; 64], KeyError>>,
    },
}

/// The queue of a handle.
pub(super) fn queue() -> (mpsc::Sender<Errand>, mpsc::Receiver<Errand>) {
    mpsc::channel(DEPTH)
}

impl Keys {
    /// Puts a signed head (at most 1,024 bytes) into a data object of the HSM token, in place of the one there.
    /// The heads that are there now: one, or several after an interruption.
    pub async fn keep(&self, head: &[u8]) -> Result<Vec<Vec<u8>>, KeyError> {
        if head.len() > MAX_MESSAGE {
            return Err(KeyError::Refused(format!("a head of {} bytes is too long to be kept", head.len())));
        }
        let head = head.to_vec();
        self.errand(|reply| Errand::Keep { head, reply }).await
    }

    /// The heads that the HSM token keeps.
    pub async fn kept(&self) -> Result<Vec<Vec<u8>>, KeyError> {
        self.keep(&[]).await
    }

    /// Ed25519 signature (RFC 8032) of the whole message, verified with the pinned public key.
    pub async fn sign_message(&self, key: &KeyLabel, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let check = self.0.checks.of(key)?;
        check.refuse_frozen(key)?;
        if message.is_empty() || message.len() > MAX_MESSAGE {
            return Err(KeyError::Refused(format!("a message of {} bytes is not signed", message.len())));
        }
        let (of, bytes) = (key.clone(), message.to_vec());
        let raw = match self.errand(|reply| Errand::SignMessage { key: of, message: bytes, reply }).await {
            // Of a wrong length, so that there was nothing to send.
            Err(KeyError::WrongSignature(_)) => return Err(check.freeze(key)),
            other => other?,
        };
        check.accept(key, message, &raw)
    }

    async fn errand<T>(
        &self,
        errand: impl FnOnce(oneshot::Sender<Result<T, KeyError>>) -> Errand,
    ) -> Result<T, KeyError> {
        let (reply, answer) = oneshot::channel();
        self.0.errands.try_send(errand(reply)).map_err(|e| match e {
            TrySendError::Full(_) => KeyError::Busy,
            TrySendError::Closed(_) => KeyError::Down("the signer was stopped".into()),
        })?;
        let answer = tokio::time::timeout(self.0.deadline, answer).await;
        answer
            .map_err(|_| KeyError::Deadline(self.0.deadline))?
            .map_err(|_| KeyError::Down("the signer ended before it answered".into()))?
    }
}
