//! OCSP against lines 26 to 35 of the certificates' checklist; `rasn-ocsp` asks and reads.

#[path = "ocsp/ask.rs"]
mod ask;
#[allow(dead_code)] // not all of it is used here
#[path = "certificate/fixture.rs"]
mod fixture;

use std::time::{Duration, Instant};

use ask::{
    EXTENDED_REVOKE, Form, NONCE, Told, USUAL, extended, id, nonce_extension, refusal, request, stranger,
};
use fixture::{Device, NOW, Office, at, openssl};
use pechat::access::Identity;
use pechat::certificate::ocsp::{LIFETIME, MAX_QUESTIONS, OcspAnswer, OcspRequest};
use pechat::certificate::{CertificateRecord, Reason};
use rasn::types::ObjectIdentifier;
use rasn_ocsp::{CertId, OcspResponseStatus};
use rasn_pkix::Extension;

struct Case {
    office: Office,
    ana: Identity,
    /// The test CA's certificate, DER.
    ca: Vec<u8>,
    record: CertificateRecord,
}

impl Case {
    async fn new() -> Self {
        let (office, ana, _) = Office::open().await;
        let record = office.test_certificate(&ana, "registry-1").await;
        let ca = office.issuer.ca_certificate("ca-test").unwrap();
        Self { office, ana, ca, record }
    }

    fn id(&self) -> CertId {
        id(&self.ca, self.record.serial.as_bytes(), USUAL)
    }

    async fn ask(&self, request: &[u8]) -> OcspAnswer {
        self.office.issuer.ocsp(request, Some(at(NOW)), Instant::now()).await
    }

    async fn told(&self, request: &[u8]) -> Told {
        Told::read(&self.ask(request).await.der, &self.ca)
    }

    async fn refused(&self, request: &[u8]) -> OcspResponseStatus {
        let answer = self.ask(request).await;
        assert_eq!(answer.cacheable, None);
        refusal(&answer.der)
    }

    fn signatures(&self) -> usize {
        self.office.events().iter().filter(|e| *e == "signature ocsp-test").count()
    }
}

#[tokio::test]
async fn line_27_every_refusal_is_a_response_without_response_bytes() {
    let case = Case::new().await;
    assert_eq!(case.ask(b"").await.der[..], [0x30, 3, 0x0A, 1, 1]);
    assert_eq!(case.refused(b"").await, OcspResponseStatus::MalformedRequest);
}

#[tokio::test]
async fn line_28_each_obstacle_has_its_status() {
    let case = Case::new().await;
    let good = request(vec![case.id()], None);
    let trailing = [&good[..], b"\0"].concat();
    for malformed in [&good[1..], &good[..good.len() - 1], &trailing, b"\x30\x80\0\0", &request(vec![], None)]
    {
        assert_eq!(case.refused(malformed).await, OcspResponseStatus::MalformedRequest, "{malformed:02x?}");
    }
    let unknown = |critical| Extension {
        extn_id: ObjectIdentifier::new(vec![1, 2, 3]).unwrap(),
        critical,
        extn_value: vec![5, 0].into(),
    };
    let critical = extended(vec![case.id()], vec![unknown(true)]);
    assert_eq!(case.refused(&critical).await, OcspResponseStatus::MalformedRequest);
    assert_eq!(case.told(&extended(vec![case.id()], vec![unknown(false)])).await.said(), [None]);

    let root = case.office.issuer.ca_certificate("root-ca").unwrap();
    let other = case.office.issuer.ca_certificate("ca-production").unwrap();
    let serial = case.record.serial.as_bytes();
    let foreign = request(vec![id(&root, serial, USUAL)], None);
    assert_eq!(case.refused(&foreign).await, OcspResponseStatus::Unauthorized);
    let mixed = request(vec![case.id(), id(&other, serial, USUAL)], None);
    assert_eq!(case.refused(&mixed).await, OcspResponseStatus::Unauthorized, "one signature, one CA");
    let mut sha512 = case.id();
    sha512.hash_algorithm.algorithm = ObjectIdentifier::new(vec![2, 16, 840, 1, 101, 3, 4, 2, 3]).unwrap();
    assert_eq!(case.refused(&request(vec![sha512], None)).await, OcspResponseStatus::Unauthorized);

    *case.office.device.lock().unwrap() = Device::Refuses;
    let fresh = request(vec![case.id()], Some(&[1; 16]));
    assert_eq!(case.refused(&fresh).await, OcspResponseStatus::TryLater);
    assert_eq!(case.told(&good).await.said(), [None], "signed ahead: it needs no HSM");
}

