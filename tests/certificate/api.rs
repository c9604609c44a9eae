//! The same over HTTP: real listeners, real client certificates made by the issuer itself.

use axum::body::Body;
use axum::http::Response;
use bytes::Bytes;
use pechat::access::Role;
use pechat::certificate::{Application, Ca, ceremony, pem, pem_chain};
use pechat::clock::ClockState;
use pechat::digest::Digest;
use pechat::http;
use pechat::http::limit::Limits;
use pechat::http::listen::Door;
use pechat::http::tls::Tls;
use pechat::institution::{Environment, Institution};
use serde_json::{Value, json};

use crate::fixture::{id, label, openssl, openssl_says, subject};
use crate::pki::Credential;
use crate::service::{Listening, Service, start};
use crate::wire::{Wire, problem};

struct Town {
    service: Service,
    api: Listening,
    root: Vec<u8>,
    dir: tempfile::TempDir,
}

impl Town {
    /// The service behind a listener that the issuer certified, with two officers.
    async fn start() -> (Self, Wire, Wire) {
        let service = Service::start(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let now = service.app.clock.permit().unwrap().reading.utc;
        let issuer = &service.app.issuer;
        let operator =
            Institution::new(id("operator"), "Operator".into(), "BG".into(), None, "operator.example".into());
        issuer.register(operator.unwrap(), "init", now).await.unwrap();
        let ca = Ca {
            label: label("ca-production"),
            certificate: issuer.ca_certificate("ca-production").unwrap(),
        };
        let root = pem(&issuer.ca_certificate("root-ca").unwrap()).into_bytes();
        let (key, csr) = key_and_csr(&dir, "server", "/");
        let hosts = ["localhost".to_owned()];
        let url = "http://seal.example.gov";
        let made =
            ceremony::server(&service.app.keys, &ca, &csr, &hosts, &subject("localhost"), url, now).await;
        let chain = pem_chain(&[&made.unwrap(), &ca.certificate]);
        let tls = Tls::new(chain.as_bytes(), &key, &root).unwrap();
        let api = start(Door::Mutual(tls), http::api(service.app.clone()).0, Limits::default()).await;
        let town = Self { service, api, root, dir };
        let ana = town.officer("ana").await;
        let boris = town.officer("boris").await;
        (town, ana, boris)
    }

    async fn officer(&self, name: &str) -> Wire {
        let now = self.service.app.clock.permit().unwrap().reading.utc;
        let (key, csr) = key_and_csr(&self.dir, name, "/");
        let application = Application {
            csr,
            institution: id("operator"),
            environment: Environment::Production,
            role: Role::ControlAdministrator,
            name: name.into(),
        };
        let made = self.service.app.issuer.import_identity(application, now).await.unwrap();
        let chain: String = self.service.app.issuer.chain(&made).iter().map(|der| pem(der)).collect();
        self.connect(chain.into_bytes(), key).await
    }

    async fn connect(&self, chain: Vec<u8>, key: Vec<u8>) -> Wire {
        let credential = Credential { chain, key, fingerprint: Digest::default() };
        Wire::connect(self.api.address, &self.root, Some(&credential)).await.unwrap()
    }

    fn wanted(&self, name: &str, subject: &str) -> (Vec<u8>, Value) {
        let (key, csr) = key_and_csr(&self.dir, name, subject);
        let wanted = json!({
            "csr": String::from_utf8(csr).unwrap(), "institution": "agency", "environment": "production",
            "role": "registry-service", "name": name,
        });
        (key, wanted)
    }
}

fn key_and_csr(dir: &tempfile::TempDir, name: &str, subject: &str) -> (Vec<u8>, Vec<u8>) {
    let path = dir.path().join(format!("{name}.key"));
    let file = path.to_str().unwrap();
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]);
    (std::fs::read(&path).unwrap(), openssl(&["req", "-new", "-key", file, "-subj", subject]))
}

async fn post(wire: &mut Wire, path: &str, body: &Value) -> (u16, Response<Bytes>) {
    let answer = wire.ask("POST", path, "application/json", Body::from(body.to_string())).await.unwrap();
    (answer.status().as_u16(), answer)
}

