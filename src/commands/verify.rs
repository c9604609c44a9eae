//! `pechat verify`: what an auditor runs, with nothing but the files and the public keys.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::clock::UtcMicros;
use crate::digest::hex;
use crate::journal::checkpoint::open_note;
use crate::journal::entry::Entry;
use crate::journal::export::EXPORT_LABEL;
use crate::journal::receipt::{MAX_RANGE_JSON, parse_ranges};
use crate::journal::verify::{
    HeadFacts, TokenTime, Trust, verify_checkpoint, verify_export, verify_range, verify_receipt,
};
use crate::timestamp::read::token_info;
use crate::timestamp::verify::{TokenFacts, verify_token};

pub(super) mod cosigned;
pub(super) mod material;

use cosigned::Cosigned;
use material::{Expected, Material};

/// Longest file that is read into memory; exports are streamed and may be of any length.
const MAX_FILE: u64 = 8 * MAX_RANGE_JSON as u64;

/// Arguments of `pechat verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Trusted root certificates (PEM); without them no token is checked. May be repeated.
    #[arg(long, value_name = "ROOT.PEM")]
    ca: Vec<PathBuf>,
    /// The journal-head public key (PEM); without it no checkpoint signature is checked.
    #[arg(long, value_name = "KEY.PEM")]
    head_key: Option<PathBuf>,
    /// Verifier key of a witness whose cosignature is looked for. May be repeated.
    #[arg(long, value_name = "VKEY")]
    witness: Vec<String>,
    /// Fail when fewer than this many of the witnesses cosigned the checkpoint.
    #[arg(long, value_name = "K", default_value_t = 0, requires = "witness")]
    cosigned: usize,
    /// The data that was stamped, for tokens and replies.
    #[arg(long, value_name = "FILE", conflicts_with = "digest")]
    data: Option<PathBuf>,
    /// The digest that was stamped or sealed, hex.
    #[arg(long, value_name = "HEX")]
    digest: Option<String>,
    /// The record that was sealed, for receipts; its digest is SHA-256 of salt and record.
    #[arg(long, value_name = "FILE", requires = "salt", conflicts_with_all = ["digest", "data"])]
    record: Option<PathBuf>,
    /// The record's salt, hex.
    #[arg(long, value_name = "HEX", requires = "record")]
    salt: Option<String>,
    /// Print one JSON object a file.
    #[arg(long)]
    json: bool,
    /// Receipts (text or JSON), checkpoints, journal exports, tokens or replies; told apart by what is in them.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What a file proves: a sentence a line, and the same for machines.
struct Proof {
    kind: &'static str,
    lines: Vec<String>,
    facts: Value,
}

