//! The journal engine end to end: real files, a software key in place of the HSM, a hand-set clock.

#[path = "journal/fixture.rs"]
mod fixture;
#[path = "journal/model.rs"]
mod model;
#[path = "journal/recovery.rs"]
mod recovery;
#[path = "journal/speed.rs"]
mod speed;
#[path = "journal/storage.rs"]
mod storage;

use std::io::Cursor;
use std::sync::atomic::Ordering;

use fixture::*;
use pechat::digest::Digest;
use pechat::journal::checkpoint::Head;
use pechat::journal::extent::Extent;
use pechat::journal::verify::{Trust, verify_continuation, verify_export, visit_export};
use pechat::journal::{JournalError, JournalName, OwnJournal, Submission};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_digest_has_a_receipt_that_verifies() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let receipts = journals.seal(&land, submissions(0..10), None).await.unwrap();
    assert_eq!(receipts.len(), 1);
    let facts = world.check(&receipts[0]);
    assert_eq!(facts.entries.len(), 10);
    for (number, entry) in facts.entries.iter().enumerate() {
        assert_eq!((entry.seq, entry.digest), (number as u64 + 1, submission(number as u64).digest));
        assert_eq!(entry.kind, 2);
        assert!(entry.bound >= 2000);
    }
    let text = journals.receipt(&land, 4).await.unwrap();
    assert_eq!(world.check_text(&text), (4, submission(3).digest));
    assert_eq!(journals.last_time().unwrap().0, facts.entries[0].time);
    let stats = journals.stats();
    assert_eq!((stats.entries, stats.torn_tail_bytes), (6 + 1 + 10, 0));
    assert!(stats.seals >= 1 && stats.fsyncs >= stats.batches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_request_again_has_the_same_receipt_and_another_digest_conflicts() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let first = journals.seal(&land, submissions(0..5), None).await.unwrap();
    journals.seal(&land, submissions(5..7), None).await.unwrap();
    assert_eq!(journals.seal(&land, submissions(0..5), None).await.unwrap(), first);
    // A wrong expectation does not matter when nothing is new.
    assert_eq!(journals.seal(&land, submissions(0..5), Some(1)).await.unwrap(), first);
    let size = journals.info(&land).unwrap().size;
    let mut mixed = submissions([50, 51, 2]);
    mixed[2].digest = Digest::of(b"another");
    let conflict = journals.seal(&land, mixed, None).await.unwrap_err();
    assert!(matches!(&conflict, JournalError::Conflict { seq: 3, id } if id.ends_with("02")), "{conflict}");
    assert_eq!(journals.info(&land).unwrap().size, size, "nothing of it was written");
    // The ids of the refused request are free.
    let fresh = journals.seal(&land, submissions([51, 50]), None).await.unwrap();
    assert_eq!(fresh[0].first, size);
    assert_eq!(world.check(&fresh[0]).entries[0].digest, submission(51).digest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_old_and_new_digests_has_one_receipt_a_run() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions(0..5), None).await.unwrap();
    journals.seal(&land, submissions(5..10), None).await.unwrap();
    let receipts = journals.seal(&land, submissions([20, 3, 4, 5, 20, 21, 8]), None).await.unwrap();
    let runs: Vec<_> = receipts.iter().map(|r| (r.first, r.entries.len())).collect();
    // 3 and 4 were sealed by one head, 5 and 8 by the next; 20 and 21 are new; 20 counts once.
    assert_eq!(runs, [(4, 2), (6, 1), (9, 1), (11, 2)]);
    receipts.iter().for_each(|receipt| drop(world.check(receipt)));
    let mut twice = submissions([30, 30]);
    twice[1].digest = Digest::of(b"another");
    let conflict = journals.seal(&land, twice, None).await.unwrap_err();
    assert!(matches!(conflict, JournalError::Conflict { .. }));
    assert_eq!(journals.info(&land).unwrap().size, 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expected_size_that_is_wrong_stops_before_sealing() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions([0]), Some(1)).await.unwrap();
    let stale = journals.seal(&land, submissions([1]), Some(1)).await.unwrap_err();
    assert_eq!(stale, JournalError::Stale { expected: 1, actual: 2 });
    assert_eq!(journals.info(&land).unwrap().size, 2);
    journals.seal(&land, submissions([1]), Some(2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reopening_gives_identical_receipts() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let mut given = Vec::new();
    for request in 0..100u64 {
        let sent = submissions(request * 7..request * 7 + request % 7 + 1);
        given.push((sent.clone(), journals.seal(&land, sent, None).await.unwrap()));
    }
    let size = journals.info(&land).unwrap().size;
    let mut texts = Vec::new();
    for seq in 0..size {
        texts.push(journals.receipt(&land, seq).await.unwrap());
    }
    let head = journals.head(&land).await.unwrap();
    drop(journals);
    let journals = world.open(dir.path()).await.unwrap();
    for (seq, text) in texts.iter().enumerate() {
        assert_eq!(journals.receipt(&land, seq as u64).await.unwrap(), *text);
    }
    for (sent, receipts) in given {
        assert_eq!(journals.seal(&land, sent, None).await.unwrap(), receipts);
    }
    let newer = journals.head(&land).await.unwrap();
    assert_eq!(newer.head, head.head);
    assert_eq!(journals.info(&land).unwrap().size, size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_share_seals_and_all_verify() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let other = name("companies");
    journals.create(other.clone(), institution()).await.unwrap();
    let tasks: Vec<_> = (0..200u64)
        .map(|number| {
            let (journals, to) =
                (journals.clone(), if number % 2 == 0 { land.clone() } else { other.clone() });
            tokio::spawn(async move { journals.seal(&to, submissions([number]), None).await.unwrap() })
        })
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    for (number, task) in tasks.into_iter().enumerate() {
        let receipts = task.await.unwrap();
        let entry = world.check(&receipts[0]).entries[0];
        assert_eq!(entry.digest, submission(number as u64).digest);
        assert!(seen.insert((entry.journal, entry.seq)));
    }
    assert!(journals.stats().seals < 200, "{:?}", journals.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_untrusted_clock_stops_seals_before_anything_is_written_but_not_records() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let old = journals.seal(&land, submissions([0]), None).await.unwrap();
    let before = journals.last_time().unwrap();
    world.untrust_clock();
    let refused = journals.seal(&land, submissions([1]), None).await.unwrap_err();
    assert!(matches!(&refused, JournalError::NotNow(why) if why.contains("stepped")), "{refused}");
    assert_eq!(journals.info(&land).unwrap().size, 2);
    assert_eq!(journals.seal(&land, submissions([0]), None).await.unwrap(), old);
    let recorded = journals.record(OwnJournal::Clock, id(1), b"{\"step\":true}".to_vec()).await.unwrap();
    assert_eq!(recorded.time, before, "an untrusted time is not taken over");
    world.trust_clock();
    let own = JournalName::from(OwnJournal::Clock);
    let sealed = loop {
        match journals.range(&own, recorded.seq, 1).await {
            Ok(receipt) => break receipt,
            Err(JournalError::Beyond { .. }) => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(world.check(&sealed).entries[0].bound, u32::MAX);
    journals.seal(&land, submissions([1]), None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_records_carry_their_detail_and_are_sealed_without_being_asked() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let mut places = Vec::new();
    for number in 0..5u64 {
        let detail = format!("{{\"event\":{number}}}").into_bytes();
        let recorded = journals.record(OwnJournal::Events, id(number), detail.clone()).await.unwrap();
        places.push((recorded, detail));
    }
    let (first, detail) = places[0].clone();
    assert_eq!(journals.record(OwnJournal::Events, id(0), detail).await.unwrap(), first);
    let conflict = journals.record(OwnJournal::Events, id(0), b"{}".to_vec()).await.unwrap_err();
    assert!(matches!(conflict, JournalError::Conflict { seq: 1, .. }));
    let own = JournalName::from(OwnJournal::Events);
    while journals.range(&own, 0, 6).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    drop(journals);
    let journals = world.open(dir.path()).await.unwrap();
    for (recorded, detail) in places {
        assert_eq!(journals.detail(OwnJournal::Events, recorded.seq).await.unwrap(), detail);
        assert_eq!(
            world.check_text(&journals.receipt(&own, recorded.seq).await.unwrap()).1,
            Digest::of(&detail)
        );
    }
    assert!(journals.detail(OwnJournal::Events, 0).await.unwrap().starts_with(b"pechat charter v1\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_hsm_or_stamp_callers_are_told_and_get_their_receipts_later() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    for (number, works) in [&world.stamp_works, &world.hsm_works].into_iter().enumerate() {
        let number = number as u64;
        works.store(false, Ordering::SeqCst);
        let refused = journals.seal(&land, submissions([number]), None).await.unwrap_err();
        assert!(matches!(&refused, JournalError::NotNow(_)), "{refused}");
        assert_eq!(journals.info(&land).unwrap().size, number + 2, "it is durable");
        works.store(true, Ordering::SeqCst);
        let receipts = journals.seal(&land, submissions([number]), None).await.unwrap();
        assert_eq!(world.check(&receipts[0]).entries[0].seq, number + 1);
        assert_eq!(journals.info(&land).unwrap().size, number + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_heads_consistency_and_export_verify() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let mut heads = Vec::new();
    for request in 0..20u64 {
        journals.seal(&land, submissions(request * 100..request * 100 + 50), None).await.unwrap();
        heads.push(Head::parse(&journals.head(&land).await.unwrap().head).unwrap());
    }
    for old in &heads {
        for new in heads.iter().filter(|new| new.size >= old.size) {
            let path = journals.consistency(&land, old.size, new.size).await.unwrap();
            verify_continuation(old, new, &path).unwrap();
        }
    }
    for (first, count) in [(0, 1), (0, 1001), (1, 1000), (499, 3), (1000, 1)] {
        let receipt = journals.range(&land, first, count).await.unwrap();
        assert_eq!(world.check(&receipt).entries.len() as u64, count);
    }
    let beyond = journals.range(&land, 1000, 2).await.unwrap_err();
    assert_eq!(beyond, JournalError::Beyond { journal: "land".into(), seq: 1001, size: 1001 });
    assert!(matches!(journals.consistency(&land, 1, 1002).await, Err(JournalError::Beyond { .. })));
    assert_eq!(journals.range(&land, 0, 0).await.unwrap_err(), JournalError::Count(0));
    assert!(journals.root_checkpoint().await.unwrap().starts_with(&format!("{SITE}/root\n")));
    let export = whole(journals.export(&land).await.unwrap()).await;
    let spki = world.spki();
    verify_export(Cursor::new(&export), &Trust { head_key_spki: Some(&spki), token: None }).unwrap();
    let own = JournalName::from(OwnJournal::Events);
    let export = whole(journals.export(&own).await.unwrap()).await;
    verify_export(Cursor::new(&export), &Trust { head_key_spki: Some(&spki), token: None }).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_a_journal_is_exported_by_numbers_or_by_times() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    for request in 0..9u64 {
        journals.seal(&land, submissions(request * 100..request * 100 + 50), None).await.unwrap();
    }
    let spki = world.spki();
    let trust = Trust { head_key_spki: Some(&spki), token: None };
    let mut all = Vec::new();
    let export = whole(journals.export(&land).await.unwrap()).await;
    visit_export(Cursor::new(&export), &trust, |entry, _| all.push(*entry)).unwrap();
    assert_eq!(all.len(), 451);
    let (time, size) = (all[120].time, all.len());
    let of = |time: i64| all.iter().position(|e| e.time >= time).unwrap_or(size);
    let times = |since, until| Extent::Times { since, until };
    let cases = [
        (Extent::Numbers { first: 7, count: Some(300) }, 7..307),
        (Extent::Numbers { first: 450, count: None }, 450..451),
        (Extent::Numbers { first: 0, count: None }, 0..451),
        (times(Some(time), None), of(time) - 1..size),
        (times(None, Some(time)), 0..of(time) + 1),
        (times(Some(all[300].time), Some(all[400].time)), of(all[300].time) - 1..of(all[400].time) + 1),
        // Nobody sealed anything then: the two neighbours show it.
        (times(Some(time + 1), Some(time + 1)), of(time + 1) - 1..of(time + 1) + 1),
        (times(Some(i64::MAX), None), size - 1..size),
        (times(None, Some(0)), 0..1),
        (times(None, None), 0..size),
    ];
    for (extent, expected) in cases {
        let part = whole(journals.export_of(&land, extent).await.unwrap()).await;
        let mut entries = Vec::new();
        let facts = visit_export(Cursor::new(&part), &trust, |entry, _| entries.push(*entry)).unwrap();
        assert_eq!(entries, all[expected.clone()], "{extent:?}");
        assert_eq!((facts.first, facts.proof.head.size), (expected.start as u64, size as u64), "{extent:?}");
    }
    for (first, count) in [(451, None), (0, Some(452)), (5, Some(0)), (u64::MAX, Some(u64::MAX))] {
        let refused = journals.export_of(&land, Extent::Numbers { first, count }).await.err().unwrap();
        assert!(matches!(refused, JournalError::Beyond { .. }), "{first} {count:?}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_counts_and_strangers_are_refused() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    for bad in ["", "Land", "1land", "own.", "own.other", "a/b", "-a", &"a".repeat(64)] {
        assert_eq!(JournalName::try_from(bad.to_owned()), Err(JournalError::BadName(bad.into())));
    }
    assert_eq!(
        journals.create(land.clone(), institution()).await.unwrap_err(),
        JournalError::Exists("land".into())
    );
    let own = JournalName::from(OwnJournal::Events);
    assert!(journals.create(own.clone(), institution()).await.is_err());
    assert!(journals.seal(&own, submissions([0]), None).await.is_err());
    assert_eq!(journals.seal(&land, Vec::new(), None).await.unwrap_err(), JournalError::Count(0));
    let many = submissions(0..4097);
    assert_eq!(journals.seal(&land, many, None).await.unwrap_err(), JournalError::Count(4097));
    let stranger = name("stranger");
    assert_eq!(
        journals.seal(&stranger, submissions([0]), None).await.unwrap_err(),
        JournalError::Unknown("stranger".into())
    );
    assert!(matches!(journals.receipt(&land, 1).await, Err(JournalError::Beyond { .. })));
    assert_eq!(journals.info(&stranger), None);
    let names: Vec<_> = journals.list().into_iter().map(|j| String::from(j.name)).collect();
    let own =
        ["own.certificates", "own.clock", "own.events", "own.identifiers", "own.timestamps", "own.twins"];
    assert_eq!(names, [&["land"][..], &own].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_opener_and_another_site_are_refused() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let refused = world.open(dir.path()).await.err().unwrap();
    assert!(matches!(&refused, JournalError::Storage(why) if why.contains("another process")), "{refused}");
    let land = land(&journals).await;
    let digest = Digest::of(b"x");
    journals.seal(&land, vec![Submission { request_id: id(1), digest }], None).await.unwrap();
    drop(journals);
    assert!(world.open(dir.path()).await.is_ok(), "the lock went with the last handle");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signed_root_was_durable_and_signed_once() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    for number in 0..50 {
        journals.seal(&land, submissions([number]), None).await.unwrap();
    }
    let seals = journals.stats().seals as usize;
    drop(journals);
    let signed = world.signed.lock().unwrap().clone();
    let distinct: std::collections::BTreeSet<_> = signed.iter().collect();
    assert_eq!(distinct.len(), signed.len());
    assert!(signed.len() >= seals && signed.len() <= seals + 1);
}

/// All parts of an export, whose length was announced.
async fn whole(mut export: pechat::journal::outflow::Outflow) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = export.parts.recv().await {
        let part = part.unwrap();
        assert!(part.len() <= 4096 * 152, "a part is bounded: {}", part.len());
        all.extend(part);
    }
    assert_eq!(all.len() as u64, export.length);
    all
}
