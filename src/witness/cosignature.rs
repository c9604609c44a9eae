//! Ed25519 cosignatures (C2SP `tlog-cosignature`): what a witness signs, and the key it signs with.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::vkey::{KeyKind, VerifierKey, VkeyError};
use crate::digest::hex;
use crate::journal::checkpoint::{NoteLine, push_line};

/// Bytes of a timestamped signature: seconds, then Ed25519.
const PAYLOAD: usize = 8 + 64;
/// First part of a key file, as Go's `sumdb/note` writes signers.
const SECRET: &str = "PRIVATE+KEY";
/// Type byte of cosignature keys.
const COSIGNATURE: u8 = 0x04;

/// `cosignature/v1\ntime {seconds}\n` and the whole note text.
pub fn message(body: &str, seconds: u64) -> String {
    format!("cosignature/v1\ntime {seconds}\n{body}")
}

/// The time (seconds since 1970) of the line if it is the witness's cosignature of this note text.
pub fn check(witness: &VerifierKey, body: &str, line: &NoteLine) -> Option<u64> {
    let KeyKind::Cosignature(key) = witness.kind() else { return None };
    if !witness.made(line) || line.payload.len() != PAYLOAD {
        return None;
    }
    let (seconds, signature) = line.payload.split_first_chunk::<8>()?;
    let seconds = u64::from_be_bytes(*seconds);
    // tlog-cosignature: it MUST NOT exceed 2^63 - 1.
    i64::try_from(seconds).ok()?;
    let message = message(body, seconds);
    let holds = UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), signature);
    holds.is_ok().then_some(seconds)
}

/// A witness's private key. Cannot print itself.
pub struct CosignerKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
    public: VerifierKey,
}

/// Why text is no witness key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not what `pechat witness key` writes.
    #[error("is not a witness key: it begins with PRIVATE+KEY and holds one Ed25519 cosignature key")]
    Form,
    /// The name cannot be one.
    #[error(transparent)]
    Name(#[from] VkeyError),
}

impl CosignerKey {
    /// The key of this name and seed (32 random bytes).
    pub fn from_seed(name: &str, seed: [u8; 32]) -> Result<CosignerKey, KeyError> {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[..]).map_err(|_| KeyError::Form)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Form)?;
        Ok(CosignerKey { seed, pair, public: VerifierKey::new(name, KeyKind::Cosignature(public))? })
    }

    /// Reads what [`CosignerKey::secret_text`] wrote.
    pub fn parse(text: &str) -> Result<CosignerKey, KeyError> {
        let rest = text.trim_end().strip_prefix(SECRET).and_then(|rest| rest.strip_prefix('+'));
        let (name, rest) = rest.and_then(|rest| rest.split_once('+')).ok_or(KeyError::Form)?;
        let (id, seed) = rest.split_once('+').ok_or(KeyError::Form)?;
        let mut bytes = Zeroizing::new([0; 33]);
        let found = Base64::decode(seed, &mut bytes[..]).map_err(|_| KeyError::Form)?;
        let seed: [u8; 32] = match found {
            [COSIGNATURE, seed @ ..] => seed.try_into().map_err(|_| KeyError::Form)?,
            _ => return Err(KeyError::Form),
        };
        let key = CosignerKey::from_seed(name, seed)?;
        if hex(&key.public.id()) == id { Ok(key) } else { Err(KeyError::Form) }
    }

    /// `PRIVATE+KEY+{name}+{key id}+{base64 of 0x04 and seed}\n`: the content of a key file.
    pub fn secret_text(&self) -> Zeroizing<String> {
        let material = Zeroizing::new([&[COSIGNATURE], &self.seed[..]].concat());
        let material = Zeroizing::new(Base64::encode_string(&material));
        let (name, id) = (self.public.name(), hex(&self.public.id()));
        Zeroizing::new(format!("{SECRET}+{name}+{id}+{}\n", *material))
    }

    /// What verifiers are given.
    pub fn public(&self) -> &VerifierKey {
        &self.public
    }

    /// The signature line over a note's text, at this time (seconds since 1970).
    pub fn cosign(&self, body: &str, seconds: u64) -> String {
        let signature = self.pair.sign(message(body, seconds).as_bytes());
        let payload = [&seconds.to_be_bytes()[..], signature.as_ref()].concat();
        let mut line = String::new();
        push_line(&mut line, self.public.name(), self.public.id(), &payload);
        line
    }
}

impl fmt::Debug for CosignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CosignerKey({})", self.public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::checkpoint::note_line;

    const BODY: &str = "example.com/log\n7\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn key() -> CosignerKey {
        CosignerKey::from_seed("witness.example/w1", [9; 32]).unwrap()
    }

    #[test]
    fn a_cosignature_holds_for_its_text_its_time_and_its_key_alone() {
        let line = note_line(&key().cosign(BODY, 1_679_315_147)).unwrap();
        assert_eq!(check(key().public(), BODY, &line), Some(1_679_315_147));
        assert_eq!(check(key().public(), &BODY.replace('7', "8"), &line), None);
        let namesake = CosignerKey::from_seed("witness.example/w1", [8; 32]).unwrap();
        assert_eq!(check(namesake.public(), BODY, &line), None);
        for at in 0..PAYLOAD {
            let mut bent = line.clone();
            bent.payload[at] ^= 1;
            assert_eq!(check(key().public(), BODY, &bent), None, "byte {at}");
        }
        let mut longer = line.clone();
        longer.payload.push(0);
        assert_eq!(check(key().public(), BODY, &longer), None);
    }

    #[test]
    fn a_signature_of_the_plain_text_is_no_cosignature() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap();
        let payload = [&[0; 8], pair.sign(BODY.as_bytes()).as_ref()].concat();
        let (name, key_hash) = (key().public().name().to_owned(), key().public().id());
        assert_eq!(check(key().public(), BODY, &NoteLine { name, key_hash, payload }), None);
    }

    #[test]
    fn a_time_beyond_63_bits_is_refused() {
        let line = note_line(&key().cosign(BODY, 1 << 63)).unwrap();
        assert_eq!(check(key().public(), BODY, &line), None);
    }

    #[test]
    fn a_key_survives_its_file_and_prints_only_its_public_half() {
        let again = CosignerKey::parse(&key().secret_text()).unwrap();
        assert_eq!(again.public(), key().public());
        assert_eq!(again.cosign(BODY, 5), key().cosign(BODY, 5));
        assert_eq!(format!("{:?}", key()), format!("CosignerKey({})", key().public()));
    }

    #[test]
    fn key_files_that_are_almost_right_are_refused() {
        let good = key().secret_text();
        let other = CosignerKey::from_seed("witness.example/w1", [8; 32]).unwrap();
        let other_id = hex(&other.public().id());
        for (from, to) in [
            ("PRIVATE", "PUBLIC"),
            ("+BAkJ", "+AQkJ"),
            ("+BAkJ", "+BAk"),
            (hex(&key().public().id()).as_str(), other_id.as_str()),
            ("w1", "w2"),
        ] {
            assert!(CosignerKey::parse(&good.replacen(from, to, 1)).is_err(), "{from} → {to}");
        }
    }
}
