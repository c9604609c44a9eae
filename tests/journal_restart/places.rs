//! Many small batches: most of their places lie in a file, and are found there.

use std::fs;

use pechat::journal::JournalError;

use super::fixture::*;
use super::{snapshot, tuning};

const BATCHES: u64 = 700;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_places_on_disk_are_the_same_and_a_damaged_page_is_named_and_made_again() {
    let (world, dir, land) = (World::new(), tempfile::tempdir().unwrap(), name("land"));
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    journals.create(land.clone(), institution()).await.unwrap();
    for number in 0..BATCHES {
        journals.seal(&land, submissions([number]), None).await.unwrap();
    }
    let mut receipts = Vec::new();
    for seq in 0..=BATCHES {
        receipts.push(journals.receipt(&land, seq).await.unwrap());
    }
    drop(journals);
    let places = dir.path().join("places.bin");
    let good = fs::read(&places).unwrap();
    assert!(good.len() >= 2 * 256 * 48 + 256 * 56, "two pages of batches and one of seals");

    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    assert_eq!(journals.stats().replayed_bytes, 0);
    for (seq, receipt) in (0..).zip(&receipts) {
        assert_eq!(&journals.receipt(&land, seq).await.unwrap(), receipt, "entry {seq}");
    }
    let again = journals.seal(&land, submissions([5]), None).await.unwrap();
    assert_eq!((again[0].first, journals.info(&land).unwrap().size), (6, BATCHES + 1));
    drop(journals);

    let mut bad = good.clone();
    bad.chunks_mut(1000).for_each(|part| part[0] ^= 1);
    fs::write(&places, bad).unwrap();
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    let refused = journals.receipt(&land, 5).await.unwrap_err();
    assert!(
        matches!(&refused, JournalError::Damaged(why) if why.contains("places.bin at offset")),
        "{refused}"
    );
    let refused = journals.seal(&land, submissions([5]), None).await.unwrap_err();
    assert!(matches!(&refused, JournalError::Damaged(_)), "never sealed twice: {refused}");
    assert_eq!(journals.receipt(&land, BATCHES).await.unwrap(), receipts[BATCHES as usize]);
    assert!(!snapshot(dir.path()).exists());
    drop(journals);
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    assert!(journals.stats().replayed_bytes > BATCHES * 48);
    for (seq, receipt) in (0..).zip(&receipts) {
        assert_eq!(&journals.receipt(&land, seq).await.unwrap(), receipt, "entry {seq}");
    }
}
