//! What a token rests on: the algorithms it uses and how long its certificates last. Asked when evidence is
//! renewed (RFC 4998 section 5.3), where a token must have been good until the next one covered it.

use const_oid::db::rfc5912;
use der::asn1::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::chain::{Certificate, ChainError, Validity};
use super::read::{TokenParts, UnreadableToken};
use super::tlv::{Reader, element, set_of, tag};
use super::verify::{TokenError, find_unit};

/// What a token rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strength {
    /// Names of hashes and signature schemes, sorted, each once: `sha256`, `ecdsa-p256`, `rsa`, ...
    pub algorithms: Vec<String>,
    /// When all certificates in it, and the roots above them, are valid at once.
    pub validity: Validity,
}

/// Reads it from the token, the certificates in it and the roots (DER) that may have issued them; nothing is verified.
pub fn strength(token: &[u8], roots: &[impl AsRef<[u8]>]) -> Result<Strength, TokenError> {
    let parts = TokenParts::read(token)?;
    let held = parts.certificates.iter().map(|der| Certificate::read(der)).collect::<Result<Vec<_>, _>>()?;
    let unit = find_unit(&parts, &held)?;
    let mut algorithms = vec![hash_name(&parts.digest), parts.certificate_hash.0.name().into()];
    algorithms.extend(signature_names(&parts.algorithm));
    algorithms.push(key_name(unit));
    let mut validity = unit.validity();
    for certificate in &held {
        algorithms.extend(signature_names(&certificate.x509.signature_algorithm().oid));
        algorithms.push(key_name(certificate));
        validity = validity.and(certificate.validity());
    }
    for root in roots {
        let root = Certificate::read(root.as_ref())?;
        if held.iter().any(|below| below.signed_by(&root)) {
            algorithms.push(key_name(&root));
            validity = validity.and(root.validity());
        }
    }
    algorithms.sort();
    algorithms.dedup();
    Ok(Strength { algorithms, validity })
}

/// The revocation lists a token carries (SignedData.crls), DER.
pub fn token_lists(token: &[u8]) -> Result<Vec<Vec<u8>>, UnreadableToken> {
    TokenParts::read(token).map(|parts| parts.lists.into_iter().map(<[u8]>::to_vec).collect())
}

/// The token with further revocation lists in SignedData.crls, where RFC 4998 section 5.2 wants them before the
/// token is covered. They are not part of what is signed; once covered, the token may not be changed any more.
pub fn with_lists(token: &[u8], lists: &[impl AsRef<[u8]>]) -> Result<Vec<u8>, UnreadableToken> {
    let mut all = token_lists(token)?;
    all.extend(lists.iter().map(|list| list.as_ref().to_vec()));
    all.sort();
    all.dedup();
    if all.is_empty() {
        return Ok(token.to_vec());
    }
    let mut info = Reader::new(token).enter(tag::SEQUENCE)?;
    let kind = info.element(tag::OID)?.whole;
    let mut data = info.enter(tag::CONTEXT_0)?.enter(tag::SEQUENCE)?;
    let (version, digests) = (data.element(tag::INTEGER)?.whole, data.element(tag::SET)?.whole);
    let content = data.element(tag::SEQUENCE)?.whole;
    let certificates =
        if data.peek() == Some(tag::CONTEXT_0) { data.any()?.whole } else { Default::default() };
    data.optional(tag::CONTEXT_1)?;
    let signers = data.element(tag::SET)?.whole;
    let lists = set_of(tag::CONTEXT_1, all);
    let data = element(tag::SEQUENCE, &[version, digests, content, certificates, &lists, signers]);
    let token = element(tag::SEQUENCE, &[kind, &element(tag::CONTEXT_0, &[&data])]);
    TokenParts::read(&token)?;
    Ok(token)
}

fn hash_name(oid: &ObjectIdentifier) -> String {
    super::Hash::from_oid(oid.as_bytes()).map_or_else(|| oid.to_string(), |hash| hash.name().into())
}

/// The hash a signature scheme is over; schemes that do not say one are named by their OID.
fn signature_names(oid: &ObjectIdentifier) -> Option<String> {
    Some(match *oid {
        rfc5912::ECDSA_WITH_SHA_256 | rfc5912::SHA_256_WITH_RSA_ENCRYPTION => "sha256".into(),
        rfc5912::ECDSA_WITH_SHA_384 | rfc5912::SHA_384_WITH_RSA_ENCRYPTION => "sha384".into(),
        rfc5912::ECDSA_WITH_SHA_512 | rfc5912::SHA_512_WITH_RSA_ENCRYPTION => "sha512".into(),
        // The key alone, as old tokens name it: the hash stands beside it.
        rfc5912::RSA_ENCRYPTION => return None,
        other => other.to_string(),
    })
}

fn key_name(certificate: &Certificate<'_>) -> String {
    let spki: &SubjectPublicKeyInfoOwned = certificate.x509.tbs_certificate().subject_public_key_info();
    let curve = spki.algorithm.parameters.as_ref().and_then(|p| p.decode_as::<ObjectIdentifier>().ok());
    match (spki.algorithm.oid, curve) {
        (rfc5912::ID_EC_PUBLIC_KEY, Some(rfc5912::SECP_256_R_1)) => "ecdsa-p256".into(),
        (rfc5912::ID_EC_PUBLIC_KEY, Some(rfc5912::SECP_384_R_1)) => "ecdsa-p384".into(),
        (rfc5912::RSA_ENCRYPTION, _) => "rsa".into(),
        (other, _) => other.to_string(),
    }
}

/// Whether the error is about a root that is not at hand, so that nothing is known against the token.
pub fn lacks_root(error: &TokenError) -> bool {
    matches!(error, TokenError::Chain(ChainError::NoPath(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_named_as_the_policy_table_names_them() {
        assert_eq!(signature_names(&rfc5912::ECDSA_WITH_SHA_384).as_deref(), Some("sha384"));
        assert_eq!(signature_names(&rfc5912::RSA_ENCRYPTION), None);
        assert_eq!(hash_name(&rfc5912::ID_SHA_512), "sha512");
        assert_eq!(hash_name(&rfc5912::RSA_ENCRYPTION), "1.2.840.113549.1.1.1");
    }
}
