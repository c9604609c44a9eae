//! `pechat client verify`: file, plan, receipts and keys must fit together; needs no connection.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use rasn_cms::tsp::TimeStampReq;

use super::evidence::{HeadKey, Verifier};
use super::plan::Plan;
use super::runs;
use super::settings::{Layer, SettingsError};
use super::stamp::{ReplyError, check, digest_of, proved, query_path, with_suffix};
use super::store::Store;
use super::{ClientError, at};
use crate::clock::UtcMicros;

/// Arguments of `pechat client verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The sealed JSON Lines file, or the stamped file (its reply in FILE.tsr)
    pub file: PathBuf,
    /// PEM public key of the journal head [default: head_key of the configuration, else the one kept
    /// in FILE.pechat at the first sealing]
    #[arg(long)]
    pub head_key: Option<PathBuf>,
}

/// Checks everything there is beside the file; gives the line to print.
pub fn verify(args: &VerifyArgs, trust: Layer) -> Result<String, ClientError> {
    let ca = trust.ca.clone().ok_or_else(|| SettingsError::Missing {
        names: "PECHAT_CA".into(),
        path: "the client's configuration".into(),
    })?;
    let store = Store::beside(&args.file);
    let reply = with_suffix(&args.file, ".tsr");
    let mut said = Vec::new();
    if reply.exists() {
        said.push(stamped(&args.file, &reply, &ca)?);
    }
    if let Some(plan) = store.plan()? {
        let head_key = args.head_key.clone().or(trust.head_key);
        said.push(sealed(&args.file, &store, &plan, head_key.as_deref(), &ca)?);
    }
    if said.is_empty() {
        return Err(ClientError::NothingBeside(args.file.display().to_string()));
    }
    Ok(said.join("\n"))
}

/// First every record against its salt, so that a changed line is named; then the receipts.
fn sealed(
    file: &Path,
    store: &Store,
    plan: &Plan,
    head_key: Option<&Path>,
    ca: &Path,
) -> Result<String, ClientError> {
    let bytes = fs::read(file).map_err(|e| at(file, e))?;
    plan.must_fit(&bytes)?;
    let stored = store.receipts()?;
    let covered = runs::coverage(&stored, plan.records.len())?;
    let kept = Some(store.head_key_path()).filter(|path| path.exists());
    let path = head_key.map(Path::to_owned).or(kept);
    let mut verifier = Verifier::new(path.map(|p| HeadKey::read(&p)).transpose()?, ca)?;
    for run in &stored {
        verifier.run(run, plan)?;
    }
    if let Some(line) = covered.iter().position(Option::is_none) {
        let missing = covered.iter().filter(|c| c.is_none()).count();
        return Err(ClientError::Unsealed { line: line + 1, missing, records: covered.len() });
    }
    let proved = verifier.proved();
    let time = |us: Option<i64>| us.map(|us| UtcMicros(us).iso8601()).unwrap_or_default();
    Ok(format!(
        "{}: {} records sealed in journal {}, {} receipts hold, {} checkpoints stamped from {} to {}{}",
        file.display(),
        proved.lines,
        plan.journal,
        stored.len(),
        proved.checkpoints,
        time(proved.from),
        time(proved.to),
        if proved.signed { "" } else { "; their signatures were not checked: no --head-key" }
    ))
}

/// The token against the file and the root; against the query too, when it was kept.
fn stamped(file: &Path, reply: &Path, ca: &Path) -> Result<String, ClientError> {
    let bytes = fs::read(reply).map_err(|e| at(reply, e))?;
    if let Ok(query) = fs::read(query_path(reply)) {
        let query: TimeStampReq =
            rasn::der::decode(&query).map_err(|e| ReplyError::NotAReply(format!("its query: {e}")))?;
        check(&query, &bytes)?;
    }
    let facts = proved(&bytes, digest_of(file)?, ca)?;
    Ok(format!(
        "{}: stamped at {}, serial {}, by {}",
        file.display(),
        UtcMicros(facts.gen_time_us).iso8601(),
        facts.serial,
        facts.tsu_subject
    ))
}
