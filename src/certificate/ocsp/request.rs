//! RFC 6960 section 4.1: an OCSPRequest in strict DER becomes the questions in it, or is malformed.
//!
//! Read by hand with the reader of timestamp queries: it borrows, and every answer repeats the CertID it
//! was asked byte for byte. `rasn-ocsp` reads every answer again in the tests.

use crate::timestamp::tlv::{NotDer, Reader, tag, well_formed};

/// Longest request that is looked at, bytes; one question with a nonce has about 130.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;
/// Most questions in one request.
pub const MAX_QUESTIONS: usize = 32;

/// Deepest honest nesting: OCSPRequest, `[0]`, Signature, `[0]`, certificates and what they hold.
const MAX_DEPTH: usize = 24;
/// 1.3.6.1.5.5.7.48.1.2, contents octets.
const NONCE: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02];
/// 1.3.6.1.5.5.7.48.1.4 id-pkix-ocsp-response: which kinds of answer the client takes; all take the basic one.
const ACCEPTABLE: &[u8] = &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x04];
const SHA1: &[u8] = &[0x2B, 0x0E, 0x03, 0x02, 0x1A];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// The hash by which a CertID names its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdHash {
    /// What almost every client sends; it names an issuer here, nothing is signed by it.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// One question: which certificate of which issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertId<'a> {
    /// `None`: an algorithm by which nobody here is known.
    pub hash: Option<IdHash>,
    /// Hash of the issuer's name, DER.
    pub name_hash: &'a [u8],
    /// Hash of the issuer's key bits.
    pub key_hash: &'a [u8],
    /// INTEGER contents octets.
    pub serial: &'a [u8],
    /// The CertID as it came, DER.
    pub der: &'a [u8],
}

/// The questions of a request of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspRequest<'a> {
    /// At least one, at most [`MAX_QUESTIONS`].
    pub questions: Vec<CertId<'a>>,
    /// 1 to 32 octets to be repeated (RFC 9654 section 2.1); longer ones up to 128 are passed over.
    pub nonce: Option<&'a [u8]>,
}

impl<'a> OcspRequest<'a> {
    /// Reads a request. A signature on it is not looked at: everybody may ask.
    ///
    /// # Errors
    /// Whatever is answered with malformedRequest: not DER, too long, too many questions, another
    /// version, a nonce of 0 or more than 128 octets, a critical extension that is not known.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NotDer> {
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(NotDer("longer than a request may be"));
        }
        well_formed(bytes, MAX_DEPTH)?;
        let mut outer = Reader::new(bytes);
        let mut request = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let mut tbs = request.enter(tag::SEQUENCE)?;
        request.optional(tag::CONTEXT_0)?;
        request.finish()?;
        version(&mut tbs)?;
        tbs.optional(tag::CONTEXT_1)?;
        let questions = questions(tbs.enter(tag::SEQUENCE)?)?;
        let nonce = tbs.optional(tag::CONTEXT_2)?.map_or(Ok(None), extensions)?;
        tbs.finish()?;
        Ok(Self { questions, nonce })
    }
}

/// Some clients write the default out.
fn version(tbs: &mut Reader<'_>) -> Result<(), NotDer> {
    let Some(content) = tbs.optional(tag::CONTEXT_0)? else { return Ok(()) };
    let mut inner = Reader::new(content);
    let version = inner.integer()?;
    inner.finish()?;
    if version == [0] { Ok(()) } else { Err(NotDer("another version than 1")) }
}

fn questions<'a>(mut list: Reader<'a>) -> Result<Vec<CertId<'a>>, NotDer> {
    let mut found = Vec::with_capacity(1);
    while list.peek().is_some() {
        if found.len() == MAX_QUESTIONS {
            return Err(NotDer("too many questions"));
        }
        let mut one = list.enter(tag::SEQUENCE)?;
        found.push(cert_id(one.element(tag::SEQUENCE)?.whole)?);
        if let Some(content) = one.optional(tag::CONTEXT_0)? {
            extensions(content)?;
        }
        one.finish()?;
    }
    if found.is_empty() { Err(NotDer("no question")) } else { Ok(found) }
}

fn cert_id(der: &[u8]) -> Result<CertId<'_>, NotDer> {
    let mut id = Reader::new(der).enter(tag::SEQUENCE)?;
    let mut algorithm = id.enter(tag::SEQUENCE)?;
    let hash = match algorithm.oid()? {
        SHA1 => Some(IdHash::Sha1),
        SHA256 => Some(IdHash::Sha256),
        _ => None,
    };
    // Absent and NULL mean the same (RFC 5754 section 2).
    if hash.is_some() && !algorithm.optional(tag::NULL)?.is_none_or(<[u8]>::is_empty) {
        return Err(NotDer("a NULL with contents"));
    }
    if hash.is_some() {
        algorithm.finish()?;
    }
    let name_hash = id.take(tag::OCTET_STRING)?;
    let key_hash = id.take(tag::OCTET_STRING)?;
    let serial = id.integer()?;
    id.finish()?;
    Ok(CertId { hash, name_hash, key_hash, serial, der })
}

/// The nonce among extensions, which are inside an explicit tag.
fn extensions(content: &[u8]) -> Result<Option<&[u8]>, NotDer> {
    let mut outer = Reader::new(content);
    let mut list = outer.enter(tag::SEQUENCE)?;
    outer.finish()?;
    let mut found = None;
    while list.peek().is_some() {
        let mut extension = list.enter(tag::SEQUENCE)?;
        let oid = extension.oid()?;
        let critical = extension.flag()?;
        let value = extension.take(tag::OCTET_STRING)?;
        extension.finish()?;
        match oid {
            NONCE if found.is_some() => return Err(NotDer("two nonces")),
            NONCE => found = Some(nonce(value)?),
            ACCEPTABLE => {}
            _ if critical => return Err(NotDer("a critical extension that is not known")),
            _ => {}
        }
    }
    Ok(found.flatten())
}

/// RFC 9654 section 2.1: 1 to 128 octets; those above 32 may be passed over.
fn nonce(value: &[u8]) -> Result<Option<&[u8]>, NotDer> {
    let mut inner = Reader::new(value);
    let nonce = inner.take(tag::OCTET_STRING)?;
    inner.finish()?;
    match nonce.len() {
        1..=32 => Ok(Some(nonce)),
        33..=128 => Ok(None),
        _ => Err(NotDer("a nonce of 0 or more than 128 octets")),
    }
}