#[tokio::test]
async fn line_29_both_hashes_are_taken_and_the_id_comes_back_as_it_was_asked() {
    let case = Case::new().await;
    for (sha256, null) in [(false, true), (false, false), (true, true), (true, false)] {
        let asked = id(&case.ca, case.record.serial.as_bytes(), Form { sha256, null });
        for _ in 0..2 {
            let told = case.told(&request(vec![asked.clone()], None)).await;
            assert_eq!((told.ids(), told.said()), (vec![asked.clone()], vec![None]));
        }
    }
    assert_eq!(case.signatures(), 4, "each form is signed once");
}

#[tokio::test]
async fn line_30_a_serial_that_was_never_issued_is_revoked_since_1970_and_never_kept() {
    let case = Case::new().await;
    let production = case.office.production_request(&case.ana, "registry-2").await;
    let of_other_ca = id(
        &case.office.issuer.ca_certificate("ca-production").unwrap(),
        case.record.serial.as_bytes(),
        USUAL,
    );
    for serial in [&stranger().as_bytes()[..], &[1], &[0], &[0x7F; 30]] {
        let answer = case.ask(&request(vec![id(&case.ca, serial, USUAL)], None)).await;
        assert_eq!(answer.cacheable, None);
        let told = Told::read(&answer.der, &case.ca);
        assert_eq!(told.said(), [Some((0, Some(6)))], "{serial:02x?}");
        assert_eq!(told.extension(EXTENDED_REVOKE), Some(vec![5, 0]));
    }
    let other = case.office.issuer.ca_certificate("ca-production").unwrap();
    for question in [of_other_ca, id(&other, production.serial.as_bytes(), USUAL)] {
        let answer = case.ask(&request(vec![question], None)).await;
        assert_eq!(
            Told::read(&answer.der, &other).said(),
            [Some((0, Some(6)))],
            "not of this CA, or only frozen"
        );
    }
    let told = case.told(&request(vec![case.id()], None)).await;
    assert_eq!((told.said(), told.extension(EXTENDED_REVOKE)), (vec![None], None));
}

#[tokio::test]
async fn line_31_a_nonce_of_1_to_32_octets_comes_back_and_is_signed_afresh() {
    let case = Case::new().await;
    for length in [1, 15, 16, 31, 32] {
        let nonce = vec![0xA5; length];
        let answer = case.ask(&request(vec![case.id()], Some(&nonce))).await;
        assert_eq!(answer.cacheable, None, "{length}");
        let told = Told::read(&answer.der, &case.ca);
        let wrapped = [&[4, length as u8][..], &nonce].concat();
        assert_eq!((told.extension(NONCE), told.said()), (Some(wrapped), vec![None]));
    }
    assert_eq!(case.signatures(), 5);
    for length in [33, 128] {
        let told = case.told(&request(vec![case.id()], Some(&vec![0; length]))).await;
        assert_eq!((told.extension(NONCE), told.said()), (None, vec![None]), "{length}");
    }
    for length in [0, 129, 300] {
        let refused = case.refused(&request(vec![case.id()], Some(&vec![0; length]))).await;
        assert_eq!(refused, OcspResponseStatus::MalformedRequest, "{length}");
    }
    let twice = extended(vec![case.id()], vec![nonce_extension(&[1; 16]), nonce_extension(&[1; 16])]);
    assert_eq!(case.refused(&twice).await, OcspResponseStatus::MalformedRequest);
}

