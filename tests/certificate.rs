//! Certificates from request to revocation, with OpenSSL as the stranger who reads them.

#[path = "certificate/api.rs"]
mod api;
#[path = "certificate/fixture.rs"]
mod fixture;
#[allow(dead_code)]
mod pki;
#[allow(dead_code)]
mod service;
#[allow(dead_code)]
mod wire;

use fixture::{Device, NOW, Office, URL, at, id, label, openssl, openssl_says, subject};
use pechat::access::{Identity, Role};
use pechat::certificate::{
    Application, CertificateError as E, Reason, RequestState, ceremony, pem, pem_chain, pkcs7,
};
use pechat::digest::Digest;
use pechat::institution::{Clause, Environment};

const DAY: i64 = 86_400;

fn said(result: Result<impl std::fmt::Debug, E>) -> String {
    result.expect_err("it was allowed").to_string()
}

fn verify(
    office: &Office,
    environment: Environment,
    pem_text: &str,
    more: &[&str],
    when: i64,
) -> (bool, String) {
    let (root, ca) = office.ca_files(environment);
    let leaf = office.file("leaf.pem", pem_text.as_bytes());
    let when = when.to_string();
    let mut arguments = vec!["verify", "-x509_strict", "-attime", &when, "-CAfile", &root, "-untrusted", &ca];
    arguments.extend(more);
    arguments.push(&leaf);
    let (worked, _, text) = openssl_says(&arguments);
    (worked, text)
}

fn dump(office: &Office, pem_text: &str) -> String {
    let leaf = office.file("leaf.pem", pem_text.as_bytes());
    String::from_utf8(openssl(&["x509", "-in", &leaf, "-noout", "-text"])).unwrap()
}

