//! TimeStampReq laid from parts (RFC 3161 section 2.4.1), so that any of them can be wrong or missing.

use crate::digest::Digest;
use crate::timestamp::Hash;
use crate::timestamp::tlv::{element, tag};

/// id-sha256, contents octets; its last arc tells the NIST hashes apart.
pub const SHA256: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

/// A query; every field but `imprint` and `hash` is a whole element, or empty when it is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// INTEGER.
    pub version: Vec<u8>,
    /// OID of the hash, contents octets.
    pub hash: Vec<u8>,
    /// Parameters of the hash.
    pub parameters: Vec<u8>,
    /// Contents of hashedMessage.
    pub imprint: Vec<u8>,
    /// reqPolicy.
    pub policy: Vec<u8>,
    /// nonce.
    pub nonce: Vec<u8>,
    /// certReq.
    pub cert_req: Vec<u8>,
    /// `[0]` extensions, and whatever shall follow.
    pub extensions: Vec<u8>,
}

impl Query {
    /// An ordinary query: SHA-256 of `name` and `seed`, nonce of 8 bytes from them, certificates wanted.
    pub fn plain(seed: &[u8], name: &str) -> Self {
        let imprint = Digest::of(&[seed, name.as_bytes()].concat()).as_bytes().to_vec();
        let mut nonce = Digest::of(&imprint).as_bytes()[..8].to_vec();
        // Positive and minimal.
        nonce[0] = nonce[0] & 0x7F | 0x40;
        Self {
            version: vec![tag::INTEGER, 1, 1],
            hash: SHA256.to_vec(),
            parameters: Vec::new(),
            imprint,
            policy: Vec::new(),
            nonce: element(tag::INTEGER, &[&nonce]),
            cert_req: vec![tag::BOOLEAN, 1, 0xFF],
            extensions: Vec::new(),
        }
    }

    /// The same over another of our hashes; the imprint's length fits.
    pub fn over(mut self, hash: Hash) -> Self {
        self.imprint = hash.of(&[&self.imprint]);
        self.hash = hash.oid().to_vec();
        self
    }

    /// MessageImprint, DER.
    pub fn imprint_der(&self) -> Vec<u8> {
        let algorithm = element(tag::SEQUENCE, &[&element(tag::OID, &[&self.hash]), &self.parameters]);
        element(tag::SEQUENCE, &[&algorithm, &element(tag::OCTET_STRING, &[&self.imprint])])
    }

    /// The fields without the SEQUENCE around them.
    pub fn fields(&self) -> Vec<u8> {
        let imprint = self.imprint_der();
        [&self.version, &imprint, &self.policy, &self.nonce, &self.cert_req, &self.extensions]
            .map(Vec::as_slice)
            .concat()
    }

    /// The whole query.
    pub fn der(&self) -> Vec<u8> {
        element(tag::SEQUENCE, &[&self.fields()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp::TimestampRequest;

    #[test]
    fn ordinary_queries_are_read_back_as_they_were_meant() {
        let plain = Query::plain(b"seed", "01a");
        let der = plain.der();
        let read = TimestampRequest::parse(&der).unwrap();
        assert_eq!((read.hash, read.imprint, read.cert_req), (Hash::Sha256, &plain.imprint[..], true));
        assert_eq!(read.nonce, Some(&plain.nonce[2..]));
        for hash in Hash::ALL {
            let der = plain.clone().over(hash).der();
            assert_eq!(TimestampRequest::parse(&der).unwrap().hash, hash);
        }
        assert_ne!(plain, Query::plain(b"seed", "01b"));
    }
}
