//! Asks one witness to cosign (C2SP `tlog-witness`, client side). Nothing it says is believed unsigned,
//! except its size, which only decides what is asked next.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};

use super::cosignature;
use super::request::AddCheckpoint;
use super::vkey::{KeyKind, VerifierKey};
use crate::digest::Digest;
use crate::journal::checkpoint::{NoteLine, decimal, note_line};

/// An answer must be there after this.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer read, bytes.
const ANSWER: u64 = 64 * 1024;
/// Roots of https witnesses whose `ca` is not given.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Content type of a 409 that carries a size.
const TLOG_SIZE: &str = "text/x.tlog.size";

/// `[[journal.witness]]`: who is asked to cosign the root log.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessConfig {
    /// How metrics and status call it.
    pub name: String,
    /// Its submission prefix, before `/add-checkpoint`.
    pub url: String,
    /// Its verifier key, of type 0x04.
    pub vkey: String,
    /// Roots (PEM) of an https witness; the system's unless given.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

impl WitnessConfig {
    /// The verifier key, if it is a witness's.
    pub fn key(&self) -> Result<VerifierKey, String> {
        let key: VerifierKey = self.vkey.parse().map_err(|e| format!("{e}"))?;
        match key.kind() {
            KeyKind::Cosignature(_) => Ok(key),
            _ => Err(format!("{} is not a witness's key: its type is not 0x04", key.name())),
        }
    }

    /// What is wrong with it, in words.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 63 || !self.name.bytes().all(word) {
            faults.push(format!("name: {:?} is not 1 to 63 of a-z, 0-9 and -", self.name));
        }
        if !self.url.starts_with("http://") && !self.url.starts_with("https://") {
            faults.push(format!("url: {:?} begins with neither http:// nor https://", self.url));
        }
        faults.extend(self.key().err().map(|fault| format!("vkey: {fault}")));
        faults
    }
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its verified cosignature line and the time in it, seconds since 1970.
    Cosigned(NoteLine, u64),
    /// 409: the proof has to start from this size.
    Size(u64),
}

