//! `pechat audit verify`: PASSED, FAILED or INDETERMINATE, a folder or export at a time, on all cores.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::compare::export_of;
use super::manifest::MANIFEST;
use super::place::PLAN;
use super::progress::{Progress, Unit};
use super::trust::{Pins, TrustArgs};
use super::{Fault, Pick, Report, Verdict, each, folder, set};
use crate::clock::UtcMicros;
use crate::commands::verify::material::with_trust;
use crate::digest::hex;
use crate::journal::entry::{ENTRY_BYTES, Entry};
use crate::journal::export::ExportError;
use crate::journal::range_export::Preamble;
use crate::journal::verify::{
    Checked, ExportFacts, HeadFacts, Pace, ReplayError, verify_parallel, visit_export,
};

/// A file of more bytes is verified alone, on all cores; smaller ones are verified side by side.
const LARGE: u64 = 32 << 20;

/// Arguments of `pechat audit verify`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pechat audit verify --ca root.pem --head-key journal-head.pem land everything january")]
pub struct VerifyArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Print one JSON object a folder or file
    #[arg(long)]
    json: bool,
    /// Folders of `audit export`, folders of such folders, or journal exports
    #[arg(required = true, value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

/// The worst verdict of all.
pub fn run(args: &VerifyArgs) -> Result<Verdict, String> {
    let pins = args.trust.load()?;
    let mut reports = Vec::new();
    for path in &args.paths {
        reports.extend(set::verify_any(path, &pins, super::pace())?);
    }
    reports.iter().for_each(|(path, report)| report.print(path, args.json));
    Ok(reports.iter().map(|(_, report)| report.verdict()).max().unwrap_or(Verdict::Indeterminate))
}

/// Verifies folders and files, and gives back the picked entries of each; in order.
pub fn look(jobs: &[PathBuf], pins: &Pins, pace: Pace, pick: Pick) -> Vec<Report> {
    let one = |path: &PathBuf, pace| {
        if path.is_dir() { folder::verify(path, pins, pace, pick) } else { file(path, pins, pace, pick) }
    };
    let large = |path: &PathBuf| fs::metadata(export_of(path)).is_ok_and(|data| data.len() > LARGE);
    let alone = Pace { cores: 1, ..pace };
    let small = each(jobs, |path| (!large(path)).then(|| one(path, alone)));
    jobs.iter().zip(small).map(|(path, report)| report.unwrap_or_else(|| one(path, pace))).collect()
}

/// A folder of folders stands for what is in it.
pub fn within(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() || path.join(MANIFEST).exists() {
        return Ok(vec![path.to_owned()]);
    }
    if path.join(PLAN).exists() {
        return Err(io::Error::other("is an export that was stopped; give its command again and it goes on"));
    }
    let all = fs::read_dir(path)?.map(|item| item.map(|item| item.path())).collect::<io::Result<Vec<_>>>()?;
    let ours = |path: &PathBuf| {
        let export = path.extension().is_some_and(|e| e == "export") && path.is_file();
        export || path.join(MANIFEST).exists()
    };
    let mut inner: Vec<_> = all.into_iter().filter(ours).collect();
    inner.sort();
    if inner.is_empty() {
        return Err(io::Error::other("holds no MANIFEST, no folder with one and no .export file"));
    }
    Ok(inner)
}

fn file(path: &Path, pins: &Pins, pace: Pace, pick: Pick) -> Report {
    let mut report = Report::default();
    match checked(path, pins, pace, pick) {
        Err(fault) => report.note(fault),
        Ok(checked) => {
            report.lines.extend(lines(&checked.facts));
            report
                .lines
                .push("NOT CHECKED: revocation; the folder of `pechat audit export` holds the lists".into());
            report.facts = facts_json(&checked.facts);
            report.checked = Some(checked);
            if let Some(missing) = pins.missing() {
                report.note(Fault::indeterminate(format!(
                    "every entry, link and path holds, but nothing says who made them: give {missing}"
                )));
            }
        }
    }
    report
}

/// Replays one export on several cores; its first fault, placed.
pub fn checked(path: &Path, pins: &Pins, pace: Pace, pick: Pick) -> Result<Checked, Fault> {
    let file = File::open(path).map_err(|e| Fault::indeterminate(format!("cannot be opened: {e}")))?;
    let total = file.metadata().ok().map(|data| data.len() / ENTRY_BYTES as u64);
    let progress = Progress::new(path.display().to_string(), Unit::Entries, total);
    let checked = with_trust(&pins.roots, pins.head_key.as_deref(), |trust| {
        verify_parallel(&file, trust, pace, pick, &|more| progress.add(more))
    });
    checked.map_err(|error| placed(error, path))
}

/// Replays one export, showing every entry; its first fault, placed.
pub fn export(path: &Path, pins: &Pins, visit: impl FnMut(&Entry, u64)) -> Result<ExportFacts, Fault> {
    let open = File::open(path).map_err(|e| Fault::indeterminate(format!("cannot be opened: {e}")))?;
    let input = BufReader::with_capacity(1 << 16, open);
    let facts = with_trust(&pins.roots, pins.head_key.as_deref(), |trust| visit_export(input, trust, visit));
    facts.map_err(|error| placed(error, path))
}

