//! How far long work is, on standard error: a moving line on a terminal, else a plain line every few seconds.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two lines where nobody watches.
const PLAIN: Duration = Duration::from_secs(5);
/// Between two states of a terminal's line; shorter work shows nothing.
const LIVE: Duration = Duration::from_millis(300);

/// Work under way.
pub struct Progress {
    what: String,
    unit: Unit,
    total: Option<u64>,
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    done: u64,
    shown: Instant,
    any: bool,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown as MB.
    Bytes,
    /// Entries.
    Entries,
}

impl Progress {
    /// Begins to count; `total` where it is known.
    pub fn new(what: impl Into<String>, unit: Unit, total: Option<u64>) -> Progress {
        let state = Mutex::new(State { done: 0, shown: Instant::now(), any: false });
        Progress { what: what.into(), unit, total, terminal: io::stderr().is_terminal(), state }
    }

    /// So much more is done.
    pub fn add(&self, more: u64) {
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        state.done += more;
        let pause = if self.terminal { LIVE } else { PLAIN };
        if state.shown.elapsed() < pause {
            return;
        }
        (state.shown, state.any) = (Instant::now(), true);
        let line = line(&self.what, self.unit, state.done, self.total);
        let mut out = io::stderr().lock();
        // Progress that cannot be shown is no reason to stop.
        let _ = if self.terminal { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(|e| e.into_inner());
        if state.any && self.terminal {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// A writer whose bytes are counted.
pub struct Counted<'p, W>(pub W, pub &'p Progress);

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        self.1.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn line(what: &str, unit: Unit, done: u64, total: Option<u64>) -> String {
    let many = |n: u64| match unit {
        Unit::Bytes => format!("{}.{} MB", n / 1_000_000, n / 100_000 % 10),
        Unit::Entries => format!("{n} entries"),
    };
    match total {
        Some(total) if total > 0 => {
            let percent = u128::from(done) * 100 / u128::from(total);
            format!("{what}: {} of {}, {percent} %", many(done), many(total))
        }
        _ => format!("{what}: {}", many(done)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_work_is() {
        assert_eq!(line("land", Unit::Entries, 50, Some(200)), "land: 50 entries of 200 entries, 25 %");
        assert_eq!(line("land", Unit::Bytes, 1_250_000, None), "land: 1.2 MB");
        assert_eq!(line("land", Unit::Entries, 0, Some(0)), "land: 0 entries");
    }
}
