//! `pechat audit life`: everything that was sealed of one reference number, across journals, each step with its proof.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::compare::export_of;
use super::place::{at, write};
use super::set::{self, JOURNALS};
use super::trust::{Pins, TrustArgs};
use super::verify::{look, within};
use super::{Report, Verdict};
use crate::clock::UtcMicros;
use crate::digest::hex;
use crate::journal::RequestId;
use crate::journal::entry::{Entry, journal_id};
use crate::journal::life::{Known, Wanted, missing, step_id};
use crate::journal::range_export::Preamble;
use crate::journal::receipt::single_text;
use crate::journal::verify::Checked;

/// Arguments of `pechat audit life`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pechat audit life --ca root.pem --head-key journal-head.pem RNU-2026-000017 everything
  pechat audit life --receipts steps 2475001150024593 land sea
  pechat audit life --id 1 RNU-2026-000017

Step N of a life is sealed under a request id that the register computes: the first 32 hex digits of
  printf 'pechat life v1\\n%s\\n%d\\n' RNU N | sha256sum
Steps are numbered from 1 in each journal. A number or UUID that is itself a request id is found as well, and what a
register's own list (--list) gives for it.")]
pub struct LifeArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Print one JSON object, every step's receipt in it
    #[arg(long)]
    json: bool,
    /// The register's list: a JSON object a line, with rnu and request_id
    #[arg(long, value_name = "LIST.jsonl")]
    list: Option<PathBuf>,
    /// Steps looked for in each journal
    #[arg(long, default_value_t = 1000, value_name = "N")]
    steps: u32,
    /// Also write every step's receipt into this new folder, as `pechat verify` and verify.py read it
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    /// Only print the request id of this step
    #[arg(long, value_name = "STEP", conflicts_with_all = ["list", "receipts", "json"])]
    id: Option<u32>,
    /// The reference number (RNU), register number or request id
    #[arg(value_name = "RNU")]
    reference: String,
    /// Folders of `audit export`, folders of such folders, or journal exports
    #[arg(required_unless_present = "id", value_name = "DIR|FILE")]
    paths: Vec<PathBuf>,
}

/// One step, with the receipt that proves it.
struct Step {
    entry: Entry,
    known: Known,
    origin: String,
    institution: Option<String>,
    stamped: Option<i64>,
    receipt: String,
}

/// A life, as far as what was searched shows it.
struct Life {
    steps: Vec<Step>,
    /// What is missing, in words, and whether that is certain (failed) or only not in the parts searched.
    gaps: Vec<(Verdict, String)>,
    /// Each file searched.
    searched: Vec<(PathBuf, Report)>,
}

/// Passed when every searched journal holds and no step is missing; indeterminate when nothing was found.
pub fn run(args: &LifeArgs) -> Result<Verdict, String> {
    let mut wanted = Wanted::of(&args.reference, args.steps)?;
    if let Some(step) = args.id {
        println!("{}", hex(&step_id(&args.reference, step).0));
        return Ok(Verdict::Passed);
    }
    if let Some(list) = &args.list {
        read_list(list, &args.reference, &mut wanted)?;
    }
    let pins = args.trust.load()?;
    let life = follow(&args.paths, &wanted, &pins)?;
    if let Some(dir) = &args.receipts {
        fs::create_dir(dir).map_err(|e| at(dir, e))?;
        for (number, step) in life.steps.iter().enumerate() {
            write(&dir.join(format!("{:04}.txt", number + 1)), step.receipt.as_bytes())?;
        }
    }
    let verdict = verdict(&life);
    if args.json {
        print_json(args, &life, verdict)
    } else {
        print(args, &life, verdict)
    }
    Ok(verdict)
}

fn verdict(life: &Life) -> Verdict {
    let worst = life.searched.iter().map(|(_, report)| report.verdict()).max();
    let found = if life.steps.is_empty() { Verdict::Indeterminate } else { Verdict::Passed };
    let whole = life.gaps.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Passed);
    worst.unwrap_or(Verdict::Indeterminate).max(found).max(whole)
}

fn read_list(path: &Path, reference: &str, wanted: &mut Wanted) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Line {
        rnu: String,
        request_id: String,
    }
    let file = File::open(path).map_err(|e| at(path, e))?;
    for (number, line) in (1..).zip(BufReader::new(file).lines()) {
        let wrong = |reason: String| format!("{}: line {number}: {reason}", path.display());
        let line = line.map_err(|e| wrong(e.to_string()))?;
        let line: Line = serde_json::from_str(&line).map_err(|e| wrong(e.to_string()))?;
        if line.rnu == reference {
            let id = RequestId::parse(&line.request_id);
            wanted.list(id.ok_or_else(|| wrong("request_id is none".into()))?, number);
        }
    }
    Ok(())
}

