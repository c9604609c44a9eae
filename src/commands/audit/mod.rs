//! `pechat audit`: an auditor's side. Takes a journal away as one folder, verifies folders, compares two
//! states of a journal, follows a reference number through journals, holds a journal against the register's own list.

pub(super) mod addresses;
mod archive;
mod compare;
pub(super) mod export;
mod folder;
mod life;
pub(super) mod manifest;
mod place;
mod progress;
mod reconcile;
mod root_log;
mod set;
mod span;
pub(super) mod trust;
mod verify;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::journal::entry::Entry;
use crate::journal::verify::{Checked, Pace};

/// Arguments of `pechat audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Download a journal and all that proves it into one self-contained folder
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Download a frozen journal as a folder to be kept when the appliance is gone
    ///
    /// It is that of `audit export` with a verifier in Python for all of it, signed bytes, signature and token as
    /// files for openssl, and instructions. Of a journal that is not frozen it says so.
    #[command(
        after_help = "Example: pechat audit archive --journal land-register --out land-register-archive"
    )]
    Archive(archive::ArchiveArgs),
    /// Verify folders and exports: PASSED, FAILED or INDETERMINATE, with the first broken entry
    Verify(verify::VerifyArgs),
    /// Compare two states of one journal: one history, or the first entry that differs
    Compare(compare::CompareArgs),
    /// The life of one reference number (RNU) across journals, each step with its proof
    Life(life::LifeArgs),
    /// Hold a journal against the register's own list of request ids and digests
    Reconcile(reconcile::ReconcileArgs),
}

/// Exit 0 when it holds, 1 when it does not, 2 when that cannot be said.
pub fn run(args: AuditArgs) -> ExitCode {
    let done = match args.command {
        AuditCommand::Export(args) => export::run(&args),
        AuditCommand::Archive(args) => archive::run(&args),
        AuditCommand::Verify(args) => verify::run(&args),
        AuditCommand::Compare(args) => compare::run(&args),
        AuditCommand::Life(args) => life::run(&args),
        AuditCommand::Reconcile(args) => reconcile::run(&args),
    };
    match done {
        Ok(verdict) => verdict.exit(),
        Err(error) => {
            eprintln!("pechat audit: {error}");
            Verdict::Indeterminate.exit()
        }
    }
}

/// Worse ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// Everything holds, by keys that the auditor named.
    Passed,
    /// Nothing is wrong, but something needed to say that it holds is not there.
    Indeterminate,
    /// Something does not hold.
    Failed,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASSED",
            Self::Indeterminate => "INDETERMINATE",
            Self::Failed => "FAILED",
        }
    }

    pub(super) fn exit(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Indeterminate => 2,
        })
    }
}

/// Why something is not passed, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    verdict: Verdict,
    reason: String,
    entry: Option<u64>,
    offset: Option<u64>,
}

impl Fault {
    pub(super) fn failed(reason: impl Into<String>) -> Fault {
        Fault { verdict: Verdict::Failed, reason: reason.into(), entry: None, offset: None }
    }

    pub(super) fn indeterminate(reason: impl Into<String>) -> Fault {
        Fault { verdict: Verdict::Indeterminate, ..Fault::failed(reason) }
    }

    /// The same, said of one file of a folder.
    pub(super) fn of(self, file: &str) -> Fault {
        Fault { reason: format!("{file}: {}", self.reason), ..self }
    }
}

/// What is known of one folder or file.
#[derive(Debug, Default)]
pub(super) struct Report {
    fault: Option<Fault>,
    pub(super) lines: Vec<String>,
    pub(super) facts: Value,
    /// The export, once it is replayed.
    pub(super) checked: Option<Checked>,
}

/// Which entries are given back.
pub(super) type Pick<'p> = &'p (dyn Fn(&Entry) -> bool + Sync);

/// All cores.
pub(super) fn pace() -> Pace {
    Pace::default()
}

impl Report {
    pub(super) fn verdict(&self) -> Verdict {
        self.fault.as_ref().map_or(Verdict::Passed, |fault| fault.verdict)
    }

    /// Keeps the worst fault, of equal ones the first.
    pub(super) fn note(&mut self, fault: Fault) {
        if fault.verdict > self.verdict() {
            self.fault = Some(fault);
        }
    }

    pub(super) fn print(&self, path: &Path, as_json: bool) {
        let (verdict, path) = (self.verdict().word(), path.display().to_string());
        if as_json {
            let fault = self.fault.as_ref();
            println!(
                "{}",
                json!({
                    "path": path, "verdict": verdict, "reason": fault.map(|f| &f.reason),
                    "entry": fault.and_then(|f| f.entry), "offset": fault.and_then(|f| f.offset),
                    "facts": self.facts, "notes": self.lines,
                })
            );
            return;
        }
        match &self.fault {
            None => println!("{verdict}  {path}"),
            Some(fault) => println!("{verdict}  {path}: {}", fault.reason),
        }
        self.lines.iter().for_each(|line| println!("        {line}"));
    }
}

/// `act` on every item, as many at once as there are cores; results in order.
pub(super) fn each<T: Sync, R: Send>(items: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((at, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, items.get(at)?)))
                {
                    let result = act(item);
                    done.lock().unwrap_or_else(|e| e.into_inner()).push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_parallel_work_stand_in_the_order_of_the_items() {
        let items: Vec<u32> = (0..1000).collect();
        assert_eq!(each(&items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(each(&[] as &[u32], |n| *n), Vec::<u32>::new());
    }

    #[test]
    fn the_worst_fault_is_kept_and_of_equal_ones_the_first() {
        let mut report = Report::default();
        assert_eq!(report.verdict(), Verdict::Passed);
        report.note(Fault::indeterminate("one"));
        report.note(Fault::indeterminate("two"));
        assert_eq!(report.fault, Some(Fault::indeterminate("one")));
        report.note(Fault::failed("three"));
        report.note(Fault::failed("four"));
        report.note(Fault::indeterminate("five"));
        assert_eq!(report.fault, Some(Fault::failed("three")));
    }
}
