//! A token read strictly (DER, one SignerInfo with issuer and serial), nothing verified yet.

use der::asn1::ObjectIdentifier;

use crate::clock::UtcMicros;

use super::request::{Hash, read_imprint};
use super::tlv::{NotDer, Reader, tag, well_formed};
use super::token::{CONTENT_TYPE, MESSAGE_DIGEST, SIGNED_DATA, SIGNING_CERTIFICATE_V2, TST_INFO};

/// Longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Certificates nest deepest: general names in extensions stay opaque, names in issuers reach ten.
const MAX_DEPTH: usize = 24;

/// Why bytes are no token of the form that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableToken {
    /// Encoding or order of fields.
    #[error("the token is {0}")]
    NotDer(#[from] NotDer),
    /// Well-formed, but something else or with parts that are not understood.
    #[error("the token {0}")]
    Unsupported(&'static str),
}

/// What a token says, whoever made it: TSTInfo of RFC 3161 section 2.4.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// genTime.
    pub gen_time: UtcMicros,
    /// accuracy, microseconds; absent when the token does not say.
    pub accuracy_us: Option<u64>,
    /// serialNumber: INTEGER contents octets, hex.
    pub serial: String,
    /// Policy, dotted decimal.
    pub policy: String,
    /// Hash of the imprint.
    pub hash: Hash,
    /// The imprint's value.
    pub imprint: Vec<u8>,
    /// nonce: INTEGER contents octets.
    pub nonce: Option<Vec<u8>>,
}

/// The parts of a token that verification looks at, borrowed from its bytes.
pub(super) struct TokenParts<'a> {
    /// eContent: DER TSTInfo.
    pub tst_info: &'a [u8],
    pub info: TokenInfo,
    /// Certificates, whole elements.
    pub certificates: Vec<&'a [u8]>,
    /// Issuer and serial number of the signer, whole elements one after the other.
    pub signer: &'a [u8],
    /// Hash of the message digest, and what the signature says it was made with.
    pub digest: ObjectIdentifier,
    pub algorithm: ObjectIdentifier,
    /// signedAttrs, whole element under tag A0, and the values in it.
    pub signed_attributes: &'a [u8],
    pub message_digest: &'a [u8],
    /// ESSCertIDv2.certHash of the first certificate.
    pub certificate_hash: CertificateHash<'a>,
    /// SignedData.crls: revocation lists, whole elements; not signed.
    pub lists: Vec<&'a [u8]>,
    pub signature: &'a [u8],
}

impl<'a> TokenParts<'a> {
    pub fn read(token: &'a [u8]) -> Result<Self, UnreadableToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(NotDer("longer than 65536 bytes").into());
        }
        well_formed(token, MAX_DEPTH)?;
        let mut outer = Reader::new(token);
        let mut content_info = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        expect(&mut content_info, SIGNED_DATA, "is not SignedData")?;
        let mut wrapped = content_info.enter(tag::CONTEXT_0)?;
        content_info.finish()?;
        let data = wrapped.enter(tag::SEQUENCE)?;
        wrapped.finish()?;
        Self::signed_data(data)
    }

    /// SignedData, RFC 5652 section 5.1.
    fn signed_data(mut data: Reader<'a>) -> Result<Self, UnreadableToken> {
        if data.integer()? != [3] {
            return Err(UnreadableToken::Unsupported("has another SignedData version than 3"));
        }
        let digests = elements(data.take(tag::SET)?)?;
        let mut encapsulated = data.enter(tag::SEQUENCE)?;
        expect(&mut encapsulated, TST_INFO, "holds no TSTInfo")?;
        let mut content = encapsulated.enter(tag::CONTEXT_0)?;
        encapsulated.finish()?;
        let tst_info = content.take(tag::OCTET_STRING)?;
        content.finish()?;
        let certificates = elements(data.optional(tag::CONTEXT_0)?.unwrap_or_default())?;
        let lists = elements(data.optional(tag::CONTEXT_1)?.unwrap_or_default())?;
        let mut signers = data.enter(tag::SET)?;
        data.finish()?;
        let signer = signers.enter(tag::SEQUENCE)?;
        if signers.peek().is_some() {
            return Err(UnreadableToken::Unsupported("has more than one signature"));
        }
        let parts = Self { lists, ..Self::signer_info(signer, tst_info, certificates)? };
        let listed = |d: &&[u8]| algorithm(&mut Reader::new(d)) == Ok(parts.digest);
        if !digests.iter().any(listed) {
            return Err(UnreadableToken::Unsupported("does not list its signature's digest"));
        }
        Ok(parts)
    }

    /// SignerInfo, RFC 5652 section 5.3.
    fn signer_info(
        mut signer: Reader<'a>,
        tst_info: &'a [u8],
        certificates: Vec<&'a [u8]>,
    ) -> Result<Self, UnreadableToken> {
        if signer.integer()? != [1] {
            return Err(UnreadableToken::Unsupported("does not name its signer by issuer and serial number"));
        }
        let identifier = signer.take(tag::SEQUENCE)?;
        let digest = algorithm(&mut signer)?;
        let attributes = signer.element(tag::CONTEXT_0)?;
        let algorithm = algorithm(&mut signer)?;
        let signature = signer.take(tag::OCTET_STRING)?;
        signer.optional(tag::CONTEXT_1)?;
        signer.finish()?;
        let Attributes { message_digest, certificate_hash } = Attributes::read(attributes.content)?;
        Ok(Self {
            tst_info,
            info: read_tst_info(tst_info)?,
            certificates,
            signer: identifier,
            digest,
            algorithm,
            signed_attributes: attributes.whole,
            message_digest,
            certificate_hash,
            lists: Vec::new(),
            signature,
        })
    }
}

