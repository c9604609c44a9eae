//! To-be-signed certificates: built once, frozen, then finished with exactly one signature.

use std::time::Duration;

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{BitString, Ia5String, OctetString};
use der::{DateTime, Decode, Encode, Sequence};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::crl::dp::DistributionPoint;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{
    AccessDescription, AuthorityInfoAccessSyntax, AuthorityKeyIdentifier, CrlDistributionPoints,
    SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};
use x509_cert::{AlgorithmIdentifier, Certificate, SubjectPublicKeyInfo, TbsCertificate, Version};

use super::authority::{Authority, key_identifier};
use super::profile::{Profile, Subject};
use super::{CertificateError, Serial, lint, oid};
use crate::digest::Digest;

/// RFC 5280 section 4.1.2; the crate's own type cannot be put together from outside.
#[derive(Sequence)]
struct Tbs {
    #[asn1(context_specific = "0")]
    version: Version,
    serial_number: SerialNumber,
    signature: AlgorithmIdentifier,
    issuer: Name,
    validity: Validity,
    subject: Name,
    subject_public_key_info: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `SEQUENCE { to-be-signed, algorithm, signature }` of a certificate or a revocation list.
#[derive(Sequence)]
struct Signed<'a> {
    to_be_signed: der::asn1::AnyRef<'a>,
    algorithm: AlgorithmIdentifier,
    signature: BitString,
}

/// A certificate's frozen bytes: what is linted, what officers agree to, what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    tbs: Vec<u8>,
}

/// What a draft is made of, beside its issuer.
pub(super) struct Content<'a> {
    pub profile: &'a Profile,
    pub subject: &'a Subject,
    pub spki: &'a [u8],
    /// Seconds since 1970.
    pub now: i64,
    /// Prefix of CRL and CA certificate addresses, without a slash at the end.
    pub public_url: &'a str,
}

impl Draft {
    /// Draws a serial and builds the bytes. `issuer` is `None` for a root, which names itself.
    pub(super) fn new(content: &Content<'_>, issuer: Option<&Authority>) -> Result<Self, CertificateError> {
        let subject = content.subject.to_name()?;
        let own_identifier = key_identifier(content.spki)?;
        let (not_before, not_after) = validity(content, issuer)?;
        let mut extensions = content.profile.extensions(not_before)?;
        let ski = SubjectKeyIdentifier(OctetString::new(own_identifier.clone())?);
        extensions.push(extension(SubjectKeyIdentifier::OID, false, &ski)?);
        let identifier = issuer.map_or(own_identifier, |i| i.key_identifier.clone());
        extensions.push(extension(AuthorityKeyIdentifier::OID, false, &authority_key(identifier)?)?);
        if let Some(issuer) = issuer {
            // A responder's certificate is not asked about (RFC 6960 section 4.2.2.2.1).
            let answered = issuer.answered && *content.profile != Profile::OcspResponder;
            extensions.extend(addresses(content.public_url, issuer.label.as_str(), answered)?);
            extensions.push(super::crl::freshest(content.public_url, issuer.label.as_str())?);
        }
        let tbs = Tbs {
            version: Version::V3,
            serial_number: SerialNumber::new(Serial::random()?.as_bytes())?,
            signature: algorithm(),
            issuer: issuer.map_or_else(|| subject.clone(), |i| i.subject.clone()),
            validity: Validity::new(time(not_before)?, time(not_after)?),
            subject,
            subject_public_key_info: SubjectPublicKeyInfo::from_der(content.spki)?,
            extensions,
        };
        let draft = Self { tbs: tbs.to_der()? };
        lint::check(&draft.parsed()?, content.profile, issuer)?;
        Ok(draft)
    }

    /// Takes bytes back from the store, where they were frozen.
    pub fn thaw(tbs: Vec<u8>) -> Result<Self, CertificateError> {
        let draft = Self { tbs };
        draft.parsed()?;
        Ok(draft)
    }

    /// The frozen bytes.
    pub fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// SHA-256 of the frozen bytes: what officers agree to.
    pub fn hash(&self) -> Digest {
        Digest::of(&self.tbs)
    }

    /// The frozen bytes, read again.
    pub fn parsed(&self) -> Result<TbsCertificate, CertificateError> {
        Ok(TbsCertificate::from_der(&self.tbs)?)
    }

    /// The subject, attribute by attribute: `CN`, `registry-1.agency.example`.
    pub fn subject(&self) -> Result<Vec<(String, String)>, CertificateError> {
        use super::request::{attribute, text};
        Ok(self.parsed()?.subject().iter().map(|a| (attribute(&a.oid), text(&a.value))).collect())
    }

    /// Seconds since 1970: first and last second of validity.
    pub fn validity(&self) -> Result<(i64, i64), CertificateError> {
        let tbs = self.parsed()?;
        let at = super::authority::seconds;
        Ok((at(&tbs.validity().not_before), at(&tbs.validity().not_after)))
    }

