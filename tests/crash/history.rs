//! Clients that write down every call, and a watcher that writes down every head: what the stand-alone
//! checker (`tests/checker/check.py`) judges.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pechat::commands::client::http::{Connection, RequestError};
use pechat::commands::client::settings::Settings;
use pechat::digest::Digest;
use serde_json::{Value, json};

use super::appliance::Appliance;

/// Writers beside the watcher.
const WRITERS: u64 = 2;
/// Between two calls of one writer.
const PACE: Duration = Duration::from_millis(10);

struct Shared {
    journal: String,
    settings: Settings,
    begin: Instant,
    out: Mutex<std::io::BufWriter<std::fs::File>>,
    calls: AtomicU64,
    stop: AtomicBool,
}

/// Calls under way, and the file they are written to.
pub struct History {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<u64>>,
    pub path: PathBuf,
}

impl History {
    /// Starts writers and watcher on one journal.
    pub fn start(appliance: &Appliance, journal: &str) -> Self {
        let path = appliance.path("history.jsonl");
        let settings = Settings {
            url: appliance.env("PECHAT_URL").into(),
            ca: appliance.env("PECHAT_CA").into(),
            cert: appliance.env("PECHAT_CERT").into(),
            key: appliance.env("PECHAT_KEY").into(),
            head_key: None,
        };
        let shared = Arc::new(Shared {
            journal: journal.to_owned(),
            settings,
            begin: Instant::now(),
            out: Mutex::new(std::io::BufWriter::new(std::fs::File::create(&path).expect("history"))),
            calls: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let threads = (0..=WRITERS).map(|n| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || if n == WRITERS { watch(&shared) } else { write(&shared, n) })
        });
        let threads = threads.collect();
        Self { shared, threads, path }
    }

    /// Microseconds since the history began.
    pub fn now(&self) -> u64 {
        self.shared.now()
    }

    /// Notes a fault that lasted from `start` until now.
    pub fn fault(&self, kind: &str, start: u64) {
        self.shared.note(&json!({ "fault": kind, "start": start, "end": self.now() }));
    }

    /// Ends all calls, each answered for good; gives the number of entries that were acknowledged.
    pub fn finish(self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        let sealed = self.threads.into_iter().map(|t| t.join().expect("a client of the history")).sum();
        self.shared.out.lock().expect("history").flush().expect("history");
        sealed
    }
}

impl Shared {
    fn now(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    fn note(&self, line: &Value) {
        writeln!(self.out.lock().expect("history"), "{line}").expect("history");
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// One call, written down; whether it was answered for good.
    fn call(&self, to: &Connection, ids: &[String], digests: &[String]) -> bool {
        let entries: Vec<_> =
            ids.iter().zip(digests).map(|(i, d)| json!({ "request_id": i, "digest": d })).collect();
        let body = json!({ "entries": entries }).to_string();
        let path = format!("/v1/journals/{}/entries?entries=full", self.journal);
        let (call, start) = (self.calls.fetch_add(1, Ordering::Relaxed), self.now());
        let answer = to.post(&path, "application/json", body.as_bytes());
        let (outcome, body) = match &answer {
            Ok(reply) if reply.status == 201 => ("ok", String::from_utf8_lossy(&reply.body).into_owned()),
            Ok(reply) if reply.status == 409 => ("conflict", String::new()),
            // A refusal may follow a durable write whose signature is not there yet.
            Ok(_) | Err(RequestError::Unreachable { .. }) => ("unknown", String::new()),
            Err(_) => ("fail", String::new()),
        };
        let end = self.now();
        self.note(&json!({ "call": call, "start": start, "end": end, "ids": ids, "digests": digests,
            "outcome": outcome, "body": body }));
        matches!(outcome, "ok" | "conflict")
    }
}

/// Seals three digests a call; an open call is asked again until it is answered. Every third call is
/// repeated, every fifth asks for other digests under the same ids.
fn write(shared: &Shared, writer: u64) -> u64 {
    let to = Connection::open(&shared.settings).expect("credentials");
    let mut sealed = 0;
    for round in 0_u64.. {
        if shared.stopped() {
            break;
        }
        let name = |k: u64| format!("{writer}/{round}/{k}");
        let ids: Vec<_> =
            (0..3).map(|k| Digest::of(name(k).as_bytes()).to_string()[..32].to_owned()).collect();
        let digests = |salt: &str| -> Vec<_> {
            (0..3).map(|k| Digest::of((name(k) + salt).as_bytes()).to_string()).collect()
        };
        let (right, wrong) = (digests("record"), digests("forged"));
        until_answered(shared, &to, &ids, &right);
        sealed += 3;
        if round % 3 == 0 {
            until_answered(shared, &to, &ids, &right);
        }
        if round % 5 == 0 {
            until_answered(shared, &to, &ids, &wrong);
        }
        std::thread::sleep(PACE);
    }
    sealed
}

fn until_answered(shared: &Shared, to: &Connection, ids: &[String], digests: &[String]) {
    let begin = Instant::now();
    while !shared.call(to, ids, digests) {
        assert!(begin.elapsed() < Duration::from_secs(120), "a call stays open for two minutes");
        std::thread::sleep(PACE);
    }
}

fn watch(shared: &Shared) -> u64 {
    let to = Connection::open(&shared.settings).expect("credentials");
    let path = format!("/v1/journals/{}/checkpoint", shared.journal);
    while !shared.stopped() {
        let start = shared.now();
        if let Ok(reply) = to.get(&path)
            && reply.status == 200
        {
            let (end, body) = (shared.now(), String::from_utf8_lossy(&reply.body));
            shared.note(&json!({ "seen": true, "start": start, "end": end, "body": body }));
        }
        std::thread::sleep(PACE);
    }
    0
}
