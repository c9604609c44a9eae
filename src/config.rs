//! The configuration file: TOML text → checked values. Unknown keys are refused, and every fault
//! that can be seen is listed at once. `deploy/examples/pechat.toml` shows each key with its reason.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::clock::{ClockConfig, ClockError};
use crate::http::limit::Limits;
use crate::identifier::IdentifierSettings;
use crate::witness::WitnessConfig;

/// Everything `pechat serve`, `signer`, `init`, `status` and `doctor` read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where keys.json, certificates, the store and the journals live; mode 0700.
    pub data_dir: PathBuf,
    /// First part of every journal's origin, a DNS name such as `seal.example.gov`.
    pub site: String,
    /// The authority that runs the appliance: subject names of its CA and TSU certificates.
    pub authority: AuthorityNames,
    /// Addresses.
    pub listen: Listen,
    /// The HSM token.
    pub hsm: Hsm,
    /// RFC 3161 policy.
    #[serde(default)]
    pub timestamp: Timestamp,
    /// Time sources and limits.
    pub clock: ClockConfig,
    /// Segment sizes.
    #[serde(default)]
    pub journal: Journal,
    /// Register numbers.
    #[serde(default)]
    pub identifiers: IdentifierSettings,
    /// Rates and caps.
    #[serde(default)]
    pub limits: Limits,
}

/// Subject names, EN 319 422 section 6.2.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityNames {
    /// ISO 3166 country, two capital letters.
    pub country: String,
    /// Full registered name.
    pub organisation: String,
    /// organizationIdentifier (2.5.4.97), e.g. `NTRBG-123456789`.
    #[serde(default)]
    pub organisation_identifier: Option<String>,
}

/// Listeners.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// mTLS: the API and `/tsa`.
    pub api: SocketAddr,
    /// Plain HTTP: CRLs, CA certificates, checkpoint, health.
    pub public: SocketAddr,
    /// Plain HTTP: `/metrics`, `/status`; loopback only.
    pub metrics: SocketAddr,
    /// How the public listener is reached from outside; stands in certificates.
    pub public_url: String,
}

/// Who starts the signer process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignerMode {
    /// `pechat serve` starts it, and restarts it when it dies or hangs.
    #[default]
    Child,
    /// Somebody else (systemd) does; `serve` only connects.
    Attach,
}

/// The PKCS#11 module and token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hsm {
    /// The module's shared library.
    pub module: PathBuf,
    /// CKA label of the HSM token; exactly one token must carry it.
    pub token_label: String,
    /// File with the user PIN, mode 0600.
    pub pin_file: PathBuf,
    /// Child or attach.
    #[serde(default)]
    pub signer: SignerMode,
    /// Sessions and threads.
    #[serde(default = "two")]
    pub workers: usize,
    /// Whether to sign with copies of the keys in each session.
    #[serde(default)]
    pub session_copies: bool,
    /// A PKCS#11 call longer than this means the module hangs, milliseconds.
    #[serde(default = "call_timeout")]
    pub call_timeout_ms: u64,
    /// Where the signer listens; in `data_dir/run` unless set.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Signatures waiting at most; one more is refused at once.
    #[serde(default = "queue")]
    pub queue: usize,
    /// Variables the module needs, for instance SOFTHSM2_CONF. Never a PIN.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

/// RFC 3161 policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timestamp {
    /// Policy put into tokens when the query names none.
    pub policy: String,
    /// Further policies a query may name.
    pub accepted_policies: Vec<String>,
}

impl Default for Timestamp {
    fn default() -> Self {
        Self { policy: "0.4.0.2023.1.1".into(), accepted_policies: Vec::new() }
    }
}

/// Journal files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Bytes of one segment, written out ahead.
    pub segment_bytes: u64,
    /// Who is asked to cosign the root log.
    pub witness: Vec<WitnessConfig>,
    /// Hash tiles of institutions' journals on the public listener (`docs/decisions/0012-public-tiles.md`).
    pub public_tiles: bool,
    /// Where the newest signed head is published; `head` in the data directory unless set. Best on another
    /// disk: it must not be restored together with the journal.
    pub head_file: Option<PathBuf>,
    /// Copies of that file elsewhere; read at start, never written.
    pub known_heads: Vec<PathBuf>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            head_file: None,
            known_heads: Vec::new(),
            public_tiles: true,
            witness: Vec::new(),
        }
    }
}

fn two() -> usize {
    2
}

fn call_timeout() -> u64 {
    4_000
}

fn queue() -> usize {
    4_096
}

