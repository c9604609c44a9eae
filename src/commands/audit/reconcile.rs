//! `pechat audit reconcile`: is everything sealed that the register lists, and listed that was sealed?

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::Verdict;
use super::compare::export_of;
use super::trust::TrustArgs;
use super::verify::export;
use crate::digest::hex;
use crate::journal::reconcile::{Finding, Reconciler};

/// Arguments of `pechat audit reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Print one JSON object a finding, and one at the end
    #[arg(long)]
    json: bool,
    /// Folder of `audit export`, or journal export
    #[arg(value_name = "EXPORT")]
    export: PathBuf,
    /// The register's own list: a JSON object a line, with request_id and digest
    #[arg(value_name = "LIST.jsonl")]
    list: PathBuf,
}

/// Passed when both sides know the same; every difference is named. An export that does not hold fails.
pub fn run(args: &ReconcileArgs) -> Result<Verdict, String> {
    let pins = args.trust.load()?;
    let list = File::open(&args.list).map_err(|e| format!("{}: {e}", args.list.display()))?;
    let list = Reconciler::of_list(BufReader::with_capacity(1 << 16, list));
    let mut both = list.map_err(|e| format!("{}: {e}", args.list.display()))?;
    let listed = both.listed();
    let path = export_of(&args.export);
    let facts = match export(&path, &pins, |entry, offset| both.entry(entry, offset)) {
        Ok(facts) => facts,
        Err(fault) => {
            println!("{}  {}: {}", fault.verdict.word(), path.display(), fault.reason);
            return Ok(fault.verdict);
        }
    };
    let outcome = both.finish();
    let complete = outcome.findings.is_empty();
    let (agreed, differ) = (outcome.agreed, outcome.findings.len());
    let sealed = facts.count - u64::from(facts.first == 0);
    if args.json {
        outcome.findings.iter().for_each(|finding| println!("{}", finding_json(finding)));
        println!(
            "{}",
            json!({
                "complete": complete, "agreed": agreed, "findings": differ, "listed": listed, "sealed": sealed,
                "origin": facts.charter.origin, "trust_missing": pins.missing(),
            })
        );
    } else {
        outcome.findings.iter().for_each(|finding| println!("  {finding}"));
        let word = if complete { "COMPLETE" } else { "INCOMPLETE" };
        println!(
            "{word}  {}: {listed} listed, {sealed} sealed, {agreed} agree, {differ} differ",
            facts.charter.origin
        );
        if let Some(missing) = pins.missing() {
            println!("  NOT CHECKED: who made the export; give {missing}");
        }
    }
    Ok(if complete { Verdict::Passed } else { Verdict::Failed })
}

fn finding_json(finding: &Finding) -> Value {
    let id = |id: &crate::journal::RequestId| hex(&id.0);
    match finding {
        Finding::NotSealed { line, id: i, digest } => {
            json!({ "finding": "not-sealed", "line": line, "request_id": id(i), "digest": digest })
        }
        Finding::NotListed { seq, offset, id: i, digest } => {
            json!({ "finding": "not-listed", "seq": seq, "offset": offset, "request_id": id(i), "digest": digest })
        }
        Finding::OtherDigest { line, seq, offset, id: i, listed, sealed } => json!({
            "finding": "other-digest", "line": line, "seq": seq, "offset": offset, "request_id": id(i),
            "listed": listed, "sealed": sealed,
        }),
        Finding::ListedTwice { first, line, id: i } => {
            json!({ "finding": "listed-twice", "first": first, "line": line, "request_id": id(i) })
        }
        Finding::SealedTwice { first, seq, offset, id: i } => json!({
            "finding": "sealed-twice", "first": first, "seq": seq, "offset": offset, "request_id": id(i),
        }),
    }
}
