//! What recovery may drop and what it must refuse.

use std::fs;
use std::path::Path;

use pechat::journal::record::{Header, SECTOR};
use pechat::journal::{JournalError, JournalName, Journals, OwnJournal};
use tempfile::TempDir;

use super::fixture::*;

/// A directory with 12 requests of one to five digests, and what was acknowledged.
struct Written {
    dir: TempDir,
    world: World,
    /// Acknowledged receipts by sequence.
    receipts: Vec<String>,
    /// Start and end of every record in segment 0.
    records: Vec<(usize, usize)>,
}

async fn write() -> Written {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let mut next = 0;
    for request in 0..12u64 {
        let count = request % 5 + 1;
        journals.seal(&land, submissions(next..next + count), None).await.unwrap();
        next += count;
    }
    let size = journals.info(&land).unwrap().size;
    let mut receipts = Vec::new();
    for seq in 0..size {
        receipts.push(journals.receipt(&land, seq).await.unwrap());
    }
    drop(journals);
    let records = records(&fs::read(segment(dir.path(), 0)).unwrap());
    Written { dir, world, receipts, records }
}

fn records(bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(header) = Header::decode(&bytes[at..]) {
        found.push((at, at + header.total()));
        at += header.total();
    }
    found
}

impl Written {
    fn damaged(&self, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
        let to = tempfile::tempdir().unwrap();
        fs::create_dir_all(to.path().join("segments")).unwrap();
        let mut bytes = fs::read(segment(self.dir.path(), 0)).unwrap();
        change(&mut bytes);
        fs::write(segment(to.path(), 0), bytes).unwrap();
        to
    }

    async fn refused(&self, dir: &Path) -> String {
        match self.world.open(dir).await {
            Err(JournalError::Damaged(text)) => text,
            Ok(_) => panic!("opened"),
            Err(other) => panic!("{other}"),
        }
    }
}

