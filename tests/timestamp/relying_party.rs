//! What a relying party accepts: our verifier against good tokens, and every way to spoil one.

use pechat::clock::UtcMicros;
use pechat::digest::Digest;
use pechat::timestamp::{Hash, TokenError, query, token_info, verify_token};

use crate::fixture::*;
use crate::{IMPRINT, decode};

async fn token(tsa: &Tsa) -> Vec<u8> {
    decode(&tsa.ask(&query(Hash::Sha256, &IMPRINT, Some(&[0x80, 9]), true)).await.reply).der
}

#[tokio::test]
async fn a_good_token_tells_when_how_exactly_by_whom_and_under_which_policy() {
    let tsa = Tsa::new();
    let token = token(&tsa).await;
    let facts = verify_token(&token, Hash::Sha256, &IMPRINT, &[tsa.hierarchy.der("root")], None).unwrap();
    let info = token_info(&token).unwrap();
    assert_eq!((facts.gen_time_us, facts.accuracy_us), (info.gen_time.0, Some(10_000)));
    assert_eq!((facts.policy.as_str(), &facts.serial), (POLICY, &info.serial));
    assert_eq!(facts.tsu_subject, "CN=unit,O=Test Administration,C=RS");
    assert_eq!(facts.nonce.as_deref(), Some(&[0, 0x80, 9][..]));
    assert_eq!((info.hash, info.imprint), (Hash::Sha256, IMPRINT.to_vec()));
}

#[tokio::test]
async fn every_changed_bit_and_every_cut_is_noticed() {
    let tsa = Tsa::new();
    let good = token(&tsa).await;
    let roots = [tsa.hierarchy.der("root")];
    // Bit 0 of the count of unused bits in the issuing certificate's signature once went unnoticed.
    for (at, bit) in (0..good.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bad = good.clone();
        bad[at] ^= 1 << bit;
        assert!(verify_token(&bad, Hash::Sha256, &IMPRINT, &roots, None).is_err(), "byte {at}");
        assert!(verify_token(&good[..at], Hash::Sha256, &IMPRINT, &roots, None).is_err(), "cut at {at}");
    }
}

#[tokio::test]
async fn another_imprint_root_or_time_is_refused_by_name() {
    let tsa = Tsa::new();
    let token = token(&tsa).await;
    let roots = [tsa.hierarchy.der("root")];
    let check =
        |hash, imprint: &[u8], roots: &[Vec<u8>], latest| verify_token(&token, hash, imprint, roots, latest);
    let error = check(Hash::Sha256, &[1; 32], &roots, None).unwrap_err();
    assert_eq!(error, TokenError::OtherData("imprint"));
    assert_eq!(
        check(Hash::Sha3_256, &IMPRINT, &roots, None).unwrap_err(),
        TokenError::OtherData("hash algorithm")
    );
    let stranger = Hierarchy::new().der("root");
    for roots in [vec![], vec![stranger.clone()], vec![tsa.hierarchy.der("unit")]] {
        let error = check(Hash::Sha256, &IMPRINT, &roots, None).unwrap_err().to_string();
        assert!(error.contains("leads from"), "{error}");
    }
    check(Hash::Sha256, &IMPRINT, &[stranger, roots[0].clone()], None).unwrap();
    check(Hash::Sha256, &IMPRINT, &[tsa.hierarchy.der("issuing")], None).unwrap();
    let error = check(Hash::Sha256, &IMPRINT, &[b"no".to_vec()], None).unwrap_err();
    assert!(matches!(error, TokenError::BadRoot(_)), "{error}");
    let now = token_info(&token).unwrap().gen_time;
    check(Hash::Sha256, &IMPRINT, &roots, Some(now)).unwrap();
    let error = check(Hash::Sha256, &IMPRINT, &roots, Some(UtcMicros(now.0 - 1))).unwrap_err();
    assert!(matches!(error, TokenError::FromTheFuture { .. }), "{error}");
}

#[tokio::test]
async fn a_token_without_certificates_cannot_be_verified_alone() {
    let tsa = Tsa::new();
    let token = decode(&tsa.ask(&query(Hash::Sha256, &IMPRINT, None, false)).await.reply).der;
    let error = verify_token(&token, Hash::Sha256, &IMPRINT, &[tsa.hierarchy.der("root")], None).unwrap_err();
    assert_eq!(error, TokenError::NoCertificate);
}

/// A token of OpenSSL's own authority with certificates of `hierarchy`.
fn openssl_token(hierarchy: &Hierarchy) -> Result<Vec<u8>, String> {
    let path = |name: &str| hierarchy.text(name);
    let config = format!(
        "[tsa]\ndefault_tsa=t\n[t]\nserial={}\nsigner_cert={}\ncerts={}\nsigner_key={}\nsigner_digest=sha256\n\
         default_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\ness_cert_id_alg=sha256\nordering=no\n",
        path("serial"),
        path("unit.pem"),
        path("issuing.pem"),
        path("unit.key"),
    );
    let (config, asked) = (hierarchy.write("ts.cnf", config.as_bytes()), path("q.tsq"));
    let (data, out) = (hierarchy.write("data", b"data"), path("other.tst"));
    openssl(&["ts", "-query", "-data", &data, "-sha256", "-cert", "-out", &asked])?;
    openssl(&["ts", "-reply", "-config", &config, "-queryfile", &asked, "-token_out", "-out", &out])?;
    Ok(std::fs::read(out).unwrap())
}

#[test]
fn a_token_of_openssls_authority_verifies_under_its_root_alone() {
    let hierarchy = Hierarchy::new();
    let token = openssl_token(&hierarchy).unwrap();
    let imprint = Digest::of(b"data");
    let facts =
        verify_token(&token, Hash::Sha256, imprint.as_bytes(), &[hierarchy.der("root")], None).unwrap();
    assert_eq!((facts.policy.as_str(), facts.accuracy_us), ("1.2.3.4", Some(1_000_000)));
}

#[test]
fn a_chain_with_a_fault_is_refused_though_the_signature_holds() {
    let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";
    for (name, issuer, extensions, days, why) in [
        ("unit", "issuing", UNIT_EXTENSIONS, -1, "is not valid at"),
        ("issuing", "root", ca, -1, "is not valid at"),
        ("root", "root", ca, -1, "is not valid at"),
        ("issuing", "root", "basicConstraints=CA:FALSE", 99, "leads from"),
        ("issuing", "root", "basicConstraints=CA:TRUE\nkeyUsage=cRLSign", 99, "leads from"),
        ("issuing", "root", "basicConstraints=CA:TRUE\nextendedKeyUsage=clientAuth", 99, "leads from"),
        ("issuing", "root", "basicConstraints=CA:TRUE\n1.2.3=critical,DER:0500", 99, "leads from"),
        ("root", "root", "basicConstraints=critical,CA:TRUE,pathlen:0", 99, "leads from"),
    ] {
        let hierarchy = Hierarchy::new();
        hierarchy.certify(name, issuer, extensions, days);
        let token = openssl_token(&hierarchy).unwrap();
        let imprint = Digest::of(b"data");
        let roots = [hierarchy.der("root")];
        let error = verify_token(&token, Hash::Sha256, imprint.as_bytes(), &roots, None).unwrap_err();
        assert!(error.to_string().contains(why), "{name} {extensions}: {error}");
    }
}
