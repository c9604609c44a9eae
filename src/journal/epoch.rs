//! The statement of an epoch change: why another writer epoch began, and which signed heads were given up.
//!
//! It is the detail of an entry of kind 6 in every own journal; after a gap the journals of institutions
//! hold an entry of the same digest, so that whoever audits one of them sees it there.

use serde::{Deserialize, Serialize};

use super::RequestId;
use super::known::KnownHead;
use crate::digest::Digest;

/// Longest description, bytes.
pub const MAX_DESCRIPTION: usize = 4096;
/// Heads one statement gives up at most.
pub const MAX_HEADS: usize = 64;

/// Why an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// A lost tail was rebuilt from receipts up to the last signed head; nothing is missing.
    Resurrected,
    /// Two officers recorded that what followed is lost.
    Gap,
}

/// One officer who agreed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreedBy {
    /// `institution/name`.
    pub person: String,
    /// SHA-256 of the certificate used.
    pub certificate: Digest,
}

/// A signed head that is no longer continued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenUp {
    /// Where it was known from.
    pub source: String,
    /// Leaves of the root log.
    pub size: u64,
    /// Their root; null if the source told a size alone.
    pub root: Option<Digest>,
    /// The signed note: evidence of what was lost; null if the source did not show it.
    pub note: Option<String>,
}

impl From<&KnownHead> for GivenUp {
    fn from(known: &KnownHead) -> Self {
        let KnownHead { source, size, root, note } = known.clone();
        Self { source, size, root, note }
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochChange {
    /// `epoch-change`.
    pub event: String,
    /// The epoch that begins.
    pub epoch: u64,
    /// Why.
    pub why: Why,
    /// Leaves of the root log before it.
    pub size: u64,
    /// Their root.
    pub root: Digest,
    /// Heads that are not continued; empty when nothing is missing.
    pub given_up: Vec<GivenUp>,
    /// What happened, in the words of those who answer for it.
    pub description: String,
    /// Who agreed; empty for a resurrection.
    pub agreed_by: Vec<AgreedBy>,
}

/// The word of [`EpochChange::event`].
pub const EVENT: &str = "epoch-change";

impl EpochChange {
    /// JSON, the entry's detail.
    pub fn text(&self) -> Vec<u8> {
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a statement; whatever is accepted gives the same text again.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if read.event != EVENT {
            return Err(format!("its event is {:?}", read.event));
        }
        if read.description.len() > MAX_DESCRIPTION || read.given_up.len() > MAX_HEADS {
            return Err("its description or its list of heads is too long".into());
        }
        if read.text() == text { Ok(read) } else { Err("it is not written in the one way".into()) }
    }
}

/// Request id of the entries that hold this statement: no client can know it before.
pub fn entry_id(statement: &Digest) -> RequestId {
    let mut id = [0; 16];
    id.copy_from_slice(&statement.as_bytes()[..16]);
    RequestId(id)
}