/// Reads what a token says without verifying anything.
pub fn token_info(token: &[u8]) -> Result<TokenInfo, UnreadableToken> {
    TokenParts::read(token).map(|parts| parts.info)
}

/// The certificates a token holds, DER; nothing is verified.
pub fn token_certificates(token: &[u8]) -> Result<Vec<Vec<u8>>, UnreadableToken> {
    TokenParts::read(token).map(|parts| parts.certificates.into_iter().map(<[u8]>::to_vec).collect())
}

fn expect(reader: &mut Reader<'_>, oid: &[u8], otherwise: &'static str) -> Result<(), UnreadableToken> {
    let found = reader.element(tag::OID)?;
    if found.whole == oid { Ok(()) } else { Err(UnreadableToken::Unsupported(otherwise)) }
}

fn elements(content: &[u8]) -> Result<Vec<&[u8]>, NotDer> {
    let mut list = Reader::new(content);
    let mut found = Vec::new();
    while list.peek().is_some() {
        found.push(list.any()?.whole);
    }
    Ok(found)
}

fn oid(content: &[u8]) -> Result<ObjectIdentifier, NotDer> {
    ObjectIdentifier::from_bytes(content).map_err(|_| NotDer("an OBJECT IDENTIFIER that cannot be read"))
}

/// AlgorithmIdentifier with parameters absent or NULL.
fn algorithm(reader: &mut Reader<'_>) -> Result<ObjectIdentifier, UnreadableToken> {
    let mut fields = reader.enter(tag::SEQUENCE)?;
    let found = oid(fields.oid()?)?;
    match fields.optional(tag::NULL)? {
        None | Some([]) => fields.finish()?,
        Some(_) => return Err(NotDer("a NULL with contents").into()),
    }
    Ok(found)
}

/// What binds a certificate to a signature: a hash and its value.
pub(super) type CertificateHash<'a> = (Hash, &'a [u8]);

struct Attributes<'a> {
    message_digest: &'a [u8],
    certificate_hash: CertificateHash<'a>,
}