#[tokio::test]
async fn line_32_and_61_the_delegate_is_for_answers_alone_for_days_and_renewed_by_the_ca() {
    let case = Case::new().await;
    let first = case.told(&request(vec![case.id()], None)).await.delegate;
    let file = case.office.file("delegate.der", &first);
    let text =
        String::from_utf8(openssl(&["x509", "-in", &file, "-inform", "DER", "-noout", "-text"])).unwrap();
    for said in [
        "Extended Key Usage: \n                OCSP Signing\n",
        "OCSP No Check",
        "Key Usage: critical\n                Digital Signature\n",
    ] {
        assert!(text.contains(said), "{said:?} in {text}");
    }
    assert!(!text.contains("OCSP - URI"), "{text}");
    let leaf = case.office.file("leaf.der", &case.record.der);
    let text =
        String::from_utf8(openssl(&["x509", "-in", &leaf, "-inform", "DER", "-noout", "-text"])).unwrap();
    assert!(text.contains("OCSP - URI:http://seal.example.gov/ocsp\n"), "{text}");

    const DAY: i64 = 86_400;
    let issuer = &case.office.issuer;
    assert_eq!(issuer.renew_responders(at(NOW + 6 * DAY)).await.unwrap(), 0);
    case.office.history.lock().unwrap().clear();
    assert_eq!(issuer.renew_responders(at(NOW + 8 * DAY)).await.unwrap(), 3);
    let events = case.office.events();
    for (number, ca) in ["test", "integration", "production"].into_iter().enumerate() {
        let signature = format!("signature ca-{ca}");
        let place = events.iter().position(|e| *e == signature).unwrap();
        assert_eq!(
            events[place - 1..=place + 1],
            ["responder-intent", &signature, "responder-issued"],
            "{number}"
        );
    }
    let fresh = request(vec![case.id()], Some(&[7; 16]));
    let answer = |issuer: pechat::certificate::Issuer| {
        let fresh = fresh.clone();
        async move { issuer.ocsp(&fresh, Some(at(NOW + 8 * DAY)), Instant::now()).await.der }
    };
    let second = Told::read(&answer(issuer.clone()).await, &case.ca).delegate;
    assert_ne!(first, second);
    let restarted = Told::read(&answer(case.office.reopened()).await, &case.ca).delegate;
    assert_eq!(second, restarted, "the newest certificate is found again");
    let late = issuer.ocsp(&fresh, Some(at(NOW + 30 * DAY)), Instant::now()).await;
    assert_eq!(refusal(&late.der), OcspResponseStatus::TryLater, "its certificate has expired");
}

#[tokio::test]
async fn line_33_an_answer_signed_ahead_is_renewed_at_half_of_its_life_and_never_shown_beyond_it() {
    let case = Case::new().await;
    let issuer = &case.office.issuer;
    // The certificates of officers and responders have answers, too.
    let signed = issuer.refresh_answers(at(NOW)).await.unwrap();
    assert!(case.signatures() > 0);
    assert_eq!(issuer.refresh_answers(at(NOW + LIFETIME / 2 - 1)).await.unwrap(), 0);
    let asked = request(vec![case.id()], None);
    let before = case.signatures();
    let early = issuer.ocsp(&asked, Some(at(NOW + LIFETIME / 2)), Instant::now()).await;
    assert_eq!((early.cacheable.unwrap().this_update, case.signatures()), (NOW, before));
    assert_eq!(issuer.refresh_answers(at(NOW + LIFETIME / 2)).await.unwrap(), signed);
    let renewed = issuer.ocsp(&asked, Some(at(NOW + LIFETIME / 2)), Instant::now()).await;
    let window = renewed.cacheable.unwrap();
    assert_eq!((window.this_update, window.next_update), (NOW + LIFETIME / 2, NOW + LIFETIME / 2 + LIFETIME));
    let later = NOW + 3 * LIFETIME;
    let answer = issuer.ocsp(&asked, Some(at(later)), Instant::now()).await;
    assert_eq!(Told::read(&answer.der, &case.ca).produced_at, later, "an old one is not shown");
    let back = issuer.ocsp(&asked, Some(at(NOW)), Instant::now()).await;
    assert_eq!(Told::read(&back.der, &case.ca).produced_at, NOW, "nor one from the future");
}

