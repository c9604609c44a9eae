//! Prints rates of the engine alone; run by hand with `--ignored` and an optimised build.

use std::time::Instant;

use super::fixture::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a check"]
async fn rates_of_single_and_bulk_seals() {
    let (dir, world) = (tempfile::tempdir().unwrap(), World::new());
    let parts_segment = 64 << 20;
    let journals = world.open_sized(dir.path(), parts_segment).await.unwrap();
    let land = land(&journals).await;
    for (round, (callers, requests, digests)) in
        (1u64..).zip([(64u64, 1000u64, 1u64), (512, 200, 1), (1, 200, 1), (2, 100, 4096), (4, 100, 4096)])
    {
        let begun = Instant::now();
        let before = journals.stats();
        let cpu = cpu_ms();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let (journals, land) = (journals.clone(), land.clone());
                let base = round << 50 | caller << 34;
                tokio::spawn(async move {
                    for request in 0..requests {
                        let first = base + request * digests;
                        let sent = submissions(first..first + digests);
                        journals.seal(&land, sent, None).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let (wall, total) = (begun.elapsed().as_secs_f64(), callers * requests * digests);
        let stats = journals.stats();
        println!(
            "{callers} callers x {digests}: {:.0}/s wall, {:.0}/s per CPU second; {} fsyncs, {} seals, last fsync {} us",
            total as f64 / wall,
            total as f64 * 1000.0 / (cpu_ms() - cpu).max(10) as f64,
            stats.fsyncs - before.fsyncs,
            stats.seals - before.seals,
            stats.last_fsync_us
        );
    }
    drop(journals);
    let begun = Instant::now();
    let journals = world.open_sized(dir.path(), parts_segment).await.unwrap();
    let size = journals.info(&land).unwrap().size;
    println!("recovery of {size} entries: {:.2} s", begun.elapsed().as_secs_f64());
}

/// CPU time of this process, milliseconds (ticks of 10 ms).
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}
