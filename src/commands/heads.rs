//! The published head: read with its copies at start, replaced while the service runs.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::layout;
use super::serve::{ServeError, during};
use crate::config::Config;
use crate::journal::Journals;
use crate::journal::known::{Held, Known, publish};
use crate::keys::Keys;
use crate::witness::{HeadSource, add_known};

/// How often a newer head is looked for; receipts never wait for the file.
const ROUND: Duration = Duration::from_millis(250);

/// Asks the head file, its copies and the witnesses, once the log is recovered.
pub(super) fn ask(
    config: &Config,
    keys: &Keys,
) -> Result<impl FnOnce(&Held<'_>) -> Known + Send + 'static, ServeError> {
    let spki = keys.public_key_der(&layout::label("journal-head")?).map_err(during("journal-head key"))?;
    let sources = all(config);
    let (site, witnesses, dir) =
        (config.site.clone(), config.journal.witness.clone(), config.data("witness"));
    Ok(move |held: &Held<'_>| {
        let mut known = Known::default();
        sources.iter().for_each(|source| source.read(&mut known, &site, &spki));
        add_known(&mut known, &witnesses, &dir, (&site, &spki), held);
        known
    })
}

/// The head file and its copies.
pub(super) fn all(config: &Config) -> Vec<HeadSource> {
    [HeadSource::File(config.head_file())].into_iter().chain(config.journal.known_heads.clone()).collect()
}

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
