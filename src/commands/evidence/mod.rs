//! `pechat evidence`: RFC 4998 evidence records over the files of an audit folder, renewed before keys,
//! certificates and hashes age.

mod export;
mod folder;
mod renew;
mod renewals;
mod stamp;
mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::audit::Verdict;

/// Arguments of `pechat evidence`.
#[derive(Debug, Args)]
pub struct EvidenceArgs {
    #[command(subcommand)]
    command: EvidenceCommand,
}

#[derive(Debug, Subcommand)]
enum EvidenceCommand {
    /// Download a journal as `audit export` does and make an evidence record for every file of it
    #[command(after_help = "Example: pechat evidence export --journal land-register --out land-2026-11")]
    Export(export::EvidenceExportArgs),
    /// Cover the records of a folder with a new time-stamp, or with a new hash and a new time-stamp
    #[command(
        after_help = "Examples: pechat evidence renew land-2026-11\n          pechat evidence renew --hash sha3-512 land-2026-11"
    )]
    Renew(renew::RenewArgs),
    /// Report renewals that the appliance could not record when they were made
    #[command(after_help = "Example: pechat evidence record land-2026-11")]
    Record(renewals::RecordArgs),
    /// Verify files against their records at any time: PASSED, FAILED or INDETERMINATE
    #[command(after_help = "Example: pechat evidence verify --ca root.pem --at 2040-01-01 land-2026-11")]
    Verify(verify::VerifyArgs),
}

/// Exit 0 when it holds, 1 when it does not, 2 when that cannot be said.
pub fn run(args: EvidenceArgs) -> ExitCode {
    let done = match args.command {
        EvidenceCommand::Export(args) => export::run(&args),
        EvidenceCommand::Renew(args) => renew::run(&args),
        EvidenceCommand::Record(args) => renewals::run(&args),
        EvidenceCommand::Verify(args) => verify::run(&args),
    };
    done.map(Verdict::exit).unwrap_or_else(|error| {
        eprintln!("pechat evidence: {error}");
        Verdict::Indeterminate.exit()
    })
}
