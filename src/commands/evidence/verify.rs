//! `pechat evidence verify`: every file of a folder against its record, at a time.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::folder::{at, digest, files, read_record, recorded};
use super::renewals;
use crate::clock::{UtcMicros, system};
use crate::commands::audit::trust::TrustArgs;
use crate::commands::audit::{Fault, Report, Verdict, each};
use crate::evidence::policy::{BUILT_IN, Policy, day_start};
use crate::evidence::verify::{Doubt, Verifier};

/// What a verifier brings.
#[derive(Debug, Clone, Args)]
pub struct VerifierArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Until when algorithms are trusted (TOML) [default: the table this program was built with]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Further revocation lists (DER), beside those in the records. May be repeated
    #[arg(long, value_name = "FILE")]
    crl: Vec<PathBuf>,
}

/// Arguments of `pechat evidence verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    verifier: VerifierArgs,
    /// Judge as of this time, `YYYY-MM-DD` or ISO 8601 [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Print one JSON object a folder
    #[arg(long)]
    json: bool,
    /// Folders of `evidence export`
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
}

/// The worst verdict of all.
pub fn run(args: &VerifyArgs) -> Result<Verdict, String> {
    let at = args.at.as_deref().map_or_else(|| Ok(system::now()), instant)?;
    let mut worst = Verdict::Passed;
    for dir in &args.dirs {
        let report = report_at(dir, &args.verifier, at)?;
        report.print(dir, args.json);
        worst = worst.max(report.verdict());
    }
    Ok(worst)
}

/// What is known of a folder now.
pub(super) fn report(dir: &Path, args: &VerifierArgs) -> Result<Report, String> {
    report_at(dir, args, system::now())
}

fn report_at(dir: &Path, args: &VerifierArgs, at: UtcMicros) -> Result<Report, String> {
    let pins = args.trust.load()?;
    let roots = pins.roots.clone();
    let policy =
        args.policy.as_ref().map(|path| read(path).map(|b| String::from_utf8_lossy(&b).into_owned()));
    let policy = Policy::parse(policy.transpose()?.as_deref().unwrap_or(BUILT_IN));
    let policy = policy.map_err(|e| format!("the policy {e}"))?;
    let lists = args.crl.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let verifier = Verifier { roots: &roots, lists: &lists, policy: &policy, at };
    let mut report = Report::default();
    let recorded = recorded(dir)?;
    let times = each(&recorded, |name| one(dir, name, &verifier).map_err(|fault| fault.of(name)));
    let mut since = None;
    for time in times {
        match time {
            Ok(time) => since = since.max(Some(time)),
            Err(fault) => report.note(fault),
        }
    }
    for name in files(dir)?.iter().filter(|name| !recorded.contains(name)) {
        report.note(Fault::indeterminate("has no evidence record").of(name));
    }
    if recorded.is_empty() {
        report.note(Fault::indeterminate("holds no evidence record; `pechat evidence export` makes them"));
    }
    match renewals::check(dir, &pins) {
        Ok(lines) => report.lines.extend(lines),
        Err(fault) => report.note(fault),
    }
    if let (Some(since), Verdict::Passed) = (since, report.verdict()) {
        let (since, at) = (since.iso8601(), at.iso8601());
        report.lines.push(format!("{} files are what they were at {since}, as of {at}", recorded.len()));
        report.facts = json!({ "files": recorded.len(), "since": since, "at": at });
    }
    Ok(report)
}

/// When the file existed at the latest.
fn one(dir: &Path, name: &str, verifier: &Verifier<'_>) -> Result<UtcMicros, Fault> {
    let record = read_record(dir, name).map_err(Fault::failed)?;
    let facts = verifier.verify(&record, &mut |hash| digest(hash, &dir.join(name)));
    match facts {
        Ok(facts) => Ok(facts.first().map_or(verifier.at, |first| UtcMicros(first.gen_time_us))),
        Err(Doubt::Failed(why)) => Err(Fault::failed(why)),
        Err(Doubt::Indeterminate(why)) => Err(Fault::indeterminate(why)),
    }
}

fn instant(text: &str) -> Result<UtcMicros, String> {
    match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Ok(UtcMicros(instant.as_microsecond())),
        Err(_) => day_start(text).map_err(|e| format!("--at: {e}")),
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| at(path, e))
}
