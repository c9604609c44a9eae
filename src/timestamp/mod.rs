//! RFC 3161 timestamps: query in, recorded and verified token out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Clock;
use crate::digest::Digest;
use crate::keys::{KeyLabel, Keys};

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

/// The TSA: one unit, one clock, one HSM. Cheap to clone.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);
struct Inner {}

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

impl Authority {
    /// Checks certificate (EKU alone and critical, key = pinned key, validity) and policy texts.
    /// `not_before_us`: the journal's last time, below which genTime may never fall.
    pub fn new(
        _unit: UnitParts,
        _keys: Keys,
        _clock: Clock,
        _not_before_us: i64,
    ) -> Result<Authority, AuthorityError> {
        todo!()
    }
    /// Sets where tokens are recorded (the journal needs the authority for its own stamps first).
    pub fn record_with(&self, _record: RecordFn) {
        todo!()
    }
    /// Answers one DER query; `client` goes into the record only.
    pub async fn answer(&self, _query: &[u8], _client: &str) -> Answer {
        todo!()
    }
    /// Token (DER ContentInfo) over a SHA-256 imprint for a journal batch, certificates included;
    /// recorded by the batch itself.
    pub async fn stamp_batch(&self, _imprint: Digest) -> Result<Vec<u8>, AuthorityError> {
        todo!()
    }
}
