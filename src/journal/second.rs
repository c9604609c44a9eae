//! The second signature of what is published: Ed25519 (C2SP `signed-note` type 0x01), for readers and witnesses
//! that know nothing else. At most one a second, whatever the appliance seals; no seal waits for it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::Journals;
use super::checkpoint::{open_note, push_line};
use crate::keys::{KeyLabel, Keys};
use crate::witness::VerifierKey;

/// Between two looks for a newer checkpoint.
const ROUND: Duration = Duration::from_secs(1);

/// The newest checkpoint with both signatures: size and note. Cheap to clone.
#[derive(Clone, Default)]
pub struct Second(Arc<Mutex<Option<(u64, String)>>>);

impl Second {
    fn newest(&self) -> Option<(u64, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The rounds; they end when this is dropped.
pub struct Rounds(JoinHandle<()>);

impl Drop for Rounds {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Signs with the key `label`, whose public half `key` names. Needs a tokio runtime.
pub fn start(journals: &Journals, keys: Keys, label: KeyLabel, key: VerifierKey) -> Rounds {
    let journals = journals.clone();
    Rounds(tokio::spawn(async move {
        let mut failing = false;
        loop {
            let done = round(&journals, &keys, &label, &key).await;
            if let (Err(why), false) = (&done, failing) {
                tracing::warn!(%why, "no Ed25519 signature; checkpoints are published with the older one");
            }
            failing = done.is_err();
            sleep(ROUND).await;
        }
    }))
}

async fn round(journals: &Journals, keys: &Keys, label: &KeyLabel, key: &VerifierKey) -> Result<(), String> {
    let Some((size, note)) = journals.newest_root() else { return Ok(()) };
    let second = &journals.0.second;
    if journals.quarantine().is_some() || second.newest().is_some_and(|(signed, _)| signed == size) {
        return Ok(());
    }
    let body = open_note(&note).map_err(|e| e.to_string())?.body;
    let signature = keys.sign_message(label, body.as_bytes()).await.map_err(|e| e.to_string())?;
    let mut both = note;
    push_line(&mut both, key.name(), key.id(), &signature);
    *second.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((size, both));
    Ok(())
}

impl Journals {
    /// Size and note of the newest checkpoint for publication: the newest with both signatures where a second key
    /// signs, at most a moment older than the newest of all.
    pub fn published_root(&self) -> Option<(u64, String)> {
        self.0.second.newest().or_else(|| self.newest_root())
    }

    /// The same as text, with the cosignatures it has so far.
    pub fn published_checkpoint(&self) -> Option<String> {
        let (size, note) = self.published_root()?;
        Some(self.0.witnesses.with_lines(size, &note))
    }
}
