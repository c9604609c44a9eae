//! Certificate paths of time-stamping units: RFC 3161 section 2.3, RFC 5280 section 6.1 as far as one
//! hierarchy without policies and name constraints needs it.

use aws_lc_rs::signature::{self as lc, UnparsedPublicKey, VerificationAlgorithm};
use const_oid::db::{rfc5280, rfc5912};
use der::asn1::ObjectIdentifier;
use der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, PrivateKeyUsagePeriod};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::clock::UtcMicros;

use super::tlv::{Reader, tag};

/// Longest path from a unit to a root.
const MAX_PATH: usize = 8;

/// Extensions whose meaning is respected here, so that they may be critical.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 3] =
    [rfc5280::ID_CE_BASIC_CONSTRAINTS, rfc5280::ID_CE_KEY_USAGE, rfc5280::ID_CE_EXT_KEY_USAGE];

/// Why a certificate cannot stand for a time-stamping unit, or has no path to a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// Not DER of X.509.
    #[error("not an X.509 certificate: {0}")]
    NotACertificate(String),
    /// Not made for timestamps, or for more than timestamps.
    #[error("certificate of {subject:?} is not for a time-stamping unit: {why}")]
    NotAUnit {
        /// Its subject.
        subject: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// No certificate at hand signed this one.
    #[error("no issuer at hand leads from {0:?} to a trusted root")]
    NoPath(String),
    /// Outside notBefore to notAfter (or the private key's usage period).
    #[error("certificate of {subject:?} is not valid at {at}: {from} to {to}", at = .at.iso8601(),
        from = .validity.from.iso8601(), to = .validity.to.iso8601())]
    NotValid {
        /// Its subject.
        subject: String,
        /// The time asked for.
        at: UtcMicros,
        /// When it is valid.
        validity: Validity,
    },
}

/// First and last instant at which a certificate, or all of a path, may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from: UtcMicros,
    /// Not after, inclusive.
    pub to: UtcMicros,
}

impl Validity {
    /// Whether `at` lies within.
    pub fn holds(&self, at: UtcMicros) -> bool {
        self.from <= at && at <= self.to
    }

