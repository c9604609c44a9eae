//! RFC 3161 section 2.4.1: a query in strict DER becomes a value, or the precise reason why not.

use aws_lc_rs::digest as lc;

use super::reply::{FailInfo, Rejection};
use super::tlv::{NotDer, Reader, element, tag, well_formed};

/// Longest query that is looked at; ordinary ones have 40 to 120 bytes.
pub const MAX_QUERY_BYTES: usize = 4096;

/// Deepest honest nesting is TimeStampReq, MessageImprint, AlgorithmIdentifier, parameters.
const MAX_DEPTH: usize = 6;

/// Hash algorithms whose imprints are stamped (NIST arc 2.16.840.1.101.3.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// SHA3-256.
    Sha3_256,
    /// SHA3-384.
    Sha3_384,
    /// SHA3-512.
    Sha3_512,
}

const NIST_HASHES: [u8; 8] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

impl Hash {
    /// All of them.
    pub const ALL: [Hash; 6] =
        [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Sha3_256, Hash::Sha3_384, Hash::Sha3_512];

    /// Name in records and texts.
    pub const fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Sha384 => "sha384",
            Hash::Sha512 => "sha512",
            Hash::Sha3_256 => "sha3-256",
            Hash::Sha3_384 => "sha3-384",
            Hash::Sha3_512 => "sha3-512",
        }
    }

    /// Length of its value in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Hash::Sha256 | Hash::Sha3_256 => 32,
            Hash::Sha384 | Hash::Sha3_384 => 48,
            Hash::Sha512 | Hash::Sha3_512 => 64,
        }
    }

    const fn last_arc(self) -> u8 {
        match self {
            Hash::Sha256 => 1,
            Hash::Sha384 => 2,
            Hash::Sha512 => 3,
            Hash::Sha3_256 => 8,
            Hash::Sha3_384 => 9,
            Hash::Sha3_512 => 10,
        }
    }

    /// Its OID, contents octets.
    pub(crate) fn oid(self) -> [u8; 9] {
        let mut oid = [self.last_arc(); 9];
        oid[..8].copy_from_slice(&NIST_HASHES);
        oid
    }

    /// The hash with this OID (contents octets), if it is accepted.
    pub(crate) fn from_oid(oid: &[u8]) -> Option<Hash> {
        let (arc, prefix) = oid.split_last()?;
        Hash::ALL.into_iter().find(|h| prefix == NIST_HASHES && h.last_arc() == *arc)
    }

    /// The hash with this [`Hash::name`].
    pub fn from_name(name: &str) -> Option<Hash> {
        Hash::ALL.into_iter().find(|h| h.name() == name)
    }

    /// Its value for the concatenation of `parts`.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = self.context();
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }

    /// A computation of its value, piece by piece.
    pub(crate) fn context(self) -> lc::Context {
        lc::Context::new(match self {
            Hash::Sha256 => &lc::SHA256,
            Hash::Sha384 => &lc::SHA384,
            Hash::Sha512 => &lc::SHA512,
            Hash::Sha3_256 => &lc::SHA3_256,
            Hash::Sha3_384 => &lc::SHA3_384,
            Hash::Sha3_512 => &lc::SHA3_512,
        })
    }

    /// AlgorithmIdentifier, DER, without parameters (RFC 5754 section 2).
    pub(crate) fn algorithm_der(self) -> Vec<u8> {
        element(tag::SEQUENCE, &[&element(tag::OID, &[&NIST_HASHES, &[self.last_arc()]])])
    }

    /// MessageImprint as this appliance asks for it: without parameters.
    pub(super) fn imprint_der(self, digest: &[u8]) -> Vec<u8> {
        let oid = element(tag::OID, &[&NIST_HASHES, &[self.last_arc()]]);
        let algorithm = element(tag::SEQUENCE, &[&oid]);
        element(tag::SEQUENCE, &[&algorithm, &element(tag::OCTET_STRING, &[digest])])
    }
}

