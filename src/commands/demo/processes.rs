//! Starting the demonstration's processes, and ending exactly those.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::DemoError;
use super::place::{Place, env_value};

/// Processes started by this run; those still here when it fails are ended.
#[derive(Default)]
pub struct Started {
    children: Vec<(String, Child)>,
}

impl Started {
    /// Starts a program in the background, its output in `log`, in a process group of its own so
    /// that a Ctrl-C at the terminal does not reach it. Gives its process id.
    pub fn start(&mut self, name: &str, command: &mut Command, log: &Path) -> Result<u32, DemoError> {
        use std::os::unix::process::CommandExt;
        let out = File::create(log).map_err(|e| DemoError::file(log, e))?;
        let err = out.try_clone().map_err(|e| DemoError::file(log, e))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|e| DemoError::program(command, e))?;
        let pid = child.id();
        self.children.push((name.to_owned(), child));
        Ok(pid)
    }

    /// The first process that has ended although it should run, if any.
    pub fn ended(&mut self) -> Option<&str> {
        for (name, child) in &mut self.children {
            if !matches!(child.try_wait(), Ok(None)) {
                return Some(name);
            }
        }
        None
    }

    /// Lets them run on after this program.
    pub fn leave_running(mut self) {
        self.children.clear();
    }

    /// Ends them, last started first, and waits for each.
    pub fn stop(&mut self) {
        while let Some((_, mut child)) = self.children.pop() {
            if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
                let _ = kill_process(pid, Signal::TERM);
            }
            let begun = Instant::now();
            while matches!(child.try_wait(), Ok(None)) && begun.elapsed() < Duration::from_secs(10) {
                sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a program to its end; its output when it succeeds, all of it in the error when it does not.
pub fn output(command: &mut Command) -> Result<String, DemoError> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| DemoError::program(command, e))?;
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    if out.status.success() {
        Ok(text)
    } else {
        Err(DemoError::Program { command: words(command), said: text })
    }
}

/// The command as one would type it.
pub fn words(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    parts.map(|p| p.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A child of `parent` whose command line has the word `signer`.
pub fn signer_of(parent: u32) -> Option<u32> {
    let pids = fs::read_dir("/proc").ok()?.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid: &u32| parent_of(*pid) == Some(parent) && has_argument(*pid, "signer"))
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:")?.trim().parse().ok())
}

fn command_line(pid: u32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|b| *b == 0).map(|a| String::from_utf8_lossy(a).into_owned()).collect()
}

fn has_argument(pid: u32, word: &str) -> bool {
    command_line(pid).iter().any(|a| a == word)
}

/// Whether the process is one that this demonstration started: process ids are used again, so its
/// command line must name the directory, or it must be our own program as a signer.
fn is_ours(pid: u32, dir: &Path, program: &str) -> bool {
    let dir = dir.display().to_string();
    let line = command_line(pid);
    let runs_us = fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(program));
    line.iter().any(|a| a.contains(&dir)) || (runs_us && line.iter().any(|a| a == "signer"))
}

/// Process ids in `demo/env`, serve first: it ends its signer itself.
fn recorded(env: &str) -> Vec<u32> {
    ["PECHAT_SERVE_PID", "PECHAT_SIGNER_PID", "PECHAT_NTP_PIDS"]
        .iter()
        .filter_map(|name| env_value(env, name))
        .flat_map(|v| v.split_whitespace().filter_map(|p| p.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// The processes of the demonstration in `place` that still run.
pub fn running(place: &Place) -> Vec<u32> {
    let env = fs::read_to_string(place.path("env")).unwrap_or_default();
    let program = env_value(&env, "PECHAT_BIN").unwrap_or_default();
    recorded(&env).into_iter().filter(|pid| is_ours(*pid, place.root(), &program)).collect()
}

/// Ends them: SIGTERM, and SIGKILL for what is still there after ten seconds. Gives how many ended.
pub fn stop_recorded(place: &Place) -> usize {
    let pids: Vec<_> = running(place).iter().filter_map(|p| Pid::from_raw(p.cast_signed())).collect();
    let alive = || pids.iter().any(|p| test_kill_process(*p).is_ok() && !is_zombie(*p));
    for pid in &pids {
        let _ = kill_process(*pid, Signal::TERM);
    }
    let begun = Instant::now();
    while alive() && begun.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(50));
    }
    for pid in pids.iter().filter(|p| !is_zombie(**p)) {
        let _ = kill_process(*pid, Signal::KILL);
    }
    pids.len()
}

/// Ended, but its parent has not looked yet.
fn is_zombie(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
    status.lines().any(|l| l.starts_with("State:") && l.contains('Z'))
}

#[cfg(test)]
mod tests {
    use super::super::place::env_text;
    use super::*;

    #[test]
    fn only_processes_that_name_the_directory_are_ended() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::prepare(&dir.path().join("demo")).unwrap();
        let mut ours = Started::default();
        let mut other = Started::default();
        let log = dir.path().join("log");
        let script = format!("sleep 60; : {}", place.root().display());
        let pid = ours.start("ours", Command::new("sh").args(["-c", &script]), &log).unwrap();
        let foreign = other.start("other", Command::new("sleep").arg("60"), &log).unwrap();
        let env =
            env_text(&[("PECHAT_SERVE_PID", pid.to_string()), ("PECHAT_NTP_PIDS", foreign.to_string())]);
        place.write("env", env).unwrap();
        // A command line is empty for a moment while the new program is being set up.
        while !has_argument(pid, &script) || !has_argument(foreign, "60") {
            sleep(Duration::from_millis(5));
        }
        assert_eq!(running(&place), [pid]);
        assert_eq!(stop_recorded(&place), 1);
        assert_eq!(ours.ended(), Some("ours"));
        assert_eq!(other.ended(), None);
    }

    #[test]
    fn failing_program_is_quoted_with_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no such luck"), "{error}");
    }
}
