//! Restart with 10 million entries in 1,000 journals, in process; lines as in `appliance.rs`.
//! `RESTART_ENTRIES` changes the entries, `RESTART_AT_ONCE` the digests of one request (4): the fewer, the
//! more batches there are to remember. Needs about 0.5 kB of disk an entry, in `TMPDIR`.

#[path = "../tests/journal/fixture.rs"]
#[allow(dead_code, reason = "the tests use more of the fixture than the benchmark does")]
mod fixture;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use fixture::{World, institution, name, submissions};
use pechat::journal::{Journals, Tuning};
use tokio::task::JoinSet;

const JOURNALS: u64 = 1000;
const SEGMENT: u64 = 64 << 20;
/// Seals timed with and without snapshots.
const TIMED: u64 = 3000;
/// Digests in each of them.
const DIGESTS: u64 = 64;

fn main() {
    let entries = number("RESTART_ENTRIES", 10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // A process of its own measures the restart, so that what building took does not count as resident.
    if let Some(dir) = std::env::var_os("RESTART_DIR") {
        runtime.block_on(async {
            restart(Path::new(&dir)).await;
            disturbance(Path::new(&dir)).await;
        });
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    runtime.block_on(build(dir.path(), entries, number("RESTART_AT_ONCE", 4)));
    let again = std::env::current_exe().expect("this program");
    let status = std::process::Command::new(again).env("RESTART_DIR", dir.path()).status();
    assert!(status.expect("the measuring process").success());
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// Every journal is sealed into at the same time, again and again.
async fn build(dir: &Path, entries: u64, at_once: u64) {
    let journals = World::new().open_sized(dir, SEGMENT).await.expect("a journal");
    for number in 0..JOURNALS {
        journals.create(name(&format!("j{number}")), institution()).await.expect("a journal");
    }
    let begun = Instant::now();
    let mut requests = JoinSet::new();
    for request in 0..entries.div_ceil(at_once) {
        let (journals, journal) = (journals.clone(), name(&format!("j{}", request % JOURNALS)));
        let digests = submissions(request * at_once..(request + 1) * at_once);
        requests.spawn(async move { journals.seal(&journal, digests, None).await.map(drop) });
        if requests.len() as u64 >= 2 * JOURNALS {
            requests.join_next().await.expect("a request").expect("no panic").expect("a seal");
        }
    }
    while let Some(done) = requests.join_next().await {
        done.expect("no panic").expect("a seal");
    }
    let (took, stats) = (begun.elapsed().as_secs_f64(), journals.stats());
    let resident = resident_mib();
    println!(
        "  built in {took:.0} s, {} records, {resident} MiB resident with this client in it",
        stats.batches
    );
    drop(requests);
    drop(journals);
}

async fn restart(dir: &Path) {
    let fsync = fsync_us(dir);
    let begun = Instant::now();
    let journals = World::new().open_sized(dir, SEGMENT).await.expect("a restart");
    let took = begun.elapsed().as_millis();
    let resident = resident_mib();
    let entries: u64 = journals.list().iter().map(|journal| journal.size).sum();
    let replayed = journals.stats().replayed_bytes;
    println!(
        "bench restart: {took} ms; limit 2000 ms (ratio {:.2}); baseline fsync {fsync}",
        took as f64 / 2e3
    );
    println!(
        "bench restart-resident: {resident} MiB; limit 256 MiB (ratio {:.2}); baseline fsync {fsync}",
        resident as f64 / 256.0
    );
    let snapshot = fs::metadata(dir.join("snapshot.bin")).map_or(0, |file| file.len());
    println!("  {entries} entries, {replayed} bytes of log replayed, snapshot of {snapshot} bytes");
}

/// Latency of seals one after the other, with no snapshot and with one every 2 MiB of log.
async fn disturbance(dir: &Path) {
    for (label, every, first) in [("no", u64::MAX, 1 << 50), ("a", 2 << 20, 1 << 51)] {
        let tuning = Tuning { low_water_bytes: Some(0), snapshot_bytes: Some(every), ..Tuning::default() };
        let journals = World::new().open_tuned(dir, tuning).await.expect("a restart");
        let mut times = Vec::new();
        for request in 0..TIMED {
            times.push(seal(&journals, first + request * DIGESTS).await);
        }
        times.sort_unstable();
        let at = |part: u64| times[(TIMED * part / 1000) as usize];
        println!(
            "  with {label} snapshot every 2 MiB: seal p50 {} µs, p99 {} µs, p99.9 {} µs; resident {} MiB; fsync {}",
            at(500),
            at(990),
            at(999),
            resident_mib(),
            fsync_us(dir)
        );
    }
}

async fn seal(journals: &Journals, first: u64) -> u128 {
    let digests = submissions(first..first + DIGESTS);
    let begun = Instant::now();
    journals.seal(&name("j0"), digests, None).await.expect("a seal");
    begun.elapsed().as_micros()
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn fsync_us(dir: &Path) -> String {
    let mut file = fs::File::create(dir.join("fsync.probe")).expect("a probe");
    let mut times: Vec<u128> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[1; 512]).and_then(|()| file.sync_data()).expect("a sync");
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    format!("p50 {} µs, p99 {} µs", times[100], times[198])
}
