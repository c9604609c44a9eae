//! The timestamping authority against RFC 3161, line by line; OpenSSL and rasn-cms are the strangers
//! who read what it makes. The numbers are those of the
//! normative checklist this authority was built from; each test's name says what its line asks for.

#[path = "timestamp/fixture.rs"]
mod fixture;
#[path = "timestamp/flow.rs"]
mod flow;
#[path = "timestamp/relying_party.rs"]
mod relying_party;

use std::time::Duration;

use fixture::*;
use pechat::digest::{Digest, hex};
use pechat::timestamp::{Hash, TimestampRequest, query, token_info};
use rasn::types::{Any, Integer, Oid};
use rasn_cms::tsp::{TimeStampReq, TimeStampResp, TstInfo};
use rasn_cms::{CertificateChoices, ContentInfo, SignedData, SignerIdentifier};

const IMPRINT: [u8; 32] = [0xA5; 32];

/// A token taken apart by rasn, after checking that rasn would write the same bytes.
struct Token {
    data: SignedData,
    tst: TstInfo,
    tst_der: Vec<u8>,
    der: Vec<u8>,
}

fn decode(reply: &[u8]) -> Token {
    let response: TimeStampResp = rasn::der::decode(reply).unwrap();
    assert_eq!(rasn::der::encode(&response).unwrap(), reply, "the reply is DER");
    let info: ContentInfo = response.time_stamp_token.expect("a token");
    let der = rasn::der::encode(&info).unwrap();
    assert_eq!(&*info.content_type, &[1, 2, 840, 113549, 1, 7, 2], "id-signedData");
    let data: SignedData = rasn::der::decode(info.content.as_bytes()).unwrap();
    let tst_der = data.encap_content_info.content.clone().unwrap().to_vec();
    let tst: TstInfo = rasn::der::decode(&tst_der).unwrap();
    assert_eq!(rasn::der::encode(&tst).unwrap(), tst_der, "TSTInfo is DER");
    Token { data, tst, tst_der, der }
}

/// The query as rasn writes it after `change`.
fn changed(change: impl FnOnce(&mut TimeStampReq)) -> Vec<u8> {
    let mut request: TimeStampReq =
        rasn::der::decode(&query(Hash::Sha256, &IMPRINT, Some(&[7; 8]), true)).unwrap();
    change(&mut request);
    rasn::der::encode(&request).unwrap()
}

async fn refused(tsa: &Tsa, query: &[u8]) -> &'static str {
    let answer = tsa.ask(query).await;
    let response: TimeStampResp = rasn::der::decode(&answer.reply).unwrap();
    assert!(response.time_stamp_token.is_none());
    assert_ne!(answer.outcome, "granted");
    answer.outcome
}

#[tokio::test]
async fn line_01_other_versions_are_a_bad_request() {
    let tsa = Tsa::new();
    for version in [0_u64, 2, 300] {
        assert_eq!(refused(&tsa, &changed(|q| q.version = version)).await, "badRequest");
    }
    assert_eq!(tsa.ask(&changed(|_| ())).await.outcome, "granted");
}

#[tokio::test]
async fn line_02_six_hashes_are_stamped_and_all_others_are_bad_algorithms() {
    let tsa = Tsa::new();
    for hash in Hash::ALL {
        let asked = query(hash, &vec![3; hash.bytes()], None, true);
        let answer = tsa.ask(&asked).await;
        assert_eq!(answer.outcome, "granted", "{}", hash.name());
        tsa.openssl_verifies(&answer.reply, &asked).unwrap();
    }
    // SHA-1, SHA-224, MD5, SHA3-224, SHA-512/256
    let sha: [&[u32]; 5] = [
        &[1, 3, 14, 3, 2, 26],
        &[2, 16, 840, 1, 101, 3, 4, 2, 4],
        &[1, 2, 840, 113549, 2, 5],
        &[2, 16, 840, 1, 101, 3, 4, 2, 7],
        &[2, 16, 840, 1, 101, 3, 4, 2, 6],
    ];
    for oid in sha {
        let other = changed(|q| q.message_imprint.hash_algorithm.algorithm = Oid::new(oid).unwrap().into());
        assert_eq!(refused(&tsa, &other).await, "badAlg", "{oid:?}");
    }
}

