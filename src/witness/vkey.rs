//! Verifier keys (C2SP `signed-note`, "Verifier keys"): `{name}+{key id, hex}+{base64 of type and key}`.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64ct::{Base64, Encoding};

use crate::digest::{Digest, hex, unhex_into};
use crate::journal::checkpoint::{NoteLine, ecdsa_key_hash};
use crate::keys::{PublicKey, SPKI_BYTES};

/// Longest key name, bytes.
const MAX_NAME: usize = 255;
/// Type bytes of C2SP `signed-note`.
const ED25519_NOTE: u8 = 0x01;
const ECDSA: u8 = 0x02;
const ED25519_COSIGNATURE: u8 = 0x04;
/// First bytes of a P-256 SubjectPublicKeyInfo; the 65-byte point follows.
const SPKI_HEAD: usize = 26;

/// What a key signs, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// 0x01: Ed25519 over the note's text.
    Ed25519([u8; 32]),
    /// 0x02: ECDSA P-256 with SHA-256 over the note's text; SubjectPublicKeyInfo, DER.
    Ecdsa(Vec<u8>),
    /// 0x04: timestamped Ed25519 cosignatures of a witness.
    Cosignature([u8; 32]),
}

/// A name and a public key: who may have signed a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    kind: KeyKind,
}

/// Why text is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VkeyError {
    /// Not three parts joined by `+`.
    #[error("{0:?} is not a verifier key: give NAME+HASH+KEY as the signer published it")]
    Form(String),
    /// Empty, too long, or with a space or `+`.
    #[error("{0:?} is not a key name: 1 to 255 bytes without spaces, control characters and '+'")]
    Name(String),
    /// Another algorithm, or bytes that are no key of it.
    #[error("the verifier key of {0} is neither Ed25519, ECDSA P-256 nor an Ed25519 cosignature key")]
    Key(String),
    /// The hash in the middle is another key's.
    #[error("the hash of the verifier key of {0} does not fit its key: copy it again")]
    Hash(String),
}

impl VerifierKey {
    /// A key under a name.
    pub fn new(name: &str, kind: KeyKind) -> Result<VerifierKey, VkeyError> {
        check_name(name)?;
        if let KeyKind::Ecdsa(spki) = &kind
            && (spki.len() != SPKI_BYTES || PublicKey::from_spki(spki).is_none())
        {
            return Err(VkeyError::Key(name.to_owned()));
        }
        let id = match &kind {
            KeyKind::Ed25519(key) => key_id(name, ED25519_NOTE, key),
            KeyKind::Ecdsa(spki) => ecdsa_key_hash(spki),
            KeyKind::Cosignature(key) => key_id(name, ED25519_COSIGNATURE, key),
        };
        Ok(VerifierKey { name: name.to_owned(), id, kind })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of the hash that stands for name and key.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What it signs.
    pub fn kind(&self) -> &KeyKind {
        &self.kind
    }

    /// Whether the line names this key; says nothing about its signature.
    pub fn made(&self, line: &NoteLine) -> bool {
        line.name == self.name && line.key_hash == self.id
    }

    /// Whether the line is this key's signature over a note's text. Never for a cosignature key:
    /// those sign something else, see [`super::cosignature::check`].
    pub fn signed(&self, body: &str, line: &NoteLine) -> bool {
        let body = body.as_bytes();
        self.made(line)
            && match &self.kind {
                KeyKind::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key).verify(body, &line.payload).is_ok()
                }
                KeyKind::Ecdsa(spki) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[SPKI_HEAD..])
                    .verify(body, &line.payload)
                    .is_ok(),
                KeyKind::Cosignature(_) => false,
            }
    }
}

/// Key names: no Unicode space, no `+`; and no control characters, as notes may hold none.
pub fn check_name(name: &str) -> Result<(), VkeyError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(bad) {
        return Err(VkeyError::Name(name.chars().take(MAX_NAME).collect()));
    }
    Ok(())
}