    /// The times common to both.
    pub fn and(self, other: Validity) -> Validity {
        Validity { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// A certificate and the bytes it was read from.
#[derive(Clone)]
pub(crate) struct Certificate<'a> {
    pub der: &'a [u8],
    pub x509: x509_cert::Certificate,
    tbs: &'a [u8],
}

impl<'a> Certificate<'a> {
    pub fn read(der: &'a [u8]) -> Result<Self, ChainError> {
        let bad = |e: &dyn std::fmt::Display| ChainError::NotACertificate(e.to_string());
        let x509 = x509_cert::Certificate::from_der(der).map_err(|e| bad(&e))?;
        let mut fields = Reader::new(der).enter(tag::SEQUENCE).map_err(|e| bad(&e))?;
        let tbs = fields.element(tag::SEQUENCE).map_err(|e| bad(&e))?.whole;
        Ok(Self { der, x509, tbs })
    }

    pub fn subject(&self) -> String {
        self.x509.tbs_certificate().subject().to_string()
    }

    /// issuer and serialNumber, each a whole DER element, as CMS names a certificate.
    pub fn issuer_and_serial(&self) -> Result<(Vec<u8>, Vec<u8>), ChainError> {
        let tbs = self.x509.tbs_certificate();
        let bad = |e: der::Error| ChainError::NotACertificate(e.to_string());
        Ok((tbs.issuer().to_der().map_err(bad)?, tbs.serial_number().to_der().map_err(bad)?))
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> Result<Vec<u8>, ChainError> {
        let spki = self.x509.tbs_certificate().subject_public_key_info();
        spki.to_der().map_err(|e| ChainError::NotACertificate(e.to_string()))
    }

    pub fn validity(&self) -> Validity {
        let validity = self.x509.tbs_certificate().validity();
        let micros = |t: &x509_cert::time::Time| {
            UtcMicros(i64::try_from(t.to_unix_duration().as_micros()).unwrap_or(i64::MAX))
        };
        Validity { from: micros(&validity.not_before), to: micros(&validity.not_after) }
    }

    /// Whether `signature` over `message` is this certificate's key's.
    pub fn verifies(&self, algorithm: &ObjectIdentifier, message: &[u8], signature: &[u8]) -> bool {
        let Ok(spki) = self.spki() else { return false };
        let Ok(spki) = SubjectPublicKeyInfoRef::from_der(&spki) else { return false };
        let curve = spki.algorithm.parameters_oid().ok();
        // Keys and signatures are whole bytes: a BIT STRING with unused bits is another encoding of neither.
        let Some(point) = spki.subject_public_key.as_bytes() else { return false };
        verification(&spki.algorithm.oid, curve.as_ref(), algorithm)
            .is_some_and(|a| UnparsedPublicKey::new(a, point).verify(message, signature).is_ok())
    }

    pub(super) fn signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let algorithm = self.x509.signature_algorithm();
        let signature = self.x509.signature().as_bytes();
        algorithm == self.x509.tbs_certificate().signature()
            && self.x509.tbs_certificate().issuer() == issuer.x509.tbs_certificate().subject()
            && signature.is_some_and(|s| issuer.verifies(&algorithm.oid, self.tbs, s))
    }

    /// Whether it may sign certificates with `below` issuing certificates under it.
    fn may_issue(&self, below: usize) -> bool {
        let tbs = self.x509.tbs_certificate();
        let ca = matches!(tbs.get_extension::<BasicConstraints>(), Ok(Some((_, b)))
            if b.ca && b.path_len_constraint.is_none_or(|n| below <= usize::from(n)));
        let signs = match tbs.get_extension::<KeyUsage>() {
            Ok(None) => true,
            Ok(Some((_, usage))) => usage.key_cert_sign(),
            Err(_) => false,
        };
        let purpose = match tbs.get_extension::<ExtendedKeyUsage>() {
            Ok(None) => true,
            Ok(Some((_, usage))) => usage
                .0
                .iter()
                .any(|p| *p == rfc5280::ID_KP_TIME_STAMPING || *p == rfc5280::ANY_EXTENDED_KEY_USAGE),
            Err(_) => false,
        };
        ca && signs && purpose && self.unknown_critical().is_none()
    }

    fn unknown_critical(&self) -> Option<ObjectIdentifier> {
        let extensions = self.x509.tbs_certificate().extensions()?;
        extensions.iter().find(|e| e.critical && !KNOWN_EXTENSIONS.contains(&e.extn_id)).map(|e| e.extn_id)
    }

    /// RFC 3161 section 2.3: one critical extendedKeyUsage with timeStamping alone, no other use of the
    /// key. Returns when the unit may sign: notBefore to notAfter, narrowed by privateKeyUsagePeriod.
    pub fn check_unit(&self) -> Result<Validity, ChainError> {
        self.unit_fault().map_err(|why| ChainError::NotAUnit { subject: self.subject(), why })
    }

    fn unit_fault(&self) -> Result<Validity, &'static str> {
        let tbs = self.x509.tbs_certificate();
        let purpose = tbs.get_extension::<ExtendedKeyUsage>();
        match purpose.map_err(|_| "its extendedKeyUsage is twofold or unreadable")? {
            Some((true, usage)) if usage.0 == [rfc5280::ID_KP_TIME_STAMPING] => {}
            Some((true, _)) => return Err("extendedKeyUsage is not timeStamping alone"),
            Some((false, _)) => return Err("extendedKeyUsage is not critical"),
            None => return Err("extendedKeyUsage is missing"),
        }
        let usage = tbs.get_extension::<KeyUsage>().map_err(|_| "its keyUsage is unreadable")?;
        let signing = x509_cert::ext::pkix::KeyUsages::DigitalSignature
            | x509_cert::ext::pkix::KeyUsages::NonRepudiation;
        if usage.is_some_and(|(_, u)| u.0.is_empty() || !(u.0 - signing).is_empty()) {
            return Err("keyUsage allows more than signing");
        }
        let basic =
            tbs.get_extension::<BasicConstraints>().map_err(|_| "its basicConstraints is unreadable")?;
        if basic.is_some_and(|(_, b)| b.ca) {
            return Err("it is a certification authority");
        }
        if self.unknown_critical().is_some() {
            return Err("it has a critical extension that is not known");
        }
        let period = tbs.get_extension::<PrivateKeyUsagePeriod>();
        let period = period.map_err(|_| "its privateKeyUsagePeriod is unreadable")?.map(|(_, p)| p);
        Ok(self.validity().and(period.map_or(ALWAYS, |p| key_period(&p))))
    }
}

const ALWAYS: Validity = Validity { from: UtcMicros(i64::MIN), to: UtcMicros(i64::MAX) };

fn key_period(period: &PrivateKeyUsagePeriod) -> Validity {
    let micros = |t: der::asn1::GeneralizedTime| {
        UtcMicros(i64::try_from(t.to_unix_duration().as_micros()).unwrap_or(i64::MAX))
    };
    Validity {
        from: period.not_before.map_or(ALWAYS.from, micros),
        to: period.not_after.map_or(ALWAYS.to, micros),
    }
}

fn verification(
    key: &ObjectIdentifier,
    curve: Option<&ObjectIdentifier>,
    signature: &ObjectIdentifier,
) -> Option<&'static dyn VerificationAlgorithm> {
    let is = |s: ObjectIdentifier| *signature == s;
    if *key == rfc5912::ID_EC_PUBLIC_KEY {
        let p384 = *curve? == rfc5912::SECP_384_R_1;
        return match *curve? {
            rfc5912::SECP_256_R_1 if is(rfc5912::ECDSA_WITH_SHA_256) => Some(&lc::ECDSA_P256_SHA256_ASN1),
            rfc5912::SECP_256_R_1 if is(rfc5912::ECDSA_WITH_SHA_384) => Some(&lc::ECDSA_P256_SHA384_ASN1),
            _ if p384 && is(rfc5912::ECDSA_WITH_SHA_256) => Some(&lc::ECDSA_P384_SHA256_ASN1),
            _ if p384 && is(rfc5912::ECDSA_WITH_SHA_384) => Some(&lc::ECDSA_P384_SHA384_ASN1),
            _ => None,
        };
    }
    match *key {
        rfc5912::RSA_ENCRYPTION if is(rfc5912::SHA_256_WITH_RSA_ENCRYPTION) => {
            Some(&lc::RSA_PKCS1_2048_8192_SHA256)
        }
        rfc5912::RSA_ENCRYPTION if is(rfc5912::SHA_384_WITH_RSA_ENCRYPTION) => {
            Some(&lc::RSA_PKCS1_2048_8192_SHA384)
        }
        rfc5912::RSA_ENCRYPTION if is(rfc5912::SHA_512_WITH_RSA_ENCRYPTION) => {
            Some(&lc::RSA_PKCS1_2048_8192_SHA512)
        }
        _ => None,
    }
}

