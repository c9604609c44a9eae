//! The sealer: signs and stamps the newest durable root of the root log, one at a time.
//!
//! While one seal is made, batches gather behind it; one seal covers them all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::JournalError;
use super::StampFn;
use super::batch::Target;
use super::checkpoint::{Checkpoint, note};
use super::queue::{Queue, SealOutcome};
use super::state::{Seal, Shared};
use crate::digest::Digest;
use crate::keys::{KeyLabel, Keys};

/// Pause between seals nobody waits for.
const UNHURRIED: Duration = Duration::from_millis(200);
/// First and longest pause after a failure.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_LONGEST: Duration = Duration::from_secs(1);

/// See the module.
pub struct Sealer {
    /// Says whether signing is allowed.
    pub shared: Arc<Shared>,
    /// The HSM.
    pub keys: Keys,
    /// Key of the checkpoints.
    pub head_key: KeyLabel,
    /// The time-stamping unit.
    pub stamp: StampFn,
    /// Origin of the root log.
    pub origin: String,
    /// Where seals go.
    pub queue: Arc<Queue>,
    /// What should be sealed.
    pub target: watch::Receiver<Target>,
}

impl Sealer {
    /// Works until the sequencer is gone or storage failed.
    pub async fn run(mut self) {
        let mut pause = RETRY_FIRST;
        let mut last = Instant::now();
        loop {
            let target = *self.target.borrow_and_update();
            if target.sealed >= target.root_size {
                if self.target.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if !target.waiting && last + UNHURRIED > Instant::now() {
                tokio::select! {
                    () = sleep_until(last + UNHURRIED) => {}
                    // Someone may wait now.
                    gone = self.target.changed() => if gone.is_err() { return } else { continue },
                }
            }
            match self.seal(target).await {
                Ok(()) => {
                    pause = RETRY_FIRST;
                    last = Instant::now();
                }
                Err(JournalError::Storage(_)) => return,
                Err(error) => {
                    tracing::warn!(%error, "no seal; entries are durable, sealing is tried again");
                    sleep(pause).await;
                    pause = (2 * pause).min(RETRY_LONGEST);
                }
            }
        }
    }

    async fn seal(&mut self, target: Target) -> Result<(), JournalError> {
        let seal = match self.make(target).await {
            Ok(made) => made,
            Err(why) => {
                self.queue.push_seal(SealOutcome::Failed(why.clone()));
                return Err(JournalError::NotNow(why));
            }
        };
        let (durable, answer) = oneshot::channel();
        self.queue.push_seal(SealOutcome::Done { seal: Arc::new(seal), durable });
        answer.await.unwrap_or_else(|_| Err(JournalError::Storage("the sequencer is gone".into())))
    }

    /// Signs and stamps at the same time: neither covers the other.
    async fn make(&self, target: Target) -> Result<Seal, String> {
        self.shared.admit().map_err(|e| e.to_string())?;
        let Target { root_size, root, .. } = target;
        let body = Checkpoint { origin: self.origin.clone(), size: root_size, root }.body();
        let spki = self.keys.public_key_der(&self.head_key).map_err(|e| e.to_string())?;
        let stamping = (self.stamp)(Digest::of(body.as_bytes()));
        let (signature, token) = tokio::join!(self.keys.sign(&self.head_key, body.as_bytes()), stamping);
        let (signature, token) = (signature.map_err(|e| e.to_string())?, token?);
        let note = note(&body, &self.origin, &spki, signature.as_der(), &token);
        Ok(Seal { root_size, note: note.into() })
    }
}
