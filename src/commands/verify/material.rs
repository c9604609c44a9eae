//! What the command line hands in beside the evidence: trusted keys, and what the evidence should be about.

use std::fs;
use std::path::{Path, PathBuf};

use der::asn1::AnyRef;
use der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};

use super::VerifyArgs;
use super::cosigned::Quorum;
use crate::digest::{Digest, hex, unhex_into};
use crate::journal::entry::Entry;
use crate::journal::verify::{TokenTime, Trust};
use crate::timestamp::request::Hash;
use crate::timestamp::verify::verify_sha256;

/// Trusted keys and expectations, loaded and checked.
pub struct Material {
    /// Root certificates, DER.
    pub roots: Vec<Vec<u8>>,
    /// Journal-head key, SubjectPublicKeyInfo DER.
    pub head_key: Option<Vec<u8>>,
    /// Whose cosignatures are looked for, and how many are needed.
    pub witnesses: Quorum,
    /// What the evidence should be about.
    pub expected: Expected,
}

/// Runs a check that trusts these roots and this head key; without roots no token is judged.
pub fn with_trust<R>(roots: &[Vec<u8>], head_key: Option<&[u8]>, check: impl FnOnce(&Trust) -> R) -> R {
    let token = |token: &[u8], imprint: &Digest| {
        let facts = verify_sha256(token, imprint, roots, None).map_err(|e| e.to_string())?;
        Ok(TokenTime { gen_time_us: facts.gen_time_us, accuracy_us: facts.accuracy_us })
    };
    check(&Trust { head_key_spki: head_key, token: if roots.is_empty() { None } else { Some(&token) } })
}

/// What the evidence should be about.
pub enum Expected {
    /// Nothing in particular.
    Nothing,
    /// Exactly this digest.
    Digest(Vec<u8>),
    /// The hash of these bytes: data, or salt and record.
    Data(Vec<u8>),
}

impl Material {
    /// Loads what the arguments name. Errors are about the command line, not about the evidence.
    pub fn load(args: &VerifyArgs) -> Result<Material, String> {
        if args.ca.is_empty() && args.head_key.is_none() && args.witness.is_empty() {
            return Err("nothing to trust: give --ca, --head-key or --witness".into());
        }
        let mut roots = Vec::new();
        for path in &args.ca {
            roots.extend(certificates(path)?);
        }
        let head_key = args.head_key.as_deref().map(public_key).transpose()?;
        let witnesses = Quorum::new(&args.witness, args.cosigned)?;
        Ok(Material { roots, head_key, witnesses, expected: expected(args)? })
    }
}

fn expected(args: &VerifyArgs) -> Result<Expected, String> {
    if let (Some(record), Some(salt)) = (&args.record, &args.salt) {
        let mut bytes = unhex(salt).ok_or("--salt is not hex")?;
        bytes.extend(read(record)?);
        return Ok(Expected::Data(bytes));
    }
    if let Some(data) = &args.data {
        return Ok(Expected::Data(read(data)?));
    }
    match &args.digest {
        Some(text) => unhex(text).map(Expected::Digest).ok_or_else(|| "--digest is not hex".into()),
        None => Ok(Expected::Nothing),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; text.len() / 2];
    unhex_into(text, &mut bytes).map(|()| bytes)
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// All certificates of a PEM file, DER.
pub fn certificates(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    const END: &str = "-----END CERTIFICATE-----";
    let bad = || format!("{} holds no PEM certificates", path.display());
    let text = fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let blocks = text.split_inclusive(END).filter(|block| block.ends_with(END));
    let begin = |block: &str| block.find("-----BEGIN CERTIFICATE-----").map(|at| block[at..].to_owned());
    let pem = blocks.map(begin).collect::<Option<Vec<_>>>().filter(|p| !p.is_empty()).ok_or_else(bad)?;
    pem.iter().map(|p| der::pem::decode_vec(p.as_bytes()).map(|(_, der)| der).map_err(|_| bad())).collect()
}

/// A PEM public key, SubjectPublicKeyInfo DER.
pub fn public_key(path: &Path) -> Result<Vec<u8>, String> {
    let pem = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    match der::pem::decode_vec(&pem) {
        Ok(("PUBLIC KEY", spki)) => Ok(spki),
        _ => Err(format!("{} is not a PEM public key", path.display())),
    }
}

impl Expected {
    /// Whether one of the entries seals what is expected.
    pub fn among(&self, entries: &[Entry]) -> Result<(), String> {
        let wanted = match self {
            Expected::Nothing => return Ok(()),
            Expected::Digest(bytes) => bytes.clone(),
            Expected::Data(data) => Digest::of(data).as_bytes().to_vec(),
        };
        if entries.iter().any(|e| e.digest.as_bytes() == wanted.as_slice()) {
            return Ok(());
        }
        match entries {
            [only] => Err(format!("holds, but seals {} and not {}", only.digest, hex(&wanted))),
            _ => Err(format!("holds, but none of its entries seals {}", hex(&wanted))),
        }
    }

    /// The imprint a token with this hash should have.
    pub fn imprint(&self, hash: Hash) -> Result<Vec<u8>, String> {
        match self {
            Expected::Nothing => {
                Err("is a time-stamp token; --data or --digest is needed to check it".into())
            }
            Expected::Digest(bytes) => Ok(bytes.clone()),
            Expected::Data(data) => Ok(hash.of(&[data])),
        }
    }
}

/// The token (ContentInfo), cut out of a reply (TimeStampResp) if it is in one: RFC 3161 section 2.4.2.
pub fn token_of(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let bad = |e: der::Error| format!("is neither a time-stamp token nor a reply: {e}");
    let outer = AnyRef::from_der(bytes).map_err(bad)?;
    let mut content = SliceReader::new(outer.value()).map_err(bad)?;
    let first = AnyRef::decode(&mut content).map_err(bad)?;
    if first.tag() == Tag::ObjectIdentifier {
        return Ok(bytes.to_vec());
    }
    if content.is_finished() {
        return Err("is a reply that refuses: it holds no token".into());
    }
    AnyRef::decode(&mut content).and_then(|token| token.to_der()).map_err(bad)
}
