//! `pechat client seal`: plan (durable) → send → keep the receipts (durable). Every attempt sends the
//! same request ids, so an interruption of either side, at any moment, seals nothing twice.

use std::fs;
use std::io::IsTerminal;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;

use super::evidence::{HeadKey, Verifier};
use super::http::{Connection, RequestError};
use super::plan::{Plan, Planned};
use super::retry::BackOff;
use super::runs::{self, MOST_PER_REQUEST, Run, StoredRun};
use super::settings::Settings;
use super::store::Store;
use super::{ClientError, at, random};
use crate::digest::hex;

/// Arguments of `pechat client seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    /// The journal, e.g. `land-registry`.
    #[arg(long)]
    pub journal: String,
    /// JSON Lines: one record a line. Plan and receipts are kept in FILE.pechat.
    pub file: PathBuf,
    /// Seconds to go on asking while the appliance does not answer.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Requests under way at once; 1 keeps the journal in the file's order.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub in_flight: u8,
    /// Records in one request.
    #[arg(long, default_value_t = MOST_PER_REQUEST as u16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub batch: u16,
    /// PEM public key of the journal head that receipts must be signed with [default: head_key of
    /// the configuration, else the appliance's, kept in FILE.pechat at the first sealing]
    #[arg(long)]
    pub head_key: Option<PathBuf>,
}

/// What one run of the command did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// Records in the file.
    pub records: usize,
    /// Of them, sealed by this run.
    pub now: usize,
    /// Requests sent again because the appliance did not answer.
    pub again: usize,
}

#[derive(Deserialize)]
struct Answer {
    receipts: Vec<Run>,
}

/// Seals what has no receipt yet.
pub fn seal(args: &SealArgs, settings: &Settings) -> Result<Sealed, ClientError> {
    let file = fs::read(&args.file).map_err(|e| at(&args.file, e))?;
    let store = Store::beside(&args.file);
    let _lock = store.lock()?;
    let plan = plan(&store, &args.journal, &file)?;
    drop(file);
    let done = store.receipts()?;
    let covered = runs::coverage(&done, plan.records.len())?;
    let requests = runs::lines_without_receipt(&covered, args.batch.into());
    let to_seal = requests.iter().map(ExactSizeIterator::len).sum();
    let mut summary = Sealed { records: plan.records.len(), now: to_seal, again: 0 };
    if to_seal == 0 {
        return Ok(summary);
    }
    let connection = Connection::open(settings)?;
    let deadline = Duration::from_secs(args.timeout);
    let sender = Sender {
        connection,
        plan: &plan,
        deadline,
        again: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
    };
    let configured = args.head_key.as_deref().or(settings.head_key.as_deref());
    let key = head_key(&store, configured, &sender)?;
    let verifier = Verifier::new(key, &settings.ca)?;
    send_all(&sender, &requests, args.in_flight.into(), &store, verifier, progress(&plan, to_seal))?;
    summary.again = sender.again.into_inner();
    Ok(summary)
}

/// The plan made earlier, which must fit, or a new one, durable before it is returned.
fn plan(store: &Store, journal: &str, file: &[u8]) -> Result<Plan, ClientError> {
    if let Some(plan) = store.plan()? {
        plan.must_be_for(journal)?;
        plan.must_fit(file)?;
        return Ok(plan);
    }
    let mut failed = false;
    let plan = Plan::make(journal, file, |buffer| failed |= random(buffer).is_err())?;
    if failed {
        return Err(ClientError::NoRandomness);
    }
    store.write_plan(&plan)?;
    Ok(plan)
}

/// The key receipts must be signed with: the configured one, or the one kept at the first sealing.
/// A key once kept is never replaced silently. Without either, receipts rest on their tokens alone.
fn head_key(
    store: &Store,
    configured: Option<&Path>,
    sender: &Sender,
) -> Result<Option<HeadKey>, ClientError> {
    if let Some(path) = configured {
        return Ok(Some(HeadKey::read(path)?));
    }
    let kept = store.head_key_path();
    if !kept.exists() {
        let url = "/v1/keys/journal-head";
        let reply = sender
            .patiently(|c| c.get(url).and_then(|r| if r.status == 404 { Ok(r) } else { r.success(url) }))?;
        if reply.status == 404 {
            return Ok(None);
        }
        HeadKey::from_pem(&reply.body, url)?;
        store.write_head_key(&reply.body)?;
    }
    Ok(Some(HeadKey::read(&kept)?))
}

fn progress(plan: &Plan, to_seal: usize) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(plan.records.len() as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} sealed, {per_sec}, {eta} left") {
        bar.set_style(style);
    }
    bar.set_position((plan.records.len() - to_seal) as u64);
    bar
}

