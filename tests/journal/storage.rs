//! Storage that fails or processes that die at a chosen system call (strace injects), and lack of space.
//!
//! The child is this test binary itself: it seals one digest after the other, prints each acknowledgement
//! with the hash of its receipt, and goes on after errors.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use pechat::digest::Digest;
use pechat::journal::{JournalError, Tuning};

use super::fixture::*;

const DIR: &str = "PECHAT_TEST_JOURNAL";
const COUNT: &str = "PECHAT_TEST_COUNT";

#[test]
#[ignore = "runs as the child of the other tests"]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let count: u64 = std::env::var(COUNT).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let journals = match World::new().open(Path::new(&dir)).await {
            Ok(journals) => journals,
            Err(error) => return println!("\nopen {error}"),
        };
        let land = name("land");
        if let Err(error) = journals.create(land.clone(), institution()).await {
            println!("\ncreate {error}");
        }
        for number in 0..count {
            match journals.seal(&land, submissions([number]), None).await {
                Ok(receipts) => {
                    let json = serde_json::to_vec(&receipts).unwrap();
                    println!("\nack {number} {}", Digest::of(&json));
                }
                Err(JournalError::Storage(why)) => println!("\nstorage {number} {why}"),
                Err(error) => println!("\nother {number} {error}"),
            }
        }
        println!("\nfailed {:?}", journals.failed());
    });
}

/// What a child printed.
#[derive(Default)]
struct Outcome {
    lines: Vec<String>,
}

impl Outcome {
    fn acknowledged(&self) -> BTreeMap<u64, String> {
        let acks = self.lines.iter().filter_map(|line| line.strip_prefix("ack "));
        acks.map(|ack| ack.split_once(' ').unwrap())
            .map(|(n, h)| (n.parse().unwrap(), h.to_owned()))
            .collect()
    }
}

