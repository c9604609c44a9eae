//! Lines 20 to 25: CMS around TSTInfo (RFC 5652 section 5, RFC 5035 and 5816).

use aws_lc_rs::digest as lc;
use const_oid::db::rfc5912;
use der::asn1::ObjectIdentifier;

use super::token::TST_INFO;
use super::{Judgement, Mark, Probe};
use crate::conformance::exchange::Sent;
use crate::conformance::judge::{Granted, holds};
use crate::digest::hex;
use crate::timestamp::tlv::{Reader, element, tag};

use Mark::{Clients, Rfc};

/// Signed attributes, contents octets.
pub const CONTENT_TYPE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x03];
pub const MESSAGE_DIGEST: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, 0x0C];
pub const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x09, 0x10, 0x02, 0x2F];

pub fn lines() -> Vec<Probe> {
    let ask = Probe::ordinary;
    vec![
        ask("20a", Rfc, "one signature", one),
        ask("20b", Clients, "SignedData 3, SignerInfo 1 with issuerAndSerialNumber", form),
        ask("21a", Rfc, "content-type and message-digest as signed attributes", contents),
        ask("21b", Rfc, "signedAttrs sorted as a DER SET", sorted_attributes),
        ask("21c", Rfc, "the signature over them under tag 31", signature),
        ask("22a", Rfc, "ESSCertID or ESSCertIDv2 of the signer", names_the_signer),
        ask("23a", Rfc, "ESSCertIDv2 of the signer first, SHA-256 left out", second_form),
        ask("24a", Rfc, "parameters as RFC 5754 and 5758 say", parameters),
        ask("24b", Rfc, "digestAlgorithms hold the signature's digest as it stands", listed),
        ask("25a", Clients, "certificates sorted as a DER SET", sorted_certificates),
    ]
}

fn one(_: &Sent, g: &Granted) -> Judgement {
    g.signer().map(|_| "one".into())
}

fn form(_: &Sent, g: &Granted) -> Judgement {
    let signer = g.signer()?;
    holds(g.token.version == [3], format!("SignedData version {}", hex(g.token.version)))?;
    holds(
        signer.version == [1] && signer.sid.tag == tag::SEQUENCE,
        format!("SignerInfo version {}", hex(signer.version)),
    )?;
    Ok("3 and 1".into())
}

/// The digest that the signature names, if it is one of SHA-2.
fn digest(g: &Granted) -> Result<&'static lc::Algorithm, String> {
    match first_oid(g.signer()?.digest)? {
        rfc5912::ID_SHA_256 => Ok(&lc::SHA256),
        rfc5912::ID_SHA_384 => Ok(&lc::SHA384),
        rfc5912::ID_SHA_512 => Ok(&lc::SHA512),
        other => Err(format!("the digest {other} is not SHA-256, SHA-384 or SHA-512")),
    }
}

fn first_oid(algorithm: &[u8]) -> Result<ObjectIdentifier, String> {
    let mut fields = Reader::new(algorithm).enter(tag::SEQUENCE).map_err(|e| e.to_string())?;
    ObjectIdentifier::from_bytes(fields.oid().map_err(|e| e.to_string())?).map_err(|e| e.to_string())
}

fn contents(_: &Sent, g: &Granted) -> Judgement {
    let kind = g.attribute(CONTENT_TYPE)?.ok_or("no content-type")?;
    holds(kind == element(tag::OID, &[TST_INFO]), format!("content-type {}", hex(kind)))?;
    let told = g.attribute(MESSAGE_DIGEST)?.ok_or("no message-digest")?;
    let value = lc::digest(digest(g)?, g.token.content);
    holds(told == element(tag::OCTET_STRING, &[value.as_ref()]), "message-digest is not TSTInfo's")?;
    Ok("both".into())
}

fn sorted_attributes(_: &Sent, g: &Granted) -> Judgement {
    let attributes = g.signer()?.attributes.ok_or("no signedAttrs")?;
    let (mut list, mut before) = (Reader::new(attributes.content), &[][..]);
    while list.peek().is_some() {
        let next = list.any().map_err(|e| e.to_string())?.whole;
        holds(before < next, "signedAttrs are not sorted")?;
        before = next;
    }
    Ok("sorted".into())
}

