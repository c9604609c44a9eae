//! PKCS #10 requests (RFC 2986): strict DER, a key worth certifying, proven possession, honest names.

use const_oid::AssociatedOid;
use der::{Decode, Encode};
use x509_cert::attr::Attributes;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::request::CertReq;

use super::key::{KeyFlaw, PublicKey};
use super::oid;
use super::profile::Profile;
use crate::digest::Digest;

/// Longest request, PEM or DER, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// A request whose signature, key and encoding have been checked.
#[derive(Debug, Clone)]
pub struct CertificationRequest {
    request: CertReq,
    key: PublicKey,
    spki: Vec<u8>,
    extensions: Vec<Extension>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`MAX_BYTES`], or empty.
    #[error("a request has 1 to 65536 bytes, not {0}")]
    Length(usize),
    /// The PEM armour is broken, or holds something else.
    #[error("the PEM text is not one CERTIFICATE REQUEST: {0}")]
    Pem(String),
    /// Not strict DER, or bytes after its end.
    #[error("the request is not a PKCS #10 request in DER: {0}")]
    NotDer(String),
    /// The key will not be certified.
    #[error(transparent)]
    Key(#[from] KeyFlaw),
    /// The signature algorithm does not go with the key.
    #[error(
        "signature algorithm {0} is not taken with this key: SHA-256, -384 or -512 with ECDSA or RSA PKCS #1 is"
    )]
    SignatureAlgorithm(String),
    /// Proof of possession failed.
    #[error("the request's own signature does not verify: possession of the private key is not proven")]
    NotPossessed,
    /// An attribute twice, or one that has no place here.
    #[error("attribute {0} has no place in a request, or stands there twice")]
    Attribute(String),
    /// An extension that is repeated, unreadable, or not what the profile gives.
    #[error("the request asks for extension {oid}, but {why}")]
    Extension {
        /// Its identifier.
        oid: String,
        /// What the certificate would have.
        why: String,
    },
    /// A name differs from the record.
    #[error("the request's {what} is {requested:?}, the record says {recorded:?}")]
    NameDiffers {
        /// Which name.
        what: String,
        /// As in the request.
        requested: String,
        /// As in the register.
        recorded: String,
    },
}

/// Reads and judges a PEM or DER request; nothing is believed before its signature verified.
pub fn parse(bytes: &[u8]) -> Result<CertificationRequest, RequestError> {
    if bytes.is_empty() || bytes.len() > MAX_BYTES {
        return Err(RequestError::Length(bytes.len()));
    }
    let der = if bytes.starts_with(b"-----") { unarmour(bytes)? } else { bytes.to_vec() };
    let request = CertReq::from_der(&der).map_err(|e| RequestError::NotDer(e.to_string()))?;
    // What a lenient corner of the decoder may have let through does not survive re-encoding.
    if request.to_der().ok().as_deref() != Some(&der[..]) {
        return Err(RequestError::NotDer("re-encoding gives other bytes".into()));
    }
    let spki = &request.info.public_key;
    let bits =
        spki.subject_public_key.as_bytes().ok_or(KeyFlaw::Malformed("its bit string has unused bits"))?;
    let key = PublicKey::new(&spki.algorithm, bits)?;
    prove_possession(&request, &key)?;
    let extensions = requested_extensions(&request.info.attributes)?;
    let spki = spki.to_der().map_err(|e| RequestError::NotDer(e.to_string()))?;
    Ok(CertificationRequest { request, key, spki, extensions })
}

fn unarmour(text: &[u8]) -> Result<Vec<u8>, RequestError> {
    let trimmed = text.trim_ascii_end();
    let (label, der) = der::pem::decode_vec(trimmed).map_err(|e| RequestError::Pem(e.to_string()))?;
    // RFC 7468 section 7 also names the older label.
    match label {
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Ok(der),
        other => Err(RequestError::Pem(format!("its label is {other:?}"))),
    }
}

fn prove_possession(request: &CertReq, key: &PublicKey) -> Result<(), RequestError> {
    let signed = request.info.to_der().map_err(|e| RequestError::NotDer(e.to_string()))?;
    let signature = request.signature.as_bytes().ok_or(RequestError::NotPossessed)?;
    match key.verifies(&request.algorithm, &signed, signature) {
        Some(true) => Ok(()),
        Some(false) => Err(RequestError::NotPossessed),
        None => Err(RequestError::SignatureAlgorithm(request.algorithm.oid.to_string())),
    }
}

