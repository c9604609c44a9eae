//! EST against lines 36 to 44 of the certificates' checklist; curl and strongSwan's pki are the strangers.

#[allow(dead_code)] // not all of it is used here
#[path = "certificate/fixture.rs"]
mod fixture;
#[allow(dead_code)] // not all of it is used here
mod pki;
mod present;
#[allow(dead_code)] // not all of it is used here
mod service;
#[path = "est/strangers.rs"]
mod strangers;
#[allow(dead_code)] // not all of it is used here
mod wire;

use axum::body::Body;
use axum::http::{Request, Response};
use base64ct::{Base64, Encoding};
use bytes::Bytes;
use fixture::{id, label, openssl, subject};
use pechat::access::{Identity, Role};
use pechat::certificate::{
    Application, Ca, CertificateRecord, Grant, Reason, RequestState, ceremony, pem, pem_chain, pkcs7,
};
use pechat::clock::UtcMicros;
use pechat::digest::Digest;
use pechat::http;
use pechat::http::limit::Limits;
use pechat::http::listen::Door;
use pechat::http::tls::Tls;
use pechat::institution::{Clause, Environment, Institution};
use pki::Credential;
use service::{Listening, Service, start};
use wire::Wire;

const PATH: &str = "/.well-known/est/production";

struct Town {
    service: Service,
    est: Listening,
    root: Vec<u8>,
    officers: Vec<Identity>,
    dir: tempfile::TempDir,
}

impl Town {
    /// The enrolment listener, certified by the issuer, with two officers and an agency.
    async fn start() -> Self {
        let service = Service::start(Limits::default()).await;
        let dir = tempfile::tempdir().unwrap();
        let (issuer, now) = (service.app.issuer.clone(), now_of(&service));
        for (name, organisation) in [("operator", "Operator"), ("agency", "Agency")] {
            let domain = format!("{name}.example");
            let made = Institution::new(id(name), organisation.into(), "BG".into(), None, domain).unwrap();
            issuer.register(made, "init", now).await.unwrap();
        }
        let ca = Ca {
            label: label("ca-production"),
            certificate: issuer.ca_certificate("ca-production").unwrap(),
        };
        let root = pem(&issuer.ca_certificate("root-ca").unwrap()).into_bytes();
        let (key, csr) = key_and_csr(&dir, "server", "/");
        let hosts = ["localhost".to_owned()];
        let keys = &service.app.keys;
        let made = ceremony::server(keys, &ca, &csr, &hosts, &subject("localhost"), fixture::URL, now)
            .await
            .unwrap();
        let chain = pem_chain(&[&made, &ca.certificate]);
        // strongSwan sends its own certificate alone.
        let anchors = [&root[..], pem(&ca.certificate).as_bytes()].concat();
        let tls = Tls::welcoming(chain.as_bytes(), &key, &anchors).unwrap();
        let est = start(Door::Mutual(tls), http::enrolling(service.app.clone()), Limits::default()).await;
        let mut officers = Vec::new();
        for name in ["ana", "boris"] {
            let csr = key_and_csr(&dir, name, "/").1;
            let (environment, role) = (Environment::Production, Role::ControlAdministrator);
            let application =
                Application { csr, institution: id("operator"), environment, role, name: name.into() };
            let made = issuer.import_identity(application, now).await.unwrap();
            officers.push(service.app.directory.find(&Digest::of(&made.der)).unwrap().as_ref().clone());
        }
        Self { service, est, root, officers, dir }
    }

    fn now(&self) -> UtcMicros {
        now_of(&self.service)
    }

    /// User name and password for a production certificate of `name` of the agency.
    async fn credential(&self, name: &str) -> (String, String) {
        let grant = Grant {
            institution: id("agency"),
            environment: Environment::Production,
            role: Role::RegistryService,
            name: name.into(),
        };
        let made =
            self.service.app.issuer.grant_enrolment(grant, &self.officers[0], self.now()).await.unwrap();
        (made.id, made.halves.concat())
    }

