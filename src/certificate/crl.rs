//! Certificate revocation lists, version 2 (RFC 5280 section 5).

use std::collections::{BTreeSet, HashMap, HashSet};

use const_oid::AssociatedOid;
use der::asn1::{GeneralizedTime, Ia5String, OctetString, Uint};
use der::{Decode, Encode};
use serde::{Deserialize, Serialize};
use x509_cert::Version;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::crl::{BaseCrlNumber, FreshestCrl, IssuingDistributionPoint};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, CrlNumber, CrlReason};
use x509_cert::ext::{Extension, Extensions};
use x509_cert::serial_number::SerialNumber;

use super::authority::Authority;
use super::draft::{algorithm, assemble, extension, time};
use super::record::Revocation;
use super::{CertificateError, Serial, oid};

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
    /// How many certificates it lists.
    pub entries: u32,
    /// The list, DER.
    pub der: Vec<u8>,
    /// What has changed since an earlier list; the first list of a CA has nothing earlier.
    pub delta: Option<Delta>,
}

/// A delta list, of the same number and moments as the complete one beside it (RFC 5280 section 5.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// BaseCRLNumber: with every complete list from this one on it gives the newest state.
    pub base: u32,
    /// thisUpdate of the base, seconds since 1970.
    pub base_update: i64,
    /// The base, DER.
    pub base_der: Vec<u8>,
    /// The delta list, DER.
    pub der: Vec<u8>,
}

/// Which list is drafted.
#[derive(Clone, Copy)]
pub(super) enum Scope {
    Complete,
    /// Changes since this BaseCRLNumber.
    Delta(u32),
}

/// What a list says beside its entries.
pub(super) struct Heading<'a> {
    pub issuer: &'a Authority,
    /// Prefix of the lists' addresses, without a slash at the end.
    pub public_url: &'a str,
    pub number: u32,
    pub this_update: i64,
}

/// The to-be-signed bytes of a list. Entries stay listed after the certificate's expiry.
pub(super) fn draft(
    heading: &Heading<'_>,
    scope: Scope,
    entries: Vec<RevokedCert>,
) -> Result<Vec<u8>, CertificateError> {
    let issuer = heading.issuer;
    let list: TbsCertList = TbsCertList {
        version: Version::V2,
        signature: algorithm(),
        issuer: issuer.subject.clone(),
        this_update: time(heading.this_update)?,
        next_update: Some(time(heading.this_update + LIFETIME)?),
        // RFC 5280 section 5.1.2.6: absent when nothing is revoked.
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(extensions(heading, scope)?),
    };
    Ok(list.to_der()?)
}

fn extensions(heading: &Heading<'_>, scope: Scope) -> Result<Extensions, CertificateError> {
    let Heading { issuer, public_url, number, .. } = heading;
    let key_identifier = Some(OctetString::new(issuer.key_identifier.clone())?);
    let authority = AuthorityKeyIdentifier { key_identifier, ..Default::default() };
    let own = addressed(format!("{public_url}/crl/{}.crl", issuer.label))?;
    // Its name is that of the certificates' distribution point; no flag, since it is about all of them.
    let place = IssuingDistributionPoint {
        distribution_point: Some(own),
        only_contains_user_certs: false,
        only_contains_ca_certs: false,
        only_some_reasons: None,
        indirect_crl: false,
        only_contains_attribute_certs: false,
    };
    let mut list = vec![
        extension(AuthorityKeyIdentifier::OID, false, &authority)?,
        extension(CrlNumber::OID, false, &CrlNumber(Uint::new(&number.to_be_bytes())?))?,
        extension(oid::ISSUING_DISTRIBUTION_POINT, true, &place)?,
        extension(oid::EXPIRED_CERTS_ON_CRL, false, &moment(issuer.not_before)?)?,
    ];
    list.push(match scope {
        Scope::Complete => freshest(public_url, issuer.label.as_str())?,
        Scope::Delta(base) => {
            extension(BaseCrlNumber::OID, true, &BaseCrlNumber(Uint::new(&base.to_be_bytes())?))?
        }
    });
    Ok(list)
}

/// Where the newest delta list of a CA is (RFC 5280 sections 4.2.1.15 and 5.2.6).
pub(super) fn freshest(public_url: &str, label: &str) -> der::Result<Extension> {
    let points = vec![DistributionPoint {
        distribution_point: Some(addressed(format!("{public_url}/crl/{label}-delta.crl"))?),
        reasons: None,
        crl_issuer: None,
    }];
    extension(FreshestCrl::OID, false, &FreshestCrl(points))
}

fn addressed(url: String) -> der::Result<DistributionPointName> {
    let uri = GeneralName::UniformResourceIdentifier(Ia5String::new(&url)?);
    Ok(DistributionPointName::FullName(vec![uri]))
}

fn moment(seconds: i64) -> der::Result<GeneralizedTime> {
    GeneralizedTime::from_unix_duration(super::draft::since_1970(seconds)?)
}

/// The entries of a complete list, in the order given.
pub(super) fn entries(
    revoked: &[(Serial, Revocation)],
    this_update: i64,
) -> Result<Vec<RevokedCert>, CertificateError> {
    revoked.iter().map(|(serial, revocation)| entry(serial, revocation, this_update)).collect()
}

fn entry(
    serial: &Serial,
    revocation: &Revocation,
    this_update: i64,
) -> Result<RevokedCert, CertificateError> {
    let code = revocation.reason.code().map(|code| extension(CrlReason::OID, false, &code)).transpose()?;
    let since = revocation.invalid_since.map(|at| extension(oid::INVALIDITY_DATE, false, &moment(at)?));
    let more: Extensions = code.into_iter().chain(since.transpose()?).collect();
    Ok(RevokedCert {
        serial_number: SerialNumber::new(serial.as_bytes())?,
        revocation_date: time(revocation.time.min(this_update))?,
        crl_entry_extensions: (!more.is_empty()).then_some(more),
    })
}

/// What a list (DER) says of each certificate.
pub(super) fn read(der: &[u8]) -> Result<Vec<RevokedCert>, CertificateError> {
    let list: CertificateList = CertificateList::from_der(der)?;
    Ok(list.tbs_cert_list.revoked_certificates.unwrap_or_default())
}

/// What the holder of any complete list since `base` must change to say `now`: entries that are new or
/// other than in the base, and removeFromCRL for what the base has and for what was `released` since.
pub(super) fn changes(
    base: &[RevokedCert],
    now: &[RevokedCert],
    released: &[Serial],
    this_update: i64,
) -> Result<Vec<RevokedCert>, CertificateError> {
    let known: HashMap<&[u8], &RevokedCert> = base.iter().map(|e| (e.serial_number.as_bytes(), e)).collect();
    let listed: HashSet<&[u8]> = now.iter().map(|e| e.serial_number.as_bytes()).collect();
    let gone: BTreeSet<&[u8]> = (known.keys().copied())
        .chain(released.iter().map(|serial| serial.as_bytes().as_slice()))
        .filter(|serial| !listed.contains(serial))
        .collect();
    let other = |e: &&RevokedCert| known.get(e.serial_number.as_bytes()) != Some(e);
    let mut changed: Vec<RevokedCert> = now.iter().filter(other).cloned().collect();
    for serial in gone {
        changed.push(RevokedCert {
            serial_number: SerialNumber::new(serial)?,
            revocation_date: time(this_update)?,
            crl_entry_extensions: Some(vec![extension(CrlReason::OID, false, &CrlReason::RemoveFromCRL)?]),
        });
    }
    Ok(changed)
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
