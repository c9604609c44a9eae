//! Rollback is detected, and a given-up head forgotten, by a start that does not replay from zero.

use std::fs;
use std::path::{Path, PathBuf};

use pechat::journal::known::{Doubt, Known};
use pechat::journal::{JournalError, Journals};
use tempfile::TempDir;

use super::fixture::*;
use super::{snapshot, tuning};

/// More leaves of the root log than two tiles have, and than one has at the head in the middle.
const BATCHES: u64 = 560;
const MIDDLE: u64 = 300;

/// A journal, an older copy of it, a head from its middle and its newest head.
struct Copies {
    world: World,
    _dir: TempDir,
    now: PathBuf,
    old: PathBuf,
    middle: String,
    newest: String,
}

async fn seal_each(journals: &Journals, numbers: std::ops::Range<u64>) {
    for number in numbers {
        journals.seal(&name("land"), submissions([number]), None).await.unwrap();
    }
}

async fn copies() -> Copies {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let (now, old) = (dir.path().join("now"), dir.path().join("old"));
    let journals = world.open_tuned(&now, tuning()).await.unwrap();
    land(&journals).await;
    seal_each(&journals, 0..MIDDLE).await;
    let middle = journals.root_checkpoint().await.unwrap();
    seal_each(&journals, MIDDLE..BATCHES).await;
    drop(journals);
    copy(&now, &old);
    let journals = world.open_tuned(&now, tuning()).await.unwrap();
    seal_each(&journals, BATCHES..BATCHES + 10).await;
    let newest = journals.root_checkpoint().await.unwrap();
    Copies { world, _dir: dir, now, old, middle, newest }
}

impl Copies {
    fn known(&self, heads: &[&str]) -> Known {
        let mut known = Known::default();
        for head in heads {
            known.add("a witness", Ok((*head).to_owned()), SITE, &self.world.spki());
        }
        assert!(known.doubts.is_empty(), "{:?}", known.doubts);
        known
    }

    async fn open(&self, dir: &Path, heads: &[&str]) -> Journals {
        let journals = self.world.open_all_knowing(dir, tuning(), self.known(heads)).await.unwrap();
        assert_eq!(journals.stats().replayed_bytes, 0, "it starts from the snapshot");
        journals
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_from_a_snapshot_compares_old_and_new_heads_with_the_tree() {
    let copies = copies().await;
    let journals = copies.open(&copies.now, &[&copies.middle, &copies.newest]).await;
    assert!(journals.quarantine().is_none());
    drop(journals);
    let journals = copies.open(&copies.old, &[&copies.middle, &copies.newest]).await;
    let doubts = journals.quarantine().expect("the newest head is ahead").doubts.clone();
    assert!(matches!(doubts.as_slice(), [Doubt::Ahead { .. }]), "{doubts:?}");
    drop(journals);
    // Another log of the same site and size, whose head this one does not hold.
    let other = tempfile::tempdir().unwrap();
    let journals = copies.world.open_tuned(other.path(), tuning()).await.unwrap();
    land(&journals).await;
    seal_each(&journals, 1000..1100).await;
    let foreign = journals.root_checkpoint().await.unwrap();
    let journals = copies.open(&copies.now, &[&foreign]).await;
    let doubts = journals.quarantine().expect("the head is of another log").doubts.clone();
    assert!(matches!(doubts.as_slice(), [Doubt::Differs { .. }]), "{doubts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_given_up_by_an_agreed_gap_are_in_the_snapshot() {
    let copies = copies().await;
    let journals = copies.open(&copies.old, &[&copies.newest]).await;
    journals.settle(&gap(&journals)).await.unwrap();
    assert!(journals.quarantine().is_none());
    seal_each(&journals, 5000..5003).await;
    let after = journals.root_checkpoint().await.unwrap();
    drop(journals);
    for _ in 0..2 {
        let journals = copies.open(&copies.old, &[&copies.middle, &copies.newest, &after]).await;
        assert!(journals.quarantine().is_none(), "{:?}", journals.quarantine());
        assert_eq!(journals.epoch(), 2);
        drop(journals);
    }
    // The same without the snapshot, from the gap record itself.
    fs::remove_file(snapshot(&copies.old)).unwrap();
    let known = copies.known(&[&copies.newest, &after]);
    let journals = copies.world.open_all_knowing(&copies.old, tuning(), known).await.unwrap();
    assert!(journals.stats().replayed_bytes > 0 && journals.quarantine().is_none());
    drop(journals);
    // What the gap lost is what is out of date now.
    let journals = copies.open(&copies.now, &[&after]).await;
    assert!(journals.quarantine().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tile_damaged_before_heads_are_compared_is_named_and_made_again() {
    let copies = copies().await;
    let tile = copies.now.join("tiles/root/tile/0/001");
    let good = fs::read(&tile).unwrap();
    for bad in [None, Some(good[..100].to_vec()), Some([&good[1..], &[0]].concat())] {
        match &bad {
            None => fs::remove_file(&tile).unwrap(),
            Some(bytes) => fs::write(&tile, bytes).unwrap(),
        }
        let known = copies.known(&[&copies.middle]);
        let refused =
            copies.world.open_all_knowing(&copies.now, tuning(), known.clone()).await.err().unwrap();
        let JournalError::Damaged(why) = &refused else { panic!("{refused}") };
        assert!(why.contains("tiles/root/tile/0/001") && why.contains("a restart rebuilds tiles"), "{why}");
        // The restart it asks for.
        let journals = copies.world.open_all_knowing(&copies.now, tuning(), known.clone()).await.unwrap();
        assert!(journals.stats().replayed_bytes > 0 && journals.quarantine().is_none());
        drop(journals);
        assert_eq!(fs::read(&tile).unwrap(), good);
    }
    // While it runs: the same words, and no quarantine for what is no contradiction.
    let journals = copies.open(&copies.now, &[]).await;
    fs::remove_file(&tile).unwrap();
    let why = journals.compare(&copies.known(&[&copies.middle])).unwrap_err().to_string();
    assert!(why.contains("tiles/root/tile/0/001") && why.contains("a restart rebuilds tiles"), "{why}");
    assert!(journals.quarantine().is_none() && !snapshot(&copies.now).exists());
}