    async fn stranger(&self) -> Wire {
        Wire::connect(self.est.address, &self.root, None).await.unwrap()
    }

    async fn holder(&self, record: &CertificateRecord, key: &[u8]) -> Wire {
        let chain: String = self.service.app.issuer.chain(record).iter().map(|der| pem(der)).collect();
        let credential =
            Credential { chain: chain.into_bytes(), key: key.to_vec(), fingerprint: Digest::default() };
        Wire::connect(self.est.address, &self.root, Some(&credential)).await.unwrap()
    }

    /// The officers' decision on the one request that waits.
    async fn decide(&self, clause: Clause) {
        let issuer = &self.service.app.issuer;
        let all = issuer.requests().await.unwrap();
        let waiting: Vec<_> = all.iter().filter(|r| r.state == RequestState::Awaiting).collect();
        assert_eq!(waiting.len(), 1, "the same request again is the same request");
        for officer in &self.officers {
            let reason = (clause == Clause::DoNotAgree).then(|| "НЕСЪГЛАСЕН: no legal basis".to_owned());
            let hash = waiting[0].tbs_sha256();
            let decided =
                issuer.decide(&waiting[0].id, officer, clause, hash, reason, self.now()).await.unwrap();
            if decided.0.state != RequestState::Awaiting {
                break;
            }
        }
    }

    /// A certificate enrolled by EST, and its key.
    async fn enrolled(&self, name: &str) -> (CertificateRecord, Vec<u8>) {
        let (key, csr) = key_and_csr(&self.dir, name, "/");
        let credential = self.credential(name).await;
        let mut wire = self.stranger().await;
        let first = enroll(&mut wire, "simpleenroll", Some(&credential), &body(&csr)).await;
        assert_eq!(first.status(), 202);
        self.decide(Clause::Agree).await;
        let second = enroll(&mut wire, "simpleenroll", Some(&credential), &body(&csr)).await;
        assert_eq!(second.status(), 200);
        let all = self.service.app.issuer.certificates().await.unwrap();
        let record = all.into_iter().find(|c| c.name == name).unwrap();
        assert_eq!(Base64::decode_vec(text(&second)).unwrap(), pkcs7(&[&record.der]).unwrap());
        (record, key)
    }
}

fn now_of(service: &Service) -> UtcMicros {
    service.app.clock.permit().unwrap().reading.utc
}

fn key_and_csr(dir: &tempfile::TempDir, name: &str, subject: &str) -> (Vec<u8>, Vec<u8>) {
    let path = dir.path().join(format!("{name}.key"));
    let file = path.to_str().unwrap();
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", file]);
    (std::fs::read(&path).unwrap(), openssl(&["req", "-new", "-key", file, "-subj", subject]))
}

/// A PEM request as EST wants it: base64, here with openssl's line breaks.
fn body(csr: &[u8]) -> String {
    let text = String::from_utf8(csr.to_vec()).unwrap();
    text.lines().filter(|line| !line.starts_with("-----")).map(|line| format!("{line}\r\n")).collect()
}

async fn enroll(
    wire: &mut Wire,
    operation: &str,
    by: Option<&(String, String)>,
    body: &str,
) -> Response<Bytes> {
    send(wire, &format!("{PATH}/{operation}"), by, "application/pkcs10", body).await
}