fn signature(_: &Sent, g: &Granted) -> Judgement {
    let (signer, unit) = (g.signer()?, g.unit()?);
    let mut signed = signer.attributes.ok_or("no signedAttrs")?.whole.to_vec();
    signed[0] = tag::SET;
    let algorithm = match (first_oid(signer.algorithm)?, first_oid(signer.digest)?) {
        (rfc5912::RSA_ENCRYPTION, rfc5912::ID_SHA_256) => rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        (rfc5912::RSA_ENCRYPTION, rfc5912::ID_SHA_384) => rfc5912::SHA_384_WITH_RSA_ENCRYPTION,
        (rfc5912::RSA_ENCRYPTION, rfc5912::ID_SHA_512) => rfc5912::SHA_512_WITH_RSA_ENCRYPTION,
        (other, _) => other,
    };
    let good = unit.verifies(&algorithm, &signed, signer.signature);
    holds(good, format!("the signature ({algorithm}) does not verify, or with no algorithm known here"))?;
    Ok("verifies".into())
}

/// The first ESSCertID of either form: hash (AlgorithmIdentifier, if it is there) and value.
fn first_id(value: &[u8]) -> Result<(Option<&[u8]>, &[u8]), String> {
    let read = || {
        let mut ids = Reader::new(value).enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
        let mut first = ids.enter(tag::SEQUENCE)?;
        let named = if first.peek() == Some(tag::SEQUENCE) { Some(first.any()?.whole) } else { None };
        first.take(tag::OCTET_STRING).map(|hash| (named, hash))
    };
    read().map_err(|e: crate::timestamp::NotDer| format!("the signing certificate attribute is {e}"))
}

fn names_the_signer(_: &Sent, g: &Granted) -> Judgement {
    let unit = g.unit()?;
    if let Some(value) = g.attribute(SIGNING_CERTIFICATE_V2)? {
        let (named, hash) = first_id(value)?;
        let algorithm = match named.map(first_oid).transpose()? {
            None | Some(rfc5912::ID_SHA_256) => &lc::SHA256,
            Some(rfc5912::ID_SHA_384) => &lc::SHA384,
            Some(rfc5912::ID_SHA_512) => &lc::SHA512,
            Some(other) => return Err(format!("ESSCertIDv2 with the hash {other}")),
        };
        holds(lc::digest(algorithm, unit.der).as_ref() == hash, "ESSCertIDv2 is another certificate's")?;
        return Ok("ESSCertIDv2".into());
    }
    let value = g.attribute(SIGNING_CERTIFICATE)?.ok_or("neither ESSCertID nor ESSCertIDv2")?;
    let hash = first_id(value)?.1;
    holds(
        lc::digest(&lc::SHA1_FOR_LEGACY_USE_ONLY, unit.der).as_ref() == hash,
        "ESSCertID is another certificate's",
    )?;
    Ok("ESSCertID (SHA-1)".into())
}

fn second_form(sent: &Sent, g: &Granted) -> Judgement {
    let value = g.attribute(SIGNING_CERTIFICATE_V2)?.ok_or("no ESSCertIDv2")?;
    let named = first_id(value)?.0.map(first_oid).transpose()?;
    holds(named != Some(rfc5912::ID_SHA_256), "the default hash SHA-256 is encoded")?;
    names_the_signer(sent, g)
}

fn parameters(_: &Sent, g: &Granted) -> Judgement {
    let signer = g.signer()?;
    let of = |algorithm| -> Result<Option<Vec<u8>>, String> {
        let mut fields = Reader::new(algorithm)
            .enter(tag::SEQUENCE)
            .map_err(|e: crate::timestamp::NotDer| e.to_string())?;
        fields.oid().map_err(|e| e.to_string())?;
        Ok(fields.any().ok().map(|e| e.whole.to_vec()))
    };
    let null = |p: &Option<Vec<u8>>| p.as_deref() == Some(&[tag::NULL, 0]);
    let (digest, signature, algorithm) =
        (of(signer.digest)?, of(signer.algorithm)?, first_oid(signer.algorithm)?);
    holds(digest.is_none() || null(&digest), "digestAlgorithm has parameters other than NULL")?;
    let arcs = algorithm.to_string();
    let good = if arcs.starts_with("1.2.840.10045.") {
        signature.is_none()
    } else {
        // RFC 4055: NULL for PKCS #1 v1.5; PSS (…1.10) has parameters of its own.
        !arcs.starts_with("1.2.840.113549.1.1.") || null(&signature) || arcs.ends_with(".1.10")
    };
    holds(good, format!("{arcs} with parameters {}", hex(&signature.unwrap_or_default())))?;
    Ok(arcs)
}

fn listed(_: &Sent, g: &Granted) -> Judgement {
    let digest = g.signer()?.digest;
    holds(g.token.digests.contains(&digest), "digestAlgorithms do not hold it in the same form")?;
    Ok("the same form".into())
}

fn sorted_certificates(_: &Sent, g: &Granted) -> Judgement {
    let certificates = g.token.certificates.as_deref().ok_or("no certificates")?;
    holds(certificates.is_sorted(), format!("{} certificates, not sorted", certificates.len()))?;
    Ok(format!("{} certificates", certificates.len()))
}
