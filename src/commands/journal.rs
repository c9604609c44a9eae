//! `pechat journal resurrect`: lost entries return from the registries' receipts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::{evidence, plan::Plan, runs};
use super::heads;
use super::layout;
use super::second_key::{self, SecondKeyArgs};
use crate::config::Config;
use crate::journal::evidence::Evidence;
use crate::journal::known::Known;
use crate::journal::restore::Restore;
use crate::journal::resurrect::Outcome;
use crate::journal::verify::Trust;
use crate::keys::{KeyPurpose, PinnedKeys};
use crate::witness::HeadSource;

/// Longest file read as evidence, bytes: an export of some 14 million entries.
const MAX_FILE: u64 = 2 << 30;

/// Arguments of `pechat journal`.
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Put lost entries back from receipts, exports and audit folders.
    ///
    /// Works on the data directory of a stopped appliance. Only receipts that verify with its journal-head
    /// key are used, and an entry returns only to its own place in its journal's chain. Ends with 0 when the
    /// last signed head is reached again, with 2 when something is still missing.
    #[command(
        after_help = "Example:\n  pechat journal resurrect --config /etc/pechat/pechat.toml --dry-run receipts/"
    )]
    Resurrect(ResurrectArgs),
    /// Make an Ed25519 key in the HSM token for a second signature under published checkpoints.
    ///
    /// Works while the service is stopped; prints the verifier key. HSM tokens without Ed25519 are told so.
    #[command(after_help = "Example:\n  pechat journal second-key --config /etc/pechat/pechat.toml")]
    SecondKey(SecondKeyArgs),
}

/// Arguments of `pechat journal resurrect`.
#[derive(Debug, Args)]
pub struct ResurrectArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
    /// Say what would return and what is missing; change nothing.
    #[arg(long)]
    dry_run: bool,
    /// A copy of the head file, besides those of the configuration; may be given several times.
    #[arg(long, value_name = "FILE")]
    head: Vec<PathBuf>,
    /// An institution whose journal's charter may have to be written again; may be given several times.
    #[arg(long, value_name = "ID")]
    institution: Vec<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Folders with receipts, API answers, exports, audit folders, folders of `pechat client seal`.
    #[arg(required = true, value_name = "RECEIPTS")]
    receipts: Vec<PathBuf>,
}

