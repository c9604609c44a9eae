//! The listeners over real TLS on loopback.

mod pki;
mod service;
mod wire;

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::routing::{get, post};
use axum::{Extension, Router};
use pechat::access::Role;
use pechat::clock::ClockState;
use pechat::digest::{Digest, hex};
use pechat::http::entries::EntriesRequest;
use pechat::http::limit::Limits;
use pechat::http::listen::{Door, Peer};
use pechat::http::tls::Tls;
use pechat::http::{ROUTES, description};
use pechat::journal::receipt::RangeReceipt;
use pechat::journal::{RequestId, Submission};
use pki::{Dates, Pki};
use serde_json::Value;
use service::{Service, mutual, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wire::{Greeting, Wire, handshake, problem};

async fn who(Extension(peer): Extension<Peer>) -> String {
    peer.fingerprint.map(|f| f.to_string()).unwrap_or_default()
}

fn echo() -> Router {
    Router::new()
        .route("/who", get(who))
        .route("/slow", post(|| async { tokio::time::sleep(Duration::from_millis(300)).await }))
}

#[tokio::test]
async fn a_peer_without_a_certificate_of_ours_is_refused_in_the_handshake() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let expired = pki.client("expired", Dates::Past);
    let stranger = foreign.client("stranger", Dates::Good);
    let server = pki.server();
    for (what, credential) in [
        ("none", None),
        ("expired", Some(&expired)),
        ("foreign", Some(&stranger)),
        ("a server's", Some(&server)),
    ] {
        let answer = match Wire::connect(listening.address, &pki.root(), credential).await {
            Ok(mut wire) => wire.get("/who").await,
            Err(refused) => Err(refused),
        };
        assert!(answer.is_err(), "{what} was let in");
    }
}

