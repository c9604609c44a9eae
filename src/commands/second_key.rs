//! `pechat journal second-key`: an Ed25519 key for a second signature under published checkpoints.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::layout;
use super::serve::{ServeError, during};
use crate::config::Config;
use crate::keys::{KeyLabel, KeyPurpose, PinnedKey, PinnedKeys, client, ed25519_of_spki};
use crate::witness::{KeyKind, VerifierKey};

/// CKA_LABEL of the key.
const LABEL: &str = "journal-head-ed25519";
/// The whole ceremony.
const LIMIT: Duration = Duration::from_secs(60);

/// Arguments of `pechat journal second-key`.
#[derive(Debug, Args)]
pub struct SecondKeyArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
}

/// Makes the key in the HSM token, pins it, prints its verifier key.
pub fn run(args: &SecondKeyArgs) -> Result<(), ServeError> {
    let config = Config::load(&args.config).map_err(|e| ServeError(e.to_string()))?;
    layout::must_be_initialised(&config)?;
    let _held = layout::lock(&config)?;
    let path = layout::keys(&config);
    let mut pinned = PinnedKeys::load(&path).map_err(during("pinned keys"))?;
    if let Some(key) = of(&pinned) {
        println!("the key is there already: {}", verifier(&config, key)?);
        return Ok(());
    }
    let wanted = [(layout::label(LABEL)?, KeyPurpose::JournalHeadEd25519)];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(during("cannot start the runtime"))?;
    let command = layout::signer_command(&config)?;
    let made =
        runtime.block_on(async { tokio::time::timeout(LIMIT, client::generate(command, &wanted)).await });
    let made = made.map_err(during("making the key"))?.map_err(during("making the key"))?;
    pinned.keys.extend(made.keys);
    pinned.save(&path).map_err(during("pinned keys"))?;
    let key = of(&pinned).ok_or_else(|| ServeError("the new key was not pinned".into()))?;
    println!("{}", verifier(&config, key)?);
    eprintln!(
        "set journal.ed25519 = true, start the service, and publish that line: the verifier key of the root log"
    );
    Ok(())
}

/// The key and its verifier key, where one is configured.
pub(super) fn configured(
    config: &Config,
    pinned: &PinnedKeys,
) -> Result<Option<(KeyLabel, VerifierKey)>, ServeError> {
    if !config.journal.ed25519 {
        return Ok(None);
    }
    let missing = "journal.ed25519 is set, but no Ed25519 key is pinned: stop, run `pechat journal second-key`, start again";
    let key = of(pinned).ok_or_else(|| ServeError(missing.into()))?;
    Ok(Some((key.label.clone(), verifier(config, key)?)))
}

fn of(pinned: &PinnedKeys) -> Option<&PinnedKey> {
    pinned.keys.iter().find(|key| key.purpose == KeyPurpose::JournalHeadEd25519)
}

fn verifier(config: &Config, key: &PinnedKey) -> Result<VerifierKey, ServeError> {
    let public = key.public_key().map_err(during("pinned keys"))?;
    let public =
        ed25519_of_spki(public.spki()).ok_or_else(|| ServeError(format!("{LABEL} is no Ed25519 key")))?;
    let origin = format!("{}/root", config.site);
    VerifierKey::new(&origin, KeyKind::Ed25519(public)).map_err(during("verifier key"))
}
