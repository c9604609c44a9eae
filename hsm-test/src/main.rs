//! Makes HSM tokens for development, tries whether an HSM keeps the promises that pechat relies on, and measures
//! how fast it signs.

mod bench;
mod checks;
mod scratch;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "hsm-test", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a SoftHSM token for development
    Token(token::TokenArgs),
    /// Try a token: each promise in a process of its own, since a module may crash or hang
    Check(checks::CheckArgs),
    /// Measure signatures a second
    Bench(bench::BenchArgs),
    /// One promise, in this process
    #[command(hide = true)]
    One(checks::OneArgs),
}

/// Which HSM token, and its PIN.
#[derive(Debug, Clone, Args)]
struct Target {
    /// PKCS#11 module (shared library)
    #[arg(long, value_name = "PATH")]
    module: PathBuf,
    /// Label of the HSM token
    #[arg(long, value_name = "LABEL")]
    token: String,
    /// File with the user PIN, mode 600
    #[arg(long, value_name = "PATH")]
    pin_file: PathBuf,
}

/// What went wrong, in words for the person at the terminal.
type Failed = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Token(args) => token::run(&args).map(|()| true),
        Command::Check(args) => checks::run(&args),
        Command::Bench(args) => bench::run(&args).map(|()| true),
        Command::One(args) => checks::run_one(&args).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hsm-test: {error}");
            ExitCode::FAILURE
        }
    }
}