fn command(dir: &Path, count: u64, strace: &[String]) -> Command {
    let program = std::env::current_exe().unwrap();
    let mut command = if strace.is_empty() {
        Command::new(&program)
    } else {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null"]).args(strace).arg(&program);
        command
    };
    command.args(["--ignored", "--exact", "storage::child", "--nocapture"]);
    command.env(DIR, dir).env(COUNT, count.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn run(dir: &Path, count: u64, strace: &[String]) -> Outcome {
    let output = command(dir, count, strace).output().expect("strace and the child start");
    let text = String::from_utf8_lossy(&output.stdout);
    Outcome { lines: text.lines().map(str::to_owned).collect() }
}

fn inject(call: &str, what: &str, when: impl std::fmt::Display) -> Vec<String> {
    vec!["-e".into(), format!("trace={call}"), "-e".into(), format!("inject={call}:{what}:when={when}")]
}

/// Everything acknowledged is there once, with the receipt it had; the journal goes on.
async fn nothing_is_lost(dir: &Path, outcome: &Outcome) {
    let world = World::new();
    let journals = world.open(dir).await.unwrap();
    let land = land(&journals).await;
    for (number, hash) in outcome.acknowledged() {
        let receipts = journals.seal(&land, submissions([number]), None).await.unwrap();
        world.check(&receipts[0]);
        assert_eq!(Digest::of(&serde_json::to_vec(&receipts).unwrap()).to_string(), hash, "record {number}");
    }
    let size = journals.info(&land).unwrap().size;
    let export = journals.seal(&land, submissions([1 << 40]), Some(size)).await.unwrap();
    assert_eq!(export[0].first, size);
    let mut digests = std::collections::BTreeSet::new();
    for entry in world.check(&journals.range(&land, 0, size).await.unwrap()).entries {
        assert!(digests.insert(entry.digest), "entry {} twice", entry.seq);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_sync_nothing_is_acknowledged() {
    for when in [1, 2, 3, 5, 8, 12] {
        let dir = tempfile::tempdir().unwrap();
        // Only this one call fails; the later ones would "succeed", as after a real error they do.
        let outcome = run(dir.path(), 12, &inject("fdatasync", "error=EIO", when));
        let first = outcome.lines.iter().position(|l| l.contains("torage")).expect("the error is told");
        let after = &outcome.lines[first..];
        assert!(!after.iter().any(|l| l.starts_with("ack ")), "{after:#?}");
        assert!(after.iter().any(|l| l.starts_with("failed Some(") || l.starts_with("open ")), "{after:#?}");
        nothing_is_lost(dir.path(), &outcome).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failed_write_nothing_is_acknowledged() {
    for (error, when) in [("EIO", 7), ("ENOSPC", 6), ("EROFS", 9)] {
        let dir = tempfile::tempdir().unwrap();
        let outcome = run(dir.path(), 12, &inject("pwrite64", &format!("error={error}"), when));
        let first = outcome.lines.iter().position(|l| l.contains("torage")).expect("the error is told");
        assert!(!outcome.lines[first..].iter().any(|l| l.starts_with("ack ")), "{:#?}", outcome.lines);
        nothing_is_lost(dir.path(), &outcome).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_storage_call_loses_nothing_acknowledged() {
    let mut died = 0;
    for (call, until) in [("pwrite64", 12), ("fdatasync", 12), ("fsync", 5), ("rename", 2)] {
        for when in 1..=until {
            let dir = tempfile::tempdir().unwrap();
            let outcome = run(dir.path(), 6, &inject(call, "signal=KILL", when));
            died += u32::from(!outcome.lines.iter().any(|l| l.starts_with("failed ")));
            nothing_is_lost(dir.path(), &outcome).await;
        }
    }
    assert!(died > 20, "only {died} children died");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_at_any_moment_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Outcome::default();
    for round in 0..10u32 {
        let mut child = command(dir.path(), 1 << 30, &[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let wanted = 1 + (round as usize * 7) % 40;
        let mut acks = 0;
        while acks < wanted {
            let line = lines.next().unwrap().unwrap();
            acks += usize::from(line.starts_with("ack "));
            all.lines.push(line);
        }
        std::thread::sleep(Duration::from_micros(u64::from(round) * 331));
        child.kill().unwrap();
        child.wait().unwrap();
        all.lines.extend(lines.map_while(Result::ok));
    }
    // A line cut by the kill is no acknowledgement.
    all.lines.retain(|line| !line.starts_with("ack ") || line.len() > 65 + "ack ".len());
    let last = all.lines.iter().rposition(|line| line.starts_with("ack ")).unwrap();
    if all.lines[last].rsplit(' ').next().unwrap().len() != 64 {
        all.lines.remove(last);
    }
    nothing_is_lost(dir.path(), &all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_low_water_mark_new_entries_are_refused_and_old_ones_served() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    let old = journals.seal(&land, submissions([0]), None).await.unwrap();
    drop(journals);
    let tuning = Tuning { low_water_bytes: Some(u64::MAX), ..Tuning::default() };
    let journals = world.open_tuned(dir.path(), tuning).await.unwrap();
    let refused = journals.seal(&land, submissions([1]), None).await.unwrap_err();
    assert!(matches!(&refused, JournalError::NotNow(why) if why.contains("low-water mark")), "{refused}");
    assert_eq!(journals.seal(&land, submissions([0]), None).await.unwrap(), old);
    assert_eq!(journals.failed(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_room_for_another_segment_the_open_one_is_finished_and_nothing_breaks() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(real.join("segments")).unwrap();
    let next = real.join("segments/00000000000000000001.new").display().to_string();
    let mut strace = inject("write", "error=ENOSPC", "1+");
    strace.extend(["-P".into(), next]);
    let outcome = run(&real, 1200, &strace);
    let acks = outcome.acknowledged().len();
    assert!(acks > 100 && acks < 1200, "{acks}");
    assert!(
        outcome.lines.iter().any(|l| l.starts_with("other ") && l.contains("No space left")),
        "{:?}",
        outcome.lines.last()
    );
    assert!(outcome.lines.iter().any(|l| l == "failed None"));
    nothing_is_lost(&real, &outcome).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_on_over_many_segments() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let journals = world.open(dir.path()).await.unwrap();
    let land = land(&journals).await;
    for request in 0..40u64 {
        let sent = submissions(request * 4096..request * 4096 + 4096);
        journals.seal(&land, sent, None).await.unwrap();
    }
    let texts = [1, 5000, 80_000, 163_840].map(|seq| journals.receipt(&land, seq));
    let mut given = Vec::new();
    for text in texts {
        given.push(text.await.unwrap());
    }
    drop(journals);
    assert!(segment(dir.path(), 7).exists());
    let tuning = Tuning { tiles_in_memory: Some(1), low_water_bytes: Some(0), ..Tuning::default() };
    let journals = world.open_tuned(dir.path(), tuning).await.unwrap();
    for (seq, text) in [1, 5000, 80_000, 163_840].into_iter().zip(given) {
        assert_eq!(journals.receipt(&land, seq).await.unwrap(), text);
    }
    world.check(&journals.range(&land, 100_000, 4096).await.unwrap());
}