/// Why a witness did not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Down, slow, or the connection broke.
    #[error("no answer: {0}")]
    Unreachable(String),
    /// It holds another history: 409 without a size, or 422.
    #[error("the witness holds another history of this log ({status}): {text}")]
    Disagrees {
        /// HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// Another refusal: 403 and 404 mean that it does not know our key or log.
    #[error("refused with {status}: {text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// An answer that is none: no cosignature of its key that holds, or no size.
    #[error("answered with {0}")]
    Lie(&'static str),
}

/// One witness and the connection to it.
pub struct Client {
    key: VerifierKey,
    url: String,
    agent: ureq::Agent,
}

impl Client {
    /// Reads the roots; connects at the first request.
    pub fn new(config: &WitnessConfig) -> Result<Client, String> {
        let mut agent = agent(PATIENCE);
        if config.url.starts_with("https://") {
            let roots = with_roots(agent, config.ca.clone());
            agent = roots.map_err(|e| format!("roots of {}: {e}", config.name))?;
        }
        let url = format!("{}/add-checkpoint", config.url.trim_end_matches('/'));
        Ok(Client { key: config.key()?, url, agent: agent.build().new_agent() })
    }

    /// Its key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Asks to cosign the note, whose signed text is `body`. Blocks for at most ten seconds.
    pub fn ask(&self, old: u64, proof: &[Digest], note: &str, body: &str) -> Result<Answer, AskError> {
        let request = AddCheckpoint::text(old, proof, note);
        let lost = |e: ureq::Error| AskError::Unreachable(e.to_string());
        let mut answer = self.agent.post(&self.url).send(request.as_bytes()).map_err(lost)?;
        let status = answer.status().as_u16();
        let kind = answer.headers().get("content-type").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let sized = kind == TLOG_SIZE;
        let text = answer.body_mut().with_config().limit(ANSWER).read_to_string().map_err(lost)?;
        read(&self.key, status, sized, &text, body)
    }
}

/// What an answer means; pure.
fn read(key: &VerifierKey, status: u16, sized: bool, text: &str, body: &str) -> Result<Answer, AskError> {
    let words = || text.trim_end().chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    match status {
        200 => {
            // Lines of keys we do not know are ignored, as the specification wants.
            let lines = text.split_inclusive('\n').filter_map(note_line);
            let mut held = lines.filter_map(|line| Some((cosignature::check(key, body, &line)?, line)));
            let (seconds, line) = held.next().ok_or(AskError::Lie("no cosignature of its key that holds"))?;
            Ok(Answer::Cosigned(line, seconds))
        }
        409 if sized => {
            let size = text.strip_suffix('\n').and_then(decimal);
            size.map(Answer::Size).ok_or(AskError::Lie("409 and no size"))
        }
        409 | 422 => Err(AskError::Disagrees { status, text: words() }),
        _ => Err(AskError::Refused { status, text: words() }),
    }
}

type Builder = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

/// An agent that follows nobody elsewhere and has to be answered within `patience`.
pub fn agent(patience: Duration) -> Builder {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .user_agent(concat!("pechat/", env!("CARGO_PKG_VERSION")))
        .timeout_global(Some(patience))
}

/// Lets the agent speak TLS with servers below the roots in `ca` (PEM), the system's unless given.
pub fn with_roots(agent: Builder, ca: Option<PathBuf>) -> Result<Builder, String> {
    let path = ca.unwrap_or_else(|| SYSTEM_ROOTS.into());
    let fail = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let pem = std::fs::read(&path).map_err(|e| fail(&e))?;
    let mut roots: Vec<Certificate<'static>> = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(root) = item.map_err(|e| fail(&e))? {
            roots.push(root);
        }
    }
    if roots.is_empty() {
        return Err(fail(&"no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = RootCerts::new_with_certs(&roots);
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    Ok(agent.tls_config(tls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::cosignature::CosignerKey;

    const BODY: &str = "seal.example.gov/root\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key(seed: u8) -> CosignerKey {
        CosignerKey::from_seed("w.example", [seed; 32]).unwrap()
    }

    fn answered(status: u16, sized: bool, text: &str) -> Result<Answer, AskError> {
        read(key(1).public(), status, sized, text, BODY)
    }

    #[test]
    fn only_a_cosignature_of_this_key_over_this_text_counts() {
        let (good, other) = (key(1).cosign(BODY, 5), key(2).cosign(BODY, 5));
        let line = note_line(&good).unwrap();
        assert_eq!(answered(200, false, &good), Ok(Answer::Cosigned(line.clone(), 5)));
        assert_eq!(answered(200, false, &format!("{other}{good}")), Ok(Answer::Cosigned(line, 5)));
        let lie = Err(AskError::Lie("no cosignature of its key that holds"));
        assert_eq!(answered(200, false, &other), lie);
        assert_eq!(answered(200, false, ""), lie);
        assert_eq!(answered(200, false, &key(1).cosign("another\n", 5)), lie);
    }

    #[test]
    fn a_conflict_with_a_size_differs_from_one_without() {
        assert_eq!(answered(409, true, "12\n"), Ok(Answer::Size(12)));
        for bad in ["12", "012\n", "-1\n", "12\n\n", ""] {
            assert_eq!(answered(409, true, bad), Err(AskError::Lie("409 and no size")), "{bad:?}");
        }
        let disagrees = |status| Err(AskError::Disagrees { status, text: "no".into() });
        assert_eq!(answered(409, false, "no\n"), disagrees(409));
        assert_eq!(answered(422, false, "no\n"), disagrees(422));
        assert_eq!(answered(404, false, "no\n"), Err(AskError::Refused { status: 404, text: "no".into() }));
    }

    #[test]
    fn a_configuration_with_faults_names_them() {
        let vkey = key(1).public().to_string();
        let good = WitnessConfig { name: "one".into(), url: "http://127.0.0.1:1".into(), vkey, ca: None };
        assert_eq!(good.faults(), Vec::<String>::new());
        let log = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".to_owned();
        let bad = WitnessConfig { name: "One".into(), url: "w.example".into(), vkey: log, ca: None };
        let faults = bad.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults[2].contains("not a witness's key"), "{faults:?}");
    }
}
