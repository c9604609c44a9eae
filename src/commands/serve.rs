//! `pechat serve`: all wiring. Signer process, clock, journals, time-stamping unit, certificates,
//! listeners, in the order in which each needs the one before.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Directory;
use crate::certificate::Issuer;
use crate::clock::{self, Clock, UtcMicros};
use crate::config::{Config, SignerMode};
use crate::http::{self, App};
use crate::journal::{Journals, OwnJournal, Parts, RequestId, StampFn};
use crate::keys::client::{self, How};
use crate::keys::{KeyLabel, Keys, PinnedKeys};
use crate::timestamp::{Authority, RecordFn, UnitParts};

/// Arguments of `pechat serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
}

/// Why the service could not start or had to stop: what, and about which thing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ServeError(String);

/// Attaches what was being done to an error.
fn during<E: std::fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError(format!("{what}: {error}"))
}

/// Runs until SIGTERM or SIGINT, then drains.
pub fn run(args: ServeArgs) -> Result<(), ServeError> {
    let config = Config::load(&args.config).map_err(|e| ServeError(e.to_string()))?;
    crate::telemetry::start_log();
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(during("cannot start the runtime"))?.block_on(serve(config))
}