#[tokio::test]
async fn a_refused_peer_that_is_busy_sending_still_reads_why() {
    let pki = Pki::new();
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let greeting = Greeting { root: &pki.root(), credential: None, alpn: b"h2" };
    let mut stream = handshake(listening.address, &greeting).await.unwrap();
    for _ in 0..3 {
        stream.write_all(&[0; 1000]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = stream.read(&mut [0; 1]).await.unwrap_err();
    assert_eq!(error.to_string(), "received fatal alert: CertificateRequired");
}

#[tokio::test]
async fn the_exact_certificate_reaches_the_handler_over_both_protocols() {
    let pki = Pki::new();
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let root = pki.root();
        let greeting = Greeting { root: &root, credential: Some(&client), alpn };
        let mut wire = Wire::greet(listening.address, &greeting).await.unwrap();
        for _ in 0..3 {
            let answer = wire.get("/who").await.unwrap();
            assert_eq!(answer.body(), client.fingerprint.to_string().as_bytes());
            assert_eq!(answer.headers()["content-length"], "64");
        }
    }
}

#[tokio::test]
async fn a_client_may_leave_out_the_issuing_certificate_when_it_is_an_anchor() {
    let pki = Pki::new();
    let mut client = pki.client("service", Dates::Good);
    let end = String::from_utf8(client.chain.clone()).unwrap().find("-----END").unwrap();
    let issuing = client.chain.split_off(end + "-----END CERTIFICATE-----\n".len());
    let server = pki.server();
    let anchors = [pki.root(), issuing].concat();
    let door = Door::Mutual(Tls::new(&server.chain, &server.key, &anchors).unwrap());
    let listening = start(door, echo(), Limits::default()).await;
    let mut wire = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    assert_eq!(wire.get("/who").await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_header_that_never_ends_closes_the_connection() {
    let pki = Pki::new();
    let tls = start(mutual(&pki), echo(), Limits::default()).await;
    let plain = start(Door::Plain, echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    let root = pki.root();
    let silent = TcpStream::connect(tls.address).await.unwrap();
    let no_header = TcpStream::connect(plain.address).await.unwrap();
    let mut half = TcpStream::connect(plain.address).await.unwrap();
    half.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    let mut second = TcpStream::connect(plain.address).await.unwrap();
    second.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut half_tls =
        handshake(tls.address, &Greeting { root: &root, credential: Some(&client), alpn: b"http/1.1" })
            .await
            .unwrap();
    half_tls.write_all(b"GET /who HTTP/1.1\r\n").await.unwrap();
    let no_preface =
        handshake(tls.address, &Greeting { root: &root, credential: Some(&client), alpn: b"h2" })
            .await
            .unwrap();
    let ends = tokio::join!(
        closed(silent),
        closed(no_header),
        closed(half),
        closed(half_tls),
        closed(no_preface),
        async {
            second.read_exact(&mut [0; 15]).await.unwrap();
            second.write_all(b"GET /who HT").await.unwrap();
            closed(second).await;
        }
    );
    let ((), (), (), (), (), ()) = ends;
}

/// Resolves when the peer has closed; hangs (and with it the test) if it never does.
async fn closed(mut stream: impl AsyncReadExt + Unpin) {
    while stream.read(&mut [0; 1024]).await.is_ok_and(|n| n > 0) {}
}

#[tokio::test]
async fn a_long_header_is_refused() {
    let plain = start(Door::Plain, echo(), Limits::default()).await;
    let mut stream = TcpStream::connect(plain.address).await.unwrap();
    let head = format!("GET /who HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(20_000));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_connection_beyond_the_cap_is_closed_and_the_next_one_served() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let plain = start(Door::Plain, echo(), limits).await;
    let mut first = Wire::plain(plain.address).await;
    assert_eq!(first.get("/who").await.unwrap().status(), 200);
    assert!(Wire::plain(plain.address).await.get("/who").await.is_err());
    drop(first);
    while Wire::plain(plain.address).await.get("/who").await.is_err() {}
}

#[tokio::test]
async fn what_is_being_answered_at_the_end_is_still_answered() {
    let pki = Pki::new();
    let listening = start(mutual(&pki), echo(), Limits::default()).await;
    let client = pki.client("service", Dates::Good);
    let mut wire = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    let mut idle = Wire::connect(listening.address, &pki.root(), Some(&client)).await.unwrap();
    assert_eq!(idle.get("/who").await.unwrap().status(), 200);
    let asked =
        tokio::spawn(async move { wire.ask("POST", "/slow", "", "".into()).await.map(|a| a.status()) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    listening.stop.send(true).unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), 200);
    listening.task.await.unwrap();
    assert!(idle.get("/who").await.is_err());
    assert!(TcpStream::connect(listening.address).await.is_err());
}

fn submission(n: u16) -> Submission {
    let mut id = [0; 16];
    id[..2].copy_from_slice(&n.to_be_bytes());
    Submission { request_id: RequestId(id), digest: Digest::of(&n.to_be_bytes()) }
}

fn entries(numbers: impl IntoIterator<Item = u16>) -> Body {
    EntriesRequest { submissions: numbers.into_iter().map(submission).collect(), expect: None }
        .to_json()
        .into()
}

const JSON: &str = "application/json";
const QUERY: &str = "application/timestamp-query";
const ENTRIES: &str = "/v1/journals/land/entries";

/// TimeStampReq over SHA-256 of nothing in particular.
fn query() -> Vec<u8> {
    let head = "3036020101303130 0d0609608648016503040201 05000420".replace(' ', "");
    let mut bytes = vec![0; head.len() / 2];
    pechat::digest::unhex_into(&head, &mut bytes).unwrap();
    [bytes.as_slice(), Digest::of(b"document").as_bytes()].concat()
}

async fn land() -> Service {
    let mut service = Service::start(Limits::default()).await;
    service.add("land-registry", "registry", Role::RegistryService);
    service.add("tax-office", "tax", Role::RegistryService);
    service.add("authority", "auditor", Role::Auditor);
    service.add("authority", "officer", Role::ControlAdministrator);
    service.open_journal("land", "land-registry").await;
    service
}

fn json(answer: &axum::http::Response<bytes::Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

#[test]
fn the_route_table_lists_exactly_the_operations_of_the_openapi_document() {
    let document = serde_json::to_value(description()).unwrap();
    let mut described = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["get", "put", "post", "delete", "patch"].iter().filter(|m| item.get(**m).is_some()) {
            described.push((method.to_uppercase(), path.clone()));
        }
    }
    let mut listed: Vec<_> = ROUTES.iter().map(|r| (r.method.to_owned(), r.path.to_owned())).collect();
    described.sort();
    listed.sort();
    assert_eq!(listed, described);
    assert!(document["components"]["schemas"]["Problem"].is_object());
    let stamp = &document["paths"]["/tsa"]["post"];
    assert_eq!(stamp["x-roles"], serde_json::json!(["registry-service"]));
    assert!(stamp["responses"]["default"]["content"]["application/problem+json"].is_object());
    let text = document.to_string();
    for (_, rest) in text.match_indices("#/components/schemas/").map(|(at, m)| text.split_at(at + m.len())) {
        let name = rest.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "schema {name} is missing");
    }
}

#[tokio::test]
async fn every_role_gets_past_the_gate_exactly_where_the_matrix_says() {
    let mut service = Service::start(Limits::default()).await;
    for role in Role::ALL {
        service.add("some-office", role.as_str(), role);
        let mut wire = service.connect(role.as_str()).await;
        for route in ROUTES {
            let path = route.path.replace(['{', '}'], "").replace("seq", "0");
            let answer = wire.ask(route.method, &path, "", Body::empty()).await.unwrap();
            let allowed = route.any_of.is_empty() || route.any_of.iter().any(|a| role.may(*a));
            let refused = answer.status() == 403 && problem(&answer) == "role-not-allowed";
            assert_eq!(refused, !allowed, "{role:?} {} {path}: {}", route.method, answer.status());
            // 503: there may be no seal yet.
            assert_ne!(answer.status(), 500, "{} {path}: {}", route.method, answer.status());
        }
    }
}

#[tokio::test]
async fn a_certificate_nobody_knows_is_403_and_a_revoked_one_from_its_next_request_on() {
    let mut service = land().await;
    let stranger = service.pki.client("stranger", Dates::Good);
    let mut wire = Wire::connect(service.api.address, &service.pki.root(), Some(&stranger)).await.unwrap();
    let answer = wire.get("/v1/journals").await.unwrap();
    assert_eq!((answer.status().as_u16(), problem(&answer)), (403, "unknown-certificate".into()));
    let mut wire = service.connect("registry").await;
    assert_eq!(wire.get("/v1/journals").await.unwrap().status(), 200);
    service.change("registry", |identity| identity.revoked = true);
    let answer = wire.get("/v1/journals").await.unwrap();
    assert_eq!((answer.status().as_u16(), problem(&answer)), (403, "revoked-certificate".into()));
    service.change("registry", |identity| (identity.revoked, identity.not_after) = (false, 1));
    assert_eq!(problem(&wire.get("/v1/journals").await.unwrap()), "expired-certificate");
}

#[tokio::test]
async fn every_answer_names_version_and_request_and_length() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    for path in ["/v1/journals", "/v1/nothing", "/v1/status"] {
        let answer = wire.get(path).await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
        assert_eq!(header("pechat-version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(header("api-version"), "v1");
        assert_eq!(header("x-request-id").len(), 16);
        assert_eq!(header("content-length"), answer.body().len().to_string());
    }
    assert!(wire.get("/v1/journals").await.unwrap().headers().contains_key("ratelimit"));
}

#[tokio::test]
async fn what_is_not_ours_gets_the_described_problem() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    let long = |n: usize| Body::from(vec![b' '; n]);
    let digest = Digest::of(b"x");
    let extra = format!("{{\"request_id\":\"{}\",\"digest\":\"{digest}\",\"record\":1}}", hex(&[1; 16]));
    let cases = [
        ("GET", "/v2/journals", "", Body::empty(), 404, "unknown-route"),
        ("DELETE", "/v1/journals", "", Body::empty(), 405, "wrong-method"),
        ("POST", "/tsa", "application/json", Body::from("{}"), 415, "unsupported-media-type"),
        ("POST", "/tsa", "", Body::from("{}"), 415, "unsupported-media-type"),
        ("POST", "/tsa", QUERY, long(4097), 413, "body-too-large"),
        ("POST", ENTRIES, JSON, long(1024 * 1024 + 1), 413, "body-too-large"),
        ("POST", ENTRIES, JSON, entries(0..4097), 413, "count"),
        ("POST", ENTRIES, JSON, Body::from("{}"), 400, "malformed-request"),
        ("POST", ENTRIES, JSON, Body::from("{"), 400, "malformed-request"),
        ("POST", ENTRIES, JSON, Body::from(extra), 400, "malformed-request"),
        ("POST", ENTRIES, "text/csv", entries(0..1), 415, "unsupported-media-type"),
        ("POST", "/v1/journals/nowhere/entries", JSON, entries(0..1), 404, "not-found"),
        ("POST", "/v1/journals/NOWHERE!/entries", JSON, entries(0..1), 404, "not-found"),
        ("GET", "/v1/journals/land/receipts/one", "", Body::empty(), 400, "malformed-request"),
        ("GET", "/v1/journals/land/receipts/99", "", Body::empty(), 404, "beyond-journal"),
        ("GET", "/v1/journals/land/range?first=0", "", Body::empty(), 400, "malformed-request"),
        ("GET", "/v1/journals/land/range?first=0&count=0", "", Body::empty(), 400, "count"),
        ("GET", "/v1/journals/land/consistency?old=2&new=1", "", Body::empty(), 400, "malformed-request"),
        ("GET", "/v1/journals/own.timestamps/checkpoint", "", Body::empty(), 404, "not-found"),
    ];
    for (method, path, kind, body, status, expected) in cases {
        let answer = wire.ask(method, path, kind, body).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), problem(&answer)),
            (status, expected.to_owned()),
            "{method} {path}"
        );
        assert_eq!(answer.headers().contains_key("allow"), status == 405);
    }
    let mut tax = service.connect("tax").await;
    for path in ["/v1/journals/land", "/v1/journals/land/checkpoint", "/v1/journals/land/export"] {
        assert_eq!(problem(&tax.get(path).await.unwrap()), "not-found", "{path}");
    }
    assert_eq!(problem(&tax.ask("POST", ENTRIES, JSON, entries(0..1)).await.unwrap()), "not-found");
    assert_eq!(json(&tax.get("/v1/journals").await.unwrap()), serde_json::json!([]));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408_and_one_announced_too_long_is_not_asked_for() {
    let mut service = land().await;
    let client = service.pki.client("raw", Dates::Good);
    service.change("registry", |identity| identity.fingerprint = client.fingerprint);
    let root = service.pki.root();
    let greeting = Greeting { root: &root, credential: Some(&client), alpn: b"http/1.1" };
    let head = "POST /tsa HTTP/1.1\r\nhost: a\r\ncontent-type: application/timestamp-query\r\n";
    let mut answers = Vec::new();
    for rest in ["content-length: 5000000\r\nexpect: 100-continue\r\n\r\n", "content-length: 9\r\n\r\nhalf"] {
        let mut stream = handshake(service.api.address, &greeting).await.unwrap();
        stream.write_all(format!("{head}{rest}").as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        answers.push(String::from_utf8(status.to_vec()).unwrap());
    }
    assert_eq!(answers, ["HTTP/1.1 413", "HTTP/1.1 408"]);
}

#[tokio::test]
async fn an_officer_opens_a_journal_for_a_registered_institution_only() {
    let service = land().await;
    let mut officer = service.connect("officer").await;
    let wanted = r#"{"name":"parcels","institution":"cadastre"}"#;
    let early = officer.ask("POST", "/v1/journals", JSON, wanted.into()).await.unwrap();
    assert_eq!((early.status().as_u16(), problem(&early)), (404, "unknown-institution".into()));
    let office =
        r#"{"id":"cadastre","organisation":"Cadastre","country":"RS","domain":"cadastre.example.gov"}"#;
    let registered = officer.ask("POST", "/v1/institutions", JSON, office.into()).await.unwrap();
    assert_eq!(registered.status(), 201, "{:?}", registered.body());
    let opened = officer.ask("POST", "/v1/journals", JSON, wanted.into()).await.unwrap();
    assert_eq!((opened.status().as_u16(), &json(&opened)["size"]), (201, &1.into()), "{:?}", opened.body());
    assert_eq!(opened.headers()["location"], "/v1/journals/parcels");
    let again = officer.ask("POST", "/v1/journals", JSON, wanted.into()).await.unwrap();
    assert_eq!((again.status().as_u16(), problem(&again)), (409, "journal-exists".into()));
    let named = wanted.replace("parcels", "own.parcels");
    let own = officer.ask("POST", "/v1/journals", JSON, named.into()).await.unwrap();
    assert_eq!(problem(&own), "malformed-request");
}

#[tokio::test]
async fn without_trusted_time_there_is_no_token_and_no_seal() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    let detail = "the clock jumped by 3 s".to_owned();
    service.clock.set(ClockState::Untrusted { reason: "step".into(), detail }, Duration::ZERO);
    let token = wire.ask("POST", "/tsa", QUERY, query().into()).await.unwrap();
    assert_eq!((token.status().as_u16(), token.headers().contains_key("retry-after")), (200, true));
    let seal = wire.ask("POST", ENTRIES, JSON, entries(0..1)).await.unwrap();
    assert_eq!((seal.status().as_u16(), problem(&seal)), (503, "no-seal-now".into()));
    assert!(seal.headers().contains_key("retry-after"));
    let ready = Wire::plain(service.public.address).await.get("/readyz").await.unwrap();
    assert_eq!((ready.status().as_u16(), &json(&ready)["checks"][0]["ok"]), (503, &false.into()));
}

#[tokio::test]
async fn a_query_is_answered_with_exactly_the_reply_type() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    let request = Request::post("/tsa").header("host", "localhost").header("content-type", QUERY);
    let answer =
        wire.send(request.header("accept", "text/html").body(query().into()).unwrap()).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["content-type"]),
        (200, &"application/timestamp-reply".parse().unwrap())
    );
    // PKIStatus granted: SEQUENCE { SEQUENCE { INTEGER 0
    assert_eq!(answer.body()[answer.body().len().min(4)..9], [0x30, 0x03, 0x02, 0x01, 0x00]);
    let refused = wire.ask("POST", "/tsa", QUERY, "not DER".into()).await.unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["content-type"], "application/timestamp-reply");
}

