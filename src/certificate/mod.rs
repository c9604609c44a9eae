//! Certificates: requests judged, to-be-signed bytes frozen, issued, revoked, listed.

mod application;
mod authority;
pub mod ceremony;
mod chain;
mod compromise;
mod crl;
pub mod draft;
mod enrolment;
mod hold;
mod issuer;
pub mod key;
mod lint;
mod listing;
pub mod ocsp;
pub mod oid;
pub mod profile;
mod record;
pub mod request;
mod revocation;
mod signing;

pub use application::Application;
pub use authority::Ca;
pub use chain::{pem, pem_chain, pkcs7};
pub use compromise::Statement;
pub use crl::{Delta, Reason, RevocationList};
pub use enrolment::{Credential, Enrolled, EnrolmentError, Grant};
pub use issuer::{Issuer, Parts};
pub use record::{CertificateRecord, RequestRecord, RequestState, Revocation};
pub use revocation::Revoked;

use std::fmt;
use std::str::FromStr;

use crate::institution::{InstitutionId, ParticipantError};
use crate::keys::KeyError;
use crate::store::StoreError;

/// A certificate's serial: 20 octets, positive, 158 random bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial([u8; 20]);

impl Serial {
    /// Draws one. The first bit is 0 (positive), the second 1 (always 20 octets: no minimal form question).
    pub fn random() -> Result<Self, CertificateError> {
        let mut bytes = [0; 20];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| CertificateError::Entropy)?;
        bytes[0] = (bytes[0] & 0x3f) | 0x40;
        Ok(Self(bytes))
    }

    /// Big-endian, the contents octets of the INTEGER.
    pub fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

impl TryFrom<&[u8]> for Serial {
    type Error = CertificateError;

    fn try_from(bytes: &[u8]) -> Result<Self, CertificateError> {
        let own = |b: [u8; 20]| (b[0] & 0xc0 == 0x40).then_some(Self(b));
        bytes
            .try_into()
            .ok()
            .and_then(own)
            .ok_or_else(|| CertificateError::NotASerial(crate::digest::hex(bytes)))
    }
}

impl FromStr for Serial {
    type Err = CertificateError;

    fn from_str(text: &str) -> Result<Self, CertificateError> {
        let mut bytes = [0; 20];
        let read = crate::digest::unhex_into(text, &mut bytes);
        read.and_then(|()| Self::try_from(&bytes[..]).ok())
            .ok_or_else(|| CertificateError::NotASerial(text.to_owned()))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::digest::hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no certificate, agreement, revocation or list.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The PKCS #10 request is refused.
    #[error(transparent)]
    Request(#[from] request::RequestError),
    /// The institution's data or a name in it is refused.
    #[error(transparent)]
    Participant(#[from] ParticipantError),
    /// A machine may not enrol.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// No such institution.
    #[error("there is no institution {0:?}")]
    UnknownInstitution(String),
    /// Its id or domain is taken.
    #[error("an institution with id {id:?} or domain {domain:?} is registered already")]
    InstitutionExists {
        /// The id asked for.
        id: String,
        /// The domain asked for.
        domain: String,
    },
    /// Roles of the operating authority and of officials are about real data.
    #[error("role {role} is certified in production only, where two officers agree; not in {environment}")]
    RoleNeedsProduction {
        /// The role.
        role: String,
        /// The environment asked for.
        environment: &'static str,
    },
    /// The name is in force under another role.
    #[error("{name:?} of {institution} is in force as {role}; one identity has one role")]
    NameTaken {
        /// The institution.
        institution: InstitutionId,
        /// The identity's name.
        name: String,
        /// The role it has.
        role: String,
    },
    /// The key serves another identity, environment or the appliance itself.
    #[error("the key is already {0}; every identity and environment has a key of its own")]
    KeyInUse(String),
    /// The key was revoked as compromised.
    #[error("the key was revoked as compromised (certificate {0}); make a new one")]
    KeyCompromised(String),
    /// No such certificate.
    #[error("there is no certificate with serial {0}")]
    UnknownCertificate(String),
    /// Not a serial of ours.
    #[error("{0:?} is not a serial: 40 hex digits")]
    NotASerial(String),
    /// No such request.
    #[error("there is no certificate request {0:?}")]
    UnknownRequest(String),
    /// The request is past deciding.
    #[error("request {id} is {state}; it cannot be decided")]
    NotAwaiting {
        /// The request.
        id: String,
        /// Its state.
        state: &'static str,
    },
    /// The officer looked at other bytes.
    #[error("the decision is over {given}, the request's to-be-signed bytes are {frozen}")]
    OtherBytes {
        /// What the officer named.
        given: String,
        /// What would be signed.
        frozen: String,
    },
    /// The same person again.
    #[error("{0:?} has decided on this request already; two distinct officers are needed")]
    DecidedAlready(String),
    /// The officer would decide on a certificate of his own.
    #[error("{0:?} is the subject of this request and cannot decide on it")]
    OwnRequest(String),
    /// Only officers in force decide.
    #[error("{0:?} is not an officer in force")]
    NotAnOfficer(String),
    /// A refusal without words.
    #[error("do-not-agree needs a reason of 1 to 1000 characters")]
    ReasonNeeded,
    /// Already revoked.
    #[error("certificate {serial} was revoked at {time} already")]
    RevokedAlready {
        /// Its serial.
        serial: String,
        /// When, ISO 8601.
        time: String,
    },
    /// Only what a machine uses may be put on hold.
    #[error("certificate {0} cannot be put on hold: only those of registry services can")]
    HoldNotAllowed(String),
    /// The signature under the report is not by the certificate's key.
    #[error("the statement is not signed by the key of certificate {0}")]
    NotTheHolder(String),
    /// Revocation for any other reason is for good.
    #[error("certificate {0} is not on hold; nothing else is ever taken back")]
    NotOnHold(String),
    /// A key cannot be doubted before it was certified, nor from a moment to come.
    #[error("{0} is not a moment between the certificate's issue and now")]
    InvaliditySpan(String),
    /// Certificates of the appliance itself are not revoked over the interface.
    #[error("certificate {0} is the appliance's own; revoking it is a ceremony of two officers")]
    Infrastructure(String),
    /// `pechat init` made its officers; from then on officers decide.
    #[error("only two control administrators are made without the officers' agreement, at init")]
    BootstrapOver,
    /// The moment is outside the issuer's validity.
    #[error("{now} is outside the issuing certificate's validity")]
    OutsideIssuer {
        /// The moment.
        now: String,
    },
    /// The issuer's certificate cannot be used.
    #[error("the issuing CA cannot be used: {0}")]
    Issuer(String),
    /// No CA of that name.
    #[error("there is no CA {0:?}")]
    UnknownCa(String),
    /// A certificate that would be wrong was stopped.
    #[error("the certificate was stopped by the last check: {0}")]
    Lint(String),
    /// The HSM's signature does not verify.
    #[error("the signature does not verify under the issuer's certificate; nothing was released")]
    WrongSignature,
    /// No signature.
    #[error("no signature: {0}")]
    Key(#[from] KeyError),
    /// The journal did not take the record, so nothing was done.
    #[error("the record could not be made durable, nothing was done: {0}")]
    Record(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// DER that should have been ours.
    #[error("a certificate could not be encoded or read: {0}")]
    Der(#[from] der::Error),
    /// The system's random generator failed.
    #[error("the random generator failed")]
    Entropy,
    /// No trusted time yet.
    #[error("no trusted time was known since start")]
    NoTime,
    /// The task was stopped before its end.
    #[error("the service is stopping")]
    Stopping,
}
