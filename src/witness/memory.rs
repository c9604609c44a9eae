//! The witness: judges what a log asks, remembers, cosigns. One head of each size of each log, for ever.

use std::sync::{Mutex, PoisonError};

use super::cosignature::CosignerKey;
use super::heads::{Heads, HeadsFile, LogHead};
use super::request::AddCheckpoint;
use super::vkey::VerifierKey;
use crate::clock::UtcMicros;
use crate::journal::tree::{self, ProofError};

/// A log that the witness knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    /// First line of its checkpoints.
    pub origin: String,
    /// Any one of these must have signed.
    pub keys: Vec<VerifierKey>,
}

/// Why a checkpoint is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 404.
    #[error("this witness does not know the log {0:?}")]
    UnknownLog(String),
    /// 403.
    #[error("no signature of the checkpoint is of a key known for this log")]
    Unsigned,
    /// 400.
    #[error("the old size {old} is beyond the checkpoint's {new}")]
    Shrinks {
        /// Size the proof starts from.
        old: u64,
        /// Size of the checkpoint.
        new: u64,
    },
    /// 409: the proof starts elsewhere; carries the size cosigned last.
    #[error("the latest cosigned size is {0}")]
    Conflict(u64),
    /// 409: the log has two heads of one size.
    #[error("another head of size {0} was cosigned: this log has two histories")]
    Fork(u64),
    /// 422.
    #[error("the consistency proof does not hold: {0}")]
    Proof(ProofError),
    /// 500: what was decided could not be made durable, so nothing more is signed.
    #[error("storage failed, nothing is cosigned until restart: {0}")]
    Storage(String),
}

/// Whether a checkpoint continues the latest cosigned head. Pure; in the order of C2SP `tlog-witness`.
pub fn judge(request: &AddCheckpoint, logs: &[KnownLog], heads: &Heads) -> Result<LogHead, Refusal> {
    let checkpoint = &request.checkpoint;
    let log = logs.iter().find(|log| log.origin == checkpoint.origin);
    let log = log.ok_or_else(|| Refusal::UnknownLog(checkpoint.origin.clone()))?;
    let signed = |key: &VerifierKey| checkpoint.signatures.iter().any(|l| key.signed(&checkpoint.body, l));
    if !log.keys.iter().any(signed) {
        return Err(Refusal::Unsigned);
    }
    let head = LogHead { size: checkpoint.size, root: checkpoint.root };
    if request.old > head.size {
        return Err(Refusal::Shrinks { old: request.old, new: head.size });
    }
    let empty = LogHead { size: 0, root: tree::empty_root() };
    let latest = heads.get(&log.origin).copied().unwrap_or(empty);
    if request.old != latest.size {
        return Err(Refusal::Conflict(latest.size));
    }
    if latest.size == head.size && latest.root != head.root {
        return Err(Refusal::Fork(head.size));
    }
    tree::verify_consistency(latest.size, &latest.root, head.size, &head.root, &request.proof)
        .map_err(Refusal::Proof)?;
    Ok(head)
}

/// Where the time of a cosignature comes from.
pub type Now = fn() -> UtcMicros;

/// A witness at work. The size check and the new memory are one step: requests are judged one at a time.
pub struct Witness {
    key: CosignerKey,
    logs: Vec<KnownLog>,
    now: Now,
    state: Mutex<State>,
}

struct State {
    heads: Heads,
    file: HeadsFile,
    /// What a failed write said; what is on disk is unknown from then on.
    failed: Option<String>,
}

impl Witness {
    /// A witness with the memory that its file holds.
    pub fn new(key: CosignerKey, logs: Vec<KnownLog>, memory: (HeadsFile, Heads), now: Now) -> Witness {
        let (file, heads) = memory;
        Witness { key, logs, now, state: Mutex::new(State { heads, file, failed: None }) }
    }

    /// What verifiers are given.
    pub fn public(&self) -> &VerifierKey {
        self.key.public()
    }

    /// The logs it knows.
    pub fn logs(&self) -> &[KnownLog] {
        &self.logs
    }

    /// The cosignature line, once the head is durably remembered. Blocks on the disk.
    pub fn add(&self, request: &AddCheckpoint) -> Result<String, Refusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = &state.failed {
            return Err(Refusal::Storage(why.clone()));
        }
        let head = judge(request, &self.logs, &state.heads)?;
        let known = state.heads.insert(request.checkpoint.origin.clone(), head);
        if known != Some(head)
            && let Err(error) = state.file.store(&state.heads)
        {
            tracing::error!(%error, "the witness cannot remember; nothing is cosigned until restart");
            state.failed = Some(error.to_string());
            return Err(Refusal::Storage(error.to_string()));
        }
        // Before 1970 there is nothing to cosign.
        let seconds = u64::try_from((self.now)().0 / 1_000_000).unwrap_or(0);
        Ok(self.key.cosign(&request.checkpoint.body, seconds))
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
