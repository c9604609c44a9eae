//! One vector a flaw, named by it: `tests/vectors/csr/`.

use super::*;
use crate::certificate::profile::Subject;
use crate::institution::{Environment, Institution, InstitutionId};

fn vector(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/vectors/csr/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn refusal(name: &str) -> String {
    match parse(&vector(name)) {
        Ok(_) => panic!("{name} was taken"),
        Err(error) => error.to_string(),
    }
}

/// The record the vectors' names are compared with, and its profile for `registry-1`.
fn record() -> (Name, Profile) {
    let id = InstitutionId::try_from("agency".to_owned()).unwrap();
    let institution =
        Institution::new(id, "Agency".into(), "BG".into(), None, "agency.example".into()).unwrap();
    let canonical_name = institution.canonical_name("registry-1").unwrap();
    let profile = Profile::Service { environment: Environment::Test, canonical_name };
    (Subject::of(&institution, &profile, "registry-1").to_name().unwrap(), profile)
}

fn mismatch(name: &str) -> String {
    let (subject, profile) = record();
    let request = parse(&vector(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    request.must_match(&subject, &profile).expect_err(name).to_string()
}

#[test]
fn good_requests_of_every_kind_are_taken_and_written_back_as_they_came() {
    let (subject, profile) = record();
    for name in [
        "good-p256.der",
        "good-p384-sha384.der",
        "good-rsa3072.der",
        "good-rsa-by-hand.der",
        "good-no-names.der",
        "good-san.der",
        "rsa-2048.der",
    ] {
        let request = parse(&vector(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(request.to_der().unwrap(), vector(name), "{name}");
        assert_eq!(request.must_match(&subject, &profile), Ok(()), "{name}");
    }
    let armoured = parse(&vector("good-p256.pem")).unwrap();
    assert_eq!(armoured.to_der().unwrap(), vector("good-p256.der"));
}

#[test]
fn what_is_not_strict_der_is_refused() {
    for name in [
        "trailing-byte.der",
        "length-not-minimal.der",
        "indefinite-length.der",
        "truncated.der",
        "version-2.der",
        "no-attributes-field.der",
        "attributes-not-sorted.der",
    ] {
        assert!(matches!(parse(&vector(name)), Err(RequestError::NotDer(_))), "{name}: {}", refusal(name));
    }
    assert_eq!(parse(b"").unwrap_err(), RequestError::Length(0));
    assert_eq!(parse(&vec![0x30; MAX_BYTES + 1]).unwrap_err(), RequestError::Length(MAX_BYTES + 1));
}

#[test]
fn pem_that_is_not_one_request_is_refused() {
    for name in ["pem-of-a-key.pem", "pem-broken.pem", "pem-twice.pem"] {
        assert!(matches!(parse(&vector(name)), Err(RequestError::Pem(_))), "{name}: {}", refusal(name));
    }
}

#[test]
fn possession_that_is_not_proven_is_refused() {
    for name in ["signature-flipped.der", "possession-of-another-key.der"] {
        assert_eq!(parse(&vector(name)).unwrap_err(), RequestError::NotPossessed, "{name}");
    }
    for name in ["sha1.der", "rsa-pss.der", "algorithm-with-parameters.der"] {
        assert!(matches!(parse(&vector(name)), Err(RequestError::SignatureAlgorithm(_))), "{name}");
    }
}

#[test]
fn a_key_is_refused_by_its_own_flaw() {
    use KeyFlaw as F;
    let flaws = [
        ("p521.der", F::Curve),
        ("secp256k1.der", F::Curve),
        ("curve-written-out.der", F::Curve),
        ("ed25519.der", F::Algorithm("1.3.101.112".into())),
        ("point-compressed.der", F::Point),
        ("point-not-on-curve.der", F::Point),
        ("rsa-1024.der", F::Size(1024)),
        ("rsa-2052.der", F::Size(2052)),
        ("rsa-exponent-3.der", F::Exponent),
        ("rsa-factor-3.der", F::SmallFactor(3)),
        ("rsa-roca.der", F::Roca),
        ("rsa-close-primes.der", F::ClosePrimes(1)),
    ];
    for (name, flaw) in flaws {
        assert_eq!(parse(&vector(name)).unwrap_err(), RequestError::Key(flaw), "{name}");
    }
}

#[test]
fn real_data_needs_rsa_keys_of_3072_bits() {
    let short = parse(&vector("rsa-2048.der")).unwrap();
    assert_eq!(short.key().must_suit(Environment::Test), Ok(()));
    let flaw = KeyFlaw::TooShort { bits: 2048, environment: "production" };
    assert_eq!(short.key().must_suit(Environment::Production), Err(flaw));
    assert_eq!(parse(&vector("good-rsa3072.der")).unwrap().key().must_suit(Environment::Production), Ok(()));
}

#[test]
fn attributes_and_extensions_that_have_no_place_are_refused() {
    assert!(refusal("challenge-password.der").contains("1.2.840.113549.1.9.7"));
    assert!(refusal("two-extension-requests.der").contains("1.2.840.113549.1.9.14"));
    assert!(refusal("extension-twice.der").contains("asks for it twice"));
    for (name, oid) in [
        ("wants-to-be-ca.der", "2.5.29.19"),
        ("wants-key-cert-sign.der", "2.5.29.15"),
        ("wants-time-stamping.der", "2.5.29.37"),
        ("wants-name-constraints.der", "2.5.29.30"),
    ] {
        assert!(mismatch(name).contains(oid), "{name}: {}", mismatch(name));
    }
}

#[test]
fn a_name_that_differs_from_the_record_is_refused_and_named() {
    for (name, says) in [
        (
            "cn-differs.der",
            r#"CN is "registry-2.agency.example", the record says "registry-1.agency.example""#,
        ),
        ("cn-twice.der", "CN"),
        ("o-differs.der", r#"O is "Other", the record says "Agency""#),
        ("c-differs.der", r#"C is "ME", the record says "BG""#),
        ("ou-not-on-record.der", r#"2.5.4.11 is "Unit", the record says """#),
        (
            "san-differs.der",
            r#"subjectAltName is "DNS:other.example", the record says "DNS:registry-1.agency.example""#,
        ),
        ("san-wildcard.der", r#"subjectAltName is "DNS:*.agency.example""#),
        ("san-ip.der", r#"subjectAltName is "IP:#0a000001""#),
    ] {
        assert!(mismatch(name).contains(says), "{name}: {}", mismatch(name));
    }
}

#[test]
fn every_vector_is_used_here() {
    let source = include_str!("request_tests.rs");
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/csr")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(source.contains(&name) || name == "README.md", "{name} is tested by nobody");
    }
}
