//! Tessera's POSIX log (`benches/peers/`) on the same disk in the same run: appends with proof in hand.

use std::process::Command;

use crate::appliance::run;
use crate::load::fsync_p50_us;
use crate::{Bench, Shape};

/// Closed loops of either side.
const LOOPS: usize = 64;
/// As many as give Tessera its best rate, since its checkpoints are 100 ms apart at least.
const MANY: usize = 2048;

/// One line a comparison: Tessera's figure, then ours over it. `PECHAT_PEERS` is the program, if it could be built.
pub async fn tessera(bench: &Bench) {
    let Some(program) = std::env::var_os("PECHAT_PEERS") else {
        println!("bench tessera: skipped: needs Go 1.24 and the module github.com/transparency-dev/tessera");
        return;
    };
    let ours = bench.single_seals(Shape::Connections(LOOPS), None).await;
    for loops in [LOOPS, MANY] {
        let dir = bench.appliance.path(&format!("tessera-{loops}"));
        std::fs::create_dir(&dir).expect("a directory");
        let fsync = fsync_p50_us(&dir);
        let said = run(Command::new(&program).arg("-dir").arg(&dir).args(["-loops", &loops.to_string()]));
        let figures: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [rate, p50, p99] = figures[..] else { panic!("not three figures: {said}") };
        let (times, sooner) = (ours.rate() / rate, p50 / ours.quantile(0.5).as_micros() as f64);
        println!(
            "bench tessera-{loops}-loops: {rate:.0} appends/s, p50 {p50:.0} µs, p99 {p99:.0} µs; \
             pechat with {LOOPS} connections: {times:.1} times the rate, proof {sooner:.0} times sooner; \
             baseline fsync {fsync} µs"
        );
    }
}
