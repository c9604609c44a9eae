//! `pechat signer`: the process that owns the HSM token.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use crate::signer::pin::PinSource;
use crate::signer::server::{self, Setup};

pub use crate::signer::SignerError;

/// Owns one HSM token and signs for the front over a Unix socket
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("pin").required(true).args(["pin_file", "pin_fd"])))]
pub struct SignerArgs {
    /// Unix socket to listen at
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    /// PKCS#11 module (shared library) of the HSM
    #[arg(long, value_name = "PATH")]
    pub module: PathBuf,
    /// Label of the HSM token
    #[arg(long, value_name = "LABEL")]
    pub token_label: String,
    /// Serial number of the HSM token, where several have the same label
    #[arg(long, value_name = "SERIAL")]
    pub token_serial: Option<String>,
    /// File with the user PIN: of this user, mode 600
    #[arg(long, value_name = "PATH")]
    pub pin_file: Option<PathBuf>,
    /// Open descriptor from which the user PIN is read
    #[arg(long, value_name = "NUMBER")]
    pub pin_fd: Option<u32>,
    /// List of pinned keys; needed except with --ceremony
    #[arg(long, value_name = "PATH")]
    pub keys: Option<PathBuf>,
    /// Threads, each with a session of its own (the HSM's profile says how many pay off)
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub workers: usize,
    /// Sign with copies of the keys in each session (C_CopyObject): as protected, and faster with SoftHSM
    #[arg(long)]
    pub session_copies: bool,
    /// Longest time for one call to the HSM before the process ends itself with status 74
    #[arg(long, value_name = "MS", default_value_t = 4000)]
    pub call_timeout_ms: u64,
    /// Allow the making of keys
    #[arg(long)]
    pub ceremony: bool,
    /// End when stdin or the connection closes (set by the front for a signer that it starts itself)
    #[arg(long)]
    pub child: bool,
    /// User id that may connect besides the own one
    #[arg(long, value_name = "UID")]
    pub peer_uid: Option<u32>,
}

/// Runs until the process ends. Errors carry the exit status: [`SignerError::exit_status`].
pub fn run(args: SignerArgs) -> Result<(), SignerError> {
    let pin = match (args.pin_file, args.pin_fd) {
        (Some(path), _) => PinSource::File(path),
        (None, Some(number)) => PinSource::Descriptor(number),
        (None, None) => return Err(SignerError::Options("--pin-file or --pin-fd is needed")),
    };
    let failed = server::run(Setup {
        socket: args.socket,
        module: args.module,
        token: args.token_label,
        serial: args.token_serial,
        pin,
        keys: args.keys,
        workers: args.workers,
        session_copies: args.session_copies,
        call_limit: Duration::from_millis(args.call_timeout_ms.max(1)),
        ceremony: args.ceremony,
        child: args.child,
        peer_uid: args.peer_uid,
    });
    match failed {
        Ok(()) => Ok(()),
        // The module may hold threads of its own by now: a plain return could hang or crash in its exit handlers.
        Err(error) => server::end_with(&error),
    }
}
