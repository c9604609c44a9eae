//! Public keys in requests: which kinds are taken, what is checked, how possession is proven.

use aws_lc_rs::signature::{self as aws, ParsedPublicKey, UnparsedPublicKey, VerificationAlgorithm};
use der::{Decode, Sequence, asn1::UintRef};
use num_bigint::BigUint;
use x509_cert::AlgorithmIdentifier;

use super::oid;
use crate::institution::Environment;

/// A key that passed every check of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// NIST P-256, uncompressed point (65 bytes), on the curve.
    P256(Vec<u8>),
    /// NIST P-384, uncompressed point (97 bytes), on the curve.
    P384(Vec<u8>),
    /// RSA, e = 65537.
    Rsa {
        /// RSAPublicKey, DER (RFC 8017 appendix A.1.1).
        der: Vec<u8>,
        /// Length of the modulus, bits.
        bits: u64,
    },
}

/// What is wrong with a public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFlaw {
    /// Neither id-ecPublicKey nor rsaEncryption.
    #[error("key algorithm {0} is not taken: RSA, P-256 and P-384 are")]
    Algorithm(String),
    /// Curve parameters are missing, written out, or name another curve.
    #[error("the elliptic curve is not P-256 or P-384 by name")]
    Curve,
    /// Compressed, of the wrong length, or not on the curve.
    #[error("the elliptic curve point is not an uncompressed point on the named curve")]
    Point,
    /// Not an RSAPublicKey, or its AlgorithmIdentifier has no NULL.
    #[error("the RSA key is malformed: {0}")]
    Malformed(&'static str),
    /// 2048 to 8192 bits, whole octets.
    #[error("an RSA modulus of {0} bits is not taken: 2048 to 8192 bits, in whole octets, are")]
    Size(u64),
    /// Stricter than the key allows in this environment.
    #[error("{environment} certificates need RSA keys of at least 3072 bits, not {bits}")]
    TooShort {
        /// Modulus length.
        bits: u64,
        /// Where it was meant for.
        environment: &'static str,
    },
    /// Another public exponent.
    #[error("the RSA exponent is not 65537")]
    Exponent,
    /// A factor below 752.
    #[error("the RSA modulus has the factor {0}")]
    SmallFactor(u32),
    /// The fingerprint of CVE-2017-15361.
    #[error("the RSA modulus comes from a broken generator (ROCA, CVE-2017-15361)")]
    Roca,
    /// Fermat's method finds the factors.
    #[error("the RSA primes are so close that the modulus was factored in {0} rounds")]
    ClosePrimes(usize),
}

/// RFC 8017 appendix A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    n: UintRef<'a>,
    e: UintRef<'a>,
}

/// How signatures verify, octets of a point, and which kind of key it becomes.
type Curve<Key> = (&'static dyn VerificationAlgorithm, usize, fn(Vec<u8>) -> Key);

impl PublicKey {
    /// Judges a SubjectPublicKeyInfo, taken apart: algorithm and the key bits.
    pub fn new(algorithm: &AlgorithmIdentifier, bits: &[u8]) -> Result<Self, KeyFlaw> {
        match algorithm.oid {
            oid::EC_PUBLIC_KEY => Self::elliptic(algorithm, bits),
            oid::RSA => Self::rsa(algorithm, bits),
            other => Err(KeyFlaw::Algorithm(other.to_string())),
        }
    }

    fn elliptic(algorithm: &AlgorithmIdentifier, point: &[u8]) -> Result<Self, KeyFlaw> {
        let parameters = algorithm.parameters.as_ref().ok_or(KeyFlaw::Curve)?;
        let curve: const_oid::ObjectIdentifier = parameters.decode_as().map_err(|_| KeyFlaw::Curve)?;
        let (verifier, length, key): Curve<Self> = match curve {
            oid::P256 => (&aws::ECDSA_P256_SHA256_ASN1, 65, Self::P256),
            oid::P384 => (&aws::ECDSA_P384_SHA384_ASN1, 97, Self::P384),
            _ => return Err(KeyFlaw::Curve),
        };
        // Uncompressed only: one key, one encoding, so that a blocklist by SPKI hash holds.
        if point.len() != length || point.first() != Some(&4) {
            return Err(KeyFlaw::Point);
        }
        ParsedPublicKey::new(verifier, point).map_err(|_| KeyFlaw::Point)?;
        Ok(key(point.to_vec()))
    }

    fn rsa(algorithm: &AlgorithmIdentifier, der: &[u8]) -> Result<Self, KeyFlaw> {
        // RFC 3279 section 2.3.1: parameters MUST be NULL.
        if !algorithm.parameters.as_ref().is_some_and(|p| p.is_null()) {
            return Err(KeyFlaw::Malformed("its parameters are not NULL"));
        }
        let key = RsaPublicKey::from_der(der).map_err(|_| KeyFlaw::Malformed("not an RSAPublicKey"))?;
        let n = BigUint::from_bytes_be(key.n.as_bytes());
        let bits = n.bits();
        if !(2048..=8192).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(KeyFlaw::Size(bits));
        }
        if key.e.as_bytes() != [1, 0, 1] {
            return Err(KeyFlaw::Exponent);
        }
        judge_modulus(&n)?;
        Ok(Self::Rsa { der: der.to_vec(), bits })
    }

    /// The stricter rule of real data: RSA of at least 3072 bits.
    pub fn must_suit(&self, environment: Environment) -> Result<(), KeyFlaw> {
        match (self, environment) {
            (Self::Rsa { bits, .. }, Environment::Production) if *bits < 3072 => {
                Err(KeyFlaw::TooShort { bits: *bits, environment: environment.as_str() })
            }
            _ => Ok(()),
        }
    }

    /// Whether `signature` over `message` verifies; `None` when the algorithm does not go with the key
    /// (parameters absent for ECDSA, NULL for RSA: RFC 5758 section 3.2, RFC 8017 appendix A.2.4).
    pub fn verifies(
        &self,
        algorithm: &AlgorithmIdentifier,
        message: &[u8],
        signature: &[u8],
    ) -> Option<bool> {
        let parameters = algorithm.parameters.as_ref();
        let fits = match self {
            Self::Rsa { .. } => parameters.is_some_and(|p| p.is_null()),
            _ => parameters.is_none(),
        };
        let verifier: &'static dyn VerificationAlgorithm = match (self, algorithm.oid) {
            (Self::P256(_), oid::ECDSA_SHA256) => &aws::ECDSA_P256_SHA256_ASN1,
            (Self::P256(_), oid::ECDSA_SHA384) => &aws::ECDSA_P256_SHA384_ASN1,
            (Self::P256(_), oid::ECDSA_SHA512) => &aws::ECDSA_P256_SHA512_ASN1,
            (Self::P384(_), oid::ECDSA_SHA256) => &aws::ECDSA_P384_SHA256_ASN1,
            (Self::P384(_), oid::ECDSA_SHA384) => &aws::ECDSA_P384_SHA384_ASN1,
            (Self::P384(_), oid::ECDSA_SHA512) => &aws::ECDSA_P384_SHA512_ASN1,
            (Self::Rsa { .. }, oid::RSA_SHA256) => &aws::RSA_PKCS1_2048_8192_SHA256,
            (Self::Rsa { .. }, oid::RSA_SHA384) => &aws::RSA_PKCS1_2048_8192_SHA384,
            (Self::Rsa { .. }, oid::RSA_SHA512) => &aws::RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        };
        let (Self::P256(key) | Self::P384(key) | Self::Rsa { der: key, .. }) = self;
        fits.then(|| UnparsedPublicKey::new(verifier, key).verify(message, signature).is_ok())
    }
}

