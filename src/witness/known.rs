//! Heads of our root log that witnesses remember, asked before anything is signed: for rollback detection.

use std::path::Path;

use super::client::{Answer, AskError, Client, WitnessConfig};
use super::cosigned::{self, KnownHead};
use super::request::SignedCheckpoint;

/// What the stored cosigned checkpoints say, and what each witness that answers says.
///
/// `newest` is the newest root checkpoint that the log holds; a witness tells its size only to who shows
/// one that the log signed. Blocks for at most ten seconds a witness. Witnesses that do not answer are
/// left out: who is down says nothing.
pub fn known_heads(configs: &[WitnessConfig], dir: &Path, newest: Option<&str>) -> Vec<KnownHead> {
    let newest = newest.and_then(|note| Some((note, SignedCheckpoint::parse(note).ok()?)));
    let mut heads = Vec::new();
    for config in configs {
        let Ok(key) = config.key() else { continue };
        if let Some((note, checkpoint)) = &newest {
            if let Some(stored) = cosigned::stored(dir, &key, &checkpoint.origin) {
                let (size, root) = (stored.checkpoint.size, Some(stored.checkpoint.root));
                let source = format!("{}, stored in {}", cosigned::source(config), dir.display());
                heads.push(KnownHead { source, size, root });
            }
            match told(config, note, checkpoint) {
                Ok(Some(head)) => heads.push(head),
                Ok(None) => {}
                Err(why) => tracing::warn!(witness = %config.name, %why, "its head is not known"),
            }
        }
    }
    heads
}

/// Offers the checkpoint as the first one: a witness that knows the log refuses and tells its size.
fn told(
    config: &WitnessConfig,
    note: &str,
    checkpoint: &SignedCheckpoint,
) -> Result<Option<KnownHead>, String> {
    let client = Client::new(config)?;
    let answer = client.ask(0, &[], note, &checkpoint.body).map_err(|e: AskError| e.to_string())?;
    let source = cosigned::source(config);
    Ok(Some(match answer {
        Answer::Size(size) => KnownHead { source, size, root: None },
        // It knew nothing and now knows this.
        Answer::Cosigned(..) => KnownHead { source, size: checkpoint.size, root: Some(checkpoint.root) },
    }))
}