/// A query of version 1 with a known hash, a fitting imprint and no extension; borrows the bytes read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRequest<'a> {
    /// Hash of the imprint.
    pub hash: Hash,
    /// Its value, as long as `hash` says.
    pub imprint: &'a [u8],
    /// MessageImprint as it came, DER: a token repeats it byte for byte, parameters included.
    pub(super) imprint_der: &'a [u8],
    /// Policy asked for: OID contents octets.
    pub policy: Option<&'a [u8]>,
    /// Nonce: INTEGER contents octets, any sign.
    pub nonce: Option<&'a [u8]>,
    /// Whether certificates go into the token.
    pub cert_req: bool,
}

impl<'a> TimestampRequest<'a> {
    /// Reads a DER TimeStampReq.
    ///
    /// # Errors
    /// badDataFormat for anything that is not its DER or longer than [`MAX_QUERY_BYTES`], then
    /// badRequest (version), badAlg (hash or its parameters), badDataFormat (imprint length),
    /// unacceptedExtension, in this order.
    pub fn parse(query: &'a [u8]) -> Result<Self, Rejection> {
        let shape = Shape::read(query)
            .map_err(|e| Rejection::new(FailInfo::BadDataFormat, format!("the query is {e}")))?;
        if shape.version != [1] {
            return Err(Rejection::new(FailInfo::BadRequest, "only version 1 is answered"));
        }
        let hash = Hash::from_oid(shape.hash_oid).ok_or(Rejection::new(
            FailInfo::BadAlg,
            "the hash is not one of SHA-256, SHA-384, SHA-512, SHA3-256, SHA3-384, SHA3-512",
        ))?;
        if !matches!(shape.hash_parameters, None | Some([tag::NULL, 0])) {
            return Err(Rejection::new(FailInfo::BadAlg, "the hash has parameters other than NULL"));
        }
        if shape.imprint.len() != hash.bytes() {
            let text = format!(
                "the imprint has {} bytes, {} gives {}",
                shape.imprint.len(),
                hash.name(),
                hash.bytes()
            );
            return Err(Rejection::new(FailInfo::BadDataFormat, text));
        }
        if shape.extensions {
            return Err(Rejection::new(FailInfo::UnacceptedExtension, "no extension is supported"));
        }
        let Shape { imprint, imprint_der, policy, nonce, cert_req, .. } = shape;
        Ok(Self { hash, imprint, imprint_der, policy, nonce, cert_req })
    }

    /// The query as DER; equals what was parsed.
    pub fn to_der(&self) -> Vec<u8> {
        let policy = self.policy.map(|p| element(tag::OID, &[p])).unwrap_or_default();
        let nonce = self.nonce.map(|n| element(tag::INTEGER, &[n])).unwrap_or_default();
        let cert_req: &[u8] = if self.cert_req { &[tag::BOOLEAN, 1, 0xFF] } else { &[] };
        element(tag::SEQUENCE, &[&[tag::INTEGER, 1, 1], self.imprint_der, &policy, &nonce, cert_req])
    }
}

/// A query for `imprint` in DER, as this appliance's own client asks.
///
/// `imprint` is the value of `hash`; `nonce` is taken as an unsigned big-endian number.
pub fn query(hash: Hash, imprint: &[u8], nonce: Option<&[u8]>, cert_req: bool) -> Vec<u8> {
    let nonce = nonce.map(super::tlv::unsigned).unwrap_or_default();
    let cert_req: &[u8] = if cert_req { &[tag::BOOLEAN, 1, 0xFF] } else { &[] };
    element(tag::SEQUENCE, &[&[tag::INTEGER, 1, 1], &hash.imprint_der(imprint), &nonce, cert_req])
}

