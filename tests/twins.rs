//! The SHA3-256 roots of a whole set of journals: right, sealed, carried on after a restart, made again when lost.

#[path = "journal/fixture.rs"]
#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod fixture;

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA3_256, digest};
use fixture::*;
use pechat::digest::Digest;
use pechat::journal::entry::ENTRY_BYTES;
use pechat::journal::export::ExportHeader;
use pechat::journal::tile_name::TileName;
use pechat::journal::twin::rounds::{Keeper, start};
use pechat::journal::twin::{Statement, Twin};
use pechat::journal::{JournalName, Journals, OwnJournal};

/// RFC 6962 section 2.1 with SHA3-256, word for word.
fn root_of(leaves: &[Vec<u8>]) -> Digest {
    let hash = |parts: &[&[u8]]| Digest::try_from(digest(&SHA3_256, &parts.concat()).as_ref()).unwrap();
    match leaves {
        [] => hash(&[]),
        [leaf] => hash(&[&[0], leaf]),
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            hash(&[&[1], root_of(left).as_bytes(), root_of(right).as_bytes()])
        }
    }
}

/// The entries of a journal as its export has them.
async fn entries(journals: &Journals, name: &JournalName) -> Vec<Vec<u8>> {
    let mut outflow = journals.export(name).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(part) = outflow.parts.recv().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    let (_, start) = ExportHeader::read(&mut bytes.as_slice()).unwrap();
    bytes[start as usize..].chunks(ENTRY_BYTES).map(<[u8]>::to_vec).collect()
}

/// The first leaves of the root log: texts of heads.
async fn heads(journals: &Journals, count: u64) -> Vec<Vec<u8>> {
    assert!(count < 256, "one tile is enough");
    let name = TileName::parse(&format!("tile/entries/000.p/{count}")).unwrap();
    let tile = journals.root_tile(name).await.unwrap().expect("a published size");
    let (mut rest, mut heads) = (tile.as_slice(), Vec::new());
    while let Some((length, more)) = rest.split_first_chunk::<2>() {
        let (head, more) = more.split_at(usize::from(u16::from_be_bytes(*length)));
        heads.push(head.to_vec());
        rest = more;
    }
    heads
}

/// The newest statement about a tree; waits until its entry is sealed.
async fn stated(journals: &Journals, origin: &str) -> (Statement, String) {
    for _ in 0..500 {
        if let Some((statement, receipt)) = journals.twin(origin).await.unwrap() {
            return (Statement::parse(statement.as_bytes()).unwrap(), receipt);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no statement about {origin}");
}

/// Every tree of the newest statements is that of the entries.
async fn check(journals: &Journals) -> Vec<(String, u64)> {
    let mut sizes = Vec::new();
    for info in journals.list() {
        let (statement, _) = stated(journals, &info.origin).await;
        let twin = statement.of(&info.origin).unwrap();
        let entries = entries(journals, &info.name).await;
        assert_eq!(twin.twin, root_of(&entries[..twin.size as usize]), "{twin:?}");
        sizes.push((info.name.as_str().to_owned(), twin.size));
    }
    let origin = journals.root_origin();
    let (statement, _) = stated(journals, &origin).await;
    let twin = statement.of(&origin).unwrap();
    assert_eq!(twin.twin, root_of(&heads(journals, twin.size).await), "{twin:?}");
    sizes
}

async fn sealed(journals: &Journals, numbers: std::ops::Range<u64>) {
    let land = land(journals).await;
    journals.seal(&land, submissions(numbers), None).await.unwrap();
}

fn keeper(journals: &Journals, dir: &Path) -> Keeper {
    Keeper::load(journals.clone(), dir.join("twins"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tree_has_a_second_root_that_is_sealed_itself() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(&dir.path().join("journal")).await.unwrap();
    sealed(&journals, 0..3000).await;
    let mut keeper = keeper(&journals, dir.path());
    assert_eq!(journals.twin(&journals.origin("land")).await.unwrap(), None);
    assert_eq!(keeper.round().await.unwrap(), 1);
    let sizes = check(&journals).await;
    assert!(sizes.contains(&("land".into(), 3001)), "{sizes:?}");

    // The statement is an entry like any other, and its SHA-256 root is that of the head.
    let (statement, receipt) = stated(&journals, &journals.origin("land")).await;
    assert_eq!(world.check_text(&receipt), (1, Digest::of(&statement.text())));
    let Twin { size, root, .. } = statement.of(&journals.origin("land")).unwrap().clone();
    let head = journals.head(&name("land")).await.unwrap().head;
    assert!(head.contains(&format!("\n{size}\n")), "{head}");
    let head = pechat::journal::checkpoint::Head::parse(&head).unwrap();
    assert_eq!(head.root, root);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_stated_while_only_statements_are_new() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(&dir.path().join("journal")).await.unwrap();
    sealed(&journals, 0..5).await;
    let mut keeper = keeper(&journals, dir.path());
    assert_eq!(keeper.round().await.unwrap(), 1);
    stated(&journals, &journals.origin("land")).await;
    for _ in 0..3 {
        assert_eq!(keeper.round().await.unwrap(), 0);
    }
    sealed(&journals, 5..6).await;
    assert_eq!(keeper.round().await.unwrap(), 1);
    let info = journals.info(&OwnJournal::Twins.into()).unwrap();
    assert_eq!(info.size, 3, "its charter and two statements");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_from_its_state_or_computes_it_again() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let (journal, state) = (dir.path().join("journal"), dir.path().join("twins"));
    for (restart, left) in
        ["as it was", "lost", "damaged", "of a statement that was never kept"].iter().enumerate()
    {
        let journals = world.open(&journal).await.unwrap();
        let before = restart as u64 * 1500;
        sealed(&journals, before..before + 1500).await;
        let mut keeper = keeper(&journals, dir.path());
        assert_eq!(keeper.round().await.unwrap(), 1, "{left}");
        let sizes = check(&journals).await;
        assert!(sizes.contains(&("land".into(), before + 1501)), "{left}: {sizes:?}");
        drop((keeper, journals));
        match *left {
            "lost" => std::fs::remove_file(&state).unwrap(),
            "damaged" => {
                let text = std::fs::read_to_string(&state).unwrap();
                std::fs::write(&state, text.replacen('1', "2", 1)).unwrap();
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_another_history_is_not_believed() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journal = dir.path().join("journal");
    let journals = world.open(&journal).await.unwrap();
    sealed(&journals, 0..10).await;
    drop(journals);
    copy(&journal, &dir.path().join("backup"));
    let journals = world.open(&journal).await.unwrap();
    sealed(&journals, 10..20).await;
    keeper(&journals, dir.path()).round().await.unwrap();
    stated(&journals, &journals.origin("land")).await;
    drop(journals);

    // The same sizes, other entries; the state file is that of the longer past.
    let journals = world.open(&dir.path().join("backup")).await.unwrap();
    sealed(&journals, 100..120).await;
    assert_eq!(keeper(&journals, dir.path()).round().await.unwrap(), 1);
    let sizes = check(&journals).await;
    assert!(sizes.contains(&("land".into(), 31)), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rounds_state_roots_by_themselves() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(&dir.path().join("journal")).await.unwrap();
    let rounds = start(&journals, Duration::from_millis(50), dir.path().join("twins"));
    sealed(&journals, 0..5).await;
    let origin = journals.origin("land");
    for _ in 0..500 {
        if stated(&journals, &origin).await.0.of(&origin).unwrap().size == 6 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(stated(&journals, &origin).await.0.of(&origin).unwrap().size, 6);
    drop(rounds);
}