#[tokio::test]
async fn digests_are_sealed_once_and_their_receipts_come_back() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    let first = wire.ask("POST", ENTRIES, JSON, entries(0..5)).await.unwrap();
    assert_eq!(first.status(), 201, "{:?}", first.body());
    let sealed = json(&first);
    let run = &sealed["receipts"][0];
    assert_eq!((&run["first"], &run["count"], &run["offset"]), (&1.into(), &5.into(), &0.into()));
    assert!(run.get("entries").is_none() && run["time"].is_i64() && run["checkpoint"].is_string());
    let again = wire.ask("POST", &format!("{ENTRIES}?entries=full"), JSON, entries(0..5)).await.unwrap();
    let receipts: Vec<RangeReceipt> = serde_json::from_value(json(&again)["receipts"].clone()).unwrap();
    let ids: Vec<_> = receipts.iter().flat_map(|r| r.entries.iter().map(|e| e.digest)).collect();
    assert_eq!(ids, (0..5).map(|n| submission(n).digest).collect::<Vec<_>>());
    assert_eq!(json(&wire.get("/v1/journals/land").await.unwrap())["size"], 6);
    let one = Request::post(ENTRIES).header("host", "localhost").header("content-type", JSON);
    let one = one.header("accept", "text/plain").body(entries([9])).unwrap();
    let text = wire.send(one).await.unwrap();
    assert_eq!(
        (text.status().as_u16(), text.headers()["content-type"].to_str().unwrap()),
        (201, "text/plain; charset=utf-8")
    );
    assert!(text.body().starts_with(b"c2sp.org/tlog-proof@v1\n"));
    let stored = wire.get(text.headers()["location"].to_str().unwrap()).await.unwrap();
    assert_eq!(stored.body(), text.body());
    let mut changed = EntriesRequest { submissions: vec![submission(3)], expect: None };
    changed.submissions[0].digest = Digest::of(b"another");
    let conflict = wire.ask("POST", ENTRIES, JSON, changed.to_json().into()).await.unwrap();
    assert_eq!((conflict.status().as_u16(), problem(&conflict)), (409, "request-id-conflict".into()));
    let stale = EntriesRequest { submissions: vec![submission(10)], expect: Some(3) };
    assert_eq!(
        problem(&wire.ask("POST", ENTRIES, JSON, stale.to_json().into()).await.unwrap()),
        "stale-expectation"
    );
}

