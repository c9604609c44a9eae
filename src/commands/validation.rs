//! Validation bundles: what a verifier of the tokens of a day needs, kept beside the journals and sealed in
//! `own.events` at every change and once a day (RFC 4998 section 5.2 asks for it before a renewal).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::certificate::Issuer;
use crate::digest::Digest;
use crate::journal::{Journals, OwnJournal};
use crate::replace::replace;

/// First line of a bundle.
const LABEL: &str = "pechat-validation v1\n";
/// A bundle that does not change is recorded this often.
const DAILY: Duration = Duration::from_secs(24 * 60 * 60);
/// How soon a change is seen.
const ROUND: Duration = Duration::from_secs(60);
/// Key label of the CA that certified the time-stamping unit.
const ISSUER: &str = "root-ca";

/// What does not change while the service runs, and where bundles go.
pub struct Bundles {
    /// Directory `validation` of the data directory.
    pub dir: PathBuf,
    /// Unit first, then its issuers up to the root, DER.
    pub chain: Vec<Vec<u8>>,
}

impl Bundles {
    /// Keeps and records bundles as long as the service runs.
    pub async fn run(self, issuer: Issuer, journals: Journals) {
        let mut recorded: Option<(Digest, Instant)> = None;
        loop {
            if let Some(list) = issuer.list(ISSUER) {
                let text = bundle(&self.chain, std::slice::from_ref(&list.der));
                let digest = Digest::of(text.as_bytes());
                let known = recorded.is_some_and(|(last, at)| last == digest && at.elapsed() < DAILY);
                if !known {
                    match self.record(&text, digest, &journals).await {
                        Ok(()) => recorded = Some((digest, Instant::now())),
                        Err(error) => tracing::warn!(error, "a validation bundle could not be recorded"),
                    }
                }
            }
            tokio::time::sleep(if recorded.is_none() { ROUND / 60 } else { ROUND }).await;
        }
    }

    /// On disk first, then in the journal: no entry names a bundle that is not there.
    async fn record(&self, text: &str, digest: Digest, journals: &Journals) -> Result<(), String> {
        let name = keep(&self.dir, text, digest).map_err(|e| format!("{}: {e}", self.dir.display()))?;
        let event = json!({ "event": "validation", "bundle": name, "sha256": digest });
        let detail = event.to_string().into_bytes();
        let recorded = journals.record(OwnJournal::Events, super::layout::fresh_id(), detail).await;
        recorded.map(|_| ()).map_err(|e| e.to_string())
    }
}

/// Certificates in order, then lists, each a PEM block.
fn bundle(chain: &[Vec<u8>], lists: &[Vec<u8>]) -> String {
    let certificates = chain.iter().map(|der| ("CERTIFICATE", der));
    let lists = lists.iter().map(|der| ("X509 CRL", der));
    certificates.chain(lists).fold(LABEL.to_owned(), |text, (label, der)| {
        // Only a label that is no PEM label could fail, and these two are.
        text + &der::pem::encode_string(label, der::pem::LineEnding::LF, der).unwrap_or_default()
    })
}

/// Writes a bundle under its hash; one that is there already stays as it is.
fn keep(dir: &Path, text: &str, digest: Digest) -> io::Result<String> {
    let name = format!("{digest}.pem");
    let path = dir.join(&name);
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(name);
    }
    fs::create_dir_all(dir)?;
    replace(&path, text.as_bytes(), 0o600)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_kept_under_its_hash_and_mended_when_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let text = bundle(&[vec![0x30, 0]], &[vec![0x30, 1, 5]]);
        let expected = "pechat-validation v1\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n\
                        -----BEGIN X509 CRL-----\nMAEF\n-----END X509 CRL-----\n";
        assert_eq!(text, expected);
        let digest = Digest::of(text.as_bytes());
        let below = dir.path().join("validation");
        for _ in 0..2 {
            let name = keep(&below, &text, digest).unwrap();
            assert_eq!(name, format!("{digest}.pem"));
            assert_eq!(fs::read_to_string(below.join(&name)).unwrap(), text);
            fs::write(below.join(&name), "damaged").unwrap();
        }
    }
}
