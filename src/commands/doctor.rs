//! `pechat doctor`: measures what an appliance depends on; each fault comes with the next action.
//! It only reads, but for a scratch file in the data directory that it syncs and removes.

use std::fmt::Display;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::config::Config;
use crate::keys::PinnedKeys;

/// Arguments of `pechat doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The configuration file.
    #[arg(long, default_value = super::CONFIG_PATH)]
    config: PathBuf,
    /// Print JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// How one measurement came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Finding {
    code: String,
    verdict: Verdict,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
}

/// Findings in the order they were made.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn note(&mut self, code: &str, verdict: Verdict, value: impl Display, action: &str) {
        let action = (verdict != Verdict::Pass).then(|| action.to_owned());
        self.0.push(Finding { code: code.to_owned(), verdict, value: value.to_string(), action });
    }

    fn check(&mut self, code: &str, result: Result<impl Display, impl Display>, action: &str) {
        match result {
            Ok(value) => self.note(code, Verdict::Pass, value, action),
            Err(error) => self.note(code, Verdict::Fail, error, action),
        }
    }
}

/// Exit 0 when nothing failed, 1 when something did.
pub fn run(args: DoctorArgs) -> ExitCode {
    let report = examine(&args.config);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.0).unwrap_or_default());
    } else {
        for finding in &report.0 {
            let mark = match finding.verdict {
                Verdict::Pass => "pass",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
            };
            println!("{mark}  {:<20} {}", finding.code, finding.value);
            if let Some(action) = &finding.action {
                println!("      {:<20} do: {action}", "");
            }
        }
    }
    let failed = report.0.iter().any(|f| f.verdict == Verdict::Fail);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn examine(path: &Path) -> Report {
    let mut report = Report::default();
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(error) => {
            report.note(
                "config",
                Verdict::Fail,
                error,
                "mend the file; `pechat check-config` repeats this list",
            );
            return report;
        }
    };
    report.note("config", Verdict::Pass, path.display(), "");
    files(&mut report, &config);
    keys(&mut report, &config);
    disk(&mut report, &config);
    service(&mut report, &config);
    report
}

fn files(report: &mut Report, config: &Config) {
    report.check(
        "data-dir",
        private(&config.data_dir, 0o700),
        "make it with `pechat init`, or: chmod 0700 DIR",
    );
    report.check(
        "pin-file",
        private(&config.hsm.pin_file, 0o600),
        "chown it to the signer's user and chmod 0600",
    );
    report.check(
        "hsm-module",
        std::fs::metadata(&config.hsm.module)
            .map(|m| format!("{} ({} bytes)", config.hsm.module.display(), m.len()))
            .map_err(|e| format!("{}: {e}", config.hsm.module.display())),
        "install the device's PKCS#11 module or mend hsm.module",
    );
}

/// The path when nobody but its owner may use it.
fn private(path: &Path, widest: u32) -> Result<String, String> {
    let mode = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.mode() & 0o7777;
    if mode & !widest == 0 {
        Ok(format!("{} mode {mode:04o}", path.display()))
    } else {
        Err(format!("{} has mode {mode:04o}, wider than {widest:04o}", path.display()))
    }
}

fn keys(report: &mut Report, config: &Config) {
    let action = "run `pechat init` once, or restore the data directory from a backup";
    let pinned = PinnedKeys::load(&config.data("keys.json"));
    report.check("pinned-keys", pinned.map(|k| format!("{} keys pinned", k.keys.len())), action);
    for name in ["root", "ca-test", "ca-integration", "ca-production", "tsu-1"] {
        let file = config.data(&format!("certificates/{name}.pem"));
        match days_left(&file) {
            Ok(days) if days > 30 => {
                report.note("certificate", Verdict::Pass, format!("{name}: {days} days left"), "")
            }
            Ok(days) => report.note(
                "certificate",
                if days > 0 { Verdict::Warn } else { Verdict::Fail },
                format!("{name}: {days} days left"),
                "prepare its successor now; nothing is signed with an expired certificate",
            ),
            Err(error) => report.note("certificate", Verdict::Fail, format!("{name}: {error}"), action),
        }
    }
}

fn days_left(file: &Path) -> Result<i64, String> {
    use x509_cert::der::DecodePem;
    let pem = std::fs::read(file).map_err(|e| e.to_string())?;
    let certificate = x509_cert::Certificate::from_pem(&pem).map_err(|e| e.to_string())?;
    let end = certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    Ok((end as i64 - crate::clock::system::now().0 / 1_000_000) / 86_400)
}

fn disk(report: &mut Report, config: &Config) {
    match rustix::fs::statvfs(&config.data_dir) {
        Ok(space) => {
            let free = space.f_bavail * space.f_frsize;
            let share = 100 * space.f_bavail / space.f_blocks.max(1);
            let verdict = if free < 1 << 30 || share < 5 { Verdict::Warn } else { Verdict::Pass };
            report.note(
                "disk-free",
                verdict,
                format!("{} MiB, {share} %", free >> 20),
                "make room: writing stops cleanly before the disk is full",
            );
        }
        Err(error) => report.note("disk-free", Verdict::Fail, error, "mend data_dir"),
    }
    let action = "if this is far above the disk's data sheet, look for other writers";
    match fsync_p50(&config.data_dir) {
        Ok(p50) => {
            let verdict = if p50 > Duration::from_millis(20) { Verdict::Warn } else { Verdict::Pass };
            report.note("fsync", verdict, format!("p50 {} µs over 50 syncs", p50.as_micros()), action);
        }
        Err(error) => report.note("fsync", Verdict::Fail, error, "the data directory must be writable"),
    }
}

fn fsync_p50(dir: &Path) -> std::io::Result<Duration> {
    let path = dir.join(".doctor-fsync");
    std::fs::write(&path, vec![0; 4096 * 50])?;
    let file = std::fs::OpenOptions::new().write(true).open(&path)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(50);
    for n in 0..50 {
        let start = Instant::now();
        file.write_all_at(&[1; 4096], n * 4096)?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(times[25])
}

/// What only the running service can tell: a test signature, a test stamp, the clock.
fn service(report: &mut Report, config: &Config) {
    let action = "start it (`pechat serve`), or read its log for the reason it stopped";
    match super::status::fetch(config) {
        Err(error) => report.note("service", Verdict::Fail, error, action),
        Ok(status) => {
            report.note("service", Verdict::Pass, format!("answers on {}", config.listen.metrics), "");
            for line in status.lines {
                let verdict = if line.ok { Verdict::Pass } else { Verdict::Fail };
                report.note(&line.code, verdict, line.text, &line.action);
            }
        }
    }
}