fn requested_extensions(attributes: &Attributes) -> Result<Vec<Extension>, RequestError> {
    let mut found: Option<Vec<Extension>> = None;
    for attribute in attributes.iter() {
        let misplaced = || RequestError::Attribute(attribute.oid.to_string());
        let [value] = attribute.values.as_slice() else { return Err(misplaced()) };
        if attribute.oid != oid::EXTENSION_REQUEST || found.is_some() {
            return Err(misplaced());
        }
        found = Some(value.decode_as().map_err(|_| misplaced())?);
    }
    let extensions = found.unwrap_or_default();
    for (i, extension) in extensions.iter().enumerate() {
        if extensions[..i].iter().any(|e| e.extn_id == extension.extn_id) {
            return Err(differs(extension, "asks for it twice"));
        }
    }
    Ok(extensions)
}

fn differs(extension: &Extension, why: &str) -> RequestError {
    RequestError::Extension { oid: extension.extn_id.to_string(), why: why.to_owned() }
}

impl CertificationRequest {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo: the name of the key in block lists.
    pub fn key_hash(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// The request, DER, as it came.
    pub fn to_der(&self) -> Result<Vec<u8>, RequestError> {
        self.request.to_der().map_err(|e| RequestError::NotDer(e.to_string()))
    }

    /// Refuses a request that asks for a name or an extension which `subject` and `profile` will not
    /// give it. A request without names asks for nothing and passes: the names come from the record.
    pub fn must_match(&self, subject: &Name, profile: &Profile) -> Result<(), RequestError> {
        subject_matches(&self.request.info.subject, subject)?;
        self.extensions.iter().try_for_each(|extension| extension_matches(extension, profile))
    }
}

fn subject_matches(requested: &Name, recorded: &Name) -> Result<(), RequestError> {
    let mut seen = Vec::new();
    for wanted in requested.iter() {
        let what = attribute(&wanted.oid);
        let on_record = recorded.iter().find(|a| a.oid == wanted.oid).map(|a| text(&a.value));
        let requested = text(&wanted.value);
        if seen.contains(&wanted.oid) || on_record.as_ref() != Some(&requested) {
            return Err(RequestError::NameDiffers {
                what,
                requested,
                recorded: on_record.unwrap_or_default(),
            });
        }
        seen.push(wanted.oid);
    }
    Ok(())
}

/// What people call a name's attribute.
pub(super) fn attribute(oid: &const_oid::ObjectIdentifier) -> String {
    match *oid {
        oid::COUNTRY => "C".to_owned(),
        oid::ORGANISATION => "O".to_owned(),
        oid::ORGANISATION_IDENTIFIER => "organizationIdentifier".to_owned(),
        oid::COMMON_NAME => "CN".to_owned(),
        other => other.to_string(),
    }
}

/// The characters of a directory string, whichever of its types carries them.
pub(super) fn text(value: &der::asn1::Any) -> String {
    use der::{Tag, Tagged};
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
            String::from_utf8_lossy(value.value()).into_owned()
        }
        _ => format!("#{}", crate::digest::hex(value.value())),
    }
}

fn extension_matches(extension: &Extension, profile: &Profile) -> Result<(), RequestError> {
    let value = extension.extn_value.as_bytes();
    let unreadable = |_| differs(extension, "its value is not DER");
    let same = match extension.extn_id {
        SubjectAltName::OID => {
            return names_match(&GeneralNames::from_der(value).map_err(unreadable)?, profile);
        }
        BasicConstraints::OID => {
            BasicConstraints::from_der(value).map_err(unreadable)? == profile.basic_constraints()
        }
        KeyUsage::OID => KeyUsage::from_der(value).map_err(unreadable)? == profile.key_usage(),
        ExtendedKeyUsage::OID => {
            let wanted = ExtendedKeyUsage::from_der(value).map_err(unreadable)?.0;
            wanted.iter().all(|purpose| profile.purposes().contains(purpose))
        }
        _ => return Err(differs(extension, "the profile does not give it to a request")),
    };
    if same { Ok(()) } else { Err(differs(extension, "the profile gives another value")) }
}

fn names_match(requested: &GeneralNames, profile: &Profile) -> Result<(), RequestError> {
    let recorded = profile.alternative_names();
    match requested.iter().find(|name| !recorded.contains(name)) {
        None => Ok(()),
        Some(name) => Err(RequestError::NameDiffers {
            what: "subjectAltName".into(),
            requested: shown(name),
            recorded: recorded.iter().map(shown).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn shown(name: &GeneralName) -> String {
    match name {
        GeneralName::DnsName(n) => format!("DNS:{n}"),
        GeneralName::Rfc822Name(n) => format!("email:{n}"),
        GeneralName::UniformResourceIdentifier(n) => format!("URI:{n}"),
        GeneralName::IpAddress(bytes) => format!("IP:#{}", crate::digest::hex(bytes.as_bytes())),
        other => format!("#{}", other.to_der().map(|d| crate::digest::hex(&d)).unwrap_or_default()),
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