async fn send(
    wire: &mut Wire,
    path: &str,
    by: Option<&(String, String)>,
    kind: &str,
    body: &str,
) -> Response<Bytes> {
    let mut request = Request::builder().method("POST").uri(path).header("host", "localhost");
    request = request.header("content-type", kind).header("content-transfer-encoding", "quoted-nonsense");
    if let Some((id, secret)) = by {
        let basic = Base64::encode_string(format!("{id}:{secret}").as_bytes());
        request = request.header("authorization", format!("Basic {basic}"));
    }
    wire.send(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

fn text(answer: &Response<Bytes>) -> &str {
    std::str::from_utf8(answer.body()).unwrap()
}

/// Status and words, which are plain text for a person.
fn refusal(answer: &Response<Bytes>) -> (u16, &str) {
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert!(text(answer).len() > 10 && text(answer).ends_with('\n'), "{:?}", text(answer));
    (answer.status().as_u16(), text(answer))
}

#[tokio::test]
async fn line_36_37_43_44_what_anybody_may_read_and_what_is_not_here() {
    let town = Town::start().await;
    let mut wire = town.stranger().await;
    let issuer = &town.service.app.issuer;
    let of = |label| issuer.ca_certificate(label).unwrap();
    let chain = pkcs7(&[&of("ca-production"), &of("root-ca")]).unwrap();
    for path in ["/.well-known/est/cacerts", "/.well-known/est/production/cacerts"] {
        let answer = wire.get(path).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (200, &"application/pkcs7-mime".parse().unwrap())
        );
        assert_eq!(answer.headers().get("content-transfer-encoding"), None, "line 42");
        assert_eq!(Base64::decode_vec(text(&answer)).unwrap(), chain, "one line of base64");
    }
    let answer = wire.get("/.well-known/est/csrattrs").await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.body().len()), (204, 0));
    for path in ["/.well-known/est/moon/cacerts", "/.well-known/est/serverkeygen", "/.well-known/est/fullcmc"]
    {
        assert_eq!(refusal(&wire.get(path).await.unwrap()).0, 404, "{path}");
    }
    assert_eq!(refusal(&wire.get("/.well-known/est/simpleenroll").await.unwrap()).0, 405);
}

