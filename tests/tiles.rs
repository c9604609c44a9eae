//! The logs as static resources: what strangers read from the public listener and auditors over mutual TLS.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod pki;
#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod service;
#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod wire;

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use pechat::access::Role;
use pechat::clock::UtcMicros;
use pechat::digest::Digest;
use pechat::http::limit::Limits;
use pechat::journal::checkpoint::{Head, open_note};
use pechat::journal::entry::{ENTRY_BYTES, Entry};
use pechat::journal::receipt::{HeadProof, parse_range, parse_single};
use pechat::journal::tree::{CompactRange, leaf_hash, verify_consistency};
use pechat::journal::verify::{Trust, verify_head, verify_range};
use pechat::journal::{JournalName, RequestId, Submission};
use serde_json::Value;
use service::Service;
use wire::{Wire, problem};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A service whose journal `land` has a charter and this many seals, each in its own batch or all in one.
async fn sealed(batches: &[u64]) -> Service {
    let mut service = land().await;
    let mut first = 0;
    for count in batches {
        seal(&mut service, first, *count).await;
        first += count;
    }
    service
}

async fn seal(service: &mut Service, first: u64, count: u64) {
    let one = |n: u64| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&n.to_be_bytes());
        Submission { request_id: RequestId(id), digest: Digest::of(&n.to_be_bytes()) }
    };
    let submissions = (first..first + count).map(one).collect();
    service.app.journals.seal(&name(), submissions, None).await.unwrap();
}

fn name() -> JournalName {
    JournalName::try_from("land".to_owned()).unwrap()
}

async fn land() -> Service {
    let mut service = Service::start(Limits::default()).await;
    service.add("land-registry", "registry", Role::RegistryService);
    service.add("tax-office", "tax", Role::RegistryService);
    service.add("authority", "auditor", Role::Auditor);
    service.open_journal("land", "land-registry").await;
    service
}

