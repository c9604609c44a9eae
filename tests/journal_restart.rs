//! Restarts from the snapshot and the request-id index, and everything that can be wrong with both.

#[allow(dead_code)]
#[path = "journal/fixture.rs"]
mod fixture;
#[path = "journal_restart/killed.rs"]
mod killed;
#[path = "journal_restart/known_heads.rs"]
mod known_heads;
#[path = "journal_restart/places.rs"]
mod places;
#[path = "journal_restart/reads.rs"]
mod reads;
#[path = "journal_restart/tenure.rs"]
mod tenure;

use std::fs;
use std::path::{Path, PathBuf};

use fixture::*;
use pechat::digest::Digest;
use pechat::journal::receipt::RangeReceipt;
use pechat::journal::snapshot::Snapshot;
use pechat::journal::{JournalError, Journals, Tuning};
use tempfile::TempDir;

const ENTRIES: u64 = 1200;

fn tuning() -> Tuning {
    Tuning { low_water_bytes: Some(0), snapshot_bytes: Some(1), ..Tuning::default() }
}

/// A stopped journal with a snapshot, and the receipts it gave.
async fn written(world: &World) -> (TempDir, Vec<Vec<RangeReceipt>>) {
    let dir = tempfile::tempdir().unwrap();
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    let land = land(&journals).await;
    let mut receipts = Vec::new();
    for first in (0..ENTRIES).step_by(100) {
        receipts.push(journals.seal(&land, submissions(first..first + 100), None).await.unwrap());
    }
    drop(journals);
    assert!(Snapshot::decode(&fs::read(snapshot(dir.path())).unwrap()).is_some());
    (dir, receipts)
}

fn snapshot(dir: &Path) -> PathBuf {
    dir.join("snapshot.bin")
}

fn runs(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir.join("ids")).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "ids")).collect()
}

/// Every id finds its receipt, another digest conflicts, a new id is new, the log goes on.
async fn whole(journals: &Journals, receipts: &[Vec<RangeReceipt>]) {
    let land = name("land");
    let size = journals.info(&land).unwrap().size;
    for (first, receipt) in (0..ENTRIES).step_by(100).zip(receipts) {
        assert_eq!(&journals.seal(&land, submissions(first..first + 100), None).await.unwrap(), receipt);
    }
    assert_eq!(journals.info(&land).unwrap().size, size, "nothing is sealed twice");
    let mut other = submission(700);
    other.digest = Digest::of(b"another");
    let conflict = journals.seal(&land, vec![other], None).await.unwrap_err();
    assert!(matches!(conflict, JournalError::Conflict { seq: 701, .. }), "{conflict}");
    let fresh = journals.seal(&land, submissions([1 << 40 | size]), None).await.unwrap();
    assert_eq!(fresh[0].first, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_replays_only_what_followed_the_snapshot_and_knows_every_request_id() {
    let world = World::new();
    let (dir, receipts) = written(&world).await;
    for _ in 0..3 {
        let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
        assert_eq!(journals.stats().replayed_bytes, 0);
        whole(&journals, &receipts).await;
    }
    let all = Tuning { replay_all: true, ..tuning() };
    let journals = world.open_tuned(dir.path(), all).await.unwrap();
    assert!(journals.stats().replayed_bytes > ENTRIES * 48);
    whole(&journals, &receipts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_short_or_missing_cache_file_is_made_again_from_the_log() {
    let world = World::new();
    let (dir, receipts) = written(&world).await;
    let mut files = runs(dir.path());
    files.push(snapshot(dir.path()));
    assert!(files.len() >= 2);
    for file in files {
        let good = fs::read(&file).unwrap();
        let middle = good.len() / 2;
        let mut flipped = good.clone();
        flipped[middle] ^= 1;
        for bad in [Some(flipped), Some(good[..middle].to_vec()), Some(Vec::new()), None] {
            let broken = tempfile::tempdir().unwrap();
            copy(dir.path(), broken.path());
            let target = broken.path().join(file.strip_prefix(dir.path()).unwrap());
            match bad {
                Some(bytes) => fs::write(&target, bytes).unwrap(),
                None => fs::remove_file(&target).unwrap(),
            }
            let journals = world.open_tuned(broken.path(), tuning()).await.unwrap();
            assert!(journals.stats().replayed_bytes > ENTRIES * 48, "{}", file.display());
            whole(&journals, &receipts).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_snapshot_without_its_index_or_of_another_log_is_never_believed() {
    let world = World::new();
    let (dir, receipts) = written(&world).await;
    let older = fs::read(snapshot(dir.path())).unwrap();
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    let more = journals.seal(&name("land"), submissions(5000..5100), None).await.unwrap();
    drop(journals);
    // Its runs may have been merged away since, or not: both ways every id is found.
    fs::write(snapshot(dir.path()), &older).unwrap();
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    assert!(journals.stats().replayed_bytes > 0);
    assert_eq!(journals.seal(&name("land"), submissions(5000..5100), None).await.unwrap(), more);
    whole(&journals, &receipts).await;
    drop(journals);
    let (other, receipts) = written(&world).await;
    fs::write(snapshot(other.path()), older).unwrap();
    let journals = world.open_tuned(other.path(), tuning()).await.unwrap();
    assert!(journals.stats().replayed_bytes > ENTRIES * 48);
    whole(&journals, &receipts).await;
}