impl<'a> Attributes<'a> {
    /// Each attribute once, with one value; content-type must be TSTInfo (RFC 5652 section 11).
    fn read(content: &'a [u8]) -> Result<Self, UnreadableToken> {
        let (mut content_type, mut message_digest, mut certificate_hash) = (None, None, None);
        let (mut list, mut before) = (Reader::new(content), &[][..]);
        while list.peek().is_some() {
            let whole = list.element(tag::SEQUENCE)?;
            if whole.whole <= before {
                return Err(NotDer("a SET that is not sorted").into());
            }
            before = whole.whole;
            let mut attribute = Reader::new(whole.content);
            let kind = attribute.element(tag::OID)?.whole;
            let mut values = attribute.enter(tag::SET)?;
            attribute.finish()?;
            let doubled = match kind {
                CONTENT_TYPE => content_type.replace(values.element(tag::OID)?.whole).is_some(),
                MESSAGE_DIGEST => message_digest.replace(values.take(tag::OCTET_STRING)?).is_some(),
                SIGNING_CERTIFICATE_V2 => {
                    certificate_hash.replace(first_certificate(values.any()?.whole)?).is_some()
                }
                _ => continue,
            };
            values.finish()?;
            if doubled {
                return Err(UnreadableToken::Unsupported("has a signed attribute twice"));
            }
        }
        if content_type != Some(TST_INFO) {
            return Err(UnreadableToken::Unsupported("is not signed as TSTInfo"));
        }
        let missing = UnreadableToken::Unsupported;
        Ok(Self {
            message_digest: message_digest.ok_or(missing("has no message digest"))?,
            certificate_hash: certificate_hash.ok_or(missing("has no ESSCertIDv2"))?,
        })
    }
}

/// certHash of SigningCertificateV2's first ESSCertIDv2; hashAlgorithm is SHA-256 unless it is named.
fn first_certificate(value: &[u8]) -> Result<CertificateHash<'_>, UnreadableToken> {
    let mut fields = Reader::new(value).enter(tag::SEQUENCE)?;
    let mut ids = fields.enter(tag::SEQUENCE)?;
    let mut first = ids.enter(tag::SEQUENCE)?;
    let mut hash = Hash::Sha256;
    if first.peek() == Some(tag::SEQUENCE) {
        let named = algorithm(&mut first)?;
        hash = match Hash::from_oid(named.as_bytes()) {
            Some(Hash::Sha256) => return Err(NotDer("a default value that is encoded").into()),
            Some(other) => other,
            None => return Err(UnreadableToken::Unsupported("has an ESSCertIDv2 with an unknown hash")),
        };
    }
    Ok((hash, first.take(tag::OCTET_STRING)?))
}

/// TSTInfo; a known extension is none, so a critical one is refused.
fn read_tst_info(der: &[u8]) -> Result<TokenInfo, UnreadableToken> {
    let mut outer = Reader::new(der);
    well_formed(der, MAX_DEPTH)?;
    let mut fields = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    if fields.integer()? != [1] {
        return Err(UnreadableToken::Unsupported("has another TSTInfo version than 1"));
    }
    let policy = oid(fields.oid()?)?.to_string();
    let (hash_oid, parameters, imprint) = read_imprint(fields.take(tag::SEQUENCE)?)?;
    let hash = Hash::from_oid(hash_oid).filter(|_| matches!(parameters, None | Some([tag::NULL, 0])));
    let hash = hash.ok_or(UnreadableToken::Unsupported("has an imprint of an unknown hash"))?;
    let serial = crate::digest::hex(fields.integer()?);
    let gen_time = gen_time(fields.take(tag::GENERALIZED_TIME)?)?;
    let accuracy_us = fields.optional(tag::SEQUENCE)?.map(accuracy).transpose()?;
    fields.flag()?;
    let nonce = if fields.peek() == Some(tag::INTEGER) { Some(fields.integer()?.to_vec()) } else { None };
    fields.optional(tag::CONTEXT_0)?;
    for extension in elements(fields.optional(tag::CONTEXT_1)?.unwrap_or_default())? {
        let mut extension = Reader::new(extension).enter(tag::SEQUENCE)?;
        extension.oid()?;
        if extension.flag()? {
            return Err(UnreadableToken::Unsupported("has a critical extension"));
        }
    }
    fields.finish()?;
    Ok(TokenInfo { gen_time, accuracy_us, serial, policy, hash, imprint: imprint.to_vec(), nonce })
}