    /// The serial.
    pub fn serial(&self) -> Result<Serial, CertificateError> {
        Serial::try_from(self.parsed()?.serial_number().as_bytes())
    }

    /// Puts a DER `Ecdsa-Sig-Value` to the frozen bytes. The certificate leaves only if it is exactly
    /// those bytes plus a signature that verifies under `key`, the issuer's, and lints clean again.
    pub(super) fn finish(
        self,
        signature: &[u8],
        profile: Option<&Profile>,
        issuer: Option<&Authority>,
    ) -> Result<Vec<u8>, CertificateError> {
        let der = assemble(&self.tbs, signature)?;
        let certificate = Certificate::from_der(&der)?;
        let tbs = certificate.tbs_certificate();
        if tbs.to_der()? != self.tbs || certificate.signature_algorithm() != tbs.signature() {
            return Err(CertificateError::Lint("the signed bytes are not the frozen bytes".into()));
        }
        let own_key;
        let key = match issuer {
            Some(issuer) => &issuer.key,
            None => {
                let spki = tbs.subject_public_key_info();
                own_key = super::key::PublicKey::new(&spki.algorithm, spki.subject_public_key.raw_bytes())
                    .map_err(|e| CertificateError::Lint(e.to_string()))?;
                &own_key
            }
        };
        if key.verifies(&algorithm(), &self.tbs, signature) != Some(true) {
            return Err(CertificateError::WrongSignature);
        }
        if let Some(profile) = profile {
            lint::check(tbs, profile, issuer)?;
        }
        Ok(der)
    }
}

/// First and last second: inside the issuer's validity, and the last one still counts.
fn validity(content: &Content<'_>, issuer: Option<&Authority>) -> Result<(i64, i64), CertificateError> {
    let (earliest, latest) = issuer.map_or((content.now, i64::MAX), |i| (i.not_before, i.not_after));
    let last = (content.now + content.profile.lifetime() - 1).min(latest);
    if content.now < earliest || content.now >= last {
        return Err(CertificateError::OutsideIssuer { now: iso8601(content.now) });
    }
    Ok((content.now, last))
}

fn authority_key(identifier: Vec<u8>) -> der::Result<AuthorityKeyIdentifier> {
    Ok(AuthorityKeyIdentifier { key_identifier: Some(OctetString::new(identifier)?), ..Default::default() })
}

fn addresses(public_url: &str, issuer: &str, answered: bool) -> der::Result<[Extension; 2]> {
    let uri = |path: String| Ia5String::new(&path).map(GeneralName::UniformResourceIdentifier);
    let at = |access_method, path| {
        der::Result::Ok(AccessDescription { access_method, access_location: uri(path)? })
    };
    let mut access = vec![at(oid::CA_ISSUERS, format!("{public_url}/ca/{issuer}.cer"))?];
    if answered {
        access.push(at(oid::OCSP, format!("{public_url}/ocsp"))?);
    }
    let access = AuthorityInfoAccessSyntax(access);
    let names = vec![uri(format!("{public_url}/crl/{issuer}.crl"))?];
    let points = CrlDistributionPoints(vec![DistributionPoint {
        distribution_point: Some(DistributionPointName::FullName(names)),
        reasons: None,
        crl_issuer: None,
    }]);
    Ok([
        extension(AuthorityInfoAccessSyntax::OID, false, &access)?,
        extension(CrlDistributionPoints::OID, false, &points)?,
    ])
}

/// ecdsa-with-SHA256, parameters absent (RFC 5758 section 3.2).
pub(super) fn algorithm() -> AlgorithmIdentifier {
    AlgorithmIdentifier { oid: oid::ECDSA_SHA256, parameters: None }
}

/// Signed bytes, algorithm, signature.
pub(super) fn assemble(tbs: &[u8], signature: &[u8]) -> der::Result<Vec<u8>> {
    let to_be_signed = der::asn1::AnyRef::from_der(tbs)?;
    Signed { to_be_signed, algorithm: algorithm(), signature: BitString::from_bytes(signature)? }.to_der()
}

/// An extension around a value.
pub(super) fn extension(
    extn_id: ObjectIdentifier,
    critical: bool,
    value: &impl Encode,
) -> der::Result<Extension> {
    Ok(Extension { extn_id, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// UTCTime to 2049, GeneralizedTime from 2050 (RFC 5280 section 4.1.2.5).
pub(super) fn time(seconds: i64) -> der::Result<Time> {
    Ok(Time::from(DateTime::from_unix_duration(since_1970(seconds)?)?))
}

pub(super) fn since_1970(seconds: i64) -> der::Result<Duration> {
    u64::try_from(seconds).map(Duration::from_secs).map_err(|_| der::ErrorKind::DateTime.into())
}

/// `2026-11-24T10:00:00Z`.
pub(crate) fn iso8601(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|t| t.to_string()).unwrap_or_else(|_| seconds.to_string())
}
