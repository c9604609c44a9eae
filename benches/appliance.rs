//! What the appliance does, beside what this machine can do: one line a figure, in the form
//! `bench NAME: VALUE UNIT; limit VALUE (ratio R); baseline fsync P50 µs`.

#[path = "../tests/appliance/mod.rs"]
#[allow(dead_code, reason = "the tests use more of the fixture than the benchmarks do")]
mod appliance;
mod fairness;
mod journals;
mod load;
mod ocsp;
mod peers;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use appliance::{Appliance, run};
use bytes::Bytes;
use load::{Connection, Measured, Peer, cpu_time, fsync_p50_us, load};
use pechat::digest::{Digest, hex};
use pechat::journal::verify::{Pace, Trust, verify_export, verify_parallel};

/// How long each load lasts.
const LONG: Duration = Duration::from_secs(6);

fn main() {
    if fairness::is_flood() {
        return fairness::flood();
    }
    let appliance = Appliance::start();
    let peer = Peer::new(
        appliance.env("PECHAT_URL"),
        appliance.env("PECHAT_CA"),
        appliance.env("PECHAT_CERT"),
        appliance.env("PECHAT_KEY"),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // `cargo bench -- tokens` runs only what is named; cargo itself adds `--bench`.
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|word| word == name);
    if wanted("fairness") {
        runtime.block_on(fairness::measure(&appliance));
    }
    if named == ["fairness"] {
        return;
    }
    let bench = Bench { bare_sign: bare_sign_rate(&appliance), appliance, peer, series: AtomicU64::new(0) };
    runtime.block_on(async {
        if wanted("tokens") {
            bench.tokens().await;
        }
        if wanted("single-seals") {
            for shape in [Shape::Connections(16), Shape::Connections(64), Shape::Streams(4, 64)] {
                bench.single_seals(shape, None).await;
            }
            for rate in [10_000, 20_000] {
                bench.single_seals(Shape::Connections(64), Some(rate)).await;
                bench.single_seals(Shape::Streams(4, 32), Some(rate)).await;
            }
        }
        if wanted("journals") {
            journals::thousand(&bench).await;
        }
        if wanted("ocsp") {
            bench.ocsp(LONG).await;
        }
        // Only when asked for: see `make bench-peers`.
        if named.iter().any(|word| word == "peers") {
            peers::tessera(&bench).await;
        }
        // Verification needs a journal worth verifying: of an empty one the fixed costs would be measured.
        if wanted("bulk-digests") || wanted("verification") {
            bench.bulk_seals().await;
        }
    });
    if wanted("verification") {
        bench.verification();
    }
}

struct Bench {
    appliance: Appliance,
    peer: Peer,
    /// C_Sign calls a second of one thread on a SoftHSM token of the same kind.
    bare_sign: f64,
    /// Loads of single seals so far.
    series: AtomicU64,
}

/// How a load reaches the service.
#[derive(Clone, Copy)]
enum Shape {
    /// So many HTTP/1.1 connections.
    Connections(usize),
    /// So many HTTP/2 connections of so many streams each.
    Streams(usize, usize),
}

impl Bench {
    /// The fsync baseline is taken beside each figure: the disk's mood changes.
    fn print(&self, name: &str, value: f64, unit: &str, limit: f64) {
        let fsync = fsync_p50_us(&self.appliance.path(""));
        let ratio = value / limit;
        println!(
            "bench {name}: {value:.0} {unit}; limit {limit:.0} (ratio {ratio:.2}); baseline fsync {fsync} µs"
        );
    }

    fn cpu(&self) -> Duration {
        let signer = self.appliance.signer_pid().expect("a signer");
        cpu_time(self.appliance.serve_pid()) + cpu_time(signer)
    }

    /// Tokens per CPU-second of both processes, 16 keep-alive connections over mutual TLS.
    async fn tokens(&self) {
        let before = self.cpu();
        let stamp = |mut connection: Connection, round| async move {
            let (status, reply) = connection.post("/tsa", "application/timestamp-query", query(round)).await;
            assert!(status == 200 && reply.len() > 500, "a token: {status}, {} bytes", reply.len());
            connection
        };
        let measured = load(self.peer.connections(16).await, None, LONG, stamp).await;
        let used = (self.cpu() - before).as_secs_f64();
        let tokens = measured.latencies.len() as f64;
        self.print("tokens-per-cpu-second", tokens / used, "tokens/s", self.bare_sign);
        println!(
            "bench tokens: {:.0} tokens/s, p50 {} µs, p99 {} µs",
            measured.rate(),
            measured.quantile(0.5).as_micros(),
            measured.quantile(0.99).as_micros()
        );
    }

    /// Other request ids each time: ids seen before would be answered from what is stored.
    fn next_series(&self) -> u64 {
        self.series.fetch_add(1, Ordering::Relaxed)
    }

