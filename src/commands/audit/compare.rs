//! `pechat audit compare`: two states of one journal.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::folder::EXPORT;
use super::trust::{Pins, TrustArgs};
use super::verify::export;
use super::{Verdict, each};
use crate::commands::verify::material::with_trust;
use crate::journal::compare::{Comparison, HeadConflict, Outcome, Side, compare};

/// Arguments of `pechat audit compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    #[command(flatten)]
    trust: TrustArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Folder of `audit export`, or journal export
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The other one
    #[arg(value_name = "B")]
    b: PathBuf,
}

/// Passed when both show one history; failed at the first difference; indeterminate when either is no export.
pub fn run(args: &CompareArgs) -> Result<Verdict, String> {
    let pins = args.trust.load()?;
    let paths = [export_of(&args.a), export_of(&args.b)];
    let open = |path: &PathBuf| {
        let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok::<_, String>(BufReader::with_capacity(1 << 16, file))
    };
    let (a, b) = (open(&paths[0])?, open(&paths[1])?);
    let found = with_trust(&pins.roots, pins.head_key.as_deref(), |trust| compare(a, b, trust));
    let found = found.map_err(|e| e.to_string())?;
    let alone = each(&paths, |path| export(path, &pins, |_, _| {}).err());
    let broken: Vec<_> = [(Side::A, &alone[0]), (Side::B, &alone[1])]
        .into_iter()
        .filter_map(|(side, fault)| {
            fault.as_ref().map(|f| format!("{side} does not hold by itself: {}", f.reason))
        })
        .collect();
    let agrees = found.agrees() && broken.is_empty();
    if args.json {
        print_json(&found, &broken, agrees)
    } else {
        print(args, &found, &broken, &pins, agrees)
    }
    Ok(if agrees { Verdict::Passed } else { Verdict::Failed })
}

/// The export of a folder, or the file itself.
pub fn export_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(EXPORT) } else { path.to_owned() }
}

fn print(args: &CompareArgs, found: &Comparison, broken: &[String], pins: &Pins, agrees: bool) {
    println!("A  {}: {} entries", args.a.display(), found.a.head.size);
    println!("B  {}: {} entries", args.b.display(), found.b.head.size);
    println!("{}  {}", if agrees { "SAME HISTORY" } else { "NOT THE SAME" }, sentence(found));
    found
        .conflicts
        .iter()
        .map(HeadConflict::to_string)
        .chain(broken.iter().cloned())
        .for_each(|l| println!("  {l}"));
    if found.a.signed && !found.agrees() && broken.is_empty() {
        println!("  Both are signed by the journal-head key: keep both files, together they prove the fork.");
    }
    if let Some(missing) = pins.missing() {
        println!("  NOT CHECKED: who made the heads; give {missing}");
    }
}

fn sentence(found: &Comparison) -> String {
    match &found.outcome {
        Outcome::Same => format!("both have the same {} entries", found.common),
        Outcome::Beginning(Side::A) => format!("B continues A after its {} entries", found.common),
        Outcome::Beginning(Side::B) => format!("A continues B after its {} entries", found.common),
        Outcome::Parted(at) => format!(
            "the first {} entries are the same; entry {} differs in {}: byte {} of A, byte {} of B",
            found.common,
            at.seq,
            at.fields.join(", "),
            at.offset_a,
            at.offset_b
        ),
    }
}

fn print_json(found: &Comparison, broken: &[String], agrees: bool) {
    let parting = match &found.outcome {
        Outcome::Parted(at) => Some(json!({
            "seq": at.seq, "offset_a": at.offset_a, "offset_b": at.offset_b, "fields": at.fields,
        })),
        _ => None,
    };
    let conflicts: Vec<_> = found.conflicts.iter().map(HeadConflict::to_string).collect();
    println!(
        "{}",
        json!({
            "same_history": agrees, "common": found.common, "first_difference": parting,
            "size_a": found.a.head.size, "size_b": found.b.head.size, "origin": found.a.head.origin,
            "head_conflicts": conflicts, "broken": broken,
            "signatures_checked": found.a.signed, "tokens_checked": found.a.stamped.is_some(),
        })
    );
}
