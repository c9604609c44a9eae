//! What is compared at start, and what quarantine refuses.

use std::path::Path;

use pechat::journal::known::{Doubt, Known, KnownHead, publish};
use pechat::journal::record::Header;
use pechat::journal::{JournalError, Journals, OwnJournal};
use pechat::witness::HeadSource;
use tempfile::TempDir;

use super::fixture::*;

/// Seals `numbers` in the journal at `dir` and publishes the head of it.
pub async fn seal_and_publish(world: &World, dir: &Path, head: &Path, numbers: std::ops::Range<u64>) {
    let journals = world.open(dir).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions(numbers), None).await.unwrap();
    publish(head, &journals.root_checkpoint().await.unwrap()).unwrap();
}

/// A journal of ten records, an older copy of it that has four, and the newest head.
pub struct RolledBack {
    pub world: World,
    pub dir: TempDir,
    pub now: std::path::PathBuf,
    pub old: std::path::PathBuf,
    pub head: std::path::PathBuf,
}

impl RolledBack {
    pub async fn new() -> RolledBack {
        let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
        let (now, old, head) = (dir.path().join("now"), dir.path().join("old"), dir.path().join("head"));
        seal_and_publish(&world, &now, &head, 0..4).await;
        copy(&now, &old);
        seal_and_publish(&world, &now, &head, 4..10).await;
        RolledBack { world, dir, now, old, head }
    }

    pub fn known(&self) -> Known {
        let mut known = Known::default();
        assert!(known.read(&self.head, SITE, &self.world.spki()));
        known
    }

    pub async fn open(&self, dir: &Path) -> Journals {
        self.world.open_knowing(dir, self.known()).await.unwrap()
    }
}

/// Nothing is sealed, recorded, opened or signed; reads go on.
pub async fn writes_nothing(world: &World, dir: &Path, journals: &Journals) {
    let before = std::fs::read(segment(dir, 0)).unwrap();
    let signed = world.signed.lock().unwrap().len();
    let land = name("land");
    let refused = |what: Result<(), JournalError>| matches!(what, Err(JournalError::Quarantined(_)));
    assert!(refused(journals.seal(&land, submissions([99]), None).await.map(|_| ())));
    assert!(refused(journals.record(OwnJournal::Events, id(99), b"{}".to_vec()).await.map(|_| ())));
    assert!(refused(journals.create(name("water"), institution()).await.map(|_| ())));
    // A seal nobody waits for would come within this time.
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    assert_eq!(world.signed.lock().unwrap().len(), signed);
    assert_eq!(std::fs::read(segment(dir, 0)).unwrap(), before);
}

