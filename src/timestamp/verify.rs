//! The relying party's check of a token: RFC 3161 section 2.4.2 and RFC 5652 section 5.6, with nothing
//! but the token, the imprint and the trusted roots. Revocation is asked elsewhere.

use aws_lc_rs::digest as lc;
use const_oid::db::rfc5912;

use crate::clock::UtcMicros;
use crate::digest::Digest;

use super::chain::{Certificate, ChainError, check_path};
use super::read::{TokenInfo, TokenParts, UnreadableToken};
use super::request::Hash;
use super::tlv::tag;

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of the form that is read here.
    #[error(transparent)]
    Unreadable(#[from] UnreadableToken),
    /// It stamps something else.
    #[error("the token is for another {0}")]
    OtherData(&'static str),
    /// The signer's certificate is not in it.
    #[error("the token does not hold its signer's certificate")]
    NoCertificate,
    /// What was signed is not bound to the certificate or the contents.
    #[error("the token's {0} does not match")]
    Mismatch(&'static str),
    /// The signature is not the certificate's.
    #[error("the token's signature does not verify with the certificate of {0:?}")]
    BadSignature(String),
    /// Certificate or path.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// genTime lies after the verifier's own time.
    #[error("the token is from {}, after {}", .gen_time.iso8601(), .latest.iso8601())]
    FromTheFuture {
        /// genTime.
        gen_time: UtcMicros,
        /// The verifier's time.
        latest: UtcMicros,
    },
    /// A trusted root cannot be read.
    #[error("a trusted root is {0}")]
    BadRoot(ChainError),
}

/// What a verified token proves: the imprint existed at `gen_time_us`, give or take `accuracy_us`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// genTime, microseconds since 1970 UTC.
    pub gen_time_us: i64,
    /// accuracy, microseconds; absent when the token does not say.
    pub accuracy_us: Option<u64>,
    /// Serial number, hex.
    pub serial: String,
    /// Policy, dotted decimal.
    pub policy: String,
    /// Subject of the time-stamping unit's certificate (RFC 4514).
    pub tsu_subject: String,
    /// nonce: INTEGER contents octets; compare with the query's.
    pub nonce: Option<Vec<u8>>,
}

/// Verifies a DER token over `imprint`, the value of `hash`, up to one of `roots` (DER certificates).
///
/// Checked: strict DER; the imprint; one signature over sorted attributes that bind contents
/// (message-digest) and certificate (ESSCertIDv2); the unit's certificate is for timestamps alone
/// (critical EKU); names, signatures, CA flags and validity at genTime of every certificate up to a
/// root, intermediates taken from the token. `latest` is the verifier's own time if it has one:
/// a token from after it is refused.
pub fn verify_token(
    token: &[u8],
    hash: Hash,
    imprint: &[u8],
    roots: &[impl AsRef<[u8]>],
    latest: Option<UtcMicros>,
) -> Result<TokenFacts, TokenError> {
    let parts = TokenParts::read(token)?;
    check_imprint(&parts.info, hash, imprint)?;
    let gen_time = parts.info.gen_time;
    if let Some(latest) = latest.filter(|l| *l < gen_time) {
        return Err(TokenError::FromTheFuture { gen_time, latest });
    }
    let held = parts.certificates.iter().map(|der| Certificate::read(der)).collect::<Result<Vec<_>, _>>()?;
    let unit = find_unit(&parts, &held)?;
    check_signature(&parts, unit)?;
    let validity = unit.check_unit()?;
    if !validity.holds(gen_time) {
        return Err(ChainError::NotValid { subject: unit.subject(), at: gen_time, validity }.into());
    }
    let roots = roots.iter().map(|r| Certificate::read(r.as_ref())).collect::<Result<Vec<_>, _>>();
    check_path(unit, &held, &roots.map_err(TokenError::BadRoot)?, gen_time)?;
    let TokenInfo { accuracy_us, serial, policy, nonce, .. } = parts.info;
    let tsu_subject = unit.subject();
    Ok(TokenFacts { gen_time_us: gen_time.0, accuracy_us, serial, policy, tsu_subject, nonce })
}

/// [`verify_token`] over a SHA-256 imprint, as checkpoints carry it.
pub fn verify_sha256(
    token: &[u8],
    imprint: &Digest,
    roots: &[impl AsRef<[u8]>],
    latest: Option<UtcMicros>,
) -> Result<TokenFacts, TokenError> {
    verify_token(token, Hash::Sha256, imprint.as_bytes(), roots, latest)
}

fn check_imprint(info: &TokenInfo, hash: Hash, imprint: &[u8]) -> Result<(), TokenError> {
    if info.hash != hash {
        return Err(TokenError::OtherData("hash algorithm"));
    }
    if info.imprint != imprint {
        return Err(TokenError::OtherData("imprint"));
    }
    Ok(())
}

/// The certificate that SignerInfo names, bound by ESSCertIDv2 (RFC 5035 section 4).
pub(super) fn find_unit<'c, 'a>(
    parts: &TokenParts<'_>,
    held: &'c [Certificate<'a>],
) -> Result<&'c Certificate<'a>, TokenError> {
    for certificate in held {
        let (issuer, serial) = certificate.issuer_and_serial()?;
        if parts.signer == [issuer, serial].concat() {
            let (hash, expected) = parts.certificate_hash;
            let bound = hash.of(&[certificate.der]) == expected;
            return if bound { Ok(certificate) } else { Err(TokenError::Mismatch("ESSCertIDv2")) };
        }
    }
    Err(TokenError::NoCertificate)
}

fn check_signature(parts: &TokenParts<'_>, unit: &Certificate<'_>) -> Result<(), TokenError> {
    let hash = match parts.digest {
        rfc5912::ID_SHA_256 => &lc::SHA256,
        rfc5912::ID_SHA_384 => &lc::SHA384,
        rfc5912::ID_SHA_512 => &lc::SHA512,
        _ => {
            return Err(
                UnreadableToken::Unsupported("uses another digest than SHA-256, SHA-384 or SHA-512").into()
            );
        }
    };
    if lc::digest(hash, parts.tst_info).as_ref() != parts.message_digest {
        return Err(TokenError::Mismatch("message digest"));
    }
    let mut signed = parts.signed_attributes.to_vec();
    signed[0] = tag::SET; // RFC 5652 section 5.4: signed under tag 31, sent under A0.
    if unit.verifies(&parts.algorithm, &signed, parts.signature) {
        return Ok(());
    }
    Err(TokenError::BadSignature(unit.subject()))
}