fn judge_modulus(n: &BigUint) -> Result<(), KeyFlaw> {
    let divides = |p: &u32| (n % *p) == BigUint::ZERO;
    // CA/Browser Forum BR 6.1.6 (NIST SP 800-89 section 5.3.3): no factor below 752.
    if let Some(factor) = (2..752u32).find(divides) {
        return Err(KeyFlaw::SmallFactor(factor));
    }
    if is_roca(n) {
        return Err(KeyFlaw::Roca);
    }
    match fermat(n, FERMAT_ROUNDS) {
        Some(round) => Err(KeyFlaw::ClosePrimes(round)),
        None => Ok(()),
    }
}

/// BR 6.1.1.3: at least 100 rounds.
const FERMAT_ROUNDS: usize = 100;

/// Primes of the broken generator are `k * M + 65537^a mod M`, M the product of small primes, so the
/// modulus is a power of 65537 modulo each of them: one in 2^28 honest moduli looks like that.
fn is_roca(n: &BigUint) -> bool {
    let is_prime = |p: &u64| (2..*p).all(|d| !p.is_multiple_of(d));
    (3..=167u64).filter(is_prime).all(|p| {
        let residue = (n % p).iter_u64_digits().next().unwrap_or(0);
        let powers = std::iter::successors(Some(1u64), |x| Some(x * 65537 % p));
        powers.take(p as usize).any(|power| power == residue)
    })
}

/// The round (from 1) in which `n = a² - b²` was found.
fn fermat(n: &BigUint, rounds: usize) -> Option<usize> {
    let root = n.sqrt();
    let mut a = if &root * &root == *n { root } else { root + 1u32 };
    (1..=rounds).find(|_| {
        let square = &a * &a - n;
        a += 1u32;
        // A square is 0, 1, 4 or 9 modulo 16: spares three square roots in four.
        let low = square.iter_u32_digits().next().unwrap_or(0) & 15;
        matches!(low, 0 | 1 | 4 | 9) && {
            let b = square.sqrt();
            &b * &b == square
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fermat_finds_primes_that_are_close_and_not_others() {
        let (p, q) = (BigUint::from(1_000_000_007u64), BigUint::from(1_000_000_009u64));
        assert_eq!(fermat(&(&p * &q), 100), Some(1));
        assert_eq!(fermat(&(&p * &p), 100), Some(1));
        assert_eq!(fermat(&(p * 4_294_967_311u64), 100), None);
    }

    #[test]
    fn a_modulus_that_is_one_modulo_all_small_primes_has_the_roca_fingerprint() {
        let product: BigUint =
            (3..=167u32).filter(|p| (2..*p).all(|d| p % d != 0)).map(BigUint::from).product();
        assert!(is_roca(&(&product * 12_345_678u64 + 1u32)));
        assert!(is_roca(&(&product * 2u32 + 65537u32)));
        assert!(!is_roca(&(&product * 2u32 + 65539u32)));
    }
}