fn placed(error: ReplayError, path: &Path) -> Fault {
    let reason = error.to_string();
    match error {
        ReplayError::Export(ExportError::Label | ExportError::Read(_)) => Fault::indeterminate(reason),
        ReplayError::Entry { seq, offset, .. }
        | ReplayError::Root { seq, offset, .. }
        | ReplayError::PartRoot { seq, offset, .. } => {
            Fault { entry: Some(seq), offset: Some(offset), ..Fault::failed(reason) }
        }
        ReplayError::Length { found, count, .. } => {
            // The first entry that is not there, or the first byte that should not be.
            let index = found.min(count);
            let start = File::open(path).ok().and_then(|f| Preamble::read(&mut BufReader::new(f)).ok());
            let offset = start.as_ref().map(|(_, start)| start + index * ENTRY_BYTES as u64);
            let seq = start.map_or(0, |(header, _)| header.first()) + index;
            Fault { entry: Some(seq), offset, ..Fault::failed(reason) }
        }
        _ => Fault::failed(reason),
    }
}

/// What a verified export says, a sentence a line.
pub fn lines(facts: &ExportFacts) -> Vec<String> {
    let owner = facts.charter.institution.as_deref().unwrap_or("the appliance itself");
    let (first, last) = (UtcMicros(facts.first_time).iso8601(), UtcMicros(facts.last_time).iso8601());
    let mut lines = vec![
        format!("journal {} of {owner}, opened {}", facts.charter.origin, facts.charter.opened),
        format!("{} entries from {first} to {last}", facts.count),
        head_line(&facts.proof),
    ];
    if !facts.is_whole() {
        lines.push(part_line(facts));
    }
    lines.extend(facts.epochs.iter().map(|epoch| {
        let (seq, time, statement) = (epoch.seq, UtcMicros(epoch.time).iso8601(), epoch.statement);
        format!(
            "GAP OR RESTORATION: another writer epoch begins with entry {seq} of {time}; receipts of later entries \
             from before it may contradict this journal. Why: the statement in own.events with SHA-256 {statement}"
        )
    }));
    lines.extend(facts.hand_overs.iter().map(|over| {
        let (seq, time, statement) = (over.seq, UtcMicros(over.time).iso8601(), over.statement);
        format!("another institution's from entry {seq} of {time} on; statement with SHA-256 {statement}")
    }));
    lines.extend(facts.frozen.iter().map(|end| {
        let (seq, time, statement) = (end.seq, UtcMicros(end.time).iso8601(), end.statement);
        format!("FROZEN: entry {seq} of {time} is its final record; statement with SHA-256 {statement}")
    }));
    lines
}

/// What a part leaves out. Times never go back, so what lies between its first and its last time is all there.
fn part_line(facts: &ExportFacts) -> String {
    let (first, last) = (facts.first, facts.end() - 1);
    let early = match first {
        0 => "from the beginning".to_owned(),
        _ => format!("after {}", UtcMicros(facts.first_time).iso8601()),
    };
    let late = if facts.end() == facts.proof.head.size {
        "up to the head".to_owned()
    } else {
        format!("before {}", UtcMicros(facts.last_time).iso8601())
    };
    format!("PART: entries {first} to {last}, complete for all times {early} {late}")
}

/// What a verified head says.
pub fn head_line(proof: &HeadFacts) -> String {
    let stamped = match &proof.stamped {
        Some(token) => format!("stamped at {}", UtcMicros(token.gen_time_us).iso8601()),
        None => "NOT CHECKED: its token".into(),
    };
    let signed = if proof.signed { "signed" } else { "NOT CHECKED: its signature" };
    format!("head of {} entries, {}; {signed}, {stamped}", proof.head.size, hex(proof.head.root.as_bytes()))
}

/// The same for machines.
pub fn facts_json(facts: &ExportFacts) -> Value {
    let HeadFacts { head, checkpoint, signed, stamped, .. } = &facts.proof;
    json!({
        "origin": facts.charter.origin, "institution": facts.charter.institution,
        "first": facts.first, "count": facts.count, "whole": facts.is_whole(),
        "epoch_changes": facts.epochs.iter().map(|e| json!({
            "seq": e.seq, "time": e.time, "statement_sha256": e.statement,
        })).collect::<Vec<_>>(),
        "hand_overs": facts.hand_overs.iter().map(|e| json!({
            "seq": e.seq, "time": e.time, "statement_sha256": e.statement,
        })).collect::<Vec<_>>(),
        "frozen": facts.frozen.map(|e| json!({
            "seq": e.seq, "time": e.time, "statement_sha256": e.statement,
        })),
        "first_time": facts.first_time, "last_time": facts.last_time, "root": head.root,
        "root_log": checkpoint.origin, "root_log_size": checkpoint.size, "signature_checked": signed,
        "gen_time_us": stamped.map(|t| t.gen_time_us), "accuracy_us": stamped.and_then(|t| t.accuracy_us),
    })
}