/// Finds a path from `unit` to one of `roots` through `intermediates`: names, signatures, CA flags,
/// path lengths, critical extensions, and that every certificate on it is valid at `at`.
pub(super) fn check_path(
    unit: &Certificate<'_>,
    intermediates: &[Certificate<'_>],
    roots: &[Certificate<'_>],
    at: UtcMicros,
) -> Result<(), ChainError> {
    let mut current = unit;
    for below in 0..MAX_PATH {
        if let Some(root) = roots.iter().find(|r| current.signed_by(r) && r.may_issue(below)) {
            return valid_at(root, at);
        }
        let issuer = intermediates.iter().find(|i| current.signed_by(i) && i.may_issue(below));
        current = issuer.ok_or_else(|| ChainError::NoPath(current.subject()))?;
        valid_at(current, at)?;
    }
    Err(ChainError::NoPath(current.subject()))
}

/// That each certificate of `chain` issued the one before it, beginning with `unit`'s issuer.
/// Returns the time during which all of them are valid.
pub(super) fn check_order(unit: &Certificate<'_>, chain: &[Certificate<'_>]) -> Result<Validity, ChainError> {
    let mut current = unit;
    let mut validity = unit.check_unit()?;
    for (below, issuer) in chain.iter().enumerate() {
        if !current.signed_by(issuer) || !issuer.may_issue(below) {
            return Err(ChainError::NoPath(current.subject()));
        }
        validity = validity.and(issuer.validity());
        current = issuer;
    }
    Ok(validity)
}

fn valid_at(certificate: &Certificate<'_>, at: UtcMicros) -> Result<(), ChainError> {
    let validity = certificate.validity();
    if validity.holds(at) {
        return Ok(());
    }
    Err(ChainError::NotValid { subject: certificate.subject(), at, validity })
}
