//! The signer as a child process: its last words, its end, its replacement by process id.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::client::SignerCommand;
use super::wire::MAX_TEXT;

/// How long an ended signer may take over its last words, and an asked one over its end.
const GRACE: Duration = Duration::from_secs(1);

/// A running signer. Dropping it kills the process.
pub(super) struct SignerProcess {
    child: Child,
    /// Apart from `child`, whose `wait` would close it.
    stdin: Option<ChildStdin>,
    last_line: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

/// How a signer ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// Exit status; `None` when a signal ended it.
    pub(super) code: Option<i32>,
    /// Its last line on stderr, else its status.
    pub(super) text: String,
}

impl Ending {
    /// The last words, to be put after `reason` unless they say the same.
    pub(super) fn after_text(&self, reason: &str) -> String {
        let news = self.code != Some(0) && !reason.contains(&self.text);
        if news { format!(" ({})", self.text) } else { String::new() }
    }
}

impl SignerProcess {
    /// Starts it. Its stdin is a pipe that nobody writes: when this process is gone, it closes, and the signer ends.
    pub(super) fn spawn(command: &SignerCommand, ceremony: bool) -> Result<Self, String> {
        let mut child = Command::new(&command.program)
            .args(&command.args)
            .arg("--socket")
            .arg(&command.socket)
            .arg("--child")
            .args(ceremony.then_some("--ceremony"))
            .envs(command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("cannot start the signer {}: {e}", command.program.display()))?;
        let last_line = Arc::new(Mutex::new(String::new()));
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let reader = tokio::spawn(keep_last_line(stderr, last_line.clone()));
        Ok(Self { child, stdin, last_line, reader })
    }

    /// Process id, while it is not reaped.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for its end. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Ending {
        let status = self.child.wait().await;
        self.ending(status).await
    }

    /// Closes its stdin, and kills it when that does not end it.
    pub(super) async fn stop(mut self) -> Ending {
        drop(self.stdin.take());
        match tokio::time::timeout(GRACE, self.child.wait()).await {
            Ok(status) => self.ending(status).await,
            Err(_) => self.kill().await,
        }
    }

    /// SIGKILL: also ends a stopped process, and one that hangs in its PKCS#11 module.
    pub(super) async fn kill(mut self) -> Ending {
        if let Err(e) = self.child.start_kill() {
            tracing::warn!(error = %e, "cannot kill the signer");
        }
        let status = self.child.wait().await;
        self.ending(status).await
    }

    async fn ending(&mut self, status: std::io::Result<ExitStatus>) -> Ending {
        if !self.reader.is_finished() {
            // A grandchild may hold the pipe open: then the words so far must do.
            let _ = tokio::time::timeout(GRACE, &mut self.reader).await;
        }
        let line = self.last_line.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let code = status.as_ref().ok().and_then(ExitStatus::code);
        let status = status.map_or_else(|e| e.to_string(), |s| s.to_string());
        let text = if line.is_empty() { format!("the signer ended, {status}") } else { line };
        Ending { code, text }
    }
}

/// Passes the signer's lines on to the log and keeps the newest one. Long lines are cut, so memory stays bounded.
async fn keep_last_line(stderr: Option<ChildStderr>, last_line: Arc<Mutex<String>>) {
    let Some(mut stderr) = stderr else { return };
    let (mut line, mut chunk) = (Vec::new(), [0; 1024]);
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        for byte in &chunk[..count] {
            match byte {
                b'\n' => keep(&mut line, &last_line),
                _ if line.len() < MAX_TEXT => line.push(*byte),
                _ => {}
            }
        }
    }
    keep(&mut line, &last_line);
}

fn keep(line: &mut Vec<u8>, last_line: &Mutex<String>) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    line.clear();
    if !text.is_empty() {
        tracing::warn!(target: "pechat::signer", "{text}");
        *last_line.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}