#[tokio::test]
async fn a_service_certificate_is_what_its_profile_says_to_a_stranger() {
    let (office, ana, _) = Office::open().await;
    let record = office.test_certificate(&ana, "registry-1").await;
    let leaf = pem(&record.der);
    for purpose in ["sslclient", "sslserver"] {
        let host = ["-purpose", purpose, "-verify_hostname", "registry-1.agency.example"];
        assert!(verify(&office, Environment::Test, &leaf, &host, NOW).0, "{purpose}");
    }
    let text = dump(&office, &leaf);
    for line in [
        "Version: 3 (0x2)",
        "Issuer: C = BG, O = Operator, CN = test CA",
        "Subject: C = BG, O = Agency, CN = registry-1.agency.example",
        "X509v3 Basic Constraints: critical\n                CA:FALSE",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: \n                TLS Web Client Authentication, TLS Web Server Authentication",
        "X509v3 Subject Alternative Name: \n                DNS:registry-1.agency.example\n",
        "URI:http://seal.example.gov/ca/ca-test.cer",
        "URI:http://seal.example.gov/crl/ca-test.crl",
        "Policy: 1.3.6.1.4.1.32473.1",
        "Not Before: Jan 15 08:00:00 2027 GMT",
        "Not After : Apr 15 07:59:59 2027 GMT",
        "Signature Algorithm: ecdsa-with-SHA256",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert_eq!(record.serial.as_bytes().len(), 20);
    assert!(!verify(&office, Environment::Test, &leaf, &[], NOW + 90 * DAY).0);
}

#[tokio::test]
async fn a_test_certificate_fails_where_real_data_is_by_chain_and_by_policy() {
    let (office, ana, _) = Office::open().await;
    let leaf = pem(&office.test_certificate(&ana, "registry-1").await.der);
    assert!(!verify(&office, Environment::Production, &leaf, &[], NOW).0);
    let policy = |oid| ["-policy_check", "-explicit_policy", "-policy", oid];
    assert!(verify(&office, Environment::Test, &leaf, &policy("1.3.6.1.4.1.32473.1"), NOW).0);
    assert!(!verify(&office, Environment::Test, &leaf, &policy("0.4.0.2042.1.1"), NOW).0);
    // And it is nobody on this appliance: it took one officer only.
    assert_eq!(
        office.directory.find(&Digest::of(&office.issuer.certificates().await.unwrap()[0].der)).is_some(),
        { office.issuer.certificates().await.unwrap()[0].environment == Some(Environment::Production) }
    );
}

#[tokio::test]
async fn time_stamping_and_listener_certificates_serve_their_one_purpose() {
    let office = Office::bare(NOW).await;
    let made =
        ceremony::tsu(&office.keys, &office.root, &label("tsu-1"), &subject("TSU 1"), URL, at(NOW)).await;
    let tsu = pem(&made.unwrap());
    assert!(verify(&office, Environment::Test, &tsu, &["-purpose", "timestampsign"], NOW).0);
    assert!(!verify(&office, Environment::Test, &tsu, &["-purpose", "sslclient"], NOW).0);
    let text = dump(&office, &tsu);
    assert!(text.contains("X509v3 Extended Key Usage: critical\n                Time Stamping\n"), "{text}");
    assert!(text.contains("X509v3 Private Key Usage Period: "), "{text}");
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let ca = &office.cas[2].1;
    let csr = office.csr(&office.new_key());
    let made = ceremony::server(&office.keys, ca, &csr, &hosts, &subject("localhost"), URL, at(NOW)).await;
    let server = pem(&made.unwrap());
    for name in [["-verify_hostname", "localhost"], ["-verify_ip", "127.0.0.1"]] {
        assert!(
            verify(
                &office,
                Environment::Production,
                &server,
                &[&["-purpose", "sslserver"][..], &name].concat(),
                NOW
            )
            .0
        );
    }
    assert!(!verify(&office, Environment::Production, &server, &["-purpose", "sslclient"], NOW).0);
}

#[tokio::test]
async fn an_issuing_ca_cannot_certify_a_ca_and_nothing_outlives_its_issuer() {
    let office = Office::bare(NOW).await;
    let text = dump(&office, &pem(&office.cas[0].1.certificate));
    assert!(text.contains("CA:TRUE, pathlen:0"), "{text}");
    assert!(
        text.contains("X509v3 Key Usage: critical\n                Certificate Sign, CRL Sign\n"),
        "{text}"
    );
    // Nine and a half years on, two years would reach beyond the CA's ten.
    let late = NOW + 10 * 365 * DAY - 100 * DAY;
    let application =
        office.application("operator", Environment::Production, Role::ControlAdministrator, "ana");
    let ana = office.issuer.import_identity(application, at(late)).await.unwrap();
    assert_eq!(ana.not_after, NOW + 10 * 365 * DAY - 1);
    let application =
        office.application("operator", Environment::Production, Role::ControlAdministrator, "boris");
    assert!(
        said(office.issuer.import_identity(application.clone(), at(NOW - 1)).await)
            .contains("outside the issuing")
    );
    let over = office.issuer.import_identity(application, at(NOW + 10 * 365 * DAY)).await;
    assert!(said(over).contains("outside the issuing"));
}

#[tokio::test]
async fn dates_are_utc_time_to_2049_and_generalized_time_from_2050() {
    // 2048-06-01: two years on it is 2050.
    let now = 2_474_841_600;
    let office = Office::bare(now).await;
    let application =
        office.application("operator", Environment::Production, Role::ControlAdministrator, "ana");
    let ana = office.issuer.import_identity(application, at(now)).await.unwrap();
    let leaf = office.file("leaf.pem", pem(&ana.der).as_bytes());
    let parsed = String::from_utf8(openssl(&["asn1parse", "-in", &leaf])).unwrap();
    assert!(parsed.contains("UTCTIME           :480604000000Z"), "{parsed}");
    assert!(parsed.contains("GENERALIZEDTIME   :20500603235959Z"), "{parsed}");
}

#[tokio::test]
async fn the_chain_stands_in_order_as_pem_and_as_pkcs7() {
    let (office, ana, _) = Office::open().await;
    let record = office.test_certificate(&ana, "registry-1").await;
    let chain = office.issuer.chain(&record);
    let parts: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let p7 = office.file("chain.p7", &pkcs7(&parts).unwrap());
    let printed = openssl(&["pkcs7", "-inform", "DER", "-in", &p7, "-print_certs", "-noout"]);
    let printed = String::from_utf8(printed).unwrap();
    let order: Vec<_> = printed.lines().filter(|l| l.starts_with("subject")).collect();
    let expected = [
        "subject=C = BG, O = Agency, CN = registry-1.agency.example",
        "subject=C = BG, O = Operator, CN = test CA",
        "subject=C = BG, O = Operator, CN = Root CA",
    ];
    assert_eq!(order, expected);
    let blocks = openssl(&["pkcs7", "-inform", "DER", "-in", &p7, "-print_certs"]);
    let blocks: String =
        String::from_utf8(blocks).unwrap().lines().filter(|l| !l.contains('=') || l.len() == 64).collect();
    let ours: String = pem_chain(&parts).lines().filter(|l| !l.contains('=') || l.len() == 64).collect();
    assert_eq!(blocks, ours);
    let cms = openssl_says(&["cms", "-cmsout", "-print", "-inform", "DER", "-in", &p7, "-noout"]);
    assert!(cms.0, "{}", cms.2);
}

#[tokio::test]
async fn a_test_certificate_takes_one_officer_and_is_recorded_before_and_after_its_signature() {
    let (office, ana, _) = Office::open().await;
    let record = office.test_certificate(&ana, "registry-1").await;
    assert_eq!(office.events(), ["request", "intent", "signature ca-test", "issued"]);
    let history = office.history.lock().unwrap();
    assert_eq!(history[1]["serial"], record.serial.to_string());
    assert_eq!(history[1]["approved_by"][0], "operator/ana");
    assert_eq!(history[3]["certificate_sha256"], Digest::of(&record.der).to_string());
}

#[tokio::test]
async fn a_production_certificate_takes_two_officers_and_is_exactly_the_bytes_they_agreed_to() {
    let (office, ana, boris) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    assert_eq!(request.state, RequestState::Awaiting);
    assert_eq!(office.events(), ["request"], "entering it is not agreeing to it");
    let (awaiting, none) = office.agree(&request, &ana).await.unwrap();
    assert_eq!((awaiting.state, none), (RequestState::Awaiting, None));
    let (issued, certificate) = office.agree(&request, &boris).await.unwrap();
    let certificate = certificate.unwrap();
    assert_eq!(issued.state, RequestState::Issued);
    let expected = ["request", "agree", "agree", "intent", "signature ca-production", "issued"];
    assert_eq!(office.events(), expected);
    assert!(certificate.der.windows(request.tbs.len()).any(|w| w == request.tbs));
    assert!(verify(&office, Environment::Production, &pem(&certificate.der), &[], NOW).0);
    let service = office.identity(&certificate);
    assert_eq!(
        (service.role, service.institution, service.name),
        (Role::RegistryService, id("agency"), "registry-1".into())
    );
    // Spent: nobody agrees to it again.
    assert_eq!(
        said(office.agree(&request, &boris).await),
        format!("request {} is issued; it cannot be decided", request.id)
    );
    assert_eq!(office.issuer.certificates().await.unwrap().len(), 6, "officers, responders, service");
}

#[tokio::test]
async fn the_same_officer_twice_is_one_officer() {
    let (office, ana, _) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    office.agree(&request, &ana).await.unwrap();
    assert!(said(office.agree(&request, &ana).await).contains("has decided on this request already"));
    assert_eq!(office.events(), ["request", "agree"]);
}

#[tokio::test]
async fn decisions_that_are_not_allowed_are_refused_by_name() {
    let (office, ana, boris) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    let decide = |officer: Identity, clause, hash, reason: Option<&'static str>| {
        let (issuer, request) = (office.issuer.clone(), request.id.clone());
        async move {
            said(issuer.decide(&request, &officer, clause, hash, reason.map(str::to_owned), at(NOW)).await)
        }
    };
    let other = decide(ana.clone(), Clause::Agree, Digest::of(b"other bytes"), None).await;
    assert!(other.contains("the request's to-be-signed bytes are"), "{other}");
    let hash = request.tbs_sha256();
    for reason in [None, Some(""), Some("  ")] {
        let silent = decide(ana.clone(), Clause::DoNotAgree, hash, reason).await;
        assert!(silent.contains("do-not-agree needs a reason"), "{silent}");
    }
    let service = Identity { role: Role::Auditor, fingerprint: Digest::of(b"nobody"), ..ana.clone() };
    assert!(decide(service, Clause::Agree, hash, None).await.contains("is not an officer in force"));
    let unknown = office.issuer.decide("00", &ana, Clause::Agree, hash, None, at(NOW)).await;
    assert_eq!(said(unknown), r#"there is no certificate request "00""#);
    // An officer's next certificate is agreed to by others.
    let own = office.application("operator", Environment::Production, Role::ControlAdministrator, "boris");
    let (own, _) = office.submit(own, &ana).await.unwrap();
    assert!(said(office.agree(&own, &boris).await).contains("is the subject of this request"));
}

#[tokio::test]
async fn one_do_not_agree_is_final_even_after_one_agreed() {
    let (office, ana, boris) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    office.agree(&request, &ana).await.unwrap();
    let reason = Some("the legal ground is missing".to_owned());
    let hash = request.tbs_sha256();
    let refused =
        office.issuer.decide(&request.id, &boris, Clause::DoNotAgree, hash, reason.clone(), at(NOW)).await;
    assert_eq!(refused.unwrap().0.state, RequestState::Refused);
    assert!(said(office.agree(&request, &boris).await).contains("is refused; it cannot be decided"));
    let (kept, decisions) = office.issuer.request(&request.id).await.unwrap();
    assert_eq!((kept.state, kept.reason), (RequestState::Refused, reason));
    assert_eq!(decisions.iter().map(|d| d.clause).collect::<Vec<_>>(), [Clause::Agree, Clause::DoNotAgree]);
    // He who agreed may think again while it awaits.
    let request = office.production_request(&ana, "registry-2").await;
    office.agree(&request, &ana).await.unwrap();
    let hash = request.tbs_sha256();
    let refused = office
        .issuer
        .decide(&request.id, &ana, Clause::DoNotAgree, hash, Some("an error".into()), at(NOW))
        .await;
    assert_eq!(refused.unwrap().0.state, RequestState::Refused);
    assert!(!office.events().iter().any(|e| e.starts_with("signature")));
}

#[tokio::test]
async fn an_agreement_falls_when_its_officer_is_revoked() {
    let (office, ana, boris) = Office::open().await;
    // A third officer, by the two.
    let vera = office.application("operator", Environment::Production, Role::ControlAdministrator, "vera");
    let (vera, _) = office.submit(vera, &ana).await.unwrap();
    office.agree(&vera, &ana).await.unwrap();
    let vera = office.identity(&office.agree(&vera, &boris).await.unwrap().1.unwrap());
    let request = office.production_request(&ana, "registry-1").await;
    office.agree(&request, &ana).await.unwrap();
    let certificates = office.issuer.certificates().await.unwrap();
    let of_ana = certificates.iter().find(|c| c.name == "ana").unwrap();
    office.issuer.revoke(of_ana.serial, Reason::PrivilegeWithdrawn, &boris, Some(at(NOW))).await.unwrap();
    assert_eq!(office.agree(&request, &boris).await.unwrap().0.state, RequestState::Awaiting);
    assert!(said(office.agree(&request, &ana).await).contains("is not an officer in force"));
    assert_eq!(office.agree(&request, &vera).await.unwrap().0.state, RequestState::Issued);
}

#[tokio::test]
async fn a_request_nobody_agreed_to_in_a_week_lapses() {
    let (office, ana, _) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    let late = office
        .issuer
        .decide(&request.id, &ana, Clause::Agree, request.tbs_sha256(), None, at(NOW + 8 * DAY))
        .await;
    assert!(said(late).contains("is lapsed; it cannot be decided"));
    assert_eq!(office.issuer.request(&request.id).await.unwrap().0.state, RequestState::Lapsed);
}

#[tokio::test]
async fn officers_who_agree_at_the_same_moment_make_one_certificate() {
    let (office, ana, boris) = Office::open().await;
    for n in 0..10 {
        let request = office.production_request(&ana, &format!("registry-{n}")).await;
        let (one, two) = tokio::join!(office.agree(&request, &ana), office.agree(&request, &boris));
        let made = [one, two].into_iter().filter(|r| matches!(r, Ok((_, Some(_))))).count();
        assert_eq!(made, 1);
    }
    let signatures = office.events().iter().filter(|e| *e == "signature ca-production").count();
    assert_eq!(signatures, 10);
}

#[tokio::test]
async fn many_at_once_get_serials_of_their_own() {
    let (office, ana, _) = Office::open().await;
    let names: Vec<_> = (0..16).map(|n| format!("registry-{n}")).collect();
    let all = names.iter().map(|name| office.test_certificate(&ana, name));
    let mut serials = std::collections::BTreeSet::new();
    for record in futures_in_turn(all).await {
        assert!(serials.insert(record.serial));
    }
    assert_eq!(serials.len(), 16);
}

async fn futures_in_turn<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pinned: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        let waiting = std::mem::take(&mut pinned);
        for mut one in waiting {
            match one.as_mut().poll(context) {
                std::task::Poll::Ready(value) => done.push(value),
                std::task::Poll::Pending => pinned.push(one),
            }
        }
        if pinned.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn a_key_serves_one_identity_in_one_environment() {
    let (office, ana, boris) = Office::open().await;
    let csr = office.csr(&office.new_key());
    let with = |institution, environment, name: &str| Application {
        csr: csr.clone(),
        institution: id(institution),
        environment,
        role: Role::RegistryService,
        name: name.into(),
    };
    let first =
        office.submit(with("agency", Environment::Test, "registry-1"), &ana).await.unwrap().1.unwrap();
    for other in [
        with("court", Environment::Test, "registry-1"),
        with("agency", Environment::Test, "registry-2"),
        with("agency", Environment::Production, "registry-1"),
    ] {
        let refused = said(office.submit(other, &ana).await);
        assert_eq!(
            refused,
            "the key is already \"registry-1\" of agency in test; every identity and environment has a key of its own"
        );
    }
    // Renewal of the same identity keeps its key, until the key is compromised.
    office.submit(with("agency", Environment::Test, "registry-1"), &ana).await.unwrap();
    office.issuer.revoke(first.serial, Reason::KeyCompromise, &boris, Some(at(NOW))).await.unwrap();
    let dead = said(office.submit(with("agency", Environment::Test, "registry-1"), &ana).await);
    assert!(dead.contains("was revoked as compromised"), "{dead}");
    assert!(office.events().contains(&"request-refused".to_owned()));
}

#[tokio::test]
async fn an_open_request_holds_its_key() {
    let (office, ana, _) = Office::open().await;
    let csr = office.csr(&office.new_key());
    let with = |institution| Application {
        csr: csr.clone(),
        institution: id(institution),
        environment: Environment::Production,
        role: Role::RegistryService,
        name: "registry-1".into(),
    };
    office.submit(with("agency"), &ana).await.unwrap();
    assert!(said(office.submit(with("court"), &ana).await).contains("the key is already"));
}

#[tokio::test]
async fn applications_that_do_not_fit_the_register_are_refused_and_audited() {
    let (office, ana, _) = Office::open().await;
    let refused = |application| async { said(office.submit(application, &ana).await) };
    let ask =
        |institution, environment, role, name: &str| office.application(institution, environment, role, name);
    let service = Role::RegistryService;
    let unknown = refused(ask("nobody", Environment::Test, service, "a")).await;
    assert_eq!(unknown, r#"there is no institution "nobody""#);
    let name = refused(ask("agency", Environment::Test, service, "a.b")).await;
    assert!(name.contains("is not a DNS label"), "{name}");
    let taken = refused(ask("operator", Environment::Production, Role::Auditor, "ana")).await;
    assert!(taken.contains("is in force as control-administrator; one identity has one role"), "{taken}");
    for role in [Role::ControlAdministrator, Role::Auditor, Role::InternalController] {
        let lesser = refused(ask("operator", Environment::Test, role, "vera")).await;
        assert!(lesser.contains("is certified in production only"), "{lesser}");
    }
    let mut broken = ask("agency", Environment::Test, service, "a");
    broken.csr = b"-----BEGIN CERTIFICATE REQUEST-----".to_vec();
    assert!(refused(broken).await.contains("PEM"));
    assert_eq!(office.events(), vec!["request-refused"; 7]);
}

#[tokio::test]
async fn two_officers_are_made_without_agreement_and_no_third() {
    let (office, _, _) = Office::open().await;
    let third = office.application("operator", Environment::Production, Role::ControlAdministrator, "vera");
    assert!(
        said(office.issuer.import_identity(third, at(NOW)).await).contains("only two control administrators")
    );
    let office = Office::bare(NOW).await;
    let auditor = office.application("operator", Environment::Production, Role::Auditor, "vera");
    assert!(
        said(office.issuer.import_identity(auditor, at(NOW)).await)
            .contains("only two control administrators")
    );
}

#[tokio::test]
async fn an_institution_is_registered_once_and_its_domain_is_its_own() {
    use pechat::institution::Institution;
    let (office, _, _) = Office::open().await;
    for (name, domain) in [("agency", "new.example"), ("new", "agency.example")] {
        let record = Institution::new(id(name), "New".into(), "BG".into(), None, domain.into()).unwrap();
        assert!(
            said(office.issuer.register(record, "operator/ana", at(NOW)).await)
                .contains("is registered already")
        );
    }
    assert_eq!(office.issuer.institutions().await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_signed() {
    let (office, ana, _) = Office::open().await;
    let application = office.application("agency", Environment::Test, Role::RegistryService, "registry-1");
    *office.journal_works.lock().unwrap() = false;
    assert!(said(office.submit(application, &ana).await).contains("nothing was done: the disk is full"));
    assert!(office.events().is_empty());
    assert!(office.issuer.requests().await.unwrap().iter().all(|r| r.submitter == "init"));
}

#[tokio::test]
async fn a_device_that_refuses_or_lies_leaves_a_failed_signing_and_no_certificate() {
    for mode in [Device::Refuses, Device::Lies] {
        let (office, ana, _) = Office::open().await;
        *office.device.lock().unwrap() = mode;
        let application =
            office.application("agency", Environment::Test, Role::RegistryService, "registry-1");
        assert!(said(office.submit(application, &ana).await).starts_with("no signature: "));
        let newest =
            office.issuer.requests().await.unwrap().into_iter().find(|r| r.name == "registry-1").unwrap();
        assert_eq!(newest.state, RequestState::FailedSigning);
        assert!(newest.reason.unwrap().starts_with("no signature: "));
        assert_eq!(office.events(), ["request", "intent", "failed-signing"]);
        assert!(office.issuer.certificate(newest.serial).await.is_err());
    }
}

#[tokio::test]
async fn an_intent_without_outcome_is_shown_after_a_restart_and_its_serial_can_be_revoked() {
    let (office, ana, boris) = Office::open().await;
    *office.device.lock().unwrap() = Device::Hangs;
    let application = office.application("agency", Environment::Test, Role::RegistryService, "registry-1");
    let (issuer, by) = (office.issuer.clone(), ana.clone());
    let task = tokio::spawn(async move { issuer.submit(application, &by, at(NOW)).await });
    while office.events().last().map(String::as_str) != Some("intent") {
        tokio::task::yield_now().await;
    }
    // The caller hangs up, the machine stops: what is on disk is all there is.
    task.abort();
    *office.device.lock().unwrap() = Device::Signs;
    let again = office.reopened();
    let request = again.requests().await.unwrap().into_iter().find(|r| r.name == "registry-1").unwrap();
    assert_eq!(request.state, RequestState::FailedSigning);
    assert!(request.reason.as_deref().unwrap().contains("stopped between intent and outcome"));
    assert!(again.certificate(request.serial).await.is_err(), "never retried by itself");
    let revoked = again.revoke(request.serial, Reason::Superseded, &boris, Some(at(NOW))).await.unwrap();
    assert_eq!((revoked.list.unwrap(), revoked.certificate.der.len()), (1, 0));
    assert_eq!(again.list("ca-test").unwrap().entries, 1);
}

fn crl_text(office: &Office, der: &[u8], environment: Environment) -> String {
    let (_, ca) = office.ca_files(environment);
    let file = office.file("list.crl", der);
    let (worked, _, text) =
        openssl_says(&["crl", "-inform", "DER", "-in", &file, "-noout", "-text", "-verify", "-CAfile", &ca]);
    assert!(worked && text.contains("verify OK"), "{text}");
    text
}

#[tokio::test]
async fn lists_are_version_2_numbered_and_empty_without_revocations() {
    let (office, _, _) = Office::open().await;
    assert_eq!(office.issuer.refresh_crls(at(NOW)).await.unwrap(), 4);
    assert_eq!(office.events().iter().filter(|e| *e == "crl").count(), 8, "the second brings the delta");
    let text = crl_text(&office, &office.issuer.list("ca-test").unwrap().der, Environment::Test);
    for line in [
        "Version 2 (0x1)",
        "Issuer: C = BG, O = Operator, CN = test CA",
        "Last Update: Jan 15 08:00:00 2027 GMT",
        "Next Update: Jan 16 08:00:00 2027 GMT",
        "X509v3 CRL Number: \n                2\n",
        "X509v3 Issuing Distribution Point: critical\n                Full Name:\n                  URI:http://seal.example.gov/crl/ca-test.crl\n",
        "X509v3 Freshest CRL: \n                Full Name:\n                  URI:http://seal.example.gov/crl/ca-test-delta.crl\n",
        "X509v3 Authority Key Identifier",
        "No Revoked Certificates.",
    ] {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    let root = office.file("root.pem", pem(&office.root.certificate).as_bytes());
    let file = office.file("root.crl", &office.issuer.list("root-ca").unwrap().der);
    assert!(openssl_says(&["crl", "-inform", "DER", "-in", &file, "-noout", "-verify", "-CAfile", &root]).0);
}

#[tokio::test]
async fn lists_are_renewed_at_half_of_their_life_and_keep_their_numbers_over_restarts() {
    let (office, _, _) = Office::open().await;
    let number = |issuer: &pechat::certificate::Issuer| issuer.list("ca-test").unwrap().number;
    office.issuer.refresh_crls(at(NOW)).await.unwrap();
    assert_eq!(office.issuer.refresh_crls(at(NOW + DAY / 2 - 1)).await.unwrap(), 0);
    assert_eq!(office.issuer.refresh_crls(at(NOW + DAY / 2)).await.unwrap(), 4);
    assert_eq!(number(&office.issuer), 3);
    let again = office.reopened();
    assert_eq!(again.list("ca-test"), office.issuer.list("ca-test"));
    assert_eq!(again.refresh_crls(at(NOW + DAY / 2)).await.unwrap(), 0);
    // A number whose list was never signed is not used again.
    *office.device.lock().unwrap() = Device::Refuses;
    assert!(said(again.refresh_crls(at(NOW + DAY)).await).starts_with("no signature"));
    *office.device.lock().unwrap() = Device::Signs;
    again.refresh_crls(at(NOW + DAY)).await.unwrap();
    assert_eq!(number(&again), 5);
    // A clock that was wrong once does not poison the lists for ever.
    again.refresh_crls(at(NOW + 3650 * DAY / 2)).await.unwrap();
    again.refresh_crls(at(NOW + DAY)).await.unwrap();
    assert_eq!((number(&again), again.list("ca-test").unwrap().this_update), (7, NOW + DAY));
}

#[tokio::test]
async fn a_revoked_certificate_is_out_of_force_and_on_a_new_list_at_once() {
    let (office, ana, boris) = Office::open().await;
    let request = office.production_request(&ana, "registry-1").await;
    office.agree(&request, &ana).await.unwrap();
    let record = office.agree(&request, &boris).await.unwrap().1.unwrap();
    office.issuer.refresh_crls(at(NOW)).await.unwrap();
    office.history.lock().unwrap().clear();
    let revoked =
        office.issuer.revoke(record.serial, Reason::KeyCompromise, &boris, Some(at(NOW + 60))).await.unwrap();
    assert_eq!(revoked.list.unwrap(), 3);
    assert_eq!(
        office.events(),
        ["revocation", "delta-crl", "signature ca-production", "crl", "signature ca-production"]
    );
    assert!(office.identity(&record).revoked);
    let list = office.issuer.list("ca-production").unwrap();
    let text = crl_text(&office, &list.der, Environment::Production);
    let serial = record.serial.to_string().to_uppercase();
    for line in
        [&format!("Serial Number: {serial}"), "Revocation Date: Jan 15 08:01:00 2027 GMT", "Key Compromise"]
    {
        assert!(text.contains(line), "{line:?} is not in\n{text}");
    }
    assert_eq!(text.matches("Serial Number").count(), 1);
    let crl = office
        .file("list.pem", &openssl(&["crl", "-inform", "DER", "-in", &office.file("l.der", &list.der)]));
    let check = ["-crl_check", "-CRLfile", &crl];
    let (good, why) = verify(&office, Environment::Production, &pem(&record.der), &check, NOW + 61);
    assert!(!good && why.contains("certificate revoked"), "{why}");
    let again = office.issuer.revoke(record.serial, Reason::Superseded, &boris, Some(at(NOW + 90))).await;
    assert_eq!(
        said(again),
        format!("certificate {} was revoked at 2027-01-15T08:01:00Z already", record.serial)
    );
}

#[tokio::test]
async fn no_reason_is_expressed_by_absence() {
    let (office, ana, boris) = Office::open().await;
    let record = office.test_certificate(&ana, "registry-1").await;
    office.issuer.revoke(record.serial, Reason::Unspecified, &boris, Some(at(NOW))).await.unwrap();
    let text = crl_text(&office, &office.issuer.list("ca-test").unwrap().der, Environment::Test);
    assert!(!text.contains("Reason Code"), "{text}");
}

#[tokio::test]
async fn a_revocation_waits_neither_for_the_hsm_nor_for_the_clock() {
    let (office, ana, boris) = Office::open().await;
    let record = office.test_certificate(&ana, "registry-1").await;
    *office.device.lock().unwrap() = Device::Refuses;
    let revoked = office.issuer.revoke(record.serial, Reason::Superseded, &boris, None).await.unwrap();
    assert!(revoked.list.unwrap_err().to_string().starts_with("no signature"));
    assert_eq!(revoked.certificate.revocation.unwrap().time, NOW, "the last time that was trusted");
    *office.device.lock().unwrap() = Device::Signs;
    // The list that had to wait is made at the next round, long before half of any life.
    office.issuer.refresh_crls(at(NOW + 10)).await.unwrap();
    assert_eq!(office.issuer.list("ca-test").unwrap().entries, 1);
}

#[tokio::test]
async fn only_certificates_of_institutions_are_revoked_over_the_interface() {
    let (office, _, boris) = Office::open().await;
    let ca = office.cas[0].1.certificate.clone();
    office.issuer.adopt(&ca, "ca-test").await.unwrap();
    office.issuer.adopt(&ca, "ca-test").await.unwrap();
    let certificates = office.issuer.certificates().await.unwrap();
    let [ca] = &certificates.iter().filter(|c| c.name == "ca-test").collect::<Vec<_>>()[..] else { panic!() };
    let revoked = office.issuer.revoke(ca.serial, Reason::Superseded, &boris, Some(at(NOW))).await;
    assert!(said(revoked).contains("is the appliance's own"));
    let unknown = "4000000000000000000000000000000000000000".parse().unwrap();
    let revoked = office.issuer.revoke(unknown, Reason::Superseded, &boris, Some(at(NOW))).await;
    assert!(said(revoked).contains("there is no certificate with serial"));
}

#[tokio::test]
async fn an_hsm_key_of_the_appliance_is_certified_for_nobody() {
    use p256::pkcs8::EncodePrivateKey;
    let (office, ana, _) = Office::open().await;
    let tsu = p256::SecretKey::from_slice(&[5; 32]).unwrap().to_pkcs8_der().unwrap();
    let key = office.file("stolen.der", tsu.as_bytes());
    let csr = openssl(&["req", "-new", "-keyform", "DER", "-key", &key, "-subj", "/"]);
    let mut application =
        office.application("agency", Environment::Test, Role::RegistryService, "registry-1");
    application.csr = csr;
    assert!(
        said(office.submit(application, &ana).await).contains("the key is already the appliance's tsu-1")
    );
}
