//! Many journals under one root log: throughput beside that of one journal, and memory.

use std::process::Command;

use bytes::Bytes;

use crate::appliance::run;
use crate::load::{Connection, Measured, Peer, load};
use crate::{Bench, LONG, entries};

/// Journals of a state's registers.
const JOURNALS: u64 = 1_000;
/// Closed loops.
const LOOPS: usize = 64;

/// Seals on one journal, then on a thousand of the same institution: two lines.
pub async fn thousand(bench: &Bench) {
    let name = bench.appliance.env("PECHAT_JOURNAL").to_owned();
    let one = seals(bench, "journals-1", vec![name.clone()]).await;
    open(bench, &institution_of(bench, &name)).await;
    let all = seals(bench, "journals-1000", (0..JOURNALS).map(|n| format!("many-{n}")).collect()).await;
    let (serve, signer) = (bench.appliance.serve_pid(), bench.appliance.signer_pid().expect("a signer"));
    println!(
        "bench journals-1000: {:.2} of the rate with one; resident memory: serve {} MiB, signer {} MiB",
        all.rate() / one.rate(),
        resident_mib(serve),
        resident_mib(signer)
    );
}

/// One digest a request, the journals in turn; also how many HSM signatures that took.
async fn seals(bench: &Bench, name: &str, journals: Vec<String>) -> Measured {
    let series = bench.next_series();
    let paths: Vec<&'static str> =
        journals.iter().map(|journal| &*format!("/v1/journals/{journal}/entries").leak()).collect();
    let paths: &'static [&'static str] = paths.leak();
    let seal = move |mut connection: Connection, round: u64| async move {
        let turn = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % paths.len();
        let (status, _) = connection.post(paths[turn], "application/json", entries(series, round, 1)).await;
        assert_eq!(status, 201);
        connection
    };
    let before = counted(bench);
    let measured = load(bench.peer.connections(LOOPS).await, None, LONG, seal).await;
    let after = counted(bench);
    bench.print(name, measured.rate(), "seals/s", bench.bare_sign);
    // A seal is two signatures: the checkpoint's and its token's.
    let signatures = 2.0 * (after.seals - before.seals) / (after.entries - before.entries);
    println!(
        "bench {name}: receipt p50 {} µs, p99 {} µs; {signatures:.3} HSM signatures a record",
        measured.quantile(0.5).as_micros(),
        measured.quantile(0.99).as_micros()
    );
    measured
}

async fn open(bench: &Bench, institution: &str) {
    let env = |name| bench.appliance.env(name);
    let officer = Peer::new(
        env("PECHAT_URL"),
        env("PECHAT_CA"),
        env("PECHAT_OFFICER1_CERT"),
        env("PECHAT_OFFICER1_KEY"),
    );
    let mut connection = officer.connections(1).await.pop().expect("a connection");
    for n in 0..JOURNALS {
        let wanted = format!("{{\"name\":\"many-{n}\",\"institution\":\"{institution}\"}}");
        let (status, _) = connection.post("/v1/journals", "application/json", Bytes::from(wanted)).await;
        assert_eq!(status, 201);
    }
}

fn institution_of(bench: &Bench, journal: &str) -> String {
    let url = format!("{}/v1/journals/{journal}", bench.appliance.env("PECHAT_URL"));
    let (status, body) = bench.appliance.curl("PECHAT_CERT", "PECHAT_KEY", &[&url]);
    assert_eq!(status, 200);
    let journal: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    journal["institution"].as_str().expect("an institution").to_owned()
}

/// What the service counted since its start.
struct Counted {
    seals: f64,
    entries: f64,
}

fn counted(bench: &Bench) -> Counted {
    let url = format!("{}/metrics", bench.appliance.env("PECHAT_METRICS_URL"));
    let text = run(Command::new("curl").args(["-sSf", &url]));
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} is a metric"))
    };
    Counted { seals: value("pechat_journal_seals_total"), entries: value("pechat_journal_entries_total") }
}

/// Resident memory of a process, MiB.
fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("process status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB") / 1024
}
