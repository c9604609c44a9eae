//! `kill -9` while snapshots are written and runs merged. The child is this test binary: it takes a
//! snapshot as often as it can, and each adds a run that is merged with the one before.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::fixture::*;
use super::{snapshot, tuning};

const DIR: &str = "PECHAT_TEST_RESTART";
const FROM: &str = "PECHAT_TEST_FROM";
/// Entries before the first kill; their records have more bytes than a child adds.
const BASE: u64 = 6000;
/// Requests of one child, and digests of each.
const REQUESTS: u64 = 40;
const DIGESTS: u64 = 20;
const ROUNDS: u64 = 12;

#[test]
#[ignore = "runs as the child of the other test"]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let from: u64 = std::env::var(FROM).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let journals = World::new().open_tuned(Path::new(&dir), tuning()).await.unwrap();
        for first in (from..).step_by(DIGESTS as usize).take(REQUESTS as usize) {
            journals.seal(&name("land"), submissions(first..first + DIGESTS), None).await.unwrap();
            println!("\nack {first}");
        }
        println!("\ndone");
        std::thread::sleep(Duration::from_secs(60));
    });
}

/// First ids of the requests that were acknowledged before the kill.
fn killed(dir: &Path, from: u64, acks: usize, more: Duration) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "killed::child", "--nocapture"])
        .env(DIR, dir)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let number = |line: String| line.strip_prefix("ack ").map(|number| number.parse().unwrap());
    let mut seen: Vec<u64> = lines.by_ref().filter_map(number).take(acks).collect();
    assert_eq!(seen.len(), acks, "the child ended by itself");
    std::thread::sleep(more);
    child.kill().unwrap();
    child.wait().unwrap();
    seen.extend(lines.filter_map(number));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_while_it_writes_snapshots_restarts_from_one_and_forgets_no_id() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
    let land = land(&journals).await;
    for first in (0..BASE).step_by(1000) {
        journals.seal(&land, submissions(first..first + 1000), None).await.unwrap();
    }
    drop(journals);
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let from = BASE + round * REQUESTS * DIGESTS;
        // Spread over the steps of a snapshot, whatever the machine's speed.
        let more = Duration::from_micros(round * 1700);
        acknowledged.extend(killed(dir.path(), from, 1 + (round as usize * 3) % 20, more));
        assert!(snapshot(dir.path()).exists());
        let journals = world.open_tuned(dir.path(), tuning()).await.unwrap();
        let replayed = journals.stats().replayed_bytes;
        assert!(replayed < BASE * 48, "round {round}: {replayed} bytes replayed, so from the beginning");
        let size = journals.info(&land).unwrap().size;
        for first in &acknowledged {
            let receipts = journals.seal(&land, submissions(*first..first + DIGESTS), None).await.unwrap();
            assert_eq!(receipts.iter().map(|r| r.entries.len() as u64).sum::<u64>(), DIGESTS);
        }
        journals.seal(&land, submissions(0..1000), None).await.unwrap();
        assert_eq!(journals.info(&land).unwrap().size, size, "round {round}: nothing is sealed twice");
    }
}