#[tokio::test]
async fn an_auditor_reads_every_journal_and_its_proofs() {
    let service = land().await;
    let mut registry = service.connect("registry").await;
    assert_eq!(registry.ask("POST", ENTRIES, JSON, entries(0..3)).await.unwrap().status(), 201);
    let mut auditor = service.connect("auditor").await;
    for (path, member) in [
        ("/v1/journals/land/checkpoint", "root_path"),
        ("/v1/journals/land/range?first=1&count=3", "range_path"),
        ("/v1/journals/land/consistency?old=1&new=4", "path"),
        ("/v1/journals/own.timestamps", "origin"),
        ("/v1/status", "readiness"),
        ("/v1/clock", "sources"),
        ("/v1/hsm", "keys"),
        ("/v1/openapi.json", "paths"),
    ] {
        let answer = auditor.get(path).await.unwrap();
        assert_eq!(answer.status(), 200, "{path} {:?}", answer.body());
        assert!(json(&answer).get(member).is_some(), "{path}");
    }
    let note = auditor.get("/v1/checkpoint").await.unwrap();
    assert!(note.body().starts_with(b"seal.example.gov/root\n"));
    let export = auditor.get("/v1/journals/land/export").await.unwrap();
    assert_eq!(
        (export.status().as_u16(), &export.headers()["content-type"]),
        (200, &"application/octet-stream".parse().unwrap())
    );
}

