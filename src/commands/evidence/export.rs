//! `pechat evidence export`: an audit folder with an evidence record for every file of it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use clap::Args;

use super::folder::{EVIDENCE, at, digest, files, write_record};
use super::stamp::{Authority, StampArgs};
use crate::commands::audit::{Verdict, export};
use crate::evidence::renew::begin;
use crate::timestamp::Hash;

/// Hash of new records: the strongest that every reader of RFC 4998 knows.
const HASH: Hash = Hash::Sha512;

/// Arguments of `pechat evidence export`.
#[derive(Debug, Args)]
pub struct EvidenceExportArgs {
    #[command(flatten)]
    audit: export::ExportArgs,
    #[command(flatten)]
    stamp: StampArgs,
}

/// Exports, then records; nothing is recorded that does not verify.
pub fn run(args: &EvidenceExportArgs) -> Result<Verdict, String> {
    let audit = &args.audit;
    if audit.is_set() {
        return Err("evidence records are made of one journal's folder at a time; name one --journal".into());
    }
    let authority = Authority::open(&args.stamp, audit.config.as_deref(), audit.public_url.as_deref())?;
    let verdict = export::run(audit)?;
    if verdict != Verdict::Passed {
        return Ok(verdict);
    }
    let dir = &audit.out;
    let names = files(dir)?;
    let digests = names.iter().map(|name| digest(HASH, &dir.join(name))).collect::<Result<Vec<_>, _>>()?;
    let records = begin(HASH, &digests, &mut |hash, imprint| authority.stamp(hash, imprint))?;
    let evidence = dir.join(EVIDENCE);
    DirBuilder::new().mode(0o700).create(&evidence).map_err(|e| at(&evidence, e))?;
    for (name, record) in names.iter().zip(&records) {
        write_record(dir, name, record)?;
    }
    println!("        {} evidence records in {}", records.len(), evidence.display());
    Ok(verdict)
}