#[tokio::test]
async fn a_restored_backup_is_told_by_the_head_file_and_writes_nothing() {
    let rolled = RolledBack::new().await;
    assert!(rolled.open(&rolled.now).await.quarantine().is_none(), "the newest state is no rollback");
    let journals = rolled.open(&rolled.old).await;
    let found = journals.quarantine().expect("quarantine");
    let [Doubt::Ahead { known, ours }] = found.doubts.as_slice() else { panic!("{found:?}") };
    assert!(known.size > *ours && *ours == found.size);
    assert!(found.reason().contains("head holds a signed head of"), "{}", found.reason());
    writes_nothing(&rolled.world, &rolled.old, &journals).await;
    let land = name("land");
    assert_eq!(rolled.world.check_text(&journals.receipt(&land, 3).await.unwrap()).0, 3);
    // A retry of what is sealed still gives its receipt.
    assert_eq!(journals.seal(&land, submissions(0..2), None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_known_head_nothing_can_be_told() {
    let rolled = RolledBack::new().await;
    assert!(rolled.world.open_knowing(&rolled.old, Known::default()).await.unwrap().quarantine().is_none());
    let mut known = Known::default();
    assert!(!known.read(&rolled.dir.path().join("absent"), SITE, &rolled.world.spki()));
    assert_eq!(known, Known::default());
}

#[tokio::test]
async fn an_empty_directory_with_a_known_head_stays_empty() {
    let rolled = RolledBack::new().await;
    let empty = rolled.dir.path().join("empty");
    let journals = rolled.open(&empty).await;
    assert_eq!(journals.quarantine().expect("quarantine").size, 0);
    assert!(journals.list().is_empty());
    assert!(std::fs::read(segment(&empty, 0)).unwrap().iter().all(|b| *b == 0));
}

#[tokio::test]
async fn another_log_of_the_same_key_is_told_by_its_root() {
    let rolled = RolledBack::new().await;
    let other = rolled.dir.path().join("other");
    let elsewhere = rolled.dir.path().join("other-head");
    seal_and_publish(&rolled.world, &other, &elsewhere, 100..104).await;
    for numbers in [104..105, 105..106, 106..107, 107..108] {
        seal_and_publish(&rolled.world, &other, &elsewhere, numbers).await;
    }
    let journals = rolled.open(&other).await;
    let found = journals.quarantine().expect("quarantine");
    assert!(matches!(found.doubts.as_slice(), [Doubt::Differs { .. }]), "{found:?}");
    writes_nothing(&rolled.world, &other, &journals).await;
}

#[tokio::test]
async fn a_cut_log_tail_is_told() {
    let rolled = RolledBack::new().await;
    let path = segment(&rolled.now, 0);
    let bytes = std::fs::read(&path).unwrap();
    let (mut at, mut starts) = (0, Vec::new());
    while let Ok(header) = Header::decode(&bytes[at..]) {
        starts.push(at);
        at += header.total();
    }
    // The last seal record and the batch before it.
    let cut = starts[starts.len() - 2];
    let mut shorter = bytes.clone();
    shorter[cut..].fill(0);
    std::fs::write(&path, shorter).unwrap();
    let journals = rolled.open(&rolled.now).await;
    assert!(matches!(journals.quarantine().expect("quarantine").doubts.as_slice(), [Doubt::Ahead { .. }]));
    writes_nothing(&rolled.world, &rolled.now, &journals).await;
}

#[tokio::test]
async fn a_lost_seal_record_alone_is_no_rollback() {
    let rolled = RolledBack::new().await;
    let path = segment(&rolled.now, 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let (mut at, mut last) = (0, 0);
    while let Ok(header) = Header::decode(&bytes[at..]) {
        (last, at) = (at, at + header.total());
    }
    bytes[last..].fill(0);
    std::fs::write(&path, bytes).unwrap();
    assert!(rolled.open(&rolled.now).await.quarantine().is_none());
}

#[tokio::test]
async fn what_is_no_head_of_ours_is_doubted_not_ignored() {
    let rolled = RolledBack::new().await;
    let good = std::fs::read_to_string(&rolled.head).unwrap();
    for (text, part) in [
        (String::new(), "no blank line"),
        (good.replace("seal.example.gov", "seal.other.gov"), "signature does not verify"),
        (good[..good.len() / 2].to_owned(), "signature line"),
    ] {
        std::fs::write(&rolled.head, &text).unwrap();
        let journals = rolled.open(&rolled.now).await;
        let reason = journals.quarantine().expect("quarantine").reason();
        assert!(reason.contains("holds no head of this appliance"), "{reason}");
        assert!(reason.contains(part), "{reason}");
    }
    let mut known = Known::default();
    known.add("a witness", Ok(good), SITE, &[7; 91]);
    assert!(matches!(known.doubts.as_slice(), [Doubt::Unreadable { .. }]));
}

#[tokio::test]
async fn a_witness_that_knows_more_stops_a_running_service() {
    let rolled = RolledBack::new().await;
    let journals = rolled.world.open(&rolled.old).await.unwrap();
    let land = name("land");
    journals.seal(&land, submissions([50]), None).await.unwrap();
    let mut known = Known::default();
    let note = std::fs::read_to_string(&rolled.head).unwrap();
    known.add("witness.example.org", Ok(note), SITE, &rolled.world.spki());
    journals.compare(&known).unwrap();
    assert!(journals.quarantine().expect("quarantine").reason().starts_with("witness.example.org"));
    writes_nothing(&rolled.world, &rolled.old, &journals).await;
}

/// A machine that answers each request with the same text; ends when dropped.
fn replica(status: &'static str, text: String) -> String {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/head", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut request = BufReader::new(&stream).lines().map_while(Result::ok);
            request.find(String::is_empty);
            let length = text.len();
            let _ = write!(
                &stream,
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            );
        }
    });
    url
}

#[tokio::test]
async fn a_restored_backup_is_told_by_a_head_that_another_machine_keeps() {
    let rolled = RolledBack::new().await;
    let newest = std::fs::read_to_string(&rolled.head).unwrap();
    let url = replica("200 OK", newest.clone());
    let source = HeadSource::from(url.clone());
    let mut known = Known::default();
    source.read(&mut known, SITE, &rolled.world.spki());
    let journals = rolled.world.open_knowing(&rolled.old, known).await.unwrap();
    let reason = journals.quarantine().expect("quarantine").reason();
    assert!(reason.contains(&format!("{url} holds a signed head of")), "{reason}");
    writes_nothing(&rolled.world, &rolled.old, &journals).await;

    // Whoever sits on the way can keep the address silent, and no more.
    for (status, text) in [
        ("404 Not Found", newest.clone()),
        ("200 OK", newest.replacen("/root\n", "/root\n1", 1)),
        ("200 OK", "<html>".to_owned()),
        ("200 OK", "x".repeat(1 << 20)),
    ] {
        let mut known = Known::default();
        HeadSource::from(replica(status, text)).read(&mut known, SITE, &rolled.world.spki());
        assert_eq!(known, Known::default());
    }
    let mut known = Known::default();
    HeadSource::from("http://127.0.0.1:1/head".to_owned()).read(&mut known, SITE, &rolled.world.spki());
    assert_eq!(known, Known::default());
}

#[tokio::test]
async fn the_gap_record_gives_up_a_head_that_is_known_by_its_size_alone() {
    let rolled = RolledBack::new().await;
    let alone = |size| {
        let head = KnownHead { source: "witness one".into(), size, root: None, note: None };
        Known { heads: vec![head], doubts: Vec::new() }
    };
    let journals = rolled.world.open_knowing(&rolled.old, alone(1000)).await.unwrap();
    let statement = gap(&journals);
    assert_eq!(statement.given_up.len(), 1);
    assert_eq!((statement.given_up[0].root, &statement.given_up[0].note), (None, &None));
    journals.settle(&statement).await.unwrap();
    drop(journals);
    assert!(rolled.world.open_knowing(&rolled.old, alone(1000)).await.unwrap().quarantine().is_none());
    assert!(rolled.world.open_knowing(&rolled.old, alone(1001)).await.unwrap().quarantine().is_some());
}
