//! The published head: read with its copies at start, replaced while the service runs.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::layout;
use super::serve::{ServeError, during};
use crate::config::Config;
use crate::journal::Journals;
use crate::journal::checkpoint::{open_note, push_line};
use crate::journal::known::{Held, Known, publish};
use crate::keys::Keys;
use crate::witness::{HeadSource, add_known};

/// How often a newer head is looked for; receipts never wait for the file.
const ROUND: Duration = Duration::from_millis(250);

/// Asks the HSM token, the head file, its copies and the witnesses, once the log is recovered.
pub(super) async fn ask(
    config: &Config,
    keys: &Keys,
) -> Result<impl FnOnce(&Held<'_>) -> Known + Send + 'static, ServeError> {
    let spki = keys.public_key_der(&layout::label("journal-head")?).map_err(during("journal-head key"))?;
    let sources = all(config);
    let in_token = if config.hsm.keep_head_s > 0 { kept(keys).await? } else { Vec::new() };
    let (site, witnesses, dir) =
        (config.site.clone(), config.journal.witness.clone(), config.data("witness"));
    Ok(move |held: &Held<'_>| {
        let mut known = Known::default();
        for text in in_token {
            known.add(IN_TOKEN, text, &site, &spki);
        }
        sources.iter().for_each(|source| source.read(&mut known, &site, &spki));
        add_known(&mut known, &witnesses, &dir, (&site, &spki), held);
        known
    })
}

/// What the HSM token keeps.
async fn kept(keys: &Keys) -> Result<Vec<Result<String, String>>, ServeError> {
    let kept =
        keys.kept().await.map_err(during("the head in the HSM token (hsm.keep_head_s = 0 goes without)"))?;
    if kept.is_empty() {
        tracing::warn!("the HSM token keeps no head yet: a lost tail cannot be told by it");
    }
    Ok(kept.into_iter().map(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string())).collect())
}

/// The head file and its copies.
pub(super) fn all(config: &Config) -> Vec<HeadSource> {
    [HeadSource::File(config.head_file())].into_iter().chain(config.journal.known_heads.clone()).collect()
}

/// How the source in the HSM token is called.
const IN_TOKEN: &str = "the HSM token's data object pechat-head";

/// The task that keeps the head file new.
pub(super) struct Published {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Published {
    /// Replaces the file whenever there is a newer head; not while in quarantine.
    pub(super) fn start(path: PathBuf, journals: Journals) -> Published {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut last = String::new();
            loop {
                let ending = tokio::time::timeout(ROUND, &mut ended).await.is_ok();
                once(&path, &journals, &mut last).await;
                if ending {
                    return;
                }
            }
        });
        Published { task, end }
    }

    /// Publishes the newest head once more and ends.
    pub(super) async fn stop(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn once(path: &std::path::Path, journals: &Journals, last: &mut String) {
    // As it was sealed: with each cosignature that comes later, the file would be synced again.
    let Some((_, note)) = journals.newest_root() else { return };
    if note == *last || journals.quarantine().is_some() {
        return;
    }
    let (path, text) = (path.to_owned(), note.clone());
    let shown = path.display().to_string();
    match tokio::task::spawn_blocking(move || publish(&path, &text)).await {
        Ok(Ok(())) => *last = note,
        Ok(Err(error)) => tracing::warn!(%error, path = shown, "the head could not be published"),
        Err(error) => tracing::warn!(%error, path = shown, "the head could not be published"),
    }
}

/// The task that keeps the head in the HSM token new.
pub(super) struct Kept {
    task: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Kept {
    /// Writes once every `every` when there is a newer head; never where that is zero.
    pub(super) fn start(every: Duration, keys: Keys, journals: Journals) -> Kept {
        let (end, mut ended) = oneshot::channel();
        let task = tokio::spawn(async move {
            let mut last = 0;
            while !every.is_zero() {
                let ending = tokio::time::timeout(every, &mut ended).await.is_ok();
                if let Err(why) = keep(&keys, &journals, &mut last).await {
                    tracing::warn!(why, "the HSM token does not keep the newest head");
                }
                if ending {
                    return;
                }
            }
        });
        Kept { task, end }
    }

    /// Keeps the newest head once more and ends.
    pub(super) async fn stop(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn keep(keys: &Keys, journals: &Journals, last: &mut u64) -> Result<(), String> {
    let Some((size, note)) = journals.newest_root() else { return Ok(()) };
    if size == *last || journals.quarantine().is_some() {
        return Ok(());
    }
    keys.keep(signed_alone(&note)?.as_bytes()).await.map_err(|e| e.to_string())?;
    *last = size;
    Ok(())
}

/// Body and first signature line: what fits into a small object and still verifies.
fn signed_alone(note: &str) -> Result<String, String> {
    let open = open_note(note).map_err(|e| e.to_string())?;
    let line = open.signatures.first().ok_or("the head is not signed")?;
    let mut text = format!("{}\n", open.body);
    push_line(&mut text, &line.name, line.key_hash, &line.payload);
    Ok(text)
}