#[tokio::test]
async fn line_03_imprint_length_must_fit_the_algorithm() {
    let tsa = Tsa::new();
    for length in [0, 1, 31, 33, 64] {
        let other = changed(|q| q.message_imprint.hashed_message = vec![1; length].into());
        assert_eq!(refused(&tsa, &other).await, "badDataFormat", "{length}");
    }
}

#[tokio::test]
async fn line_04_hash_parameters_are_absent_or_null() {
    let tsa = Tsa::new();
    let parameters = |der: Option<&[u8]>| {
        changed(|q| q.message_imprint.hash_algorithm.parameters = der.map(|d| Any::new(d.to_vec())))
    };
    for good in [None, Some(&[5, 0][..])] {
        let asked = parameters(good);
        let answer = tsa.ask(&asked).await;
        tsa.openssl_verifies(&answer.reply, &asked).unwrap();
    }
    for bad in [&[4, 0][..], &[0x30, 0], &[6, 1, 0x2A], &[2, 1, 0]] {
        assert_eq!(refused(&tsa, &parameters(Some(bad))).await, "badAlg");
    }
    assert_eq!(refused(&tsa, &parameters(Some(&[5, 1, 0]))).await, "badAlg");
}

#[tokio::test]
async fn line_05_the_token_has_the_policy_asked_for_or_the_default() {
    let tsa = Tsa::new();
    let policy = |arcs: &'static [u32]| changed(|q| q.req_policy = Some(Oid::new(arcs).unwrap().into()));
    let default: &[u32] = &[0, 4, 0, 2023, 1, 1];
    let other: &[u32] = &[1, 3, 6, 1, 4, 1, 99999, 1];
    for (asked, expected) in [(changed(|_| ()), default), (policy(default), default), (policy(other), other)]
    {
        let answer = tsa.ask(&asked).await;
        assert_eq!(&*decode(&answer.reply).tst.policy, expected);
        tsa.openssl_verifies(&answer.reply, &asked).unwrap();
    }
    assert_eq!(refused(&tsa, &policy(&[1, 2, 3])).await, "unacceptedPolicy");
}

#[tokio::test]
async fn line_06_the_nonce_comes_back_whatever_its_sign_and_length() {
    let tsa = Tsa::new();
    let huge = num_bytes(64);
    for nonce in [Integer::from(0), Integer::from(-1), Integer::from(-129), Integer::from(128), huge] {
        let asked = changed(|q| q.nonce = Some(nonce.clone()));
        let answer = tsa.ask(&asked).await;
        assert_eq!(decode(&answer.reply).tst.nonce, Some(nonce));
        tsa.openssl_verifies(&answer.reply, &asked).unwrap();
    }
    let answer = tsa.ask(&changed(|q| q.nonce = None)).await;
    assert_eq!(decode(&answer.reply).tst.nonce, None);
}

/// The largest positive INTEGER of `n` contents octets.
fn num_bytes(n: usize) -> Integer {
    let mut der = vec![2, n as u8, 0x7F];
    der.resize(n + 2, 0xFF);
    rasn::der::decode(&der).unwrap()
}

#[tokio::test]
async fn line_07_certificates_are_there_exactly_when_asked_for() {
    let tsa = Tsa::new();
    let asked = changed(|q| q.cert_req = true);
    let answer = tsa.ask(&asked).await;
    let certificates = decode(&answer.reply).data.certificates.unwrap();
    let held: Vec<Vec<u8>> = certificates.to_vec().iter().map(|c| rasn::der::encode(*c).unwrap()).collect();
    assert_eq!(held.len(), 2);
    assert!(held.contains(&tsa.hierarchy.der("unit")) && held.contains(&tsa.hierarchy.der("issuing")));
    let asked = changed(|q| q.cert_req = false);
    let answer = tsa.ask(&asked).await;
    assert_eq!(decode(&answer.reply).data.certificates, None);
    tsa.openssl_verifies(&answer.reply, &asked).unwrap();
}

