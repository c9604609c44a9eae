//! The logs as static resources: what strangers read from the public listener and auditors over mutual TLS.

mod pki;
#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod service;
#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod wire;

use axum::body::Body;
use axum::http::{Request, Response};
use bytes::Bytes;
use pechat::access::Role;
use pechat::digest::Digest;
use pechat::http::limit::Limits;
use pechat::journal::checkpoint::{Head, open_note};
use pechat::journal::entry::{ENTRY_BYTES, Entry};
use pechat::journal::tree::{CompactRange, leaf_hash};
use pechat::journal::{JournalName, RequestId, Submission};
use service::Service;
use wire::{Wire, problem};

const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A service whose journal `land` has a charter and this many seals, each in its own batch or all in one.
async fn sealed(batches: &[u64]) -> Service {
    let mut service = Service::start(Limits::default()).await;
    service.add("land-registry", "registry", Role::RegistryService);
    service.add("tax-office", "tax", Role::RegistryService);
    service.add("authority", "auditor", Role::Auditor);
    service.open_journal("land", "land-registry").await;
    let name = JournalName::try_from("land".to_owned()).unwrap();
    let mut number = 0_u64;
    for count in batches {
        let one = |n: u64| {
            let mut id = [0; 16];
            id[8..].copy_from_slice(&n.to_be_bytes());
            Submission { request_id: RequestId(id), digest: Digest::of(&n.to_be_bytes()) }
        };
        let submissions = (number..number + count).map(one).collect();
        service.app.journals.seal(&name, submissions, None).await.unwrap();
        number += count;
    }
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
        let head = service.app.journals.head(&"land".to_owned().try_into().unwrap()).await.unwrap();
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