/// Exit 0 when every file holds, 1 when one does not, 2 when the command line cannot be used.
pub fn run(args: VerifyArgs) -> ExitCode {
    let material = match Material::load(&args) {
        Ok(material) => material,
        Err(error) => {
            eprintln!("pechat verify: {error}");
            return ExitCode::from(2);
        }
    };
    let mut all_hold = true;
    for file in &args.files {
        let outcome = verify_file(file, &material);
        all_hold &= outcome.is_ok();
        report(file, outcome, args.json);
    }
    if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(file: &Path, outcome: Result<Proof, String>, as_json: bool) {
    let name = file.display().to_string();
    match outcome {
        Ok(p) if as_json => {
            println!("{}", json!({ "file": name, "passed": true, "kind": p.kind, "facts": p.facts }))
        }
        Err(reason) if as_json => println!("{}", json!({ "file": name, "passed": false, "reason": reason })),
        Ok(p) => {
            println!("PASSED  {name}: {}", p.kind);
            p.lines.iter().for_each(|line| println!("        {line}"));
        }
        Err(reason) => println!("FAILED  {name}: {reason}"),
    }
}

fn verify_file(path: &Path, material: &Material) -> Result<Proof, String> {
    let file = File::open(path).map_err(|e| format!("cannot be opened: {e}"))?;
    let mut input = BufReader::with_capacity(1 << 16, file);
    let mut start = Vec::new();
    let label = EXPORT_LABEL.len() as u64 - 4; // without the version, so that a newer one is named
    input.by_ref().take(label).read_to_end(&mut start).map_err(|e| format!("cannot be read: {e}"))?;
    if EXPORT_LABEL.as_bytes().starts_with(&start) && start.len() as u64 == label {
        return with_trust(material, |trust| export(start.as_slice().chain(input), material, trust));
    }
    input.take(MAX_FILE).read_to_end(&mut start).map_err(|e| format!("cannot be read: {e}"))?;
    verify_bytes(&start, material)
}

fn verify_bytes(bytes: &[u8], material: &Material) -> Result<Proof, String> {
    match bytes {
        [b'{' | b'[', ..] => with_trust(material, |trust| ranges(bytes, material, trust)),
        [0x30, ..] => token(bytes, material),
        [b'c', b'2', ..] => with_trust(material, |trust| single(bytes, material, trust)),
        [first, ..] if first.is_ascii_alphabetic() => {
            with_trust(material, |trust| checkpoint(bytes, material, trust))
        }
        _ => Err("is neither a receipt, a checkpoint, an export, a time-stamp token nor a reply".into()),
    }
}

fn with_trust(
    material: &Material,
    check: impl FnOnce(&Trust) -> Result<Proof, String>,
) -> Result<Proof, String> {
    material::with_trust(&material.roots, material.head_key.as_deref(), check)
}

fn single(bytes: &[u8], material: &Material, trust: &Trust) -> Result<Proof, String> {
    let text = str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let facts = verify_receipt(text, trust).map_err(|e| e.to_string())?;
    let entry = facts.entry;
    material.expected.among(&[entry])?;
    let mut lines = vec![
        format!("entry {} of {}, digest {}", entry.seq, facts.proof.head.origin, entry.digest),
        format!("sealed at {} ± {} µs", time(entry.time), entry.bound),
    ];
    let cosigned = cosigned_of(&facts.proof, material)?;
    lines.extend(head_lines(&facts.proof, material, &cosigned));
    let facts = json!({ "entry": entry_json(&entry), "head": head_json(&facts.proof, &cosigned) });
    Ok(Proof { kind: "receipt", lines, facts })
}

/// A root checkpoint alone.
fn checkpoint(bytes: &[u8], material: &Material, trust: &Trust) -> Result<Proof, String> {
    let text = str::from_utf8(bytes).map_err(|_| "is not UTF-8 text")?;
    let (checkpoint, token) = verify_checkpoint(text, trust).map_err(|e| e.to_string())?;
    let note = open_note(text).map_err(|e| e.to_string())?;
    let cosigned = material.witnesses.of(&note.body, &note.signatures)?;
    let (size, root) = (checkpoint.size, hex(checkpoint.root.as_bytes()));
    let mut lines = vec![format!("root log {} of {size} leaves, {root}", checkpoint.origin)];
    lines.extend(note_lines(token.as_ref(), material));
    lines.extend(cosigned.lines());
    let facts = json!({
        "root_log": checkpoint.origin, "root_size": size, "root": checkpoint.root,
        "signature_checked": trust.head_key_spki.is_some(), "token": token_json(token),
        "cosigned": cosigned.json(),
    });
    Ok(Proof { kind: "root checkpoint", lines, facts })
}

fn ranges(bytes: &[u8], material: &Material, trust: &Trust) -> Result<Proof, String> {
    let mut entries = Vec::new();
    let (mut lines, mut runs) = (Vec::new(), Vec::new());
    for receipt in parse_ranges(bytes).map_err(|e| e.to_string())? {
        let facts = verify_range(&receipt, trust).map_err(|e| e.to_string())?;
        let (first, count) = (receipt.first, facts.entries.len());
        let origin = &facts.proof.head.origin;
        lines.push(format!("{count} entries from {first} of {origin}"));
        let cosigned = cosigned_of(&facts.proof, material)?;
        lines.extend(head_lines(&facts.proof, material, &cosigned));
        runs.push(json!({ "first": first, "count": count, "head": head_json(&facts.proof, &cosigned) }));
        entries.extend(facts.entries);
    }
    material.expected.among(&entries)?;
    Ok(Proof { kind: "range receipt", lines, facts: json!({ "ranges": runs }) })
}

fn export(input: impl Read, material: &Material, trust: &Trust) -> Result<Proof, String> {
    if !matches!(material.expected, Expected::Nothing) {
        return Err("is an export; --record, --digest and --data go with receipts and tokens".into());
    }
    let facts = verify_export(input, trust).map_err(|e| e.to_string())?;
    let cosigned = cosigned_of(&facts.proof, material)?;
    let owner = facts.charter.institution.as_deref().unwrap_or("the appliance itself");
    let mut lines = vec![
        format!("journal {} of {owner}, opened {}", facts.charter.origin, facts.charter.opened),
        format!("{} entries from {} to {}", facts.count, time(facts.first_time), time(facts.last_time)),
    ];
    lines.extend(head_lines(&facts.proof, material, &cosigned));
    let facts = json!({
        "origin": facts.charter.origin, "institution": facts.charter.institution, "count": facts.count,
        "first_time": facts.first_time, "last_time": facts.last_time,
        "head": head_json(&facts.proof, &cosigned),
    });
    Ok(Proof { kind: "journal export", lines, facts })
}

fn token(bytes: &[u8], material: &Material) -> Result<Proof, String> {
    if material.roots.is_empty() {
        return Err("is a time-stamp token; --ca is needed to check it".into());
    }
    let token = material::token_of(bytes)?;
    let info = token_info(&token).map_err(|e| e.to_string())?;
    let imprint = material.expected.imprint(info.hash)?;
    let TokenFacts { gen_time_us, accuracy_us, serial, policy, tsu_subject, .. } =
        verify_token(&token, info.hash, &imprint, &material.roots, None).map_err(|e| e.to_string())?;
    let when = stamped(&TokenTime { gen_time_us, accuracy_us });
    let lines = vec![
        format!("{} {} existed at {when}", info.hash.name(), hex(&imprint)),
        format!("serial {serial}, policy {policy}, by {tsu_subject}"),
    ];
    let facts = json!({
        "hash": info.hash.name(), "imprint": hex(&imprint), "gen_time_us": gen_time_us,
        "accuracy_us": accuracy_us, "serial": serial, "policy": policy, "tsu": tsu_subject,
    });
    Ok(Proof { kind: "time-stamp token", lines, facts })
}

fn cosigned_of(proof: &HeadFacts, material: &Material) -> Result<Cosigned, String> {
    material.witnesses.of(&proof.checkpoint.body(), &proof.lines)
}

fn head_lines(proof: &HeadFacts, material: &Material, cosigned: &Cosigned) -> Vec<String> {
    let size = proof.head.size;
    let mut lines =
        vec![format!("in the journal's head of {size} entries, {}", hex(proof.head.root.as_bytes()))];
    lines.extend(note_lines(proof.stamped.as_ref(), material));
    lines.extend(cosigned.lines());
    lines
}

fn note_lines(token: Option<&TokenTime>, material: &Material) -> Vec<String> {
    let mut lines = Vec::new();
    lines.push(match token {
        Some(token) => format!("its checkpoint was stamped at {}", stamped(token)),
        None => "NOT CHECKED: the checkpoint's token (needs --ca)".into(),
    });
    if material.head_key.is_none() {
        lines.push("NOT CHECKED: the checkpoint's signature (needs --head-key)".into());
    }
    lines
}

fn token_json(token: Option<TokenTime>) -> Value {
    json!(token.map(|t| json!({ "gen_time_us": t.gen_time_us, "accuracy_us": t.accuracy_us })))
}

fn head_json(proof: &HeadFacts, cosigned: &Cosigned) -> Value {
    json!({
        "origin": proof.head.origin, "size": proof.head.size, "root": proof.head.root,
        "root_log": proof.checkpoint.origin, "root_size": proof.checkpoint.size,
        "signature_checked": proof.signed,
        "token": token_json(proof.stamped), "cosigned": cosigned.json(),
    })
}

fn entry_json(entry: &Entry) -> Value {
    json!({
        "seq": entry.seq, "time": entry.time, "bound": entry.bound, "kind": entry.kind,
        "request_id": hex(&entry.request_id.0), "digest": entry.digest,
    })
}

fn time(micros: i64) -> String {
    UtcMicros(micros).iso8601()
}

fn stamped(token: &TokenTime) -> String {
    let accuracy = token.accuracy_us.map_or("unstated accuracy".into(), |us| format!("± {us} µs"));
    format!("{} ({accuracy})", time(token.gen_time_us))
}