#[tokio::test]
async fn line_08_every_extension_is_refused_critical_or_not() {
    let tsa = Tsa::new();
    for critical in [false, true] {
        let extension = rasn_pkix::Extension {
            extn_id: Oid::new(&[1, 2, 3]).unwrap().into(),
            critical,
            extn_value: vec![5, 0].into(),
        };
        let asked = changed(|q| q.extensions = Some(vec![extension].into()));
        assert_eq!(refused(&tsa, &asked).await, "unacceptedExtension");
    }
}

#[tokio::test]
async fn line_09_what_is_not_der_is_badly_formatted() {
    let tsa = Tsa::new();
    let good = query(Hash::Sha256, &IMPRINT, Some(&[7; 8]), true);
    let mut bad: Vec<(&str, Vec<u8>)> = vec![("nothing", vec![]), ("text", b"hello".to_vec())];
    bad.push(("trailing byte", [&good[..], &[0]].concat()));
    bad.push(("two queries", [&good[..], &good].concat()));
    bad.push(("indefinite length", [&[0x30, 0x80], &good[2..], &[0, 0]].concat()));
    bad.push(("long form of a short length", [&[0x30, 0x81, good[1]], &good[2..]].concat()));
    let boolean = [&good[..good.len() - 1], &[1]].concat();
    bad.push(("BOOLEAN 01", boolean));
    bad.push(("encoded default", [&good[..good.len() - 1], &[0]].concat()));
    let mut integer = [&[0x30, good[1] + 1, 2, 2, 0], &good[4..]].concat();
    bad.push(("INTEGER 00 01", integer.clone()));
    integer[4] = 0xFF;
    bad.push(("INTEGER FF 01 is minimal, and a version", integer));
    bad.push(("too long", vec![0x30; 5000]));
    let deep =
        (0..100).fold(vec![5, 0], |inner: Vec<u8>, _| [&[0x30, inner.len() as u8][..], &inner].concat());
    bad.push(("deep", deep));
    for cut in 0..good.len() {
        bad.push(("cut off", good[..cut].to_vec()));
    }
    for (name, query) in bad {
        let expected = if name.starts_with("INTEGER FF") { "badRequest" } else { "badDataFormat" };
        assert_eq!(refused(&tsa, &query).await, expected, "{name}: {}", hex(&query));
    }
}

#[tokio::test]
async fn line_10_nothing_in_the_token_tells_who_asked() {
    let tsa = Tsa::new();
    let answer = tsa.ask(&query(Hash::Sha256, &IMPRINT, None, true)).await;
    let client = b"client-of-the-test";
    assert!(!answer.reply.windows(client.len()).any(|w| w == client));
    assert_eq!(tsa.records()[0].1["client"], "client-of-the-test");
}

#[tokio::test]
async fn line_11_and_12_a_token_is_there_exactly_with_status_granted() {
    let tsa = Tsa::new();
    let granted: TimeStampResp = rasn::der::decode(&tsa.ask(&changed(|_| ())).await.reply).unwrap();
    assert_eq!(granted.status.status, rasn_cms::tsp::PkiStatus::Granted);
    assert!(granted.time_stamp_token.is_some());
    assert_eq!((granted.status.status_string, granted.status.fail_info), (None, None));
    let refusal: TimeStampResp = rasn::der::decode(&tsa.ask(b"?").await.reply).unwrap();
    assert_eq!(refusal.status.status, rasn_cms::tsp::PkiStatus::Rejection);
    assert!(refusal.time_stamp_token.is_none());
    assert_eq!(refusal.status.status_string.unwrap().len(), 1);
}

#[tokio::test]
async fn line_13_openssl_reads_the_fail_info_that_was_meant() {
    let tsa = Tsa::new();
    let sha1 = Oid::new(&[1, 3, 14, 3, 2, 26]).unwrap();
    let policy = Oid::new(&[1, 2, 3]).unwrap();
    let extension =
        rasn_pkix::Extension { extn_id: policy.into(), critical: false, extn_value: vec![].into() };
    for (asked, text, der) in [
        (
            changed(|q| q.message_imprint.hash_algorithm.algorithm = sha1.into()),
            "unrecognized or unsupported algorithm identifier",
            &[3, 2, 7, 0x80][..],
        ),
        (changed(|q| q.version = 2), "transaction not permitted or supported", &[3, 2, 5, 0x20]),
        (vec![0x30], "the data submitted has the wrong format", &[3, 2, 2, 4]),
        (
            changed(|q| q.req_policy = Some(policy.into())),
            "the requested TSA policy is not supported by the TSA",
            &[3, 3, 0, 0, 1],
        ),
        (
            changed(|q| q.extensions = Some(vec![extension].into())),
            "the requested extension is not supported by the TSA",
            &[3, 4, 7, 0, 0, 0x80],
        ),
    ] {
        let reply = tsa.ask(&asked).await.reply;
        assert!(reply.ends_with(der), "{text}");
        let read = tsa.openssl_text(&reply);
        assert!(read.contains("Status: Rejected") && read.contains(text), "{read}");
    }
}

