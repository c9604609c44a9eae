//! What is kept of requests and certificates.

use super::{Reason, Serial};
use crate::access::Role;
use crate::digest::Digest;
use crate::institution::{Environment, InstitutionId};

/// Where a request is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestState {
    /// Frozen; officers have not all agreed yet.
    Awaiting,
    /// Its approval is spent and the intent recorded; the HSM may have signed.
    Signing,
    /// The certificate is released.
    Issued,
    /// An officer did not agree; final.
    Refused,
    /// The frozen dates no longer fit; final.
    Lapsed,
    /// An intent without outcome: the HSM may or may not have signed. Never retried by itself.
    FailedSigning,
}

impl RequestState {
    /// All states.
    pub const ALL: [RequestState; 6] =
        [Self::Awaiting, Self::Signing, Self::Issued, Self::Refused, Self::Lapsed, Self::FailedSigning];

    /// The word in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Awaiting => "awaiting-agreement",
            Self::Signing => "signing",
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::Lapsed => "lapsed",
            Self::FailedSigning => "failed-signing",
        }
    }

    /// The state of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }
}

/// A judged request with its frozen bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// 32 hex digits.
    pub id: String,
    /// Whose certificate it will be.
    pub institution: InstitutionId,
    /// Where it is good.
    pub environment: Environment,
    /// Role of the identity it makes.
    pub role: Role,
    /// Name of the identity it makes.
    pub name: String,
    /// Name of the officer who entered it.
    pub submitter: String,
    /// Fingerprint of the certificate that officer used; `None` at init.
    pub submitter_fingerprint: Option<Digest>,
    /// Seconds since 1970.
    pub submitted: i64,
    /// The to-be-signed bytes.
    pub tbs: Vec<u8>,
    /// The serial in them.
    pub serial: Serial,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub key_hash: Digest,
    /// Where it stands.
    pub state: RequestState,
    /// Why it was refused, lapsed or failed.
    pub reason: Option<String>,
}

impl RequestRecord {
    /// What officers agree to.
    pub fn tbs_sha256(&self) -> Digest {
        Digest::of(&self.tbs)
    }

    /// How many distinct officers must agree: two for real data, else the one who enters it suffices.
    pub fn agreements_needed(&self) -> usize {
        if self.environment == Environment::Production { 2 } else { 0 }
    }
}

/// A certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRecord {
    /// Its serial, unique over all CAs.
    pub serial: Serial,
    /// Key label of the CA.
    pub issuer: String,
    /// DER; empty if signing was interrupted and it was revoked unseen.
    pub der: Vec<u8>,
    /// The institution; `None` for the appliance's own.
    pub institution: Option<InstitutionId>,
    /// The environment; `None` for the appliance's own.
    pub environment: Option<Environment>,
    /// The role; `None` for the appliance's own.
    pub role: Option<Role>,
    /// Name of the identity or of the part of the appliance.
    pub name: String,
    /// SHA-256 of the SubjectPublicKeyInfo.
    pub key_hash: Digest,
    /// First second of validity, since 1970.
    pub not_before: i64,
    /// Last second of validity, since 1970.
    pub not_after: i64,
    /// When and why it was revoked.
    pub revocation: Option<Revocation>,
}

/// An entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Seconds since 1970.
    pub time: i64,
    /// The reason.
    pub reason: Reason,
    /// Name of the officer, or `holder`.
    pub by: String,
    /// Since when the key is not to be trusted, if known, seconds since 1970 (RFC 5280 section 5.3.2).
    pub invalid_since: Option<i64>,
}
