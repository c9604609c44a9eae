//! The keys an auditor trusts: named on the command line or in the environment, never taken from the evidence.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::commands::verify::material::{certificates, public_key};

/// Trust anchors of an audit command.
#[derive(Debug, Clone, Default, Args)]
pub struct TrustArgs {
    /// Trusted root certificates (PEM) [default: $PECHAT_CA]. May be repeated
    #[arg(long, value_name = "ROOT.PEM")]
    pub ca: Vec<PathBuf>,
    /// The journal-head public key (PEM) [default: $PECHAT_HEAD_KEY]
    #[arg(long, value_name = "KEY.PEM")]
    pub head_key: Option<PathBuf>,
}

/// What the auditor trusts, read.
#[derive(Debug, Clone, Default)]
pub struct Pins {
    /// Root certificates, DER.
    pub roots: Vec<Vec<u8>>,
    /// Journal-head key, SubjectPublicKeyInfo DER.
    pub head_key: Option<Vec<u8>>,
}

impl TrustArgs {
    /// Reads the files; what is not named is not trusted.
    pub fn load(&self) -> Result<Pins, String> {
        let from =
            |name: &str| std::env::var_os(name).filter(|v: &OsString| !v.is_empty()).map(PathBuf::from);
        let ca = if self.ca.is_empty() { from("PECHAT_CA").into_iter().collect() } else { self.ca.clone() };
        let mut roots = Vec::new();
        for path in &ca {
            roots.extend(certificates(path)?);
        }
        let head_key = self.head_key.clone().or_else(|| from("PECHAT_HEAD_KEY"));
        Ok(Pins { roots, head_key: head_key.map(|path| public_key(&path)).transpose()? })
    }
}

impl Pins {
    /// What is missing before anything can be passed, in words.
    pub fn missing(&self) -> Option<&'static str> {
        match (self.roots.is_empty(), self.head_key.is_none()) {
            (false, false) => None,
            (true, true) => Some("--ca and --head-key"),
            (true, false) => Some("--ca"),
            (false, true) => Some("--head-key"),
        }
    }
}
