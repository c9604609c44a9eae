//! Renewals of a folder on record: `evidence/renewal-NNN.draft` says what is still to be reported,
//! `renewal-NNN.json` what the appliance recorded, `renewal-NNN.receipt` that it did.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;

use super::folder::{EVIDENCE, at, files, read_record};
use crate::commands::audit::trust::Pins;
use crate::commands::audit::{Fault, Verdict};
use crate::commands::client::http::Connection;
use crate::commands::client::settings;
use crate::commands::client::store::write_durably;
use crate::commands::verify::material::with_trust;
use crate::digest::Digest;
use crate::evidence::record::EvidenceRecord;
use crate::evidence::renewal::{Renewal, Statement};
use crate::journal::OwnJournal;
use crate::journal::export::ExportHeader;
use crate::journal::verify::verify_receipt;

const STEM: &str = "renewal-";
const DRAFT: &str = ".draft";
const STATEMENT: &str = ".json";
const RECEIPT: &str = ".receipt";

/// Arguments of `pechat evidence record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Configuration file of `pechat client`
    #[arg(long)]
    config: Option<PathBuf>,
    /// The folder
    dir: PathBuf,
}

/// Reports what is still to be reported.
pub fn run(args: &RecordArgs) -> Result<Verdict, String> {
    let reported = report_drafts(&args.dir, args.config.as_deref())?;
    println!("{reported} renewals were recorded in the appliance's own.events");
    Ok(Verdict::Passed)
}

/// What a renewal did, on disk before anybody is told.
pub fn draft(
    dir: &Path,
    names: &[String],
    before: &[EvidenceRecord],
    after: &[EvidenceRecord],
) -> Result<(), String> {
    let path = dir.join("journal.export");
    let file = File::open(&path).map_err(|e| at(&path, e))?;
    let (header, _) = ExportHeader::read(&mut BufReader::new(file)).map_err(|e| e.to_string())?;
    let renewal = Renewal::of(&header.origin, names, before, after)?;
    let number = numbered(dir, "")?.last().map_or(1, |(number, _)| number + 1);
    let text = serde_json::to_vec(&renewal).map_err(|e| e.to_string())?;
    write_durably(&place(dir, number, DRAFT), &text).map_err(|e| e.to_string())
}

/// How many drafts became statements with receipts.
pub fn report_drafts(dir: &Path, config: Option<&Path>) -> Result<usize, String> {
    let drafts = numbered(dir, DRAFT)?;
    if drafts.is_empty() {
        return Ok(0);
    }
    let settings = settings::load(config).map_err(|e| e.to_string())?;
    let api = Connection::open(&settings).map_err(|e| e.to_string())?;
    for (number, path) in &drafts {
        let text = fs::read(path).map_err(|e| at(path, e))?;
        let renewal: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        let answer: Recorded = api.post_json("/v1/renewals", &renewal).map_err(|e| e.to_string())?;
        for (suffix, text) in [(RECEIPT, &answer.receipt), (STATEMENT, &answer.statement)] {
            write_durably(&place(dir, *number, suffix), text.as_bytes()).map_err(|e| e.to_string())?;
        }
        fs::remove_file(path).map_err(|e| at(path, e))?;
    }
    Ok(drafts.len())
}

/// The answer of `/v1/renewals`.
#[derive(Deserialize)]
struct Recorded {
    statement: String,
    receipt: String,
}

/// What the statements say: each sealed, each beginning where the one before ended, the last one leaving the
/// records that are there. The lines to print. A statement that was not sealed is a fault; a renewal that is not on
/// record (an interruption, an older program) is only said, for the records prove themselves.
pub fn check(dir: &Path, pins: &Pins) -> Result<Vec<String>, Fault> {
    let io = |why: String| Fault::indeterminate(why);
    let mut earlier: Option<Renewal> = None;
    let (mut lines, statements) = (Vec::new(), numbered(dir, STATEMENT).map_err(io)?);
    for (number, path) in &statements {
        let name = format!("{EVIDENCE}/{STEM}{number:03}{STATEMENT}");
        let failed = |why: String| Fault::failed(why).of(&name);
        let text = fs::read(path).map_err(|e| io(at(path, e)))?;
        let statement = Statement::parse(&text).map_err(failed)?;
        let receipt = fs::read_to_string(place(dir, *number, RECEIPT));
        let receipt = receipt.map_err(|e| Fault::indeterminate(format!("has no receipt: {e}")).of(&name))?;
        sealed(&text, &receipt, pins).map_err(failed)?;
        if let Some(earlier) = &earlier {
            let torn = statement.renewal.continues(earlier).err();
            lines.extend(torn.map(|why| format!("GAP before {name}: a renewal is not on record: {why}")));
        }
        earlier = Some(statement.renewal);
    }
    if let Some(last) = &earlier {
        let drafts = !numbered(dir, DRAFT).map_err(io)?.is_empty();
        for renewed in last.records.iter().filter(|_| !drafts) {
            let record = read_record(dir, &renewed.file).map_err(Fault::failed)?;
            if !last.left(&renewed.file, &record) {
                lines.push(format!("GAP: the record of {} was renewed off the record since", renewed.file));
            }
        }
        let signed =
            if pins.head_key.is_some() { "" } else { " (NOT CHECKED: their signatures; give --head-key)" };
        lines.push(format!("{} renewals on record in own.events{signed}", statements.len()));
    }
    Ok(lines)
}

/// Whether the statement is an entry of `own.events`, by the keys there are.
fn sealed(statement: &[u8], receipt: &str, pins: &Pins) -> Result<(), String> {
    let facts = with_trust(&pins.roots, pins.head_key.as_deref(), |trust| verify_receipt(receipt, trust));
    let facts = facts.map_err(|e| format!("its receipt: {e}"))?;
    let events = format!("/j/{}", OwnJournal::Events.name());
    if !facts.proof.head.origin.ends_with(&events) || facts.entry.digest != Digest::of(statement) {
        return Err("its receipt is of something else".into());
    }
    Ok(())
}

fn place(dir: &Path, number: u32, suffix: &str) -> PathBuf {
    dir.join(EVIDENCE).join(format!("{STEM}{number:03}{suffix}"))
}

/// Files `renewal-NNN…` that end so, by number.
fn numbered(dir: &Path, suffix: &str) -> Result<Vec<(u32, PathBuf)>, String> {
    let number = |name: &String| {
        let rest = name.strip_prefix(STEM)?;
        let digits = rest.len().min(rest.find('.').unwrap_or(rest.len()));
        (rest[digits..].ends_with(suffix)).then(|| rest[..digits].parse().ok())?
    };
    let names = files(&dir.join(EVIDENCE))?;
    let mut found: Vec<(u32, PathBuf)> =
        names.iter().filter_map(|name| Some((number(name)?, dir.join(EVIDENCE).join(name)))).collect();
    found.sort();
    Ok(found)
}