#[tokio::test]
async fn line_14_version_policy_and_imprint_stand_as_asked() {
    let tsa = Tsa::new();
    for null in [false, true] {
        let asked = changed(|q| {
            q.message_imprint.hash_algorithm.parameters = null.then(|| Any::new(vec![5, 0]));
        });
        let request: TimeStampReq = rasn::der::decode(&asked).unwrap();
        let token = decode(&tsa.ask(&asked).await.reply);
        assert_eq!(token.tst.version, Integer::from(1));
        assert_eq!(token.tst.message_imprint, request.message_imprint);
    }
}

#[tokio::test]
async fn line_15_serials_are_positive_short_and_never_the_same() {
    let tsa = Tsa::new();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..80 {
        let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
        assert!(token.tst.serial_number > Integer::from(0));
        assert!(rasn::der::encode(&token.tst.serial_number).unwrap().len() <= 2 + 16);
        assert!(seen.insert(token.tst.serial_number));
    }
}

#[tokio::test]
async fn line_16_gen_time_is_utc_to_the_millisecond_and_now() {
    let tsa = Tsa::new();
    for _ in 0..25 {
        let before = jiff::Timestamp::now().as_millisecond();
        let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
        let after = jiff::Timestamp::now().as_millisecond();
        let at = token.tst.gen_time.timestamp_millis();
        assert!((before..=after).contains(&at), "{before} {at} {after}");
        assert_eq!(token_info(&token.der).unwrap().gen_time.0, at * 1000);
        let text = token.tst_der.windows(4).position(|w| w[0] == 0x18 && &w[2..] == b"20").unwrap();
        let text = &token.tst_der[text + 2..][..usize::from(token.tst_der[text + 1])];
        assert!(text.ends_with(b"Z") && (text.len() == 15 || !text.ends_with(b"0Z")), "{text:?}");
    }
}

#[tokio::test]
async fn line_17_accuracy_follows_the_clocks_bound_and_ordering_is_absent() {
    for (bound_us, seconds, millis) in
        [(0, None, Some(10)), (9_001, None, Some(20)), (450_000, None, Some(500)), (900_000, Some(1), None)]
    {
        let tsa = Tsa::with(Duration::from_micros(bound_us), willing());
        let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
        let accuracy = token.tst.accuracy.unwrap();
        assert_eq!(accuracy.seconds, seconds.map(Integer::from));
        assert_eq!(accuracy.millis, millis.map(Integer::from));
        assert_eq!((accuracy.micros, token.tst.ordering), (None, false));
    }
    let tsa = Tsa::with(Duration::from_micros(999_001), willing());
    assert_eq!(refused(&tsa, &changed(|_| ())).await, "timeNotAvailable");
}

#[tokio::test]
async fn line_18_the_authoritys_name_and_extensions_are_left_out() {
    let token = decode(&Tsa::new().ask(&changed(|_| ())).await.reply);
    assert_eq!((token.tst.tsa, token.tst.extensions), (None, None));
}

#[tokio::test]
async fn line_19_the_contents_are_tst_info() {
    let token = decode(&Tsa::new().ask(&changed(|_| ())).await.reply);
    assert_eq!(&*token.data.encap_content_info.content_type, TST_INFO_OID);
}

const TST_INFO_OID: &[u32] = &[1, 2, 840, 113549, 1, 9, 16, 1, 4];