/// Accuracy in microseconds: seconds, [0] millis and [1] micros of 1..999 each.
fn accuracy(content: &[u8]) -> Result<u64, NotDer> {
    let mut fields = Reader::new(content);
    let mut total = 0;
    for (tag, unit, most) in
        [(tag::INTEGER, 1_000_000, 1 << 31), (tag::PRIMITIVE_0, 1000, 999), (tag::PRIMITIVE_1, 1, 999)]
    {
        let Some(content) = fields.optional(tag)? else { continue };
        let value = match content {
            [0, rest @ ..] if rest.first().is_some_and(|b| *b >= 0x80) => rest,
            [first, ..] if (1..0x80).contains(first) || content == [0] => content,
            _ => return Err(NotDer("an accuracy that is no positive INTEGER")),
        };
        let value =
            value.iter().take(9).fold(0_u64, |n, b| n.saturating_mul(256).saturating_add(u64::from(*b)));
        if value > most {
            return Err(NotDer("an accuracy out of range"));
        }
        total += value * unit;
    }
    fields.finish()?;
    Ok(total)
}

/// `YYYYMMDDhhmmss[.f{1,6}]Z` without trailing zeros in the fraction.
fn gen_time(content: &[u8]) -> Result<UtcMicros, NotDer> {
    const BAD: NotDer = NotDer("a genTime that is not UTC with seconds");
    let text = std::str::from_utf8(content).map_err(|_| BAD)?.strip_suffix('Z').ok_or(BAD)?;
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    if whole.len() != 14 || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return Err(BAD);
    }
    let number = |at: std::ops::Range<usize>| whole[at].parse::<i16>().map_err(|_| BAD);
    let small = |at| number(at).and_then(|n| i8::try_from(n).map_err(|_| BAD));
    let (date, time) =
        ((number(0..4)?, small(4..6)?, small(6..8)?), (small(8..10)?, small(10..12)?, small(12..14)?));
    let civil =
        jiff::civil::DateTime::new(date.0, date.1, date.2, time.0, time.1, time.2, 0).map_err(|_| BAD)?;
    let instant = jiff::tz::Offset::UTC.to_timestamp(civil).map_err(|_| BAD)?;
    let micros = match fraction {
        None => 0,
        Some(f)
            if (1..=6).contains(&f.len()) && !f.ends_with('0') && f.bytes().all(|b| b.is_ascii_digit()) =>
        {
            format!("{f:0<6}").parse::<i64>().map_err(|_| BAD)?
        }
        Some(_) => return Err(NotDer("a genTime whose fraction is empty, ends in 0 or is finer than 1 µs")),
    };
    Ok(UtcMicros(instant.as_microsecond() + micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gen_times_are_read_as_they_are_written() {
        for ms in [0, 1, 10, 100, 999, 1000, 1_795_514_400_123, 253_402_207_200_000] {
            let text = UtcMicros(ms * 1000).generalized_time();
            assert_eq!(gen_time(text.as_bytes()), Ok(UtcMicros(ms * 1000)), "{text}");
        }
        assert_eq!(gen_time(b"20261124100000.000001Z"), Ok(UtcMicros(1_795_514_400_000_001)));
    }

    #[test]
    fn gen_times_of_another_form_are_refused() {
        for bad in [
            "20261124100000",
            "202611241000Z",
            "20261124100000.Z",
            "20261124100000.10Z",
            "20261124100000,1Z",
            "20261124100000.1234567Z",
            "20261124100060Z",
            "20261324100000Z",
            "20261124240000Z",
            "20261124100000+0000",
            "2026112410000é",
            "+2026112410000Z",
            "",
        ] {
            assert!(gen_time(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn accuracies_are_read_in_every_form() {
        assert_eq!(accuracy(&[2, 1, 1, 0x80, 2, 1, 0xF4, 0x81, 1, 5]), Ok(1_500_005));
        assert_eq!(accuracy(&[0x80, 2, 0, 200]), Ok(200_000));
        assert_eq!(accuracy(&[]), Ok(0));
        for bad in [
            &[0x80, 2, 3, 0xE8][..],
            &[0x80, 1, 0xFF],
            &[0x80, 0],
            &[0x80, 2, 0, 1],
            &[0x81, 1, 1, 0x80, 1, 1],
        ] {
            assert!(accuracy(bad).is_err(), "{bad:02x?}");
        }
    }
}
