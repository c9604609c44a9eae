//! RFC 3161 timestamps: query in, recorded and verified token out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::keys::KeyLabel;

mod authority;
pub mod chain;
pub mod read;
pub mod reply;
pub mod request;
pub mod revocation;
pub mod strength;
pub(crate) mod tlv;
mod token;
mod unit;
pub mod verify;

pub use authority::Authority;
pub use read::{TokenInfo, UnreadableToken, token_info};
pub use request::{Hash, TimestampRequest, query};
pub use tlv::NotDer;
pub use verify::{TokenError, TokenFacts, verify_sha256, verify_token};

/// Writes the token's record to the journal; resolves when it is durable.
/// Arguments: 16-byte id, detail JSON.
pub type RecordFn =
    Arc<dyn Fn([u8; 16], Vec<u8>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

/// A time-stamping unit as configured and certified.
pub struct UnitParts {
    /// Its HSM key.
    pub key: KeyLabel,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// Its issuers up to, but without, the root, DER.
    pub chain: Vec<Vec<u8>>,
    /// Policy put into tokens when the query names none, dotted decimal.
    pub policy: String,
    /// Further policies a query may name.
    pub accepted_policies: Vec<String>,
}

/// What became of a query.
pub struct Answer {
    /// DER TimeStampResp, always present.
    pub reply: Vec<u8>,
    /// `granted` or the failInfo word, for metrics.
    pub outcome: &'static str,
    /// Seconds after which asking again makes sense, for refusals that pass.
    pub retry_after: Option<u64>,
}

/// Why the unit cannot be used or a token cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AuthorityError(pub String);