#[tokio::test]
async fn line_34_whoever_asks_after_a_revocation_returned_is_told_with_time_and_reason() {
    let case = Case::new().await;
    let asked = request(vec![case.id()], None);
    assert_eq!(case.told(&asked).await.said(), [None]);
    let revoked =
        case.office.issuer.revoke(case.record.serial, Reason::KeyCompromise, &case.ana, Some(at(NOW - 5)));
    revoked.await.unwrap();
    for request in [asked, request(vec![case.id()], Some(&[9; 32]))] {
        assert_eq!(case.told(&request).await.said(), [Some((NOW - 5, Some(1)))]);
    }
}

#[tokio::test]
async fn an_answer_that_the_hsm_was_signing_during_a_revocation_is_not_told_afterwards() {
    let case = Case::new().await;
    let asked = request(vec![case.id()], None);
    *case.office.device.lock().unwrap() = Device::Hangs;
    let (issuer, question) = (case.office.issuer.clone(), asked.clone());
    let begun = Instant::now();
    let hanging = tokio::spawn(async move { issuer.ocsp(&question, Some(at(NOW)), begun).await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    *case.office.device.lock().unwrap() = Device::Signs;
    case.office
        .issuer
        .revoke(case.record.serial, Reason::Superseded, &case.ana, Some(at(NOW)))
        .await
        .unwrap();
    assert_eq!(case.told(&asked).await.said(), [Some((NOW, Some(4)))]);
    hanging.abort();
}

#[tokio::test]
async fn line_35_questions_are_answered_together_up_to_a_cap() {
    let case = Case::new().await;
    let second = case.office.test_certificate(&case.ana, "registry-2").await;
    case.office.issuer.revoke(second.serial, Reason::Unspecified, &case.ana, Some(at(NOW))).await.unwrap();
    let ids = vec![
        case.id(),
        id(&case.ca, second.serial.as_bytes(), Form { sha256: true, null: false }),
        id(&case.ca, stranger().as_bytes(), USUAL),
    ];
    let told = case.told(&request(ids.clone(), Some(&[3; 16]))).await;
    assert_eq!(told.ids(), ids);
    assert_eq!(told.said(), [None, Some((NOW, None)), Some((0, Some(6)))]);
    let many = |n| request(vec![case.id(); n], None);
    assert_eq!(case.told(&many(MAX_QUESTIONS)).await.said().len(), MAX_QUESTIONS);
    assert_eq!(case.refused(&many(MAX_QUESTIONS + 1)).await, OcspResponseStatus::MalformedRequest);
}

#[tokio::test]
async fn line_35_fresh_signatures_are_rationed_and_answers_signed_ahead_are_not() {
    let case = Case::new().await;
    let (plain, fresh) = (request(vec![case.id()], None), request(vec![case.id()], Some(&[1; 16])));
    case.told(&plain).await;
    let moment = Instant::now();
    let mut later = 0;
    for _ in 0..250 {
        let answer = case.office.issuer.ocsp(&fresh, Some(at(NOW)), moment).await;
        later += usize::from(answer.der.len() == 5 && refusal(&answer.der) == OcspResponseStatus::TryLater);
    }
    assert!((50..=51).contains(&later), "{later}");
    let answer = case.office.issuer.ocsp(&plain, Some(at(NOW)), moment).await;
    assert_eq!(Told::read(&answer.der, &case.ca).said(), [None]);
}

#[test]
fn a_request_of_openssl_is_read_with_its_nonce() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (key, ca, out) = (path("ca.key"), path("ca.pem"), path("request.der"));
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=CA",
        "-keyout",
        &key,
        "-out",
        &ca,
    ]);
    openssl(&["ocsp", "-issuer", &ca, "-serial", "0x1234", "-sha256", "-serial", "0x80", "-reqout", &out]);
    let bytes = std::fs::read(out).unwrap();
    let read = OcspRequest::parse(&bytes).unwrap();
    let serials: Vec<_> = read.questions.iter().map(|q| q.serial).collect();
    assert_eq!(serials, [&[0x12, 0x34][..], &[0, 0x80]]);
    assert_eq!(read.nonce.map(<[u8]>::len), Some(16));
}