fn read(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

async fn with_agency() -> (Town, Wire, Wire) {
    let (town, mut ana, boris) = Town::start().await;
    let agency = json!({
        "id": "agency", "organisation": "Agency", "country": "BG", "organisation_identifier": "NTRBG-123456789",
        "domain": "agency.example",
    });
    let (status, answer) = post(&mut ana, "/v1/institutions", &agency).await;
    assert_eq!((status, read(&answer)), (201, agency.clone()));
    assert_eq!(problem(&post(&mut ana, "/v1/institutions", &agency).await.1), "institution-exists");
    (town, ana, boris)
}

#[tokio::test]
async fn two_officers_make_an_identity_that_works_until_it_is_revoked() {
    let (town, mut ana, mut boris) = with_agency().await;
    let (key, wanted) = town.wanted("registry-1", "/CN=registry-1.agency.example");
    let (status, answer) = post(&mut ana, "/v1/certificates", &wanted).await;
    assert_eq!(status, 202, "{}", read(&answer));
    let at = answer.headers()["location"].to_str().unwrap().to_owned();
    let request = read(&boris.get(&at).await.unwrap());
    assert_eq!(
        (&request["state"], &request["submitter"]),
        (&json!("awaiting-agreement"), &json!("operator/ana"))
    );
    let subject = request["subject"].as_array().unwrap().iter();
    let subject: Vec<_> =
        subject.map(|a| (a["type"].as_str().unwrap(), a["value"].as_str().unwrap())).collect();
    let recorded = [
        ("C", "BG"),
        ("O", "Agency"),
        ("organizationIdentifier", "NTRBG-123456789"),
        ("CN", "registry-1.agency.example"),
    ];
    assert_eq!(subject, recorded);
    let decision = json!({ "clause": "agree", "tbs_sha256": request["tbs_sha256"] });
    let path = format!("{at}/decision");
    let (status, answer) = post(&mut ana, &path, &decision).await;
    assert_eq!((status, read(&answer)["state"].clone()), (200, json!("awaiting-agreement")));
    assert_eq!(problem(&post(&mut ana, &path, &decision).await.1), "decided-already");
    let other = json!({ "clause": "agree", "tbs_sha256": "0".repeat(64) });
    assert_eq!(problem(&post(&mut boris, &path, &other).await.1), "other-bytes");
    let (status, answer) = post(&mut boris, &path, &decision).await;
    let issued = read(&answer);
    assert_eq!(
        (status, &issued["state"], issued["decisions"].as_array().unwrap().len()),
        (200, &json!("issued"), 2)
    );
    let certificate = issued["certificate"].as_str().unwrap();

    let chain = boris.get(&format!("{certificate}?format=chain")).await.unwrap();
    assert_eq!(chain.headers()["content-type"], "application/pem-certificate-chain");
    let mut service = town.connect(chain.body().to_vec(), key).await;
    assert_eq!(service.get("/v1/journals").await.unwrap().status(), 200);
    assert_eq!(problem(&service.get(certificate).await.unwrap()), "role-not-allowed");

    let path = format!("{certificate}/revocation");
    let (status, answer) = post(&mut ana, &path, &json!({ "reason": "key-compromise" })).await;
    assert_eq!((status, read(&answer)["crl_number"].clone()), (200, json!(1)));
    assert_eq!(problem(&service.get("/v1/journals").await.unwrap()), "revoked-certificate");
    assert_eq!(
        problem(&post(&mut ana, &path, &json!({ "reason": "superseded" })).await.1),
        "revoked-already"
    );
    let shown = read(&ana.get(certificate).await.unwrap());
    assert_eq!(shown["revoked"]["by"], "operator/ana");
}

#[tokio::test]
async fn lists_and_ca_certificates_are_public_cacheable_and_verify() {
    let (town, _, _) = with_agency().await;
    let now = town.service.app.clock.permit().unwrap().reading.utc;
    let mut public = Wire::plain(town.service.public.address).await;
    assert_eq!(public.get("/crl/ca-production.crl").await.unwrap().status(), 404);
    town.service.app.issuer.refresh_crls(now).await.unwrap();
    let list = public.get("/crl/ca-production.crl").await.unwrap();
    assert_eq!(list.headers()["content-type"], "application/pkix-crl");
    for name in ["etag", "last-modified", "expires"] {
        assert!(list.headers().contains_key(name), "{name}");
    }
    assert!(list.headers()["expires"].to_str().unwrap().ends_with(" GMT"));
    let ca = public.get("/ca/ca-production.cer").await.unwrap();
    assert_eq!(ca.headers()["content-type"], "application/pkix-cert");
    let file = |name: &str, bytes: &[u8]| {
        let path = town.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (ca, crl) = (file("ca.pem", pem(ca.body()).as_bytes()), file("list.crl", list.body()));
    let check = openssl_says(&["crl", "-inform", "DER", "-in", &crl, "-noout", "-verify", "-CAfile", &ca]);
    assert!(check.0 && check.2.contains("verify OK"), "{}", check.2);
    let again = axum::http::Request::get("/crl/ca-production.crl").header("host", "localhost");
    let again = again.header("if-none-match", list.headers()["etag"].clone()).body(Body::empty()).unwrap();
    let again = public.send(again).await.unwrap();
    assert_eq!((again.status().as_u16(), again.body().len()), (304, 0));
    for unknown in ["/crl/nobody.crl", "/crl/ca-production", "/ca/tsu-1.cer", "/ca/ca-production.crl"] {
        assert_eq!(problem(&public.get(unknown).await.unwrap()), "not-found", "{unknown}");
    }
}

#[tokio::test]
async fn a_certificate_comes_in_every_form_and_is_nobody_elses() {
    let (town, mut ana, _) = with_agency().await;
    let all = read(&ana.get("/v1/certificates").await.unwrap());
    let serial = all[0]["serial"].as_str().unwrap();
    let path = |more: &str| format!("/v1/certificates/{serial}{more}");
    let json_form = read(&ana.get(&path("")).await.unwrap());
    let pem_form = ana.get(&path("?format=pem")).await.unwrap();
    assert_eq!(pem_form.body(), json_form["pem"].as_str().unwrap());
    let der = ana.get(&path("?format=der")).await.unwrap();
    assert_eq!(Digest::of(der.body()).to_string(), json_form["sha256"]);
    let p7 = ana.get(&path("?format=p7")).await.unwrap();
    assert_eq!(p7.headers()["content-type"], "application/pkcs7-mime");
    let file = town.dir.path().join("chain.p7");
    std::fs::write(&file, p7.body()).unwrap();
    let printed =
        openssl(&["pkcs7", "-inform", "DER", "-in", file.to_str().unwrap(), "-print_certs", "-noout"]);
    assert_eq!(String::from_utf8(printed).unwrap().matches("subject=").count(), 3);
    assert_eq!(problem(&ana.get(&path("?format=xml")).await.unwrap()), "malformed-request");
    for unknown in ["00", &"4".repeat(40), "not-hex"] {
        assert_eq!(problem(&ana.get(&format!("/v1/certificates/{unknown}")).await.unwrap()), "not-found");
    }
}

#[tokio::test]
async fn what_is_refused_is_described_and_changes_nothing() {
    let (town, mut ana, _) = with_agency().await;
    let (_, good) = town.wanted("registry-1", "/");
    let (_, misnamed) = town.wanted("registry-2", "/CN=other.agency.example");
    let with = |field: &str, value: Value| {
        let mut changed = good.clone();
        changed[field] = value;
        changed
    };
    for (body, status, kind) in [
        (misnamed, 400, "csr-refused"),
        (with("csr", json!("no request")), 400, "csr-refused"),
        (with("name", json!("Registry 1")), 400, "institution-data-refused"),
        (with("institution", json!("nobody")), 404, "not-found"),
        (with("institution", json!("No Body")), 400, "malformed-request"),
        (with("role", json!("root")), 400, "malformed-request"),
        (with("extra", json!(1)), 400, "malformed-request"),
        (with("role", json!("auditor")), 202, ""),
        (with("name", json!("registry-9")), 409, "key-in-use"),
    ] {
        let (given, answer) = post(&mut ana, "/v1/certificates", &body).await;
        assert_eq!(given, status, "{body} {}", read(&answer));
        if !kind.is_empty() {
            assert_eq!(problem(&answer), kind, "{body}");
        }
    }
    let awaiting = read(&ana.get("/v1/certificate-requests").await.unwrap());
    let awaiting: Vec<_> =
        awaiting.as_array().unwrap().iter().filter(|r| r["institution"] == "agency").collect();
    assert_eq!(awaiting.len(), 1);
    let path = format!("/v1/certificate-requests/{}/decision", awaiting[0]["id"].as_str().unwrap());
    let silent = json!({ "clause": "do-not-agree", "tbs_sha256": awaiting[0]["tbs_sha256"] });
    assert_eq!(problem(&post(&mut ana, &path, &silent).await.1), "reason-needed");
    let institution = json!({ "id": "new", "organisation": "New", "country": "bg", "domain": "new.example" });
    assert_eq!(
        problem(&post(&mut ana, "/v1/institutions", &institution).await.1),
        "institution-data-refused"
    );
}

#[tokio::test]
async fn without_trusted_time_nothing_is_issued_but_a_revocation_goes_through() {
    let (town, mut ana, _) = with_agency().await;
    let (_, wanted) = town.wanted("registry-1", "/");
    let state = ClockState::Untrusted { reason: "step".into(), detail: "the clock jumped".into() };
    town.service.clock.set(state, std::time::Duration::ZERO);
    let (status, answer) = post(&mut ana, "/v1/certificates", &wanted).await;
    assert_eq!((status, problem(&answer)), (503, "clock-not-trusted".into()));
    let all = read(&ana.get("/v1/certificates").await.unwrap());
    let boris =
        all.as_array().unwrap().iter().find(|c| c["name"] == "boris").unwrap()["serial"].as_str().unwrap();
    let path = format!("/v1/certificates/{boris}/revocation");
    let (status, answer) = post(&mut ana, &path, &json!({ "reason": "privilege-withdrawn" })).await;
    assert_eq!(status, 200, "{}", read(&answer));
}
