//! One line a call. No arguments but session and, if the plan wants it, the data to be signed: never a PIN.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// The log file, or nothing.
pub(crate) struct Log {
    file: Option<File>,
    begin: Instant,
}

impl Log {
    /// Appends; a file that cannot be opened is told on standard error and the module works without.
    pub(crate) fn open(path: Option<&Path>) -> Self {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.map_err(|e| eprintln!("fault-module: the log {}: {e}", path.display())).ok()
        };
        Self { file: path.and_then(open), begin: Instant::now() }
    }

    /// Microseconds since this log was opened, process, and the text; in one write, so that lines stay whole.
    pub(crate) fn line(&mut self, text: &str) {
        if let Some(file) = &mut self.file {
            let line = format!("{} {} {text}\n", self.begin.elapsed().as_micros(), std::process::id());
            // A full disk must not change what the module does.
            let _ = file.write_all(line.as_bytes());
        }
    }
}
