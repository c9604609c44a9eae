//! Hands the command line over to one of the commands.

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "pechat")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Signer(pechat::commands::signer::SignerArgs),
}

fn main() {
    let Command::Signer(args) = Cli::parse().command;
    if let Err(error) = pechat::commands::signer::run(args) {
        eprintln!("{error}");
        std::process::exit(error.exit_status());
    }
}
