//! The real appliance on loopback: both processes, a SoftHSM token of its own, chronyd as time sources.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PECHAT: &str = env!("CARGO_BIN_EXE_pechat");

/// An appliance of its own in a directory of its own; ended when dropped.
pub struct Appliance {
    dir: tempfile::TempDir,
    env: HashMap<String, String>,
    serve: Option<Child>,
}

impl Appliance {
    /// Up and ready, with the identities and journals of the demonstration.
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        run(Command::new(PECHAT).args(["demo", "--setup-only", "--dir"]).arg(dir.path().join("demo")));
        let text = std::fs::read_to_string(dir.path().join("demo/env")).expect("demo/env");
        let env = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.into(), unquoted(v)))
            .collect();
        Self { dir, env, serve: None }
    }

    /// A value of `demo/env`.
    pub fn env(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("{name} stands in demo/env"))
    }

    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The appliance's configuration.
    pub fn config(&self) -> PathBuf {
        self.path("demo/pechat.toml")
    }

    /// `pechat client …` as the registry service.
    pub fn client(&self, args: &[&str]) -> Command {
        self.client_as("PECHAT_CERT", "PECHAT_KEY", args)
    }

    /// `pechat client …` with the identity that these two names of `demo/env` hold.
    pub fn client_as(&self, cert: &str, key: &str, args: &[&str]) -> Command {
        let mut command = Command::new(PECHAT);
        command.arg("client").args(args);
        command.env("PECHAT_URL", self.env("PECHAT_URL")).env("PECHAT_CA", self.env("PECHAT_CA"));
        command.env("PECHAT_CERT", self.env(cert)).env("PECHAT_KEY", self.env(key));
        command.env("PECHAT_HEAD_KEY", self.path("demo/journal-head.pem"));
        command
    }

    /// `curl` with the identity that these two names of `demo/env` hold; prints status and body.
    pub fn curl(&self, cert: &str, key: &str, args: &[&str]) -> (u16, Vec<u8>) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "40", "-w", "\n%{http_code}", "--cacert", self.env("PECHAT_CA")]);
        command.args(["--cert", self.env(cert), "--key", self.env(key)]).args(args);
        let mut out = output(&mut command);
        let cut = out.iter().rposition(|b| *b == b'\n').expect("a status line");
        let status = String::from_utf8_lossy(&out[cut + 1..]).parse().expect("a status");
        out.truncate(cut);
        (status, out)
    }

    /// Process id of `pechat serve`.
    pub fn serve_pid(&self) -> u32 {
        self.serve.as_ref().map_or_else(|| self.env("PECHAT_SERVE_PID").parse().expect("a pid"), Child::id)
    }

    /// Process id of the signer, if one runs at the moment.
    pub fn signer_pid(&self) -> Option<u32> {
        // A child belongs to the thread that started it.
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.serve_pid())).ok()?.flatten();
        let children = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
        let children: String = children.collect();
        let mut pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.find(|pid| cmdline(*pid).iter().any(|word| word == "signer"))
    }

    /// `kill -9` of `pechat serve`; returns when it is gone.
    pub fn kill_serve(&mut self) {
        let pid = self.serve_pid();
        kill(pid, rustix::process::Signal::KILL);
        match &mut self.serve {
            Some(child) => drop(child.wait()),
            None => wait_for("serve to be gone", || !is_alive(pid)),
        }
    }

    /// Waits for a `pechat serve` that was asked to end.
    pub fn wait_for_end(&mut self) {
        let pid = self.serve_pid();
        match self.serve.take() {
            Some(mut child) => drop(child.wait()),
            None => wait_for("serve to be gone", || !is_alive(pid)),
        }
    }

    /// Starts `pechat serve` again; returns at once.
    pub fn start_serve(&mut self) {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("serve.log"))
            .expect("a log");
        let mut command = Command::new(PECHAT);
        command.arg("serve").arg("--config").arg(self.config());
        self.serve = Some(command.stdin(Stdio::null()).stderr(log).spawn().expect("pechat serve"));
    }

    /// Waits until a test signature and a test stamp succeed.
    pub fn wait_until_ready(&self) {
        let url = format!("{}/readyz", self.env("PECHAT_PUBLIC_URL"));
        wait_for("readiness", || {
            let asked = Command::new("curl").args(["-sf", "--max-time", "6", &url]).output();
            asked.is_ok_and(|out| out.status.success())
        });
    }

    /// What the service wrote to its log since it was restarted, or its first log.
    pub fn log(&self) -> String {
        let restarted = std::fs::read_to_string(self.path("serve.log"));
        restarted.or_else(|_| std::fs::read_to_string(self.path("demo/serve.log"))).unwrap_or_default()
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!(
                "last lines of the service's log:\n{}",
                lines[lines.len().saturating_sub(15)..].join("\n")
            );
        }
        if let Some(mut child) = self.serve.take() {
            kill(child.id(), rustix::process::Signal::TERM);
            let _ = child.wait();
        }
        let _ = Command::new(PECHAT).args(["demo", "--stop", "--dir"]).arg(self.path("demo")).output();
    }
}

/// Runs to the end; its standard output. Panics with both outputs when it fails.
pub fn run(command: &mut Command) -> String {
    String::from_utf8_lossy(&output(command)).into_owned()
}

fn output(command: &mut Command) -> Vec<u8> {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = || String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?} ended with {}:\n{}", out.status, said());
    out.stdout
}

/// Runs a command that must fail; what it said on standard error.
pub fn refused(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(!out.status.success(), "{command:?} succeeded:\n{}", String::from_utf8_lossy(&out.stdout));
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

/// Sends a signal to a process that this test started.
pub fn kill(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn is_alive(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

fn cmdline(pid: u32) -> Vec<String> {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// Polls for at most a minute.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Value of a shell assignment as `demo/env` writes it.
fn unquoted(value: &str) -> String {
    value.trim_matches('\'').trim_matches('"').to_owned()
}

/// Writes `count` register records, one JSON object a line.
pub fn write_records(path: &Path, count: usize) {
    let lines: String =
        (0..count).map(|n| format!("{{\"parcel\":{n},\"owner\":\"owner {}\"}}\n", n % 97)).collect();
    std::fs::write(path, lines).expect("records");
}