/// SHA-256(name || "\n" || type || key)[:4].
fn key_id(name: &str, kind: u8, key: &[u8; 32]) -> [u8; 4] {
    let [a, b, c, d, ..] = *Digest::of_parts(&[name.as_bytes(), &[b'\n', kind], key]).as_bytes();
    [a, b, c, d]
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, key) = match &self.kind {
            KeyKind::Ed25519(key) => (ED25519_NOTE, &key[..]),
            KeyKind::Ecdsa(spki) => (ECDSA, &spki[..]),
            KeyKind::Cosignature(key) => (ED25519_COSIGNATURE, &key[..]),
        };
        let material = Base64::encode_string(&[&[kind], key].concat());
        write!(f, "{}+{}+{material}", self.name, hex(&self.id))
    }
}

impl FromStr for VerifierKey {
    type Err = VkeyError;

    fn from_str(text: &str) -> Result<VerifierKey, VkeyError> {
        let form = || VkeyError::Form(text.chars().take(MAX_NAME).collect());
        let (name, rest) = text.split_once('+').ok_or_else(form)?;
        // Base64 may hold further '+'.
        let (hash, material) = rest.split_once('+').ok_or_else(form)?;
        check_name(name)?;
        let mut id = [0; 4];
        unhex_into(hash, &mut id).ok_or_else(form)?;
        let material = Base64::decode_vec(material).map_err(|_| form())?;
        let bad = || VkeyError::Key(name.to_owned());
        let (kind, key) = material.split_first().ok_or_else(bad)?;
        let kind = match *kind {
            ED25519_NOTE => KeyKind::Ed25519(key.try_into().map_err(|_| bad())?),
            ECDSA => KeyKind::Ecdsa(key.to_vec()),
            ED25519_COSIGNATURE => KeyKind::Cosignature(key.try_into().map_err(|_| bad())?),
            _ => return Err(bad()),
        };
        let found = VerifierKey::new(name, kind)?;
        if found.id == id { Ok(found) } else { Err(VkeyError::Hash(name.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of the sumdb, which every Go program knows.
    const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

    fn ecdsa() -> KeyKind {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let spki = p256::pkcs8::EncodePublicKey::to_public_key_der(key.verifying_key()).unwrap();
        KeyKind::Ecdsa(spki.as_bytes().to_vec())
    }

    #[test]
    fn the_key_of_gos_checksum_database_is_read_and_written_as_published() {
        let key: VerifierKey = SUMDB.parse().unwrap();
        assert_eq!(key.name(), "sum.golang.org");
        assert_eq!(key.id(), [0x03, 0x3d, 0xe0, 0xae]);
        assert!(matches!(key.kind(), KeyKind::Ed25519(_)));
        assert_eq!(key.to_string(), SUMDB);
    }

    #[test]
    fn every_kind_survives_its_text() {
        for kind in [KeyKind::Ed25519([3; 32]), ecdsa(), KeyKind::Cosignature([3; 32])] {
            let key = VerifierKey::new("witness.example/w1", kind).unwrap();
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn one_key_has_different_ids_as_signer_and_as_cosigner() {
        let signer = VerifierKey::new("x", KeyKind::Ed25519([3; 32])).unwrap();
        let cosigner = VerifierKey::new("x", KeyKind::Cosignature([3; 32])).unwrap();
        assert_ne!(signer.id(), cosigner.id());
    }

    #[test]
    fn keys_that_are_almost_right_are_refused() {
        let bad = |from: &str, to: &str| SUMDB.replacen(from, to, 1).parse::<VerifierKey>().unwrap_err();
        assert!(matches!(bad("033de0ae", "033de0af"), VkeyError::Hash(_)));
        assert!(matches!(bad("golang", "golanh"), VkeyError::Hash(_)));
        assert!(matches!(bad("+Ac", "+Bc"), VkeyError::Key(_)));
        assert!(matches!(bad("+Ac", "+A"), VkeyError::Form(_)));
        assert!(matches!(bad("+033", "033"), VkeyError::Form(_)));
        assert!(matches!(bad("sum.", "sum "), VkeyError::Name(_)));
        assert!(matches!(bad("sum.golang.org", ""), VkeyError::Name(_)));
        let off_curve = KeyKind::Ecdsa(vec![0x30; 91]);
        assert!(matches!(VerifierKey::new("x", off_curve), Err(VkeyError::Key(_))));
    }
}