/// Every receipt the journal still has is the acknowledged one; how many it has.
async fn same_receipts(journals: &Journals, land: &JournalName, receipts: &[String]) -> usize {
    let size = journals.info(land).unwrap().size as usize;
    let mut same = 0;
    for (seq, acknowledged) in receipts.iter().enumerate().take(size) {
        match journals.receipt(land, seq as u64).await {
            Ok(text) if text == *acknowledged => same += 1,
            Ok(_) => {}
            Err(JournalError::Beyond { .. }) => {}
            Err(other) => panic!("receipt {seq}: {other}"),
        }
    }
    same
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_at_any_byte_of_the_last_two_records_drops_only_what_was_cut() {
    let written = write().await;
    let land = name("land");
    let [.., before, last] = written.records.as_slice() else { panic!("few records") };
    // All bytes around each edge, and a stride through the middle.
    let edges = [before.0, before.1, last.1];
    let near = |cut: &usize| edges.iter().any(|edge| cut.abs_diff(*edge) <= 100) || cut.is_multiple_of(37);
    for cut in (before.0..=last.1).filter(near) {
        let dir = written.damaged(|bytes| bytes.truncate(cut));
        // Nothing may be sealed anew while receipts are compared.
        written.world.stamp_works.store(false, std::sync::atomic::Ordering::SeqCst);
        let journals = written.world.open(dir.path()).await.unwrap_or_else(|e| panic!("cut {cut}: {e}"));
        let whole = if cut >= last.1 {
            last.1
        } else if cut >= before.1 {
            before.1
        } else {
            before.0
        };
        let torn = journals.stats().torn_tail_bytes as usize;
        // Zeros at the cut's end are not told from what was never written.
        assert!(torn <= cut - whole && (torn > 0) == (cut > whole), "cut {cut}: {torn}");
        let aside = fs::read_dir(dir.path())
            .unwrap()
            .filter(|item| item.as_ref().unwrap().file_name().to_string_lossy().starts_with("torn-"));
        assert_eq!(aside.count(), usize::from(cut != whole), "cut {cut}");
        let size = journals.info(&land).unwrap().size as usize;
        // The last request's two entries are in the record before last, their seal in the last.
        let all = written.receipts.len();
        assert_eq!(size, if cut >= before.1 { all } else { all - 2 }, "cut {cut}");
        let kept = same_receipts(&journals, &land, &written.receipts).await;
        assert_eq!(kept, if cut >= last.1 { all } else { all - 2 }, "cut {cut}");
        written.world.stamp_works.store(true, std::sync::atomic::Ordering::SeqCst);
        // It goes on, and reopens.
        journals.seal(&land, submissions([1_000_000]), None).await.unwrap();
        drop(journals);
        let journals = written.world.open(dir.path()).await.unwrap();
        assert_eq!(journals.info(&land).unwrap().size as usize, size + 1);
        assert_eq!(journals.stats().torn_tail_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sectors_of_the_last_record_are_a_torn_write() {
    let written = write().await;
    let last = *written.records.last().unwrap();
    for lost in (last.0..last.1).step_by(SECTOR) {
        let dir = written.damaged(|bytes| bytes[lost..lost + SECTOR].fill(0));
        let journals = written.world.open(dir.path()).await.unwrap();
        assert!(journals.stats().torn_tail_bytes > 0 || last.1 - last.0 == SECTOR);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_anywhere_is_refused_with_its_place() {
    let written = write().await;
    for &(start, end) in &written.records {
        // Header fields, first payload bytes, then a stride, then the hash.
        let fields = [0, 4, 6, 8, 24, 32, 40, 44, 48, 80, 88, 89, 93, 97, 101, 120];
        let places = fields.into_iter().map(|f| start + f).chain((start..end).step_by(211)).chain([end - 1]);
        for at in places {
            let dir = written.damaged(|bytes| bytes[at] ^= 0x10);
            let text = written.refused(dir.path()).await;
            assert!(text.contains("00000000000000000000.seg"), "{text}");
            assert!(text.contains(&format!("offset {start}:")), "flip at {at} of {start}..{end}: {text}");
            assert!(text.contains("record "), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_or_missing_record_before_others_is_refused() {
    let written = write().await;
    let bytes = fs::read(segment(written.dir.path(), 0)).unwrap();
    for pair in written.records.windows(2) {
        let [(from, from_end), (at, end)] = pair else { continue };
        // An older record of the same log over a newer one.
        let stale = written.damaged(|b| {
            let length = (end - at).min(from_end - from);
            b[*at..*end].fill(0);
            b[*at..at + length].copy_from_slice(&bytes[*from..from + length]);
        });
        let text = written.refused(stale.path()).await;
        assert!(text.contains(&format!("offset {at}:")), "{text}");
        if *end != written.records.last().unwrap().1 {
            let missing = written.damaged(|b| b[*at..*end].fill(0));
            let text = written.refused(missing.path()).await;
            assert!(text.contains(&format!("offset {at}:")) && text.contains("follows"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_another_log_is_refused() {
    let (one, other) = (write().await, write().await);
    let theirs = fs::read(segment(other.dir.path(), 0)).unwrap();
    let last = *one.records.last().unwrap();
    let dir = one.damaged(|bytes| bytes[last.0..last.1].copy_from_slice(&theirs[last.0..last.1]));
    assert!(one.refused(dir.path()).await.contains("of another log"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_segment_is_refused() {
    let written = write().await;
    let dir = tempfile::tempdir().unwrap();
    copy(written.dir.path(), dir.path());
    fs::rename(segment(dir.path(), 0), segment(dir.path(), 7)).unwrap();
    assert!(written.refused(dir.path()).await.contains("is missing"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_rots_while_running_is_not_shown() {
    let written = write().await;
    let journals = written.world.open(written.dir.path()).await.unwrap();
    let path = segment(written.dir.path(), 0);
    let mut bytes = fs::read(&path).unwrap();
    let digest = *submission(0).digest.as_bytes();
    let at = bytes.windows(32).position(|w| w == digest).unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let refused = journals.receipt(&name("land"), 1).await.unwrap_err();
    assert!(matches!(refused, JournalError::Damaged(text) if text.contains("entry 1")));
    assert!(journals.detail(OwnJournal::Events, 0).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tiles_are_rebuilt_when_they_are_gone_or_wrong() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    journals.seal(&land, submissions(0..600), None).await.unwrap();
    let receipt = journals.receipt(&land, 300).await.unwrap();
    drop(journals);
    let tile = dir.path().join("tiles/j/land/tile/0/001");
    let good = fs::read(&tile).unwrap();
    fs::write(&tile, [0; 8192]).unwrap();
    fs::remove_file(dir.path().join("tiles/j/land/tile/0/000")).unwrap();
    let journals = world.open(dir.path()).await.unwrap();
    assert_eq!(journals.receipt(&land, 300).await.unwrap(), receipt);
    drop(journals);
    assert_eq!(fs::read(&tile).unwrap(), good);
    assert!(dir.path().join("tiles/j/land/tile/0/000").exists());
}