#[tokio::test]
async fn readiness_is_tried_out_and_says_what_fails() {
    let service = land().await;
    let mut public = Wire::plain(service.public.address).await;
    assert_eq!(public.get("/livez").await.unwrap().body().as_ref(), b"alive\n");
    let ready = public.get("/readyz").await.unwrap();
    assert_eq!((ready.status().as_u16(), &json(&ready)["ready"]), (200, &true.into()), "{:?}", ready.body());
    service.device_works.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let broken = public.get("/readyz").await.unwrap();
    assert_eq!(broken.status(), 503);
    let failed: Vec<_> =
        json(&broken)["checks"].as_array().unwrap().iter().filter(|c| c["ok"] == false).cloned().collect();
    assert_eq!(failed.iter().map(|c| c["name"].as_str().unwrap()).collect::<Vec<_>>(), ["hsm", "timestamp"]);
    assert_eq!(problem(&public.get("/nothing").await.unwrap()), "unknown-route");
    assert_eq!(public.get("/v1/openapi.json").await.unwrap().status(), 200);
}

#[tokio::test]
async fn metrics_count_what_was_answered() {
    let service = land().await;
    let mut wire = service.connect("registry").await;
    wire.ask("POST", "/tsa", QUERY, query().into()).await.unwrap();
    wire.get("/v1/no/such/path").await.unwrap();
    let text = Wire::plain(service.metrics.address).await.get("/metrics").await.unwrap();
    let text = String::from_utf8(text.body().to_vec()).unwrap();
    for line in [
        "pechat_http_requests_total{route=\"/tsa\",status=\"200\"} 1",
        "pechat_http_requests_total{route=\"none\",status=\"404\"} 1",
        "pechat_timestamp_answers_total{outcome=\"granted\"} 1",
        "pechat_clock_state{state=\"synchronised\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_client_that_asks_too_fast_gets_429_with_retry_after() {
    let mut service = Service::start(Limits { requests_per_second: 1, burst: 2, ..Limits::default() }).await;
    service.add("land-registry", "registry", Role::RegistryService);
    let mut wire = service.connect("registry").await;
    let mut last = wire.get("/v1/journals").await.unwrap();
    for _ in 0..3 {
        last = wire.get("/v1/journals").await.unwrap();
    }
    assert_eq!((last.status().as_u16(), problem(&last)), (429, "too-fast".into()));
    assert_eq!(last.headers()["retry-after"], "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flooding_client_gets_503_while_every_query_of_another_is_answered() {
    let limits = Limits {
        tokens_at_once: 2,
        tokens_waiting_per_client: 1,
        tokens_wait_ms: 20_000,
        ..Limits::default()
    };
    let mut service = Service::start(limits).await;
    service.add("land-registry", "flood", Role::RegistryService);
    service.add("tax-office", "other", Role::RegistryService);
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut floods = Vec::new();
    for _ in 0..16 {
        let (mut wire, over) = (service.connect("flood").await, over.clone());
        floods.push(tokio::spawn(async move {
            let mut refused = 0;
            while !over.load(Ordering::SeqCst) {
                let answer = wire.ask("POST", "/tsa", QUERY, query().into()).await.unwrap();
                if answer.status() == 200 {
                    continue;
                }
                assert_eq!((answer.status().as_u16(), problem(&answer)), (503, "line-full".into()));
                assert_eq!(answer.headers()["retry-after"], "1");
                refused += 1;
            }
            refused
        }));
    }
    let mut other = service.connect("other").await;
    for n in 0..50 {
        let answer = other.ask("POST", "/tsa", QUERY, query().into()).await.unwrap();
        assert_eq!(answer.status(), 200, "{n}");
        assert!(answer.body().len() > 500, "a token");
    }
    over.store(true, Ordering::SeqCst);
    let mut refused = 0;
    for flood in floods {
        refused += flood.await.unwrap();
    }
    assert!(refused > 0, "sixteen connections never met the line's end");
}