fn follow(paths: &[PathBuf], wanted: &Wanted, pins: &Pins) -> Result<Life, String> {
    let pick = |entry: &Entry| wanted.known(entry).is_some();
    let mut searched = Vec::new();
    for path in paths {
        if path.join(JOURNALS).exists() {
            searched.extend(set::verify(path, pins, super::pace(), &pick));
        } else {
            let jobs = within(path).map_err(|e| at(path, e))?;
            let reports = look(&jobs, pins, super::pace(), &pick);
            searched.extend(jobs.into_iter().zip(reports));
        }
    }
    let mut steps = Vec::new();
    for (path, report) in &searched {
        // What does not hold proves no step.
        if let Some(checked) = report.checked.as_ref().filter(|_| report.verdict() != Verdict::Failed) {
            steps.extend(steps_of(&export_of(path), checked, wanted).map_err(|e| at(path, e))?);
        }
    }
    // One journal may have been exported twice: an entry is one step all the same.
    steps.sort_by_key(|step| (step.entry.time, step.origin.clone(), step.entry.seq));
    steps.dedup_by(|a, b| a.entry == b.entry);
    let gaps = gaps(&steps, &searched, wanted);
    Ok(Life { steps, gaps, searched })
}

fn steps_of(path: &Path, checked: &Checked, wanted: &Wanted) -> io::Result<Vec<Step>> {
    let file = File::open(path)?;
    let (header, _) = Preamble::read(&mut BufReader::new(&file)).map_err(io::Error::other)?;
    let charter = &checked.facts.charter;
    let found = checked.picked.iter().filter_map(|(entry, _)| Some((entry, wanted.known(entry)?)));
    found
        .map(|(entry, known)| {
            let path = checked.nodes.path(&file, entry.seq)?;
            let receipt = single_text(entry, &path, header.proof());
            let (origin, institution) = (charter.origin.clone(), charter.institution.clone());
            let stamped = checked.facts.proof.stamped.map(|token| token.gen_time_us);
            Ok(Step { entry: *entry, known, origin, institution, stamped, receipt })
        })
        .collect()
}

fn gaps(steps: &[Step], searched: &[(PathBuf, Report)], wanted: &Wanted) -> Vec<(Verdict, String)> {
    let missing = missing(steps.iter().map(|step| (&step.entry, step.known)));
    let holds = |origin: &str| {
        let facts = searched.iter().filter_map(|(_, report)| report.checked.as_ref()).map(|c| &c.facts);
        facts.into_iter().any(|facts| facts.charter.origin == origin && facts.is_whole())
    };
    let origins: BTreeSet<_> = steps.iter().map(|step| step.origin.as_str()).collect();
    let mut gaps = Vec::new();
    for (origin, absent) in origins.iter().filter_map(|o| Some((o, missing.get(&journal_id(o))?))) {
        let (verdict, why) = if holds(origin) {
            (Verdict::Failed, "was never sealed")
        } else {
            (Verdict::Indeterminate, "is not in the parts searched")
        };
        let text = |step: &u32| format!("step {step} in {origin} {why}, but a later one is there");
        gaps.extend(absent.iter().map(|step| (verdict, text(step))));
    }
    let sealed = steps.iter().map(|step| step.entry.request_id).collect();
    for (line, id) in wanted.unsealed(&sealed) {
        gaps.push((
            Verdict::Failed,
            format!("request {} of line {line} is in none of these journals", hex(&id.0)),
        ));
    }
    gaps
}

fn word(known: Known) -> String {
    match known {
        Known::ById => "by its id".into(),
        Known::Step(step) => format!("step {step}"),
        Known::Listed(line) => format!("listed on line {line}"),
    }
}

fn print(args: &LifeArgs, life: &Life, verdict: Verdict) {
    println!("{}  life of {}: {} steps", verdict.word(), args.reference, life.steps.len());
    for step in &life.steps {
        let Step { entry, known, origin, .. } = step;
        println!(
            "        {} ± {} µs  {origin} entry {}, {}: {}",
            UtcMicros(entry.time).iso8601(),
            entry.bound,
            entry.seq,
            word(*known),
            entry.digest
        );
    }
    life.gaps.iter().for_each(|(_, gap)| println!("  MISSING  {gap}"));
    println!("searched:");
    life.searched.iter().for_each(|(path, report)| report.print(path, false));
}

fn print_json(args: &LifeArgs, life: &Life, verdict: Verdict) {
    let step = |step: &Step| {
        let Step { entry, known, origin, institution, stamped, receipt } = step;
        json!({
            "origin": origin, "institution": institution, "seq": entry.seq, "time": entry.time, "bound": entry.bound,
            "kind": entry.kind, "request_id": hex(&entry.request_id.0), "digest": entry.digest, "known": word(*known),
            "gen_time_us": stamped, "receipt": receipt,
        })
    };
    let searched = |(path, report): &(PathBuf, Report)| -> Value {
        json!({ "path": path.display().to_string(), "verdict": report.verdict().word(), "facts": report.facts })
    };
    println!(
        "{}",
        json!({
            "format": "pechat-life v1", "rnu": args.reference, "verdict": verdict.word(),
            "steps": life.steps.iter().map(step).collect::<Vec<_>>(), "missing": life.gaps.iter().map(|(_, gap)| gap).collect::<Vec<_>>(),
            "searched": life.searched.iter().map(searched).collect::<Vec<_>>(),
        })
    );
}
