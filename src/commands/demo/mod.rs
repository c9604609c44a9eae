//! `pechat demo`: the whole appliance on this machine, in a directory that is thrown away.

mod office;
mod place;
mod processes;
mod records;
mod setup;
mod tour;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Args;

use super::client::ClientError;
use super::client::http::RequestError;
use place::{Place, Ports};

/// Arguments of `pechat demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The throw-away directory; an earlier demonstration in it is removed
    #[arg(long, default_value = "demo")]
    pub dir: PathBuf,
    /// End everything after the tour
    #[arg(long)]
    pub once: bool,
    /// Seal this JSON Lines file (a copy of it) instead of 10,000 generated records
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// Make the appliance and its identities, show nothing, leave it running (for tests)
    #[arg(long, hide = true, conflicts_with_all = ["once", "records", "stop"])]
    pub setup_only: bool,
    /// End the processes of the demonstration in --dir, and nothing else
    #[arg(long, conflicts_with_all = ["once", "records"])]
    pub stop: bool,
}

/// Why the demonstration stopped.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The directory has content that we did not make.
    #[error("{0} is not empty and was not made by `pechat demo`; name another directory with --dir")]
    NotOurs(String),
    /// Another one runs there.
    #[error(
        "a demonstration runs in {dir} (processes {pids:?}); end it with: {program} demo --stop --dir {dir}"
    )]
    Running {
        /// Where.
        dir: String,
        /// Which processes.
        pids: Vec<u32>,
        /// How this program was called.
        program: String,
    },
    /// Something is not installed.
    #[error("{what} is missing; install it with: apt-get install {package}")]
    Missing {
        /// What.
        what: &'static str,
        /// Debian's package.
        package: &'static str,
    },
    /// A file.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed:\n{said}")]
    Program {
        /// As typed.
        command: String,
        /// Its output.
        said: String,
    },
    /// The service did not become ready.
    #[error("the appliance did not become ready: {reason}\nlast lines of {log}:\n{tail}")]
    NotReady {
        /// What `/readyz` said last, or who ended.
        reason: String,
        /// The log.
        log: String,
        /// Its end.
        tail: String,
    },
    /// A client's step failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A request failed.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What should have been shown was not so.
    #[error("the demonstration shows {0}")]
    Shown(String),
}

impl DemoError {
    fn file(path: &Path, error: std::io::Error) -> DemoError {
        DemoError::File { path: path.display().to_string(), error }
    }

    fn program(command: &Command, error: std::io::Error) -> DemoError {
        DemoError::Program { command: processes::words(command), said: error.to_string() }
    }
}

/// Says what each step showed and how long it took.
struct Narrator {
    begun: Instant,
    step: Instant,
}

impl Narrator {
    fn new() -> Narrator {
        Narrator { begun: Instant::now(), step: Instant::now() }
    }

    /// One line for the step that just ended.
    fn shown(&mut self, what: impl Display) {
        println!("{:>7} ms  {what}", self.step.elapsed().as_millis());
        self.step = Instant::now();
    }
}

/// Runs the demonstration, or ends one.
pub fn run(args: DemoArgs) -> ExitCode {
    let result = if args.stop { stop(&args.dir) } else { demonstrate(&args) };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pechat demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stop(dir: &Path) -> Result<(), DemoError> {
    let ended = processes::stop_recorded(&Place::existing(dir)?);
    println!("{ended} processes of the demonstration in {} ended", dir.display());
    Ok(())
}

fn demonstrate(args: &DemoArgs) -> Result<(), DemoError> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    refuse_second(&args.dir)?;
    let mut narrator = Narrator::new();
    let place = Place::prepare(&args.dir)?;
    let ports = Ports::find(!args.setup_only)?;
    let mut appliance = setup::start(place, ports, &mut narrator)?;
    if args.setup_only {
        appliance.processes.leave_running();
        return Ok(());
    }
    tour::walk(&appliance, args.records.as_deref(), &mut narrator)?;
    let seconds = narrator.begun.elapsed().as_secs_f64();
    if args.once {
        appliance.processes.stop();
        println!(
            "\nEverything ended after {seconds:.1} s; what was made is in {}.",
            appliance.place.root().display()
        );
    } else {
        println!(
            "\nThe appliance stays up ({seconds:.1} s so far). Try, in another directory or this one:\n"
        );
        println!("{}", tour::commands(&appliance)?);
        println!("End it with `make demo-stop` or `{} demo --stop --dir {}`.", program(), args.dir.display());
        appliance.processes.leave_running();
    }
    Ok(())
}

fn refuse_second(dir: &Path) -> Result<(), DemoError> {
    let Ok(place) = Place::existing(dir) else { return Ok(()) };
    let pids = processes::running(&place);
    if pids.is_empty() {
        return Ok(());
    }
    Err(DemoError::Running { dir: dir.display().to_string(), pids, program: program() })
}

/// This program as it was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "pechat".into())
}
