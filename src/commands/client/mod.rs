//! `pechat client`: a register's side. Stamps files, seals records line by line, verifies both.

pub mod evidence;
pub mod http;
pub mod identifier;
pub mod init;
pub mod order;
pub mod plan;
pub mod retry;
pub mod runs;
pub mod seal;
pub mod settings;
pub mod stamp;
pub mod store;
pub mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};

/// Arguments of `pechat client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// Configuration file [default: $XDG_CONFIG_HOME/pechat/client.toml]; PECHAT_URL, PECHAT_CA,
    /// PECHAT_CERT and PECHAT_KEY win over it
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Make a key, a certificate request and the configuration file
    Init(init::InitArgs),
    /// Get an RFC 3161 timestamp for a file
    Stamp(stamp::StampArgs),
    /// Seal every line of a JSON Lines file in a journal; goes on where it was interrupted
    Seal(seal::SealArgs),
    /// Get unique register numbers (Annex 3), one a line
    #[command(after_help = "Example: pechat client identifier --count 10")]
    Identifier(identifier::IdentifierArgs),
    /// Agree, as an officer, to freeze a journal: nothing can be sealed in it afterwards
    #[command(
        after_help = "Example: pechat client freeze --journal land --description 'Order 17 of 2026-11-24'"
    )]
    Freeze(order::FreezeArgs),
    /// Agree, as an officer, to hand a journal over to another institution
    #[command(
        after_help = "Example: pechat client hand-over --journal land --to ministry --description 'Order 18 of 2026-11-24'"
    )]
    HandOver(order::HandOverArgs),
    /// Check a sealed or stamped file against plan, receipts and keys; needs no connection
    Verify(verify::VerifyArgs),
}

/// Why a client command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No usable settings.
    #[error(transparent)]
    Settings(#[from] settings::SettingsError),
    /// The appliance gave nothing usable.
    #[error(transparent)]
    Request(#[from] http::RequestError),
    /// The appliance did not answer for long enough.
    #[error("gave up after {seconds} s; nothing is lost, run the same command again later\n  last: {last}")]
    GaveUp {
        /// The `--timeout`.
        seconds: u64,
        /// What the last attempt met.
        last: http::RequestError,
    },
    /// Plan and file do not fit.
    #[error(transparent)]
    Plan(#[from] plan::PlanError),
    /// Receipts and plan do not fit.
    #[error(transparent)]
    Runs(#[from] runs::RunError),
    /// A receipt proves nothing, or something else.
    #[error(transparent)]
    Evidence(#[from] evidence::EvidenceError),
    /// No timestamp.
    #[error(transparent)]
    Reply(#[from] stamp::ReplyError),
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// Two commands work on the same file.
    #[error("{0} is in use by another `pechat client seal`")]
    InUse(String),
    /// Lines that were never sealed.
    #[error(
        "{missing} of {records} records have no receipt, the first on line {line}; run `pechat client seal` again"
    )]
    Unsealed {
        /// First line without receipt.
        line: usize,
        /// How many.
        missing: usize,
        /// Lines in all.
        records: usize,
    },
    /// There is neither plan nor reply beside the file.
    #[error("{0} was neither sealed nor stamped: there is no FILE.pechat and no FILE.tsr beside it")]
    NothingBeside(String),
    /// The system's random generator failed.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// A key or request could not be made.
    #[error("cannot make key and request: {0}")]
    KeyMaking(String),
    /// A question was asked where nobody can answer.
    #[error("{0} is not given, and there is no terminal to ask at")]
    NobodyToAsk(&'static str),
}

impl ClientError {
    /// Whether the evidence itself is at fault (exit status 1) and not the attempt (exit status 2).
    fn is_mismatch(&self) -> bool {
        use plan::PlanError as P;
        use stamp::ReplyError as R;
        match self {
            Self::Reply(R::Rejected(_) | R::BadPolicy(_)) => false,
            Self::Plan(P::EmptyLine(_) | P::Empty | P::OtherJournal { .. }) => false,
            Self::Evidence(evidence::EvidenceError::Key { .. }) => false,
            Self::Plan(_) | Self::Runs(_) | Self::Evidence(_) | Self::Reply(_) | Self::Unsealed { .. } => {
                true
            }
            _ => false,
        }
    }
}

/// Runs the command. Exit status: 0 done, 1 the evidence does not hold, 2 it could not be done.
pub fn run(args: ClientArgs) -> ExitCode {
    match execute(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pechat client: {error}");
            ExitCode::from(if error.is_mismatch() { 1 } else { 2 })
        }
    }
}

fn execute(args: &ClientArgs) -> Result<(), ClientError> {
    let config = args.config.as_deref();
    let begun = Instant::now();
    match &args.command {
        ClientCommand::Init(a) => init::init(a, config).map(|made| print!("{made}")),
        ClientCommand::Stamp(a) => {
            let settings = settings::load(config)?;
            let (stamped, out) = stamp::stamp(a, &settings)?;
            println!("{} stamped at {}, accuracy {}", a.file.display(), stamped.time, stamped.accuracy);
            println!("serial {}, reply in {}", stamped.serial, out.display());
            println!("check it without us:\n  {}", openssl_line(&a.file, &out, &settings.ca));
            Ok(())
        }
        ClientCommand::Seal(a) => {
            let sealed = seal::seal(a, &settings::load(config)?)?;
            println!(
                "{}: {} records, {} sealed now, {} sealed before, {} requests repeated, {:.1} s",
                a.file.display(),
                sealed.records,
                sealed.now,
                sealed.records - sealed.now,
                sealed.again,
                begun.elapsed().as_secs_f64()
            );
            Ok(())
        }
        ClientCommand::Identifier(a) => {
            let numbers = identifier::identifier(a, &settings::load(config)?)?;
            numbers.iter().for_each(|number| println!("{number}"));
            Ok(())
        }
        ClientCommand::Freeze(a) => order::freeze(a, &settings::load(config)?).map(|said| println!("{said}")),
        ClientCommand::HandOver(a) => {
            order::hand_over(a, &settings::load(config)?).map(|said| println!("{said}"))
        }
        ClientCommand::Verify(a) => {
            verify::verify(a, settings::offline(config)?).map(|said| println!("{said}"))
        }
    }
}

/// What anyone with openssl types to check a reply.
pub fn openssl_line(file: &Path, reply: &Path, ca: &Path) -> String {
    format!("openssl ts -verify -data {} -in {} -CAfile {}", file.display(), reply.display(), ca.display())
}

/// Attaches the path to a file error.
fn at(path: &Path, error: std::io::Error) -> ClientError {
    ClientError::File { path: path.display().to_string(), error }
}

/// Fills the buffer from the system's generator.
pub(super) fn random(buffer: &mut [u8]) -> Result<(), ClientError> {
    aws_lc_rs::rand::fill(buffer).map_err(|_| ClientError::NoRandomness)
}
