//! A certificate and its issuers as files other systems install: leaf first, root last.

use der::asn1::AnyRef;
use der::{Encode, Tag, TagNumber};

use super::oid;

/// One PEM block (RFC 7468 section 5) of a DER certificate.
pub fn pem(der: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    let text = Base64::encode_string(der);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        // Base64 is ASCII: every byte is one character.
        out.extend(line.iter().map(|&b| char::from(b)));
        out.push('\n');
    }
    out.push_str("-----END CERTIFICATE-----\n");
    out
}

/// PEM blocks in the order given.
pub fn pem_chain(chain: &[&[u8]]) -> String {
    chain.iter().map(|der| pem(der)).collect()
}

/// Certificates as a degenerate SignedData, "certs-only" (RFC 5652 section 5.1, RFC 8551 section 3.8).
/// They stand in the order given, which installers rely on, rather than in DER's order for SETs;
/// CMS asks for DER in signed attributes only.
pub fn pkcs7(chain: &[&[u8]]) -> der::Result<Vec<u8>> {
    let context = |number| Tag::ContextSpecific { constructed: true, number: TagNumber(number) };
    let tlv = |tag: Tag, parts: &[&[u8]]| AnyRef::new(tag, &parts.concat())?.to_der();
    let version = 1u8.to_der()?;
    let no_algorithms = tlv(Tag::Set, &[])?;
    let content = tlv(Tag::Sequence, &[&oid::DATA.to_der()?])?;
    let certificates = tlv(context(0), chain)?;
    let no_signers = tlv(Tag::Set, &[])?;
    let signed = tlv(Tag::Sequence, &[&version, &no_algorithms, &content, &certificates, &no_signers])?;
    tlv(Tag::Sequence, &[&oid::SIGNED_DATA.to_der()?, &tlv(context(0), &[&signed])?])
}