/// The fields before any of them is judged.
struct Shape<'a> {
    version: &'a [u8],
    hash_oid: &'a [u8],
    hash_parameters: Option<&'a [u8]>,
    imprint: &'a [u8],
    imprint_der: &'a [u8],
    policy: Option<&'a [u8]>,
    nonce: Option<&'a [u8]>,
    cert_req: bool,
    extensions: bool,
}

impl<'a> Shape<'a> {
    fn read(query: &'a [u8]) -> Result<Self, NotDer> {
        if query.len() > MAX_QUERY_BYTES {
            return Err(NotDer("longer than 4096 bytes"));
        }
        well_formed(query, MAX_DEPTH)?;
        let mut outer = Reader::new(query);
        let mut fields = outer.enter(tag::SEQUENCE)?;
        outer.finish()?;
        let version = fields.integer()?;
        let whole_imprint = fields.element(tag::SEQUENCE)?;
        let (hash_oid, hash_parameters, imprint) = read_imprint(whole_imprint.content)?;
        let policy = if fields.peek() == Some(tag::OID) { Some(fields.oid()?) } else { None };
        let nonce = if fields.peek() == Some(tag::INTEGER) { Some(fields.integer()?) } else { None };
        let cert_req = fields.flag()?;
        let extensions = fields.optional(tag::CONTEXT_0)?;
        fields.finish()?;
        extensions.map(read_extensions).transpose()?;
        Ok(Self {
            version,
            hash_oid,
            hash_parameters,
            imprint,
            imprint_der: whole_imprint.whole,
            policy,
            nonce,
            cert_req,
            extensions: extensions.is_some(),
        })
    }
}

type ImprintFields<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

/// MessageImprint: OID, parameters as they stand, hash value.
pub(super) fn read_imprint(content: &[u8]) -> Result<ImprintFields<'_>, NotDer> {
    let mut fields = Reader::new(content);
    let mut algorithm = fields.enter(tag::SEQUENCE)?;
    let imprint = fields.take(tag::OCTET_STRING)?;
    fields.finish()?;
    let oid = algorithm.oid()?;
    let parameters = if algorithm.peek().is_some() { Some(algorithm.any()?.whole) } else { None };
    algorithm.finish()?;
    Ok((oid, parameters, imprint))
}

