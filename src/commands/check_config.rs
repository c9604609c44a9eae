//! `pechat check-config`: every fault of a configuration file at once.

use std::path::PathBuf;

use clap::Args;

use crate::config::{Config, ConfigError};

/// Arguments of `pechat check-config`.
#[derive(Debug, Args)]
pub struct CheckConfigArgs {
    /// The configuration file.
    file: PathBuf,
}

/// Prints `ok` with what the file says in one line, or fails with the list of faults.
pub fn run(args: CheckConfigArgs) -> Result<(), ConfigError> {
    let config = Config::load(&args.file)?;
    println!(
        "{}: ok (site {}, API on {}, {} time sources, HSM token {:?})",
        args.file.display(),
        config.site,
        config.listen.api,
        config.clock.sources.len(),
        config.hsm.token_label
    );
    Ok(())
}
