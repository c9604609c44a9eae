//! The relying party's second question: was a certificate in the token revoked? Answered from revocation
//! lists kept beside the evidence, so that it can still be answered when nobody serves them any more.

use const_oid::AssociatedOid;
use der::Decode;
use x509_cert::crl::{CertificateList, RevokedCert};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::CrlReason;
use x509_cert::ext::pkix::crl::IssuingDistributionPoint;
use x509_cert::time::Time;

use super::chain::{Certificate, ChainError};
use super::read::{TokenParts, UnreadableToken};
use super::tlv::{Reader, tag};
use crate::clock::UtcMicros;

/// Why a token's certificates cannot be said to have been good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] UnreadableToken),
    /// A certificate cannot be read.
    #[error(transparent)]
    Certificate(#[from] ChainError),
    /// A list is none.
    #[error("revocation list {0} cannot be read")]
    NotAList(usize),
    /// No list speaks for the certificate at that time.
    #[error("no revocation list of its issuer speaks for {subject:?} at {}", .at.iso8601())]
    NoList {
        /// The certificate's subject.
        subject: String,
        /// genTime.
        at: UtcMicros,
    },
    /// Revoked, so that the token proves nothing: RFC 3161 section 4.
    #[error("the certificate of {subject:?} was revoked at {}{}", .since.iso8601(), .why)]
    Revoked {
        /// The certificate's subject.
        subject: String,
        /// Revocation date.
        since: UtcMicros,
        /// Why it matters to this token.
        why: &'static str,
    },
}

impl RevocationError {
    /// Whether the token is known to be worthless; otherwise its worth is not known.
    pub fn is_revoked(&self) -> bool {
        matches!(self, Self::Revoked { .. })
    }
}

/// A list and the bytes its signature is over.
struct List<'a> {
    parsed: CertificateList,
    tbs: &'a [u8],
}

/// Looks every certificate of the token up that is not self-issued. Lists count when a certificate of the
/// token or a root signed them and they were not out of date at genTime. Gives the oldest thisUpdate relied on.
///
/// A certificate revoked with reason unspecified, affiliationChanged, superseded or cessationOfOperation was
/// good before its revocation date; revoked for another reason, or for none given, it never was.
pub fn check_revocation(
    token: &[u8],
    roots: &[impl AsRef<[u8]>],
    lists: &[impl AsRef<[u8]>],
) -> Result<UtcMicros, RevocationError> {
    let parts = TokenParts::read(token)?;
    let at = parts.info.gen_time;
    let held = parts.certificates.iter().copied().chain(roots.iter().map(AsRef::as_ref));
    let held = held.map(Certificate::read).collect::<Result<Vec<_>, _>>()?;
    let lists = lists
        .iter()
        .enumerate()
        .map(|(i, der)| List::read(der.as_ref()).ok_or(RevocationError::NotAList(i + 1)));
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    let mut oldest = None;
    for certificate in &held[..parts.certificates.len()] {
        let tbs = certificate.x509.tbs_certificate();
        if tbs.issuer() == tbs.subject() {
            continue;
        }
        let update = look_up(certificate, &held, &lists, at)?;
        oldest = oldest.into_iter().chain([update]).min();
    }
    Ok(oldest.unwrap_or(at))
}

fn look_up(
    certificate: &Certificate<'_>,
    held: &[Certificate<'_>],
    lists: &[List<'_>],
    at: UtcMicros,
) -> Result<UtcMicros, RevocationError> {
    let subject = certificate.subject();
    let mut newest = None;
    for list in lists.iter().filter(|list| list.speaks_for(certificate, held)) {
        if let Some(entry) = list.entry(certificate)
            && let Some(why) = spoils(entry, at)
        {
            return Err(RevocationError::Revoked { subject, since: micros(&entry.revocation_date), why });
        }
        let next = list.parsed.tbs_cert_list.next_update.as_ref().map(micros);
        if next.is_none_or(|next| at <= next) {
            newest = newest.max(Some(micros(&list.parsed.tbs_cert_list.this_update)));
        }
    }
    newest.ok_or(RevocationError::NoList { subject, at })
}

impl<'a> List<'a> {
    fn read(der: &'a [u8]) -> Option<Self> {
        let parsed = CertificateList::from_der(der).ok()?;
        let tbs = Reader::new(der).enter(tag::SEQUENCE).ok()?.element(tag::SEQUENCE).ok()?.whole;
        Some(Self { parsed, tbs })
    }

    /// Of the certificate's issuer, signed by it, and without a critical extension that narrows its scope.
    fn speaks_for(&self, certificate: &Certificate<'_>, held: &[Certificate<'_>]) -> bool {
        let list = &self.parsed.tbs_cert_list;
        let issuer = certificate.x509.tbs_certificate().issuer();
        let algorithm = &self.parsed.signature_algorithm;
        let Some(signature) = self.parsed.signature.as_bytes() else { return false };
        let narrow = |e: &Extension| e.critical && !names_its_place_only(e);
        let whole = !list.crl_extensions.iter().flatten().any(narrow);
        let signed = |by: &Certificate<'_>| {
            by.x509.tbs_certificate().subject() == issuer && by.verifies(&algorithm.oid, self.tbs, signature)
        };
        whole && list.issuer == *issuer && list.signature == *algorithm && held.iter().any(signed)
    }

    fn entry(&self, certificate: &Certificate<'_>) -> Option<&RevokedCert> {
        let serial = certificate.x509.tbs_certificate().serial_number();
        let listed = self.parsed.tbs_cert_list.revoked_certificates.as_deref().unwrap_or_default();
        listed.iter().find(|entry| entry.serial_number == *serial)
    }
}

/// An issuingDistributionPoint (RFC 5280 section 5.2.5) without a flag: the list is about everything.
fn names_its_place_only(extension: &Extension) -> bool {
    const OID: const_oid::ObjectIdentifier = const_oid::ObjectIdentifier::new_unwrap("2.5.29.28");
    let place = IssuingDistributionPoint::from_der(extension.extn_value.as_bytes());
    extension.extn_id == OID
        && place.is_ok_and(|p| {
            let flags = [
                p.only_contains_user_certs,
                p.only_contains_ca_certs,
                p.indirect_crl,
                p.only_contains_attribute_certs,
            ];
            p.only_some_reasons.is_none() && !flags.contains(&true)
        })
}

/// Why this revocation makes a token of `at` worthless, if it does.
fn spoils(entry: &RevokedCert, at: UtcMicros) -> Option<&'static str> {
    if micros(&entry.revocation_date) <= at {
        return Some(", before the token");
    }
    let extension = entry.crl_entry_extensions.iter().flatten().find(|e| e.extn_id == CrlReason::OID);
    let reason = extension.and_then(|e| CrlReason::from_der(e.extn_value.as_bytes()).ok());
    match reason {
        Some(
            CrlReason::Unspecified
            | CrlReason::AffiliationChanged
            | CrlReason::Superseded
            | CrlReason::CessationOfOperation,
        ) => None,
        _ => Some(", after the token, but not for a reason that leaves earlier tokens valid"),
    }
}

fn micros(time: &Time) -> UtcMicros {
    UtcMicros(i64::try_from(time.to_unix_duration().as_micros()).unwrap_or(i64::MAX))
}
