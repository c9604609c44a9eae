//! What a flooding client does to another's latency: `bench fairness` prints both p99s.
//!
//! The flood is a process of its own at the lowest priority, as another machine would be: on two cores
//! it would otherwise take the processor from the very client whose latency is measured.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::appliance::Appliance;
use crate::load::{Connection, Measured, Peer};
use crate::{LONG, query};

const MEDIA_TYPE: &str = "application/timestamp-query";
/// Connections of the flood, each with its next query as soon as it has an answer.
const FLOOD: usize = 256;
/// The other client: connections, and the pause after each answer.
const CALM: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
/// The first words of the flood's command line.
const WORD: &str = "flood-of-the-fairness-bench";

/// Whether this process is the flood.
pub fn is_flood() -> bool {
    std::env::args().nth(1).as_deref() == Some(WORD)
}

/// Floods until its time is over; prints how many tokens and refusals it got.
pub fn flood() {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let peer = Peer::new(&words[0], &words[1], &words[2], &words[3]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (granted, refused) = runtime.block_on(async {
        let end = Instant::now() + LONG + Duration::from_secs(2);
        // Each asks as soon as it is connected: the listener gives the first header five seconds.
        let loops: Vec<_> =
            (0..FLOOD as u64).map(|n| tokio::spawn(ask_until(peer.clone(), n << 32, end))).collect();
        let mut sum = (0, 0);
        for one in loops {
            let (granted, refused) = one.await.expect("a connection of the flood");
            sum = (sum.0 + granted, sum.1 + refused);
        }
        sum
    });
    println!("the flood of {FLOOD} connections got {granted} tokens and {refused} refusals");
}

/// Tokens and refusals of one connection.
async fn ask_until(peer: Peer, mut round: u64, end: Instant) -> (usize, usize) {
    let mut connection = peer.connections(1).await.pop().expect("a connection");
    let (mut granted, mut refused) = (0, 0);
    while Instant::now() < end {
        let (status, _) = connection.post("/tsa", MEDIA_TYPE, query(round)).await;
        assert!(matches!(status, 200 | 429 | 503), "{status}");
        if status == 200 {
            granted += 1
        } else {
            refused += 1
        }
        round += 1;
    }
    (granted, refused)
}

/// The calm client's latencies alone and beside a flood.
pub async fn measure(appliance: &Appliance) {
    let env = |name| appliance.env(name);
    let calm = Peer::new(env("PECHAT_URL"), env("PECHAT_CA"), env("PECHAT_CERT2"), env("PECHAT_KEY2"));
    let alone = latencies(&calm).await;
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(std::env::current_exe().expect("this program")).arg(WORD);
    command.args(["PECHAT_URL", "PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"].map(env));
    let flood = command.stdout(Stdio::piped()).spawn().expect("nice");
    // Its handshakes are over then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let beside = latencies(&calm).await;
    let said = flood.wait_with_output().expect("the flood").stdout;
    let [one, two] = [&alone, &beside].map(|m| m.quantile(0.99).as_micros());
    println!(
        "bench fairness: p99 alone {one} µs, beside a flood {two} µs (ratio {:.2})",
        two as f64 / one as f64
    );
    let [one, two] = [&alone, &beside].map(|m| m.quantile(0.5).as_micros());
    println!(
        "bench fairness: p50 alone {one} µs, beside a flood {two} µs; {} and {} queries, all granted",
        alone.latencies.len(),
        beside.latencies.len()
    );
    println!("bench fairness: {}", String::from_utf8_lossy(&said).trim());
}

async fn latencies(peer: &Peer) -> Measured {
    let ask = |mut connection: Connection, round| async move {
        let (status, reply) = connection.post("/tsa", MEDIA_TYPE, query(round)).await;
        assert!(status == 200 && reply.len() > 500, "a token: {status}, {} bytes", reply.len());
        connection
    };
    let mut all = Measured { elapsed: LONG, latencies: Vec::new() };
    let begin = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..CALM {
        let mut connection = peer.connections(1).await.pop().expect("a connection");
        tasks.push(tokio::spawn(async move {
            let (mut latencies, mut round) = (Vec::new(), (n as u64) << 32);
            while begin.elapsed() < LONG {
                let start = Instant::now();
                connection = ask(connection, round).await;
                latencies.push(start.elapsed());
                round += 1;
                tokio::time::sleep(PAUSE).await;
            }
            latencies
        }));
    }
    for task in tasks {
        all.latencies.extend(task.await.expect("a calm client"));
    }
    all.latencies.sort_unstable();
    all
}
