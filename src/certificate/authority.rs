//! An issuing certificate, read once: the names and dates its products must repeat.

use const_oid::AssociatedOid;
use der::Decode;
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, SubjectKeyIdentifier};
use x509_cert::name::Name;

use super::CertificateError;
use super::key::PublicKey;
use crate::keys::{KeyLabel, Keys};

/// A certification authority of this appliance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ca {
    /// Its HSM key; also its name in public addresses.
    pub label: KeyLabel,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
}

/// What a product takes over from its issuer.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub label: KeyLabel,
    pub subject: Name,
    pub key_identifier: Vec<u8>,
    pub not_before: i64,
    pub not_after: i64,
    pub key: PublicKey,
    pub certificate: Vec<u8>,
    /// Whether an OCSP responder answers for its certificates.
    pub answered: bool,
}

impl Authority {
    pub(super) fn new(ca: &Ca, keys: &Keys) -> Result<Self, CertificateError> {
        let unfit = |why: &str| CertificateError::Issuer(format!("{}: {why}", ca.label.as_str()));
        let parsed =
            Certificate::from_der(&ca.certificate).map_err(|_| unfit("its certificate is not DER"))?;
        let tbs = parsed.tbs_certificate();
        let constraints = tbs.get_extension::<BasicConstraints>()?.map(|(_, c)| c.ca);
        if constraints != Some(true) {
            return Err(unfit("its certificate is not a CA's"));
        }
        let (_, key_identifier) = tbs
            .get_extension::<SubjectKeyIdentifier>()?
            .ok_or_else(|| unfit("its certificate has no subject key identifier"))?;
        let spki = tbs.subject_public_key_info();
        let bits = spki.subject_public_key.as_bytes().ok_or_else(|| unfit("its key has unused bits"))?;
        Ok(Self {
            label: ca.label.clone(),
            subject: tbs.subject().clone(),
            key_identifier: key_identifier.0.as_bytes().to_vec(),
            not_before: seconds(&tbs.validity().not_before),
            not_after: seconds(&tbs.validity().not_after),
            key: PublicKey::new(&spki.algorithm, bits).map_err(|e| unfit(&e.to_string()))?,
            certificate: ca.certificate.clone(),
            answered: super::ocsp::key_of(&ca.label, keys).is_some(),
        })
    }
}

/// Seconds since 1970.
pub(super) fn seconds(time: &x509_cert::time::Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

/// Key identifier: the leftmost 160 bits of SHA-256 of the key bits (RFC 7093 section 2, method 1).
pub(super) fn key_identifier(spki_der: &[u8]) -> der::Result<Vec<u8>> {
    let spki = x509_cert::SubjectPublicKeyInfo::from_der(spki_der)?;
    let digest = crate::digest::Digest::of(spki.subject_public_key.raw_bytes());
    Ok(digest.as_bytes()[..20].to_vec())
}

/// One extension out of a list, decoded.
pub(super) fn find<T: AssociatedOid + for<'a> Decode<'a, Error = der::Error>>(
    extensions: &[x509_cert::ext::Extension],
) -> Option<(bool, T)> {
    let found = extensions.iter().find(|e| e.extn_id == T::OID)?;
    T::from_der(found.extn_value.as_bytes()).ok().map(|value| (found.critical, value))
}