/// What is wrong with a configuration, every fault in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be used:", self.path.display())?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  - {}", fault.trim_end()))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads and checks the file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let fail = |faults| ConfigError { path: path.to_owned(), faults };
        let text = std::fs::read_to_string(path).map_err(|e| fail(vec![format!("cannot be read: {e}")]))?;
        Self::parse(&text).map_err(fail)
    }

    /// Checks the text; the error lists every fault.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let config: Self = toml::from_str(text).map_err(|e| vec![e.to_string()])?;
        let faults = config.faults();
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut must = |holds: bool, text: &str| {
            if !holds {
                faults.push(text.to_owned());
            }
        };
        must(self.data_dir.is_absolute(), "data_dir: give an absolute path");
        must(is_dns_name(&self.site), "site: give a DNS name in lower case, such as seal.example.gov");
        let country = self.authority.country.as_bytes();
        must(
            country.len() == 2 && country.iter().all(u8::is_ascii_uppercase),
            "authority.country: give two capital letters, such as BG",
        );
        must(
            !self.authority.organisation.trim().is_empty(),
            "authority.organisation: give the registered name",
        );
        must(self.listen.metrics.ip().is_loopback(), "listen.metrics: only a loopback address is allowed");
        must(
            self.listen.public_url.starts_with("http://") && !self.listen.public_url.ends_with('/'),
            "listen.public_url: give a plain http:// URL without a trailing slash (CRLs are fetched before TLS can be trusted)",
        );
        must((1..=64).contains(&self.hsm.workers), "hsm.workers: 1 to 64");
        must((100..=60_000).contains(&self.hsm.call_timeout_ms), "hsm.call_timeout_ms: 100 to 60000");
        must((1..=65_536).contains(&self.hsm.queue), "hsm.queue: 1 to 65536");
        must(
            !self.hsm.env.keys().any(|k| k.to_ascii_uppercase().contains("PIN")),
            "hsm.env: a PIN never travels in the environment; use hsm.pin_file",
        );
        must(
            ((1 << 20)..=(4 << 30)).contains(&self.journal.segment_bytes),
            "journal.segment_bytes: 1048576 (1 MiB) to 4294967296 (4 GiB)",
        );
        must(
            self.journal.head_file.iter().chain(&self.journal.known_heads).all(|path| path.is_absolute()),
            "journal.head_file and journal.known_heads: give absolute paths",
        );
        must(
            !self.head_file().starts_with(self.data("journal")),
            "journal.head_file: give a path outside of the journal's own directory, with which it would be restored",
        );
        for policy in self.timestamp.accepted_policies.iter().chain([&self.timestamp.policy]) {
            if const_oid::ObjectIdentifier::new(policy).is_err() {
                faults.push(format!("timestamp: {policy:?} is not an object identifier in dotted decimal"));
            }
        }
        faults.extend(self.witness_faults());
        if let Err(ClockError::Config(clock)) = self.clock.check() {
            faults.extend(clock.into_iter().map(|fault| format!("clock: {fault}")));
        }
        faults.extend(self.identifiers.faults().into_iter().map(|fault| format!("identifiers: {fault}")));
        faults
    }

    fn witness_faults(&self) -> Vec<String> {
        let witnesses = &self.journal.witness;
        let twice = |index: usize| witnesses[..index].iter().any(|w| w.name == witnesses[index].name);
        let mut faults = Vec::new();
        for (index, witness) in witnesses.iter().enumerate() {
            let repeated = twice(index).then(|| "name: two witnesses carry it".to_owned());
            let found = witness.faults().into_iter().chain(repeated);
            faults.extend(found.map(|fault| format!("journal.witness {:?}: {fault}", witness.name)));
        }
        // Notes have at most 32 signature lines, ours included.
        if witnesses.len() > 16 {
            faults.push("journal.witness: at most 16".into());
        }
        faults
    }

    /// The published head file.
    pub fn head_file(&self) -> PathBuf {
        self.journal.head_file.clone().unwrap_or_else(|| self.data("head"))
    }

    /// The signer's deadline for one PKCS#11 call.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.hsm.call_timeout_ms)
    }

    /// A path inside the data directory.
    pub fn data(&self, relative: &str) -> PathBuf {
        self.data_dir.join(relative)
    }
}

fn is_dns_name(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../deploy/examples/pechat.toml");

    #[test]
    fn the_shipped_example_is_accepted() {
        Config::parse(SAMPLE).unwrap();
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let faults = Config::parse(&format!("surprise = 1\n{SAMPLE}")).unwrap_err();
        assert!(faults[0].contains("surprise") && faults[0].contains("line 1"), "{faults:?}");
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let text = SAMPLE
            .replace("country = \"BG\"", "country = \"bulgaria\"")
            .replace("site = \"seal.example.gov\"", "site = \"Seal Example\"")
            .replace("metrics = \"127.0.0.1:9464\"", "metrics = \"0.0.0.0:9464\"");
        let faults = Config::parse(&text).unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
    }

    #[test]
    fn witnesses_are_checked_like_the_rest() {
        let vkey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
        let witness = format!("[[journal.witness]]\nname = \"one\"\nurl = \"ftp://w\"\nvkey = \"{vkey}\"\n");
        let faults = Config::parse(&format!("{SAMPLE}\n{witness}{witness}")).unwrap_err();
        assert_eq!(faults.len(), 5, "url and vkey of both, and the name once: {faults:#?}");
        assert!(faults.iter().all(|fault| fault.starts_with("journal.witness \"one\": ")), "{faults:#?}");
    }

    #[test]
    fn a_pin_in_the_environment_is_refused() {
        let text = SAMPLE.replace("[hsm.env]", "[hsm.env]\nHSM_PIN = \"1234\"");
        assert!(Config::parse(&text).unwrap_err()[0].contains("never travels in the environment"));
    }
}