/// Runs the command.
pub fn run(args: JournalArgs) -> ExitCode {
    let args = match args.command {
        JournalCommand::Resurrect(args) => args,
        JournalCommand::SecondKey(args) => {
            let made = second_key::run(&args).inspect_err(|error| eprintln!("pechat: {error}"));
            return made.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    match resurrect(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("pechat: {error}");
            ExitCode::FAILURE
        }
    }
}

fn resurrect(args: &ResurrectArgs) -> Result<bool, String> {
    let config = Config::load(&args.config).map_err(|e| e.to_string())?;
    layout::must_be_initialised(&config).map_err(|e| e.to_string())?;
    let _held = layout::lock(&config).map_err(|e| e.to_string())?;
    let spki = head_key(&config)?;
    let trust = Trust { head_key_spki: Some(&spki), token: None };
    let mut gathered = Gathered::default();
    for path in &args.receipts {
        gathered.walk(path, &trust)?;
    }
    let mut known = Known::default();
    let named = args.head.iter().cloned().map(HeadSource::File);
    for source in heads::all(&config).into_iter().chain(named) {
        source.read(&mut known, &config.site, &spki);
    }
    for note in known.heads.iter().filter_map(|head| head.note.as_ref()) {
        gathered.evidence.seal(note)?;
    }
    let restore = Restore {
        dir: &config.data("journal"),
        site: &config.site,
        segment_bytes: config.journal.segment_bytes,
        institutions: &args.institution,
    };
    let evidence = &mut gathered.evidence;
    let outcome = if args.dry_run { restore.dry_run(evidence) } else { restore.run(evidence) };
    let outcome = outcome.map_err(|e| e.to_string())?;
    print(&outcome, &gathered, args);
    Ok(outcome.reached)
}

fn head_key(config: &Config) -> Result<Vec<u8>, String> {
    let pinned = PinnedKeys::load(&layout::keys(config)).map_err(|e| e.to_string())?;
    let key = pinned.keys.iter().find(|key| key.purpose == KeyPurpose::JournalHead);
    let key = key.ok_or("keys.json pins no journal-head key")?;
    Ok(key.public_key().map_err(|e| e.to_string())?.spki().to_vec())
}

/// What the folders held.
#[derive(Default)]
struct Gathered {
    evidence: Evidence,
    files: usize,
    entries: usize,
    /// Files that look like evidence but do not verify.
    refused: Vec<String>,
}

impl Gathered {
    fn walk(&mut self, path: &Path, trust: &Trust<'_>) -> Result<(), String> {
        let at = |e: std::io::Error| format!("{}: {e}", path.display());
        let meta = fs::symlink_metadata(path).map_err(at)?;
        if meta.is_dir() {
            if path.join("plan").is_file() && path.join("receipts.jsonl").is_file() {
                self.client_folder(path, trust);
                return Ok(());
            }
            let items = fs::read_dir(path).map_err(at)?.map(|item| item.map(|item| item.path()));
            let mut items = items.collect::<Result<Vec<_>, _>>().map_err(at)?;
            items.sort();
            return items.iter().try_for_each(|item| self.walk(item, trust));
        }
        if !meta.is_file() || meta.len() > MAX_FILE {
            return Ok(());
        }
        let bytes = fs::read(path).map_err(at)?;
        let added = self.evidence.add(&bytes, trust);
        self.note(path, added);
        Ok(())
    }

    fn note(&mut self, path: &Path, added: Result<usize, String>) {
        match added {
            Ok(0) => {}
            Ok(count) => {
                self.files += 1;
                self.entries += count;
            }
            Err(why) => self.refused.push(format!("{}: {why}", path.display())),
        }
    }

    /// The folder `FILE.pechat` that `pechat client seal` keeps: the plan has ids and digests, the runs the rest.
    fn client_folder(&mut self, path: &Path, trust: &Trust<'_>) {
        let added = self.client_runs(path, trust);
        self.note(path, added);
    }

    fn client_runs(&mut self, path: &Path, trust: &Trust<'_>) -> Result<usize, String> {
        let plan = fs::read_to_string(path.join("plan")).map_err(|e| e.to_string())?;
        let plan = Plan::parse(&plan).map_err(|e| e.to_string())?;
        let stored = fs::read(path.join("receipts.jsonl")).map_err(|e| e.to_string())?;
        let (stored, _) = runs::parse(&stored).map_err(|e| e.to_string())?;
        let mut count = 0;
        for run in &stored {
            let lines = run.indexes(plan.records.len()).ok_or("a receipt is of no line of the plan")?;
            let receipt = evidence::receipt(run, &lines, &plan)?;
            count += self.evidence.range(&receipt, trust)?;
        }
        Ok(count)
    }
}

fn print(outcome: &Outcome, gathered: &Gathered, args: &ResurrectArgs) {
    let Gathered { files, entries, refused, .. } = gathered;
    if args.json {
        let all = json!({
            "dry_run": args.dry_run, "files": files, "entries": entries, "refused": refused, "outcome": outcome,
        });
        println!("{all}");
        return;
    }
    println!("{entries} entries in {files} files verify with the journal-head key");
    refused.iter().for_each(|file| println!("not used: {file}"));
    let verb = if args.dry_run { "would return" } else { "returned" };
    outcome.restored.iter().for_each(|(origin, count)| println!("{origin}: {count} entries {verb}"));
    for missing in &outcome.missing {
        println!("MISSING {}: sequence {} to {}", missing.origin, missing.from, missing.until - 1);
    }
    if outcome.reached {
        println!("the last signed head is reached: {} leaves; start the appliance", outcome.root_size);
    } else {
        let why = outcome.stopped.as_deref().unwrap_or("the receipts end before it");
        println!("the last signed head is NOT reached: {why}");
        println!("hand in more receipts, or start the appliance and have two officers record the gap");
    }
}
