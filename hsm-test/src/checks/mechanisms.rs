//! CKM_ECDSA: right signatures, and what happens to digests of a wrong length.

use std::collections::HashSet;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::pkcs8::DecodePublicKey;
use pechat::digest::Digest;

use crate::scratch::{ScratchKey, destroy, open, plain_session};
use crate::{Failed, Target};

const SIGNATURES: usize = 1000;
/// Every so many are also given to a second library, which is slow.
const SECOND_OPINION: usize = 20;

/// A thousand signatures verify, by a second library too, r and s are in range, and no nonce shows twice.
pub fn signatures_verify(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let session = token.session()?;
    let mut nonces = HashSet::new();
    let mut wrong = 0;
    for round in 0..SIGNATURES {
        let digest = *Digest::of(&round.to_be_bytes()).as_bytes();
        let raw = session.sign(key.handle, &digest)?;
        let doubted = round % SECOND_OPINION == 0 && !also_verifies(key.public.spki(), &digest, &raw);
        wrong += usize::from(doubted || !key.public.verifies(&digest, &raw));
        nonces.insert(raw[..32].to_vec());
    }
    destroy(target, &key.id)?;
    if wrong > 0 {
        return Err(format!("{wrong} of {SIGNATURES} signatures do not verify").into());
    }
    if nonces.len() < SIGNATURES {
        return Err("two signatures share a nonce: the private key can be computed from them".into());
    }
    Ok(format!("{SIGNATURES} signatures verify, no nonce was repeated"))
}

/// The same question to another library, which refuses r and s out of range.
fn also_verifies(spki: &[u8], digest: &[u8; 32], raw: &[u8; 64]) -> bool {
    let key = p256::ecdsa::VerifyingKey::from_public_key_der(spki);
    let signature = p256::ecdsa::Signature::from_slice(raw);
    key.is_ok_and(|key| signature.is_ok_and(|signature| key.verify_prehash(digest, &signature).is_ok()))
}

/// Recorded, not judged: many modules sign any length, so the signer's own type takes exactly 32 bytes.
pub fn wrong_length(target: &Target) -> Result<String, Failed> {
    let token = open(target)?;
    let key = ScratchKey::generate(&token)?;
    let mut seen = Vec::new();
    for length in [0, 31, 33, 100] {
        // A session each: after a refusal the state of the old one is unknown.
        let session = plain_session(target)?;
        let private = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.id.to_vec())];
        let private = *session.find_objects(&private)?.first().ok_or("the new private key is not found")?;
        let answer = match session.sign(&Mechanism::Ecdsa, private, &vec![7; length]) {
            Ok(_) => "signed".to_owned(),
            Err(error) => error.to_string(),
        };
        seen.push(format!("{length} bytes {answer}"));
    }
    destroy(target, &key.id)?;
    Ok(format!("recorded: {}", seen.join(", ")))
}