/// What every sending thread shares.
struct Sender<'a> {
    connection: Connection,
    plan: &'a Plan,
    deadline: Duration,
    again: AtomicUsize,
    stop: AtomicBool,
}

/// `in_flight` threads take requests in turn; this thread verifies and keeps what comes back.
fn send_all(
    sender: &Sender,
    requests: &[Range<usize>],
    in_flight: usize,
    store: &Store,
    mut verifier: Verifier,
    bar: ProgressBar,
) -> Result<(), ClientError> {
    let mut receipts = store.append()?;
    let next = AtomicUsize::new(0);
    let (out, back) = sync_channel(in_flight);
    let result = thread::scope(|scope| {
        for _ in 0..in_flight.min(requests.len()) {
            let (out, next) = (out.clone(), &next);
            scope.spawn(move || sender.work(requests, next, &out));
        }
        drop(out);
        let result = back.iter().try_for_each(|answer: Result<Vec<StoredRun>, ClientError>| {
            let placed = answer?;
            for stored in &placed {
                verifier.run(stored, sender.plan)?;
            }
            receipts.add(&placed)?;
            bar.inc(placed.iter().map(|p| p.run.count as u64).sum());
            Ok(())
        });
        // Threads that wait to hand over or to send must see that nobody listens any more.
        sender.stop.store(true, Ordering::Relaxed);
        drop(back);
        result
    });
    bar.finish_and_clear();
    result
}

impl Sender<'_> {
    fn work(
        &self,
        requests: &[Range<usize>],
        next: &AtomicUsize,
        out: &SyncSender<Result<Vec<StoredRun>, ClientError>>,
    ) {
        while let Some(lines) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let answer = self.send(lines);
            let failed = answer.is_err();
            if out.send(answer).is_err() || failed {
                return;
            }
        }
    }

    fn send(&self, lines: &Range<usize>) -> Result<Vec<StoredRun>, ClientError> {
        let path = format!("/v1/journals/{}/entries", self.plan.journal);
        let body = body(self.plan.records.get(lines.clone()).unwrap_or_default());
        let answer: Answer = self
            .patiently(|c| c.post(&path, "application/json", body.as_bytes())?.success(&path)?.json(&path))?;
        Ok(runs::place(answer.receipts, lines)?)
    }

    /// Asks again while the failure may pass, until the deadline since the first attempt.
    fn patiently<T>(&self, ask: impl Fn(&Connection) -> Result<T, RequestError>) -> Result<T, ClientError> {
        let begun = Instant::now();
        let mut back_off = BackOff::default();
        loop {
            let error = match ask(&self.connection) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let mut byte = [0];
            random(&mut byte)?;
            let pause = back_off.pause(error.retry_after(), byte[0]);
            let late = begun.elapsed() + pause > self.deadline;
            if !error.may_pass() || self.stop.load(Ordering::Relaxed) {
                return Err(error.into());
            }
            if late {
                return Err(ClientError::GaveUp { seconds: self.deadline.as_secs(), last: error });
            }
            self.again.fetch_add(1, Ordering::Relaxed);
            thread::sleep(pause);
        }
    }
}

fn body(records: &[Planned]) -> String {
    let mut text = String::with_capacity(records.len() * 140 + 16);
    text.push_str("{\"entries\":[");
    for (i, r) in records.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str("{\"request_id\":\"");
        text.push_str(&hex(&r.request_id));
        text.push_str("\",\"digest\":\"");
        text.push_str(&r.digest.to_string());
        text.push_str("\"}");
    }
    text.push_str("]}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_body_is_the_json_of_the_interface() {
        let records = [Planned::new([1; 16], [2; 32], b"a"), Planned::new([3; 16], [4; 32], b"b")];
        let value: serde_json::Value = serde_json::from_str(&body(&records)).unwrap();
        assert_eq!(value["entries"][1]["request_id"], "03".repeat(16));
        assert_eq!(value["entries"][0]["digest"], records[0].digest.to_string());
        assert_eq!(value["entries"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn second_run_uses_the_plan_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::beside(&dir.path().join("r.jsonl"));
        let _lock = store.lock().unwrap();
        let first = plan(&store, "j", b"a\nb\n").unwrap();
        assert_eq!(plan(&store, "j", b"a\nb\n").unwrap(), first);
        let changed = plan(&store, "j", b"a\nc\n").unwrap_err();
        assert!(changed.to_string().contains("line 2"), "{changed}");
        assert!(plan(&store, "k", b"a\nb\n").is_err());
    }
}
