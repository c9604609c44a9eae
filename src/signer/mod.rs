//! The process that owns the HSM token: the PKCS#11 module, the PIN and the sessions live here and nowhere else.
//!
//! The front starts it, or systemd does. It finds and checks every pinned key before it listens, signs what comes
//! over its socket, and ends itself, with a status that says why, rather than repair a module in an unknown state.

pub mod pin;
pub mod pkcs11;
mod pool;
mod process;
mod rare;
pub mod server;
mod watchdog;

use std::path::PathBuf;

use crate::keys::{PinError, wire};
use pin::PinRefused;
use pkcs11::HsmError;

/// Why the signer ends.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The PIN cannot be read, or may not.
    #[error(transparent)]
    Pin(#[from] PinRefused),
    /// The list of pinned keys is of no use.
    #[error(transparent)]
    Pinned(#[from] PinError),
    /// The HSM token does not do what it must.
    #[error(transparent)]
    Hsm(#[from] HsmError),
    /// A signer for this socket is running.
    #[error("another signer holds {0}")]
    SecondSigner(PathBuf),
    /// The socket, its lock or a limit of the process cannot be set up.
    #[error("cannot set up {what}: {cause}")]
    Setup {
        /// What was tried.
        what: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Options(&'static str),
}

impl SignerError {
    /// Exit status of the process, one of those in [`wire`].
    pub fn exit_status(&self) -> i32 {
        match self {
            Self::Hsm(error) => error.exit_status(),
            Self::Setup { .. } | Self::SecondSigner(_) => wire::EXIT_UNAVAILABLE,
            Self::Pin(_) | Self::Pinned(_) | Self::Options(_) => wire::EXIT_CONFIGURATION,
        }
    }

    fn setup(what: impl Into<String>, cause: impl Into<std::io::Error>) -> Self {
        Self::Setup { what: what.into(), cause: cause.into() }
    }
}
