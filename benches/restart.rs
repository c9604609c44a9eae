//! Restart with 10 million entries in 1,000 journals (`RESTART_ENTRIES` changes the former), in process;
//! lines as in `appliance.rs`.

#[path = "../tests/journal/fixture.rs"]
#[allow(dead_code, reason = "the tests use more of the fixture than the benchmark does")]
mod fixture;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use fixture::{World, institution, name, submissions};

const JOURNALS: u64 = 1000;
const AT_ONCE: u64 = 500;
const SEGMENT: u64 = 64 << 20;

fn main() {
    let entries = std::env::var("RESTART_ENTRIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let dir = tempfile::tempdir().expect("a directory");
    // A process of its own measures the restart, so that what building took does not count as resident.
    match std::env::var_os("RESTART_DIR") {
        Some(dir) => runtime.block_on(restart(Path::new(&dir))),
        None => {
            runtime.block_on(build(dir.path(), entries));
            let again = std::env::current_exe().expect("this program");
            let status = std::process::Command::new(again).env("RESTART_DIR", dir.path()).status();
            assert!(status.expect("the measuring process").success());
        }
    }
}

async fn build(dir: &Path, entries: u64) {
    let journals = World::new().open_sized(dir, SEGMENT).await.expect("a journal");
    for number in 0..JOURNALS {
        journals.create(name(&format!("j{number}")), institution()).await.expect("a journal");
    }
    for round in 0..entries.div_ceil(AT_ONCE) {
        let journal = name(&format!("j{}", round % JOURNALS));
        let first = round * AT_ONCE;
        journals.seal(&journal, submissions(first..first + AT_ONCE), None).await.expect("a seal");
    }
}

async fn restart(dir: &Path) {
    let fsync = fsync_p50_us(dir);
    let begun = Instant::now();
    let journals = World::new().open_sized(dir, SEGMENT).await.expect("a restart");
    let took = begun.elapsed().as_millis();
    let entries: u64 = journals.list().iter().map(|journal| journal.size).sum();
    let replayed = journals.stats().replayed_bytes;
    println!(
        "bench restart: {took} ms; limit 2000 ms (ratio {:.2}); baseline fsync {fsync} µs",
        took as f64 / 2e3
    );
    let resident = resident_mib();
    println!(
        "bench restart-resident: {resident} MiB; limit 256 MiB (ratio {:.2}); baseline fsync {fsync} µs",
        resident as f64 / 256.0
    );
    println!("  {entries} entries, {replayed} bytes of log replayed");
}

fn resident_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn fsync_p50_us(dir: &Path) -> u128 {
    let mut file = fs::File::create(dir.join("fsync.probe")).expect("a probe");
    let mut times: Vec<u128> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[1; 512]).and_then(|()| file.sync_data()).expect("a sync");
            begun.elapsed().as_micros()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
