//! Heads of our root log that witnesses remember, asked before anything is written or signed: for rollback
//! detection. A witness tells its size only to who shows a head that the log signed.

use std::path::Path;

use super::client::{Answer, AskError, Client, WitnessConfig};
use super::cosigned;
use super::request::SignedCheckpoint;
use crate::journal::known::{Doubt, Held, Known, KnownHead};

/// Adds what the stored cosigned checkpoints say, and what each witness that answers says.
///
/// All are asked at once; blocks for at most twenty seconds. Who does not answer is left out: being down says
/// nothing. `head_key_spki` is the key of the log's own signatures.
pub fn add_known(
    known: &mut Known,
    configs: &[WitnessConfig],
    dir: &Path,
    (site, head_key_spki): (&str, &[u8]),
    held: &Held<'_>,
) {
    let origin = format!("{site}/root");
    for config in configs {
        let stored = config.key().ok().and_then(|key| cosigned::stored(dir, &key, &origin));
        if let Some(stored) = stored {
            let source = format!("{}, stored in {}", cosigned::source(config), dir.display());
            known.add(&source, Ok(stored.note), site, head_key_spki);
        }
    }
    let Some((_, note)) = held.newest() else { return };
    let Ok(checkpoint) = SignedCheckpoint::parse(&note) else { return };
    let answers = std::thread::scope(|scope| {
        let (note, checkpoint) = (&note, &checkpoint);
        let ask = |config| scope.spawn(move || told(config, note, checkpoint, held));
        let asked: Vec<_> = configs.iter().map(ask).collect();
        let told = asked.into_iter().map(|thread| thread.join());
        told.map(|told| told.unwrap_or_else(|_| Err("the asking thread ended".into()))).collect::<Vec<_>>()
    });
    for (config, told) in configs.iter().zip(answers) {
        match told {
            Ok(Told::Head(head)) => known.heads.push(head),
            Ok(Told::Doubt(doubt)) => known.doubts.push(doubt),
            Ok(Told::Nothing) => {}
            Err(why) => tracing::warn!(witness = %config.name, %why, "its head is not known"),
        }
    }
}

/// What a witness said.
enum Told {
    Head(KnownHead),
    Doubt(Doubt),
    /// It knew nothing, or cosigned that we continue what it knew.
    Nothing,
}

/// Offers the checkpoint as the first one: a witness that knows the log refuses and tells its size. If that is
/// not ahead, the checkpoint is offered again with a proof that it continues what the witness knows.
fn told(
    config: &WitnessConfig,
    note: &str,
    checkpoint: &SignedCheckpoint,
    held: &Held<'_>,
) -> Result<Told, String> {
    let client = Client::new(config)?;
    let size = match client.ask(0, &[], note, &checkpoint.body).map_err(|e| e.to_string())? {
        Answer::Size(size) => size,
        Answer::Cosigned(..) => return Ok(Told::Nothing),
    };
    let head = KnownHead { source: cosigned::source(config), size, root: None, note: None };
    if size > checkpoint.size {
        return Ok(Told::Head(head));
    }
    let proof = held.consistency(size, checkpoint.size).map_err(|e| e.to_string())?;
    match client.ask(size, &proof, note, &checkpoint.body) {
        Ok(Answer::Cosigned(..)) => Ok(Told::Nothing),
        // Somebody else had it cosigned in between.
        Ok(Answer::Size(_)) => Ok(Told::Nothing),
        Err(AskError::Disagrees { text, .. }) => Ok(Told::Doubt(Doubt::Disputed { known: head, why: text })),
        Err(error) => Err(error.to_string()),
    }
}
