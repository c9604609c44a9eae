//! The journal on a simulated disk: one seed is one schedule of requests, crashes, power cuts and
//! errors. `SCHEDULES` sets how many run (2,000 without it), `SEED` where they begin; with `TOLD`
//! set, every call to the disk is printed (`SEED=7 SCHEDULES=1 TOLD=1`, and `--nocapture`).

#[path = "simulation/checker.rs"]
mod checker;
#[path = "simulation/disk.rs"]
mod disk;
#[path = "simulation/file.rs"]
mod file;
#[path = "simulation/medium.rs"]
mod medium;
#[path = "simulation/planted.rs"]
mod planted;
#[path = "simulation/planted_caches.rs"]
mod planted_caches;
#[path = "simulation/promises.rs"]
mod promises;
#[path = "simulation/requests.rs"]
mod requests;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/schedule.rs"]
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schedule::{Outcome, run};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

#[test]
fn no_schedule_loses_an_acknowledged_entry_or_forks_a_signed_head() {
    let (count, first) = (number("SCHEDULES", 2000), number("SEED", 0));
    let next = AtomicU64::new(first);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let sum = std::thread::scope(|scope| {
        let work = || {
            let mut sum = Outcome::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return sum;
                }
                add(&mut sum, &run(seed, &|disk| Arc::new(disk)).unwrap_or_else(|why| panic!("{why}")));
            }
        };
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let mut sum = Outcome::default();
        threads.into_iter().for_each(|thread| add(&mut sum, &thread.join().expect("a broken promise")));
        sum
    });
    println!("{count} schedules: {sum:?}");
    assert!(sum.lives >= 4 * count);
    assert!(sum.acknowledged >= 5 * count, "the schedules do too little: {sum:?}");
    assert!(
        sum.faults >= count && sum.signed >= count && sum.refused_starts > 0 && sum.rotten > 0,
        "{sum:?}"
    );
    assert!(sum.second_writers > 0, "{sum:?}");
    assert!(sum.snapshots >= count && sum.resumed >= count / 2, "{sum:?}");
}

fn add(sum: &mut Outcome, one: &Outcome) {
    sum.lives += one.lives;
    sum.refused_starts += one.refused_starts;
    sum.acknowledged += one.acknowledged;
    sum.signed += one.signed;
    sum.faults += one.faults;
    sum.rotten += one.rotten;
    sum.second_writers += one.second_writers;
    sum.snapshots += one.snapshots;
    sum.resumed += one.resumed;
}

#[test]
fn the_same_seed_twice_has_the_same_trace() {
    let traces = |_: u8| -> Vec<Outcome> {
        (0..50).map(|seed| run(seed, &|disk| Arc::new(disk)).unwrap_or_else(|why| panic!("{why}"))).collect()
    };
    let (once, again) = (traces(1), traces(2));
    assert_eq!(once, again);
    let mut different: Vec<u64> = once.iter().map(|outcome| outcome.trace).collect();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), once.len(), "different seeds have different traces");
}
