//! Public keys as they are pinned, and the one check that every signature passes.

use aws_lc_rs::digest::{Digest as RawDigest, SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey};

/// Bytes of a P-256 SubjectPublicKeyInfo with an uncompressed point.
pub const SPKI_BYTES: usize = 91;

// RFC 5480 section 2: id-ecPublicKey with namedCurve secp256r1, then a BIT STRING of 65 bytes.
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Bytes of an Ed25519 SubjectPublicKeyInfo.
pub const ED25519_SPKI_BYTES: usize = 44;

// RFC 8410 section 4: id-Ed25519 without parameters, then a BIT STRING of 32 bytes.
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A pinned public key, parsed once: P-256, or Ed25519.
pub struct PublicKey {
    spki: Vec<u8>,
    parsed: ParsedPublicKey,
    ed25519: bool,
}

impl PublicKey {
    /// From SubjectPublicKeyInfo DER; only P-256 with an uncompressed point on the curve and Ed25519 are taken.
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        let ed25519 = der.len() == ED25519_SPKI_BYTES;
        let parsed = if ed25519 {
            ParsedPublicKey::new(&ED25519, der.strip_prefix(&ED25519_PREFIX)?)
        } else {
            let spki: [u8; SPKI_BYTES] = der.try_into().ok()?;
            ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, spki.strip_prefix(&SPKI_PREFIX)?)
        };
        Some(Self { spki: der.to_vec(), parsed: parsed.ok()?, ed25519 })
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Whether `raw` is this key's signature (P-256: `r || s`) of the SHA-256 value `digest`; an Ed25519 key signs
    /// its 32 bytes as a message.
    pub fn verifies(&self, digest: &[u8; 32], raw: &[u8; 64]) -> bool {
        if self.ed25519 {
            return self.parsed.verify_sig(digest, raw).is_ok();
        }
        RawDigest::import_less_safe(digest, &SHA256)
            .and_then(|digest| self.parsed.verify_digest_sig(&digest, raw))
            .is_ok()
    }

    /// Whether `raw` is this Ed25519 key's signature of the message.
    pub fn verifies_message(&self, message: &[u8], raw: &[u8; 64]) -> bool {
        self.ed25519 && self.parsed.verify_sig(message, raw).is_ok()
    }
}

/// SubjectPublicKeyInfo DER of an Ed25519 key (32 bytes).
pub fn spki_of_ed25519(key: &[u8; 32]) -> [u8; ED25519_SPKI_BYTES] {
    let mut spki = [0; ED25519_SPKI_BYTES];
    spki[..12].copy_from_slice(&ED25519_PREFIX);
    spki[12..].copy_from_slice(key);
    spki
}

/// The 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo.
pub fn ed25519_of_spki(spki: &[u8]) -> Option<[u8; 32]> {
    spki.strip_prefix(&ED25519_PREFIX)?.try_into().ok()
}

/// SubjectPublicKeyInfo DER of an uncompressed P-256 point (65 bytes, first byte 4).
pub fn spki_of_point(point: &[u8; 65]) -> [u8; SPKI_BYTES] {
    let mut spki = [0; SPKI_BYTES];
    spki[..26].copy_from_slice(&SPKI_PREFIX);
    spki[26..].copy_from_slice(point);
    spki
}

/// DER `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) of `r || s`.
pub(super) fn der_of_raw(raw: &[u8; 64]) -> Vec<u8> {
    let mut der = Vec::with_capacity(72);
    der.extend_from_slice(&[0x30, 0]);
    for half in raw.chunks_exact(32) {
        let skip = half.iter().take(31).take_while(|byte| **byte == 0).count();
        let digits = &half[skip..];
        // A leading 1 bit would read as a minus sign.
        let sign = usize::from(digits[0] >= 0x80);
        der.extend_from_slice(&[0x02, (digits.len() + sign) as u8]);
        der.extend_from_slice(&[0][..sign]);
        der.extend_from_slice(digits);
    }
    der[1] = (der.len() - 2) as u8;
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_agrees_with_another_encoder() {
        let mut raw = [0; 64];
        for (first, second) in [(0x7f, 0x80), (0x80, 0x01), (0, 0xff), (1, 0x7f)] {
            (raw[0], raw[1], raw[31], raw[32], raw[40], raw[63]) = (first, second, 1, second, 3, 1);
            let theirs = p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der();
            assert_eq!(der_of_raw(&raw), theirs.as_bytes());
        }
        let small = [[0; 31].as_slice(), &[1], &[0; 30], &[0x80, 0]].concat();
        let small: [u8; 64] = small.try_into().unwrap();
        assert_eq!(der_of_raw(&small), [0x30, 8, 2, 1, 1, 2, 3, 0, 0x80, 0]);
    }

    #[test]
    fn other_keys_than_p256_points_on_the_curve_are_refused() {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
        let point: [u8; 65] = key.verifying_key().to_sec1_point(false).as_bytes().try_into().unwrap();
        let spki = spki_of_point(&point);
        assert_eq!(PublicKey::from_spki(&spki).unwrap().spki(), &spki);
        let mut off_curve = spki;
        off_curve[90] ^= 1;
        let mut other_curve = spki;
        other_curve[22] = 8;
        for bad in [&off_curve[..], &other_curve, &spki[..90], &[], &[spki.as_slice(), &[0]].concat()] {
            assert!(PublicKey::from_spki(bad).is_none());
        }
    }
}