async fn public(service: &Service, path: &str) -> Response<Bytes> {
    Wire::plain(service.public.address).await.get(path).await.unwrap()
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn items(bundle: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut items) = (bundle, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (item, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        items.push(item.to_vec());
        rest = after;
    }
    items
}

fn root_of(leaves: &[Vec<u8>]) -> Digest {
    let mut range = CompactRange::new();
    leaves.iter().for_each(|leaf| range.append(leaf_hash(leaf)));
    range.root()
}

#[tokio::test]
async fn the_root_logs_bundle_and_tile_lead_to_the_signed_checkpoint() {
    let service = sealed(&[3, 1, 2]).await;
    let answer = public(&service, "/root/checkpoint").await;
    assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(header(&answer, "cache-control"), "max-age=1");
    let checkpoint = open_note(std::str::from_utf8(answer.body()).unwrap()).unwrap().checkpoint;
    let size = checkpoint.size;

    let answer = public(&service, &format!("/root/tile/entries/000.p/{size}")).await;
    assert_eq!(
        (answer.status().as_u16(), header(&answer, "content-type")),
        (200, "application/octet-stream")
    );
    let heads = items(answer.body());
    assert_eq!((heads.len() as u64, root_of(&heads)), (size, checkpoint.root));
    let newest = heads.iter().rev().find_map(|head| {
        Head::parse(std::str::from_utf8(head).unwrap()).ok().filter(|head| head.origin.ends_with("/j/land"))
    });
    assert_eq!(newest.unwrap().size, 7);

    let answer = public(&service, &format!("/root/tile/0/000.p/{size}")).await;
    assert_eq!(header(&answer, "cache-control"), "public, max-age=3600, immutable");
    let leaves: Vec<u8> = heads.iter().flat_map(|head| *leaf_hash(head).as_bytes()).collect();
    assert_eq!(answer.body(), &leaves);
}

#[tokio::test]
async fn a_journals_tiles_are_complete_immutable_and_known_by_their_tag() {
    let service = sealed(&[300]).await;
    let full = public(&service, "/j/land/tile/0/000").await;
    assert_eq!(
        (full.status().as_u16(), full.body().len(), header(&full, "cache-control")),
        (200, 8192, FOR_EVER)
    );
    let edge = public(&service, "/j/land/tile/0/001.p/45").await;
    assert_eq!((edge.status().as_u16(), edge.body().len()), (200, 45 * 32));
    let above = public(&service, "/j/land/tile/1/000.p/1").await;
    assert_eq!((above.status().as_u16(), above.body().len()), (200, 32));

    let tag = header(&full, "etag").to_owned();
    assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
    for (known, status) in
        [(tag.clone(), 304), (format!("\"a\", W/{tag}"), 304), ("*".into(), 304), ("\"a\"".into(), 200)]
    {
        let request = Request::get("/j/land/tile/0/000").header("host", "h").header("if-none-match", &known);
        let answer = Wire::plain(service.public.address)
            .await
            .send(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!((answer.status().as_u16(), answer.body().is_empty()), (status, status == 304), "{known}");
        assert_eq!((header(&answer, "etag"), header(&answer, "cache-control")), (tag.as_str(), FOR_EVER));
    }
}

#[tokio::test]
async fn what_no_head_has_or_is_named_otherwise_is_404() {
    let service = sealed(&[255, 10]).await;
    for good in ["0/000", "0/001.p/10", "1/000.p/1"] {
        assert_eq!(public(&service, &format!("/j/land/tile/{good}")).await.status(), 200, "{good}");
    }
    for bad in [
        "/j/land/tile/0/001.p/9",
        "/j/land/tile/0/001.p/11",
        "/j/land/tile/0/000.p/255",
        "/j/land/tile/0/001",
        "/j/land/tile/0/x001/000",
        "/j/land/tile/1/000",
        "/j/land/tile/7/000",
        "/j/land/tile/0/00%30",
        "/j/land/tile/0/000%2ep/1",
        "/j/land/tile/0%2f000",
        "/j/land/tile/0/../0/000",
        "/j/land/tile/entries/000",
        "/j/l%61nd/tile/0/000",
        "/j/sea/tile/0/000",
        "/j/own.events/tile/0/000.p/1",
        "/root/tile/0/000",
        "/root/tile/entries/000.p/255",
        "/root/tile/0/000.p/0",
        "/root/tile/",
        "/root/tile/0/000/",
    ] {
        let answer = public(&service, bad).await;
        assert_eq!(answer.status(), 404, "{bad}");
        assert!(["no-tile", "unknown-route"].contains(&problem(&answer).as_str()), "{bad}");
        assert_eq!((header(&answer, "etag"), header(&answer, "cache-control")), ("", ""), "{bad}");
    }
}

#[tokio::test]
async fn every_published_size_of_the_past_keeps_its_partial_tile() {
    let service = sealed(&[4, 5, 6]).await;
    for (width, there) in
        [(1, true), (4, false), (5, true), (9, false), (10, true), (15, false), (16, true), (17, false)]
    {
        let answer = public(&service, &format!("/j/land/tile/0/000.p/{width}")).await;
        assert_eq!(answer.status() == 200, there, "{width}");
        assert!(!there || answer.body().len() == 32 * width, "{width}");
    }
}

#[tokio::test]
async fn entries_are_for_those_who_may_read_the_journal() {
    let service = sealed(&[300]).await;
    for reader in ["registry", "auditor"] {
        let mut wire = service.connect(reader).await;
        let answer = wire.get("/v1/journals/land/tile/entries/000").await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), header(&answer, "cache-control")),
            (200, "private, max-age=31536000, immutable")
        );
        let mut leaves = items(answer.body());
        let answer = wire.get("/v1/journals/land/tile/entries/001.p/45").await.unwrap();
        leaves.extend(items(answer.body()));
        assert!(leaves.iter().all(|leaf| leaf.len() == ENTRY_BYTES));
        let seqs = leaves.iter().map(|leaf| Entry::decode(leaf).unwrap().seq);
        assert!(seqs.eq(0..301));
        let head = service.app.journals.head(&name()).await.unwrap();
        assert_eq!(root_of(&leaves), Head::parse(&head.head).unwrap().root);
        let hashes = wire.get("/v1/journals/land/tile/0/000").await.unwrap();
        assert_eq!(hashes.body(), public(&service, "/j/land/tile/0/000").await.body());
    }
    let mut other = service.connect("tax").await;
    let answer = other.get("/v1/journals/land/tile/entries/000").await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn an_appliance_told_so_keeps_journals_tiles_to_itself() {
    let service = sealed(&[1]).await;
    let mut app = service.app.clone();
    app.front = pechat::http::Front::publishing(Limits::default(), false);
    let listening =
        service::start(pechat::http::listen::Door::Plain, pechat::http::public(app), Limits::default()).await;
    let mut wire = Wire::plain(listening.address).await;
    assert_eq!(wire.get("/j/land/tile/0/000.p/2").await.unwrap().status(), 404);
    assert_eq!(wire.get("/root/checkpoint").await.unwrap().status(), 200);
    assert_eq!(public(&service, "/j/land/tile/0/000.p/2").await.status(), 200);
}