/// Extensions ::= SEQUENCE SIZE (1..MAX) OF SEQUENCE { extnID, critical DEFAULT FALSE, extnValue }.
fn read_extensions(content: &[u8]) -> Result<(), NotDer> {
    let mut list = Reader::new(content);
    if list.peek().is_none() {
        return Err(NotDer("an empty list of extensions"));
    }
    while list.peek().is_some() {
        let mut extension = list.enter(tag::SEQUENCE)?;
        extension.oid()?;
        extension.flag()?;
        extension.take(tag::OCTET_STRING)?;
        extension.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn imprint(oid: &[u8], parameters: &[u8], value: &[u8]) -> Vec<u8> {
        let algorithm = element(tag::SEQUENCE, &[&element(tag::OID, &[oid]), parameters]);
        element(tag::SEQUENCE, &[&algorithm, &element(tag::OCTET_STRING, &[value])])
    }

    fn fail(query: &[u8]) -> FailInfo {
        TimestampRequest::parse(query).unwrap_err().fail
    }

    #[test]
    fn our_own_query_is_read_back_field_by_field() {
        for hash in Hash::ALL {
            let value = vec![0xAB; hash.bytes()];
            let der = query(hash, &value, Some(&[0x80, 1]), true);
            let read = TimestampRequest::parse(&der).unwrap();
            assert_eq!((read.hash, read.imprint, read.cert_req), (hash, &value[..], true));
            assert_eq!((read.nonce, read.policy), (Some(&[0, 0x80, 1][..]), None));
            assert_eq!(read.to_der(), der);
        }
    }

    #[test]
    fn one_byte_more_anywhere_outside_the_value_is_refused() {
        let mut der = query(Hash::Sha256, &[1; 32], None, true);
        der.push(0);
        assert_eq!(fail(&der), FailInfo::BadDataFormat);
        assert_eq!(fail(&vec![0x30; MAX_QUERY_BYTES + 1]), FailInfo::BadDataFormat);
        assert_eq!(fail(&[]), FailInfo::BadDataFormat);
    }

    #[test]
    fn each_field_is_judged_in_the_documented_order() {
        let sha256: Vec<u8> = [&NIST_HASHES[..], &[1]].concat();
        let good = imprint(&sha256, &[5, 0], &[1; 32]);
        let extension = element(tag::SEQUENCE, &[&[6, 1, 0x2A], &[4, 0]]);
        let extensions = element(tag::CONTEXT_0, &[&extension]);
        let of =
            |version: &[u8], imprint: &[u8], rest: &[u8]| element(tag::SEQUENCE, &[version, imprint, rest]);
        for (query, expected) in [
            (of(&[2, 1, 2], &imprint(&[0x2A], &[], &[]), &extensions), FailInfo::BadRequest),
            (of(&[2, 1, 1], &imprint(&[0x2A], &[], &[]), &extensions), FailInfo::BadAlg),
            (of(&[2, 1, 1], &imprint(&sha256, &[4, 0], &[]), &extensions), FailInfo::BadAlg),
            (of(&[2, 1, 1], &imprint(&sha256, &[], &[1; 31]), &extensions), FailInfo::BadDataFormat),
            (of(&[2, 1, 1], &good, &extensions), FailInfo::UnacceptedExtension),
            (of(&[2, 1, 1], &good, &[0xA0, 0]), FailInfo::BadDataFormat),
            (of(&[2, 1, 1], &good, &[1, 1, 1]), FailInfo::BadDataFormat),
            (of(&[2, 1, 1], &good, &[1, 1, 0]), FailInfo::BadDataFormat),
            (of(&[2, 2, 0, 1], &good, &[]), FailInfo::BadDataFormat),
            (of(&[2, 1, 1], &good, &[2, 2, 0, 1]), FailInfo::BadDataFormat),
            (of(&[2, 1, 1], &good, &[1, 1, 0xFF, 2, 1, 1]), FailInfo::BadDataFormat),
        ] {
            assert_eq!(fail(&query), expected, "{query:02x?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_encodes_to_the_same_bytes(
            which in 0..6_usize, null in any::<bool>(), cert_req in any::<bool>(),
            policy in proptest::option::of(Just([0x2A, 0x03, 0x04])),
            nonce in proptest::option::of(proptest::collection::vec(any::<u8>(), 1..70)),
            flip in proptest::option::of((0..200_usize, any::<u8>())),
        ) {
            let hash = Hash::ALL[which];
            let oid = [&NIST_HASHES[..], &[hash.last_arc()]].concat();
            let parameters: &[u8] = if null { &[5, 0] } else { &[] };
            let message_imprint = imprint(&oid, parameters, &vec![9; hash.bytes()]);
            let policy = policy.map(|p| element(tag::OID, &[&p])).unwrap_or_default();
            let nonce = nonce.map(|n| element(tag::INTEGER, &[&n])).unwrap_or_default();
            let flag: &[u8] = if cert_req { &[1, 1, 0xFF] } else { &[] };
            let mut der = element(tag::SEQUENCE, &[&[2, 1, 1], &message_imprint, &policy, &nonce, flag]);
            if let Some((at, byte)) = flip {
                let at = at % der.len();
                der[at] = byte;
            }
            if let Ok(read) = TimestampRequest::parse(&der) {
                prop_assert_eq!(read.to_der(), der);
            } else if flip.is_none() {
                let minimal = Reader::new(&nonce).integer().is_ok() || nonce.is_empty();
                prop_assert!(!minimal, "refused a good query {:02x?}", der);
            }
        }
    }
}
