//! A key gives itself up: format and effect (`docs/formats/compromise.md`), with openssl as the holder.

#[allow(dead_code)] // not all of it is used here
#[path = "certificate/fixture.rs"]
mod fixture;

use fixture::{Device, NOW, Office, at, openssl};
use pechat::access::{Identity, Role};
use pechat::certificate::{
    Application, CertificateError, CertificateRecord, Reason, RequestState, Statement,
};
use pechat::institution::Environment;

struct Case {
    office: Office,
    ana: Identity,
    key: std::path::PathBuf,
    record: CertificateRecord,
}

impl Case {
    async fn new() -> Self {
        let (office, ana, _) = Office::open().await;
        let key = office.new_key();
        let application = application(&office, &key, "registry-1");
        let record = office.submit(application, &ana).await.unwrap().1.unwrap();
        Self { office, ana, key, record }
    }

    fn signed(&self, statement: Statement, key: &std::path::Path) -> Vec<u8> {
        let text = self.office.file("statement.txt", statement.to_string().as_bytes());
        openssl(&["dgst", "-sha256", "-sign", key.to_str().unwrap(), &text])
    }

    async fn report(&self, statement: Statement) -> Result<pechat::certificate::Revoked, CertificateError> {
        let signature = self.signed(statement, &self.key);
        self.office.issuer.compromised(statement, signature, Some(at(NOW + 60))).await
    }
}

fn application(office: &Office, key: &std::path::Path, name: &str) -> Application {
    let csr = office.csr(key);
    let made = office.application("agency", Environment::Test, Role::RegistryService, name);
    Application { csr, ..made }
}

#[tokio::test]
async fn a_key_has_every_certificate_of_its_own_revoked_without_an_officer() {
    let case = Case::new().await;
    let again = application(&case.office, &case.key, "registry-1");
    let second = case.office.submit(again, &case.ana).await.unwrap().1.unwrap();
    case.office
        .issuer
        .revoke(second.serial, Reason::CertificateHold, &case.ana, Some(at(NOW)))
        .await
        .unwrap();
    let other = case.office.test_certificate(&case.ana, "registry-2").await;
    case.office.history.lock().unwrap().clear();
    let statement = Statement { serial: case.record.serial, since: Some(NOW - 1000) };
    let revoked = case.report(statement).await.unwrap();
    let revocation = revoked.certificate.revocation.clone().unwrap();
    assert_eq!((revocation.reason, revocation.time), (Reason::KeyCompromise, NOW + 60));
    assert_eq!((revocation.invalid_since, revocation.by.as_str()), (Some(NOW), "holder of the key"));
    let of = |serial| case.office.issuer.certificate(serial);
    assert_eq!(of(second.serial).await.unwrap().revocation.unwrap().reason, Reason::KeyCompromise);
    assert_eq!(of(other.serial).await.unwrap().revocation, None);
    let history = case.office.history.lock().unwrap().clone();
    assert_eq!(history[0]["event"], "compromise");
    assert_eq!(history[0]["statement"], statement.to_string());
    assert_eq!(
        (&history[1]["event"], &history[1]["by"]),
        (&"revocation".into(), &"holder of the key".into())
    );
    let before = case.office.events().len();
    assert_eq!(case.report(statement).await.unwrap().certificate, of(case.record.serial).await.unwrap());
    assert_eq!(case.office.events().len(), before, "the same once more changes nothing");
    let reused = application(&case.office, &case.key, "registry-1");
    let refused = case.office.submit(reused, &case.ana).await.unwrap_err();
    assert!(matches!(refused, CertificateError::KeyCompromised(_)), "{refused}");
}

#[tokio::test]
async fn another_keys_word_another_text_and_the_appliances_own_are_not_taken() {
    let case = Case::new().await;
    let statement = Statement { serial: case.record.serial, since: None };
    let stranger = case.office.new_key();
    let by_stranger = case.signed(statement, &stranger);
    let over_other = case.signed(Statement { since: Some(NOW), ..statement }, &case.key);
    for signature in [by_stranger, over_other, vec![], vec![0x30, 0]] {
        let refused = case.office.issuer.compromised(statement, signature, Some(at(NOW))).await.unwrap_err();
        assert!(matches!(refused, CertificateError::NotTheHolder(_)), "{refused}");
    }
    let own = case.office.issuer.certificates().await.unwrap();
    let own = own.iter().find(|c| c.name == "ocsp-test").unwrap().serial;
    let refused = case.report(Statement { serial: own, since: None }).await.unwrap_err();
    assert!(matches!(refused, CertificateError::UnknownCertificate(_)), "{refused}");
    assert_eq!(case.office.issuer.certificate(case.record.serial).await.unwrap().revocation, None);
}

#[tokio::test]
async fn a_request_that_waits_with_the_key_is_refused_and_a_dead_hsm_delays_only_the_list() {
    let (office, ana, boris) = Office::open().await;
    let key = office.new_key();
    let made = |csr| Application {
        csr,
        ..office.application("agency", Environment::Production, Role::RegistryService, "registry-1")
    };
    let (request, _) = office.submit(made(office.csr(&key)), &ana).await.unwrap();
    for officer in [&ana, &boris] {
        office.agree(&request, officer).await.unwrap();
    }
    let record = office.issuer.certificate(request.serial).await.unwrap();
    let (waiting, _) = office.submit(made(office.csr(&key)), &ana).await.unwrap();
    let case = Case { office, ana, key, record };
    *case.office.device.lock().unwrap() = Device::Refuses;
    let revoked = case.report(Statement { serial: case.record.serial, since: None }).await.unwrap();
    assert!(revoked.list.is_err());
    assert!(case.office.identity(&case.record).revoked, "out of force at once");
    let waiting = case.office.issuer.request(&waiting.id).await.unwrap().0;
    assert_eq!(
        (waiting.state, waiting.reason.unwrap().contains("compromised")),
        (RequestState::Refused, true)
    );
}
