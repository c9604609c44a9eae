//! The command line: one subcommand a file in `commands/`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands;

/// Signing and timestamp appliance: identities, RFC 3161 timestamps and journal seals from an HSM.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the appliance: mTLS API, timestamps, journals, certificates.
    Serve(commands::serve::ServeArgs),
    /// Run the process that owns the HSM token (started by serve or systemd).
    Signer(commands::signer::SignerArgs),
    /// Look at an HSM before anything is configured: slots, mechanisms, limits, a throw-away key.
    Hsm(commands::hsm::HsmArgs),
    /// Make keys in the HSM, certificates and the data directory; once.
    Init(commands::init::InitArgs),
    /// Check a configuration file and list every fault.
    CheckConfig(commands::check_config::CheckConfigArgs),
    /// Verify receipts, journal exports and tokens with files and public keys alone.
    Verify(commands::verify::VerifyArgs),
    /// Take journals away, verify, compare and reconcile them from an auditor's side.
    Audit(commands::audit::AuditArgs),
    /// Keep exports provable for decades: RFC 4998 evidence records, their renewal and their check.
    Evidence(commands::evidence::EvidenceArgs),
    /// Restore a lost tail of the journals from receipts, on a stopped appliance.
    Journal(commands::journal::JournalArgs),
    /// Stamp files and seal records from a register's side.
    Client(commands::client::ClientArgs),
    /// Cosign checkpoints of logs that only ever grow: a C2SP witness that anyone can run.
    Witness(commands::witness::WitnessArgs),
    /// Probe any time-stamping authority with the numbered checklist of RFC 3161 and EN 319 422.
    Conformance(commands::conformance::ConformanceArgs),
    /// Say in one screen how a running appliance is.
    Status(commands::status::StatusArgs),
    /// Measure what an appliance depends on and say what to do about each fault.
    Doctor(commands::doctor::DoctorArgs),
    /// Show everything on a throw-away appliance on this machine.
    Demo(commands::demo::DemoArgs),
}

/// Reads the command line and runs the command.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => finish(commands::serve::run(args)),
        Command::Signer(args) => finish(commands::signer::run(args)),
        Command::Hsm(args) => finish(commands::hsm::run(args)),
        Command::Init(args) => finish(commands::init::run(args)),
        Command::CheckConfig(args) => finish(commands::check_config::run(args)),
        Command::Verify(args) => commands::verify::run(args),
        Command::Audit(args) => commands::audit::run(args),
        Command::Evidence(args) => commands::evidence::run(args),
        Command::Journal(args) => commands::journal::run(args),
        Command::Client(args) => commands::client::run(args),
        Command::Witness(args) => finish(commands::witness::run(args)),
        Command::Conformance(args) => commands::conformance::run(args),
        Command::Status(args) => commands::status::run(args),
        Command::Doctor(args) => commands::doctor::run(args),
        Command::Demo(args) => commands::demo::run(args),
    }
}

fn finish<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pechat: {error}");
            ExitCode::FAILURE
        }
    }
}