fn json(answer: &Response<Bytes>) -> Value {
    serde_json::from_slice(answer.body()).unwrap()
}

async fn asked(service: &Service, path: &str, accept: &str) -> Response<Bytes> {
    let request = Request::get(path).header("host", "h").header("accept", accept);
    service.connect("registry").await.send(request.body(Body::empty()).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_receipt_is_also_json_that_says_the_same() {
    let service = sealed(&[5, 7]).await;
    let path = "/v1/journals/land/receipts/3";
    let text = asked(&service, path, "*/*").await;
    assert_eq!(
        (header(&text, "content-type"), header(&text, "vary")),
        ("text/plain; charset=utf-8", "Accept")
    );
    let json = asked(&service, path, "application/json").await;
    assert_eq!((header(&json, "content-type"), header(&json, "vary")), ("application/json", "Accept"));
    assert_eq!(asked(&service, path, "application/json").await.body(), json.body());
    let single = parse_single(std::str::from_utf8(text.body()).unwrap()).unwrap();
    let range = parse_range(json.body()).unwrap();
    let entry = &range.entries[0];
    assert_eq!((range.first, range.prev, &range.proof), (3, single.entry.prev, &single.proof));
    assert_eq!((entry.digest, entry.time, range.entries.len()), (single.entry.digest, single.entry.time, 1));
    let facts = verify_range(&range, &Trust::default()).unwrap();
    assert_eq!(facts.proof.head.size, 6);
}

#[tokio::test]
async fn one_root_checkpoint_is_shown_to_continue_another() {
    let mut service = sealed(&[2]).await;
    let note = async |service: &Service| {
        open_note(&service.app.journals.root_checkpoint().await.unwrap()).unwrap().checkpoint
    };
    let old = note(&service).await;
    seal(&mut service, 2, 3).await;
    let new = note(&service).await;
    assert!(new.size > old.size);
    let proof =
        json(&asked(&service, &format!("/v1/consistency?old={}&new={}", old.size, new.size), "*/*").await);
    assert_eq!((proof["old"].as_u64(), proof["new"].as_u64()), (Some(old.size), Some(new.size)));
    let path: Vec<Digest> = serde_json::from_value(proof["path"].clone()).unwrap();
    verify_consistency(old.size, &old.root, new.size, &new.root, &path).unwrap();
    let beyond = asked(&service, &format!("/v1/consistency?old=1&new={}", new.size + 1), "*/*").await;
    assert_eq!((beyond.status().as_u16(), problem(&beyond)), (404, "beyond-journal".into()));
    assert_eq!(asked(&service, "/v1/consistency?old=2&new=1", "*/*").await.status(), 400);
}

/// Verifies a head of the answer; its size.
fn size_of(head: &Value) -> u64 {
    let proof: HeadProof = serde_json::from_value(head.clone()).unwrap();
    verify_head(&proof, &Trust::default()).unwrap().head.size
}

#[tokio::test]
async fn the_head_at_a_moment_is_the_newest_one_stamped_by_then() {
    let mut service = land().await;
    let at = async |service: &Service, at: i64| {
        let path = format!("/v1/journals/land/head?at={}", UtcMicros(at).iso8601());
        json(&asked(service, &path, "*/*").await)
    };
    let (mut heads, mut first) = (vec![], 0);
    for count in [1, 2, 3, 4] {
        // genTime has milliseconds.
        tokio::time::sleep(Duration::from_millis(3)).await;
        seal(&mut service, first, count).await;
        first += count;
        let newest = at(&service, 4_000_000_000_000_000).await;
        assert_eq!((size_of(&newest["head"]), newest["next"].is_null()), (first + 1, true));
        heads.push((newest["stamped"].as_i64().unwrap(), first + 1));
    }
    for pair in heads.windows(2) {
        let [(from, size), (until, following)] = [pair[0], pair[1]];
        for moment in [from, until - 1000] {
            let answer = at(&service, moment).await;
            assert_eq!(answer["at"], moment);
            assert_eq!((&answer["stamped"], size_of(&answer["head"])), (&Value::from(from), size));
            assert_eq!(size_of(&answer["next"]), following);
        }
        assert_eq!(size_of(&at(&service, until).await["head"]), following);
    }
    let before = asked(&service, "/v1/journals/land/head?at=2001-01-01T00:00:00Z", "*/*").await;
    assert_eq!((before.status().as_u16(), problem(&before)), (404, "no-head-then".into()));
    let odd = asked(&service, "/v1/journals/land/head?at=yesterday", "*/*").await;
    assert_eq!((odd.status().as_u16(), problem(&odd)), (400, "malformed-request".into()));
}
