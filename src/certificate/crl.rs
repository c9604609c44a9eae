//! Certificate revocation lists, version 2 (RFC 5280 section 5).

use const_oid::AssociatedOid;
use der::asn1::{OctetString, Uint};
use der::{Decode, Encode};
use serde::{Deserialize, Serialize};
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::Extensions;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason};
use x509_cert::serial_number::SerialNumber;

use super::authority::Authority;
use super::draft::{algorithm, assemble, extension, time};
use super::record::Revocation;
use super::{CertificateError, Serial};

/// Seconds from thisUpdate to nextUpdate.
pub const LIFETIME: i64 = 86_400;

/// Why a certificate was revoked (RFC 5280 section 5.3.1, those that suit end entities here).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// No reason given; expressed by absence in the list.
    Unspecified,
    /// The private key is, or may be, in other hands.
    KeyCompromise,
    /// The subject's name or affiliation changed.
    AffiliationChanged,
    /// Replaced by another certificate.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// Out of force for a while; the one reason that can be taken back.
    CertificateHold,
    /// What the certificate allowed is no longer allowed.
    PrivilegeWithdrawn,
}

impl Reason {
    const ALL: [Reason; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::CertificateHold,
        Self::PrivilegeWithdrawn,
    ];

    /// The word in JSON and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key-compromise",
            Self::AffiliationChanged => "affiliation-changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation-of-operation",
            Self::CertificateHold => "certificate-hold",
            Self::PrivilegeWithdrawn => "privilege-withdrawn",
        }
    }

    /// The reason of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }

    /// CRLReason; `None` is expressed by absence (RFC 5280 section 5.3.1).
    pub(crate) fn code(self) -> Option<CrlReason> {
        match self {
            Self::Unspecified => None,
            Self::KeyCompromise => Some(CrlReason::KeyCompromise),
            Self::AffiliationChanged => Some(CrlReason::AffiliationChanged),
            Self::Superseded => Some(CrlReason::Superseded),
            Self::CessationOfOperation => Some(CrlReason::CessationOfOperation),
            Self::CertificateHold => Some(CrlReason::CertificateHold),
            Self::PrivilegeWithdrawn => Some(CrlReason::PrivilegeWithdrawn),
        }
    }
}

/// A published list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// CRLNumber.
    pub number: u32,
    /// thisUpdate, seconds since 1970.
    pub this_update: i64,
    /// nextUpdate, seconds since 1970.
    pub next_update: i64,
    /// How many certificates it lists; a store with more needs a new list.
    pub entries: u32,
    /// The list, DER.
    pub der: Vec<u8>,
}

/// The to-be-signed bytes of list `number`. Entries stay listed after the certificate's expiry.
pub(super) fn draft(
    issuer: &Authority,
    number: u32,
    this_update: i64,
    revoked: &[(Serial, Revocation)],
) -> Result<Vec<u8>, CertificateError> {
    let entries = revoked.iter().map(|(serial, revocation)| entry(serial, revocation, this_update));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let key_identifier = Some(OctetString::new(issuer.key_identifier.clone())?);
    let authority = AuthorityKeyIdentifier { key_identifier, ..Default::default() };
    let number = CrlNumber(Uint::new(&number.to_be_bytes())?);
    let list: TbsCertList = TbsCertList {
        version: Version::V2,
        signature: algorithm(),
        issuer: issuer.subject.clone(),
        this_update: time(this_update)?,
        next_update: Some(time(this_update + LIFETIME)?),
        // RFC 5280 section 5.1.2.6: absent when nothing is revoked.
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(vec![
            extension(AuthorityKeyIdentifier::OID, false, &authority)?,
            extension(CrlNumber::OID, false, &number)?,
        ]),
    };
    Ok(list.to_der()?)
}

fn entry(
    serial: &Serial,
    revocation: &Revocation,
    this_update: i64,
) -> Result<RevokedCert, CertificateError> {
    let code = revocation.reason.code().map(|code| extension(CrlReason::OID, false, &code)).transpose()?;
    Ok(RevokedCert {
        serial_number: SerialNumber::new(serial.as_bytes())?,
        revocation_date: time(revocation.time.min(this_update))?,
        crl_entry_extensions: code.map(|code| Extensions::from([code])),
    })
}

/// The list: exactly the drafted bytes and a signature that verifies.
pub(super) fn finish(tbs: &[u8], signature: &[u8], issuer: &Authority) -> Result<Vec<u8>, CertificateError> {
    let der = assemble(tbs, signature)?;
    let list: CertificateList = CertificateList::from_der(&der)?;
    if list.tbs_cert_list.to_der()? != tbs {
        return Err(CertificateError::Lint("the signed list is not the drafted list".into()));
    }
    if issuer.key.verifies(&algorithm(), tbs, signature) != Some(true) {
        return Err(CertificateError::WrongSignature);
    }
    Ok(der)
}