    fn entries_path(&self) -> &'static str {
        format!("/v1/journals/{}/entries", self.appliance.env("PECHAT_JOURNAL")).leak()
    }

    /// One digest a request; each answer is a complete receipt. The limit is what one core can sign. With
    /// `rate` so many requests a second are sent, otherwise as many as are answered.
    async fn single_seals(&self, shape: Shape, rate: Option<u32>) -> Measured {
        let path = self.entries_path();
        let series = self.next_series();
        let seal = move |mut connection: Connection, round| async move {
            let body = entries(series, round, 1);
            let (status, _) = connection.post(path, "application/json", body).await;
            assert_eq!(status, 201);
            connection
        };
        let (name, open) = match shape {
            Shape::Connections(count) => (format!("{count}-connections"), self.peer.connections(count).await),
            Shape::Streams(count, each) => {
                (format!("{count}x{each}-streams"), self.peer.streams(count, each).await)
            }
        };
        let at = rate.map_or(String::new(), |rate| format!("-at-{rate}"));
        let before = self.cpu();
        let measured = load(open, rate.map(f64::from), LONG, seal).await;
        let used = (self.cpu() - before).as_secs_f64() / measured.elapsed.as_secs_f64();
        let name = format!("single-seals-{name}{at}");
        self.print(&name, measured.rate(), "seals/s", self.bare_sign);
        println!(
            "bench {name}: receipt p50 {} µs, p99 {} µs; {used:.2} CPU of the service",
            measured.quantile(0.5).as_micros(),
            measured.quantile(0.99).as_micros()
        );
        measured
    }

    /// 4,096 digests a request on four connections. The limit is two SHA-256 of an entry's size on one core.
    async fn bulk_seals(&self) {
        let path = self.entries_path();
        let seal = move |mut connection: Connection, round| async move {
            let body = entries(u64::MAX, round, 4096);
            let (status, _) = connection.post(path, "application/json", body).await;
            assert_eq!(status, 201);
            connection
        };
        let measured = load(self.peer.connections(4).await, None, LONG, seal).await;
        self.print("bulk-digests", measured.rate() * 4096.0, "digests/s", bare_leaf_rate());
    }

    /// Replay of the journal's export: chain, tree, checkpoint.
    fn verification(&self) {
        let url = format!(
            "{}/v1/journals/{}/export",
            self.appliance.env("PECHAT_URL"),
            self.appliance.env("PECHAT_JOURNAL")
        );
        let file = self.appliance.path("export.bin");
        let mut curl = Command::new("curl");
        curl.args([
            "-sSf",
            "--cacert",
            self.appliance.env("PECHAT_CA"),
            "--cert",
            self.appliance.env("PECHAT_CERT"),
        ]);
        run(curl.args(["--key", self.appliance.env("PECHAT_KEY"), "-o"]).arg(&file).arg(&url));
        let bytes = std::fs::read(&file).expect("the export");
        let start = Instant::now();
        let facts = verify_export(bytes.as_slice(), &Trust::default()).expect("a journal that holds");
        let rate = facts.count as f64 / start.elapsed().as_secs_f64();
        self.print("verification", rate, "entries/s/core", bare_leaf_rate());
        // The same journal on all cores: how much of them one journal can use.
        let pace = Pace::default();
        let cpu = cpu_time(std::process::id());
        let start = Instant::now();
        let checked = verify_parallel(bytes.as_slice(), &Trust::default(), pace, &|_| false, &|_| {});
        let (wall, cpu) = (start.elapsed().as_secs_f64(), (cpu_time(std::process::id()) - cpu).as_secs_f64());
        let count = checked.expect("a journal that holds").facts.count as f64;
        let cores = pace.cores as f64;
        self.print("verification-all-cores", count / wall, "entries/s", bare_leaf_rate() * cores);
        self.print("verification-per-core", count / cpu, "entries/s of processor time", bare_leaf_rate());
    }
}

/// RFC 3161 query over a fresh imprint.
fn query(round: u64) -> Bytes {
    let imprint = Digest::of(&round.to_be_bytes());
    pechat::timestamp::query(
        pechat::timestamp::Hash::Sha256,
        imprint.as_bytes(),
        Some(&round.to_be_bytes()),
        true,
    )
    .into()
}

/// `count` digests with ids that no other round uses.
fn entries(series: u64, round: u64, count: u64) -> Bytes {
    let mut body = String::with_capacity(140 * count as usize + 20);
    body.push_str("{\"entries\":[");
    for n in 0..count {
        let digest = Digest::of_parts(&[&series.to_be_bytes(), &round.to_be_bytes(), &n.to_be_bytes()]);
        let separator = if n == 0 { "" } else { "," };
        let id = hex(&digest.as_bytes()[..16]);
        body.push_str(&format!("{separator}{{\"request_id\":\"{id}\",\"digest\":\"{digest}\"}}"));
    }
    body.push_str("]}");
    body.into()
}

/// One leaf hash and one node hash an entry, on one core.
fn bare_leaf_rate() -> f64 {
    let (entry, mut node) = ([7; 152], Digest::default());
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(1) {
        for _ in 0..1000 {
            let leaf = Digest::of_parts(&[&[0], &entry]);
            node = Digest::of_parts(&[&[1], node.as_bytes(), leaf.as_bytes()]);
        }
        count += 1000;
    }
    assert_ne!(node, Digest::default());
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// `hsm-test bench` on a token of its own: the same module, nothing between.
fn bare_sign_rate(appliance: &Appliance) -> f64 {
    let program = hsm_test();
    let (dir, pin) = (appliance.path("bare-token"), appliance.path("demo/hsm/pin"));
    let named = ["--label", "scratch-bench", "--pin-file"];
    run(Command::new(&program).args(["token", "--dir"]).arg(&dir).args(named).arg(&pin));
    let mut bench = Command::new(&program);
    bench.env("SOFTHSM2_CONF", dir.join("softhsm2.conf")).arg("bench");
    bench.args(["--token", "scratch-bench", "--threads", "1", "--seconds", "4", "--pin-file"]).arg(&pin);
    let said = run(bench.arg("--module").arg("/usr/lib/softhsm/libsofthsm2.so"));
    print!("{said}");
    let rate = said.split(", ").find_map(|part| part.strip_suffix("/s"));
    rate.and_then(|text| text.parse().ok()).expect("a rate in what hsm-test says")
}

/// Built beside the program under test; see the Makefile.
fn hsm_test() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_pechat")).with_file_name("hsm-test");
    assert!(beside.exists(), "{} is missing; `make bench` builds it", beside.display());
    beside
}