#[tokio::test]
async fn line_38_each_way_not_to_enrol_has_its_status_and_words() {
    let town = Town::start().await;
    let mut wire = town.stranger().await;
    let (_, csr) = key_and_csr(&town.dir, "registry-1", "/");
    let good = town.credential("registry-1").await;
    let wrong = (good.0.clone(), "0".repeat(48));
    for by in [None, Some(&wrong), Some(&("nobody".to_owned(), good.1.clone()))] {
        let answer = enroll(&mut wire, "simpleenroll", by, &body(&csr)).await;
        assert_eq!(
            answer.headers()["www-authenticate"],
            "Basic realm=\"pechat enrolment\", charset=\"UTF-8\""
        );
        assert_eq!(refusal(&answer).0, 401);
    }
    let path = "/.well-known/est/test/simpleenroll";
    let (status, said) = (403, "this is for production; what is asked here is for test");
    let answer = send(&mut wire, path, Some(&good), "application/pkcs10", &body(&csr)).await;
    assert!(refusal(&answer).0 == status && text(&answer).starts_with(said), "{}", text(&answer));
    let path = format!("{PATH}/simpleenroll");
    let answer = send(&mut wire, &path, Some(&good), "application/json", "{}").await;
    assert_eq!(refusal(&answer).0, 415);
    // Line 1: a request whose signature does not hold is never a pending one.
    let mut forged = Base64::decode_vec(&body(&csr).replace("\r\n", "")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let (_, named) = key_and_csr(&town.dir, "other", "/CN=registry-9.agency.example");
    for (sent, why) in [
        ("%%%".to_owned(), "base64"),
        (Base64::encode_string(&forged), "signature"),
        (body(&named), "registry-9.agency.example"),
    ] {
        let answer = enroll(&mut wire, "simpleenroll", Some(&good), &sent).await;
        let (status, said) = refusal(&answer);
        assert!(status == 400 && said.contains(why), "{status} {said}");
    }
    assert_eq!(town.service.app.issuer.requests().await.unwrap().len(), 2, "the officers' own");
}

#[tokio::test]
async fn line_39_40_42_the_same_request_waits_for_officers_and_then_is_the_certificate() {
    let town = Town::start().await;
    let mut wire = town.stranger().await;
    let (_, csr) = key_and_csr(&town.dir, "registry-1", "/CN=registry-1.agency.example");
    let by = town.credential("registry-1").await;
    let wrapped = body(&csr);
    for form in [wrapped.clone(), wrapped.replace("\r\n", ""), wrapped.replace("\r\n", "\n")] {
        let answer = enroll(&mut wire, "simpleenroll", Some(&by), &form).await;
        assert_eq!(answer.headers()["retry-after"], "15");
        assert_eq!(refusal(&answer).0, 202);
    }
    let (_, other) = key_and_csr(&town.dir, "other", "/");
    assert_eq!(refusal(&enroll(&mut wire, "simpleenroll", Some(&by), &body(&other)).await).0, 403, "spent");
    town.decide(Clause::Agree).await;
    let answer = enroll(&mut wire, "simpleenroll", Some(&by), &wrapped).await;
    let kind = &answer.headers()["content-type"];
    assert_eq!(
        (answer.status().as_u16(), kind),
        (200, &"application/pkcs7-mime; smime-type=certs-only".parse().unwrap())
    );
    assert!(!text(&answer).contains(['\r', '\n']));
    let again = enroll(&mut wire, "simpleenroll", Some(&by), &wrapped).await;
    assert_eq!(answer.body(), again.body(), "a lost answer can be had again");
    let certificates = town.service.app.issuer.certificates().await.unwrap();
    assert_eq!(certificates.iter().filter(|c| c.name == "registry-1").count(), 1);
}

#[tokio::test]
async fn line_39_what_officers_do_not_agree_to_is_403_with_their_reason() {
    let town = Town::start().await;
    let mut wire = town.stranger().await;
    let (_, csr) = key_and_csr(&town.dir, "registry-1", "/");
    let by = town.credential("registry-1").await;
    assert_eq!(enroll(&mut wire, "simpleenroll", Some(&by), &body(&csr)).await.status(), 202);
    town.decide(Clause::DoNotAgree).await;
    let answer = enroll(&mut wire, "simpleenroll", Some(&by), &body(&csr)).await;
    let (status, said) = refusal(&answer);
    assert!(status == 403 && said.contains("НЕСЪГЛАСЕН: no legal basis"), "{said}");
}

#[tokio::test]
async fn line_41_a_certificate_renews_itself_with_the_same_names_until_it_is_revoked() {
    let town = Town::start().await;
    let (record, key) = town.enrolled("registry-1").await;
    let mut holder = town.holder(&record, &key).await;
    let (_, csr) = key_and_csr(&town.dir, "next", "/CN=registry-1.agency.example");
    let (_, other) = key_and_csr(&town.dir, "more", "/CN=registry-2.agency.example");
    let answer = enroll(&mut holder, "simplereenroll", None, &body(&other)).await;
    assert_eq!(refusal(&answer).0, 400, "{}", text(&answer));
    assert_eq!(enroll(&mut holder, "simplereenroll", None, &body(&csr)).await.status(), 202);
    town.decide(Clause::Agree).await;
    let answer = enroll(&mut holder, "simplereenroll", None, &body(&csr)).await;
    assert_eq!(answer.status(), 200);
    let all = town.service.app.issuer.certificates().await.unwrap();
    let next = all.iter().find(|c| c.name == "registry-1" && c.serial != record.serial).unwrap();
    assert_eq!(Base64::decode_vec(text(&answer)).unwrap(), pkcs7(&[&next.der]).unwrap());

    let mut stranger = town.stranger().await;
    assert_eq!(refusal(&enroll(&mut stranger, "simplereenroll", None, &body(&csr)).await).0, 403);
    let by = &town.officers[0];
    town.service.app.issuer.revoke(record.serial, Reason::Superseded, by, Some(town.now())).await.unwrap();
    let answer = enroll(&mut holder, "simplereenroll", None, &body(&csr)).await;
    let (status, said) = refusal(&answer);
    assert!(status == 403 && said.contains("revoked"), "a live connection ends with it: {said}");
}
