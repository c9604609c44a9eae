//! One screen about a running appliance: what `pechat status` and `doctor` print.

use serde::{Deserialize, Serialize};

use super::App;
use super::status::Readiness;
use crate::clock::ClockState;
use crate::keys::SignerState;
use crate::witness::WitnessView;

/// One thing that was looked at or tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Stable word: `version`, `clock`, `hsm`, `test-signature`, `test-stamp`, `journal`, and
    /// `witnesses` where there are any.
    pub code: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in words and figures.
    pub text: String,
    /// What to do when it is not.
    pub action: String,
}

/// All lines, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overview {
    /// The lines.
    pub lines: Vec<Line>,
}

impl Overview {
    /// Looks at everything and tries a signature and a stamp.
    pub async fn of(app: &App) -> Self {
        let readiness = app.front.probe().readiness(app).await;
        let mut lines = vec![
            line("version", Ok(env!("CARGO_PKG_VERSION").to_owned()), ""),
            line("clock", clock(app), "look at the sources: docs/runbooks/clock-lost.md"),
            line("hsm", hsm(app), "look at the device and the signer's log: docs/runbooks/hsm-gone.md"),
            line(
                "test-signature",
                tried(&readiness, "hsm", "signed and verified"),
                "docs/runbooks/hsm-gone.md",
            ),
            line(
                "test-stamp",
                tried(&readiness, "timestamp", "recorded and stamped"),
                "see clock, hsm and journal",
            ),
            line("journal", journal(app), "free the disk's fault, then restart: docs/runbooks/disk-error.md"),
        ];
        let witnesses = super::status::witnesses_of(app);
        if !witnesses.is_empty() {
            lines.push(line(
                "witnesses",
                cosigned(&witnesses),
                "see the witness's own log and docs/formats/witness.md; sealing goes on meanwhile",
            ));
        }
        Self { lines }
    }

    /// Whether every line is as it should be.
    pub fn ok(&self) -> bool {
        self.lines.iter().all(|line| line.ok)
    }
}

fn line(code: &str, found: Result<String, String>, action: &str) -> Line {
    let ok = found.is_ok();
    let text = found.unwrap_or_else(|reason| reason);
    Line { code: code.into(), ok, text, action: action.into() }
}

fn clock(app: &App) -> Result<String, String> {
    let status = app.clock.status();
    let agree = status.sources.iter().filter(|s| s.verdict == "agrees").count();
    let sources = format!("{agree} of {} sources agree, {} needed", status.sources.len(), status.quorum);
    match status.state {
        ClockState::Synchronised => {
            Ok(format!("synchronised, off by at most {} µs; {sources}", status.bound_us.unwrap_or_default()))
        }
        ClockState::Holdover => Err(format!("holdover since {}; {sources}", status.since.iso8601())),
        ClockState::Untrusted { reason, detail } => {
            Err(format!("untrusted ({reason}) since {}: {detail}; {sources}", status.since.iso8601()))
        }
    }
}

fn hsm(app: &App) -> Result<String, String> {
    let frozen = app.keys.frozen().into_iter().map(|key| format!("key {key} gave a wrong signature"));
    let differing = app.keys.differing().into_iter().map(|(key, what)| format!("key {key} differs: {what}"));
    let stopped: Vec<_> = frozen.chain(differing).collect();
    if !stopped.is_empty() {
        return Err(stopped.join("; "));
    }
    match app.keys.state() {
        SignerState::Ready => Ok(format!("ready, {} keys pinned", app.keys.pinned().keys.len())),
        SignerState::Down { reason } => Err(format!("signer down: {reason}")),
    }
}

/// One of the readiness probe's checks: a verified signature of the canary key, a recorded timestamp.
fn tried(readiness: &Readiness, name: &str, works: &str) -> Result<String, String> {
    match readiness.checks.iter().find(|check| check.name == name) {
        Some(check) if check.ok => Ok(works.to_owned()),
        Some(check) => Err(check.detail.clone()),
        None => Err("not tried".to_owned()),
    }
}

fn journal(app: &App) -> Result<String, String> {
    if let Some(reason) = app.journals.failed() {
        return Err(format!("stopped: {reason}"));
    }
    let stats = app.journals.stats();
    let journals = app.journals.list();
    let entries: u64 = journals.iter().map(|j| j.size).sum();
    Ok(format!(
        "{} journals, {entries} entries, {} seals since start, last fsync {} µs",
        journals.len(),
        stats.seals,
        stats.last_fsync_us
    ))
}

fn cosigned(witnesses: &[WitnessView]) -> Result<String, String> {
    let alarms: Vec<_> =
        witnesses.iter().filter_map(|w| Some(format!("{}: {}", w.name, w.alarm.as_ref()?))).collect();
    if !alarms.is_empty() {
        return Err(alarms.join("; "));
    }
    let each: Vec<_> =
        witnesses.iter().map(|w| format!("{} at {}, {} behind", w.name, w.size, w.lag)).collect();
    Ok(each.join("; "))
}
