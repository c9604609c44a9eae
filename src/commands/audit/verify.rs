//! `pechat audit verify`: PASSED, FAILED or INDETERMINATE, a folder or export at a time, on all cores.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::manifest::MANIFEST;
use super::trust::{Pins, TrustArgs};
use super::{Fault, Report, Verdict, each, folder};
use crate::clock::UtcMicros;
use crate::commands::verify::material::with_trust;
use crate::digest::hex;
use crate::journal::entry::{ENTRY_BYTES, Entry};
use crate::journal::export::{ExportError, ExportHeader};
use crate::journal::verify::{ExportFacts, HeadFacts, ReplayError, visit_export};

/// Arguments of `pechat audit verify`.
#[derive(Debug, Args)]
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
    let mut jobs = Vec::new();
    for path in &args.paths {
        jobs.extend(within(path).map_err(|e| format!("{}: {e}", path.display()))?);
    }
    let reports =
        each(&jobs, |path| if path.is_dir() { folder::verify(path, &pins) } else { file(path, &pins) });
    jobs.iter().zip(&reports).for_each(|(path, report)| report.print(path, args.json));
    Ok(reports.iter().map(Report::verdict).max().unwrap_or(Verdict::Indeterminate))
}

/// A folder of folders stands for what is in it.
fn within(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !path.is_dir() || path.join(MANIFEST).exists() {
        return Ok(vec![path.to_owned()]);
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

fn file(path: &Path, pins: &Pins) -> Report {
    let mut report = Report::default();
    match export(path, pins, |_, _| {}) {
        Err(fault) => report.note(fault),
        Ok(facts) => {
            report.lines.extend(lines(&facts));
            report
                .lines
                .push("NOT CHECKED: revocation; the folder of `pechat audit export` holds the lists".into());
            report.facts = facts_json(&facts);
            if let Some(missing) = pins.missing() {
                report.note(Fault::indeterminate(format!(
                    "every entry, link and path holds, but nothing says who made them: give {missing}"
                )));
            }
        }
    }
    report
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
        ReplayError::Entry { seq, offset, .. } | ReplayError::Root { seq, offset, .. } => {
            Fault { entry: Some(seq), offset: Some(offset), ..Fault::failed(reason) }
        }
        ReplayError::Length { found, count, .. } => {
            // The first entry that is not there, or the first byte that should not be.
            let seq = found.min(count);
            let start = File::open(path).ok().and_then(|f| ExportHeader::read(&mut BufReader::new(f)).ok());
            let offset = start.map(|(_, start)| start + seq * ENTRY_BYTES as u64);
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
        "origin": facts.charter.origin, "institution": facts.charter.institution, "count": facts.count,
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