#[tokio::test]
async fn line_20_there_is_one_signature_named_by_issuer_and_serial() {
    let tsa = Tsa::new();
    let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
    assert_eq!(token.data.version, Integer::from(3));
    assert_eq!(token.data.crls, None);
    let signers = token.data.signer_infos.to_vec();
    assert_eq!(signers.len(), 1);
    assert_eq!(signers[0].version, Integer::from(1));
    assert_eq!(signers[0].unsigned_attrs, None);
    let SignerIdentifier::IssuerAndSerialNumber(sid) = &signers[0].sid else { panic!("another form") };
    let unit: rasn_pkix::Certificate = rasn::der::decode(&tsa.hierarchy.der("unit")).unwrap();
    assert_eq!(sid.issuer, unit.tbs_certificate.issuer);
    assert_eq!(sid.serial_number, unit.tbs_certificate.serial_number);
}

#[tokio::test]
async fn line_21_signed_attributes_are_a_sorted_set_signed_under_tag_31() {
    let tsa = Tsa::new();
    let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
    let signer = token.data.signer_infos.to_vec()[0].clone();
    let attributes = signer.signed_attrs.unwrap();
    let set = rasn::der::encode(&attributes).unwrap();
    assert_eq!(set[0], 0x31);
    assert!(token.der.windows(set.len() - 1).any(|w| w == &set[1..]), "the same order as a DER encoder's");
    let signed = tsa.events.lock().unwrap().last().cloned();
    assert_eq!(signed, Some(Event::Signed(*Digest::of(&set).as_bytes())));
    assert_eq!(tsa.records()[0].1["tbs_sha256"], Digest::of(&set).to_string());
    let value = |arcs: &[u32]| {
        let all = attributes.to_vec();
        let one = all.iter().find(|a| &*a.r#type == arcs).unwrap();
        assert_eq!(one.values.len(), 1);
        one.values.to_vec()[0].as_bytes().to_vec()
    };
    assert_eq!(attributes.len(), 3);
    assert_eq!(
        value(&[1, 2, 840, 113549, 1, 9, 3]),
        rasn::der::encode(&rasn::types::ObjectIdentifier::from(Oid::new(TST_INFO_OID).unwrap())).unwrap()
    );
    let digest = [&[4, 32][..], Digest::of(&token.tst_der).as_bytes()].concat();
    assert_eq!(value(&[1, 2, 840, 113549, 1, 9, 4]), digest);
}

#[tokio::test]
async fn line_22_and_23_the_second_ess_form_names_the_unit_without_an_algorithm() {
    let tsa = Tsa::new();
    let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
    let hash = Digest::of(&tsa.hierarchy.der("unit"));
    // SigningCertificateV2 { certs { ESSCertIDv2 { certHash } } }: three SEQUENCEs and an OCTET STRING.
    let value = [&[0x30, 0x26, 0x30, 0x24, 0x30, 0x22, 0x04, 0x20][..], hash.as_bytes()].concat();
    let signer = token.data.signer_infos.to_vec()[0].clone();
    let attributes = signer.signed_attrs.unwrap();
    let all = attributes.to_vec();
    let ess = all.iter().find(|a| *a.r#type == [1, 2, 840, 113549, 1, 9, 16, 2, 47][..]).unwrap();
    assert_eq!(ess.values.to_vec()[0].as_bytes(), value);
}

#[tokio::test]
async fn line_24_algorithms_have_no_parameters() {
    let token = decode(&Tsa::new().ask(&changed(|_| ())).await.reply);
    let signer = token.data.signer_infos.to_vec()[0].clone();
    assert_eq!(&*signer.signature_algorithm.algorithm, &[1, 2, 840, 10045, 4, 3, 2]);
    assert_eq!(signer.signature_algorithm.parameters, None);
    let digests = token.data.digest_algorithms.to_vec();
    assert_eq!(digests, [&signer.digest_algorithm]);
    assert_eq!(&*signer.digest_algorithm.algorithm, &[2, 16, 840, 1, 101, 3, 4, 2, 1]);
    assert_eq!(signer.digest_algorithm.parameters, None);
}

#[tokio::test]
async fn line_25_certificates_stand_in_der_set_order() {
    let tsa = Tsa::new();
    let token = decode(&tsa.ask(&changed(|_| ())).await.reply);
    let mut certificates = [tsa.hierarchy.der("unit"), tsa.hierarchy.der("issuing")];
    certificates.sort();
    let set = certificates.concat();
    assert!(token.der.windows(set.len()).any(|w| w == set), "both certificates, sorted, side by side");
    for certificate in token.data.certificates.unwrap().to_vec() {
        assert!(matches!(certificate, CertificateChoices::Certificate(_)));
    }
}

#[tokio::test]
async fn line_26_a_unit_certificate_is_for_timestamps_alone() {
    let hierarchy = Hierarchy::new();
    for (extensions, why) in [
        ("extendedKeyUsage=timeStamping", "extendedKeyUsage is not critical"),
        ("extendedKeyUsage=critical,timeStamping,clientAuth", "extendedKeyUsage is not timeStamping alone"),
        ("extendedKeyUsage=critical,clientAuth", "extendedKeyUsage is not timeStamping alone"),
        ("keyUsage=digitalSignature", "extendedKeyUsage is missing"),
        (
            "extendedKeyUsage=critical,timeStamping\nkeyUsage=digitalSignature,keyEncipherment",
            "keyUsage allows more than signing",
        ),
        (
            "extendedKeyUsage=critical,timeStamping\nbasicConstraints=CA:TRUE",
            "it is a certification authority",
        ),
        (
            "extendedKeyUsage=critical,timeStamping\n1.2.3.4=critical,DER:0500",
            "it has a critical extension that is not known",
        ),
    ] {
        hierarchy.certify("unit", "issuing", extensions, 365);
        let error = authority_of(&hierarchy, hierarchy.parts()).err().unwrap().to_string();
        assert!(error.ends_with(why), "{error}");
    }
    hierarchy.certify("unit", "issuing", UNIT_EXTENSIONS, 365);
    authority_of(&hierarchy, hierarchy.parts()).map(|_| ()).unwrap();
}

#[tokio::test]
async fn openssl_asks_and_openssl_is_content() {
    let tsa = Tsa::new();
    let data = tsa.hierarchy.write("data", b"a register's record");
    let file = tsa.hierarchy.text("asked.tsq");
    for hash in ["-sha256", "-sha384", "-sha512", "-sha3-256", "-sha3-384", "-sha3-512"] {
        for more in [&["-cert"][..], &["-no_nonce"], &["-tspolicy", OTHER_POLICY, "-cert"]] {
            let command = [&["ts", "-query", "-data", &data, hash, "-out", &file], more].concat();
            openssl(&command).unwrap();
            let asked = std::fs::read(&file).unwrap();
            assert_eq!(TimestampRequest::parse(&asked).unwrap().to_der(), asked);
            let answer = tsa.ask(&asked).await;
            let said = tsa.openssl_verifies(&answer.reply, &asked).unwrap();
            assert!(said.contains("Verification: OK"), "{said}");
        }
    }
    let text = tsa.openssl_text(&tsa.ask(&query(Hash::Sha256, &IMPRINT, None, true)).await.reply);
    assert!(
        text.contains("Status: Granted.") && text.contains("Accuracy: unspecified seconds, 0x0A millis"),
        "{text}"
    );
}

#[tokio::test]
async fn openssl_cms_verifies_the_bare_token() {
    let tsa = Tsa::new();
    let reply = tsa.hierarchy.write("r.tsr", &tsa.ask(&changed(|_| ())).await.reply);
    let (token, root) = (tsa.hierarchy.text("t.der"), tsa.hierarchy.text("root.pem"));
    openssl(&["ts", "-reply", "-in", &reply, "-token_out", "-out", &token]).unwrap();
    let out = tsa.hierarchy.text("tst");
    openssl(&[
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        &token,
        "-CAfile",
        &root,
        "-purpose",
        "timestampsign",
        "-out",
        &out,
    ])
    .unwrap();
    assert_eq!(std::fs::read(out).unwrap(), decode(&std::fs::read(reply).unwrap()).tst_der);
}

#[test]
fn every_stored_query_is_judged_as_its_name_says() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/tsq");
    let mut judged = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let verdict = match TimestampRequest::parse(&bytes) {
            Ok(request) => {
                assert_eq!(request.to_der(), bytes);
                "good"
            }
            Err(why) => why.fail.word(),
        };
        assert_eq!(name.split('-').next(), Some(verdict), "{name}");
        judged += 1;
    }
    assert!(judged >= 15, "{judged}");
}
