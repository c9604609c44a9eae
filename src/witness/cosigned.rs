//! What the witnesses of our root log said: sizes, errors, and cosigned checkpoints. The newest
//! checkpoint of each witness is also a file, as it is evidence.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::client::{AskError, WitnessConfig};
use super::cosignature;
use super::request::SignedCheckpoint;
use super::vkey::VerifierKey;
use crate::digest::hex;
use crate::journal::checkpoint::{NoteLine, push_line};
use crate::replace::replace;

/// Cosigned checkpoints kept in memory.
const RECENT: usize = 64;
/// Failures in a row after which status asks for attention.
const ALARM_AFTER: u32 = 5;

/// One witness in `/v1/status` and `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WitnessView {
    /// Its name in the configuration.
    pub name: String,
    /// Where it is asked.
    pub url: String,
    /// Size it cosigned last, as far as we know.
    pub size: u64,
    /// Leaves of our newest sealed root that it has not cosigned yet.
    pub lag: u64,
    /// Time of its last cosignature, seconds since 1970.
    pub cosigned_at: Option<u64>,
    /// Rounds without a cosignature since start.
    pub errors: u64,
    /// Why the last round failed; `None` after a success.
    pub last_error: Option<String>,
    /// What somebody has to look at.
    pub alarm: Option<String>,
}

struct One {
    config: WitnessConfig,
    size: u64,
    cosigned_at: Option<u64>,
    errors: u64,
    in_a_row: u32,
    last_error: Option<String>,
    /// It knows a longer or another history: stays until it cosigns again.
    history: Option<String>,
}

/// A checkpoint as sealed, and the cosignatures it has so far.
struct Head {
    note: String,
    lines: Vec<NoteLine>,
}

#[derive(Default)]
struct Inner {
    each: Vec<One>,
    recent: BTreeMap<u64, Head>,
}

/// All that is known of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Witnesses(Arc<Mutex<Inner>>);

impl Witnesses {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the configured witnesses, with what `dir` holds of them.
    pub fn adopt(&self, configs: &[WitnessConfig], dir: &Path, origin: &str) -> Result<(), String> {
        for config in configs {
            let key = config.key()?;
            let stored = stored(dir, &key, origin);
            let mut inner = self.inner();
            inner.each.push(One {
                config: config.clone(),
                size: stored.as_ref().map_or(0, |s| s.checkpoint.size),
                cosigned_at: stored.as_ref().map(|s| s.seconds),
                errors: 0,
                in_a_row: 0,
                last_error: None,
                history: None,
            });
            if let Some(s) = stored {
                inner.attach(s.checkpoint.size, &s.note, s.line);
            }
        }
        Ok(())
    }

    /// Size that this witness cosigned last.
    pub(super) fn size(&self, index: usize) -> u64 {
        self.inner().each[index].size
    }

    /// A witness told its size; `ours` is the newest sealed one. Whether that is ahead of us.
    pub(super) fn told(&self, index: usize, size: u64, ours: u64) -> bool {
        let mut inner = self.inner();
        let one = &mut inner.each[index];
        one.size = size;
        if size <= ours {
            return false;
        }
        let what = format!(
            "it cosigned size {size}, our root log has {ours}: this log was rolled back, or another uses its key"
        );
        tracing::error!(witness = %one.config.name, size, ours, "a witness is ahead of our root log");
        one.failed(what.clone());
        one.history = Some(what);
        true
    }

    /// A round failed.
    pub(super) fn failed(&self, index: usize, error: &AskError) {
        let mut inner = self.inner();
        let one = &mut inner.each[index];
        if matches!(error, AskError::Disagrees { .. }) {
            tracing::error!(witness = %one.config.name, %error, "a witness refuses our history");
            one.history = Some(error.to_string());
        } else if one.in_a_row == 0 {
            tracing::warn!(witness = %one.config.name, %error, "no cosignature; sealing goes on without");
        }
        one.failed(error.to_string());
    }

    /// A witness cosigned the checkpoint; `line` is verified.
    pub(super) fn cosigned(&self, index: usize, size: u64, note: &str, line: NoteLine, at: u64) {
        let mut inner = self.inner();
        let one = &mut inner.each[index];
        (one.size, one.cosigned_at) = (size, Some(at));
        (one.in_a_row, one.last_error, one.history) = (0, None, None);
        inner.attach(size, note, line);
    }

    /// The note with the cosignatures it has so far.
    pub fn with_lines(&self, size: u64, note: &str) -> String {
        let inner = self.inner();
        let head = inner.recent.get(&size).filter(|head| head.note == note);
        head.map_or_else(|| note.to_owned(), Head::text)
    }

    /// The newest checkpoint with at least `count` cosignatures, and its size.
    pub fn newest_with(&self, count: usize) -> Option<(u64, String)> {
        let inner = self.inner();
        let found = inner.recent.iter().rev().find(|(_, head)| head.lines.len() >= count);
        found.map(|(size, head)| (*size, head.text()))
    }

    /// For status and metrics; `ours` is the size of the newest sealed root.
    pub fn view(&self, ours: u64) -> Vec<WitnessView> {
        self.inner().each.iter().map(|one| one.view(ours)).collect()
    }
}

impl Inner {
    fn attach(&mut self, size: u64, note: &str, line: NoteLine) {
        let head =
            self.recent.entry(size).or_insert_with(|| Head { note: note.to_owned(), lines: Vec::new() });
        // Of one size there is one note; anything else is not ours to mix.
        if head.note == note {
            head.lines.retain(|l| l.name != line.name || l.key_hash != line.key_hash);
            head.lines.push(line);
        }
        while self.recent.len() > RECENT {
            self.recent.pop_first();
        }
    }
}

impl One {
    fn failed(&mut self, why: String) {
        self.errors += 1;
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.last_error = Some(why);
    }

    fn view(&self, ours: u64) -> WitnessView {
        let silent = || self.last_error.clone().filter(|_| self.in_a_row >= ALARM_AFTER);
        WitnessView {
            name: self.config.name.clone(),
            url: self.config.url.clone(),
            size: self.size,
            lag: ours.saturating_sub(self.size),
            cosigned_at: self.cosigned_at,
            errors: self.errors,
            last_error: self.last_error.clone(),
            alarm: self.history.clone().or_else(silent),
        }
    }
}

impl Head {
    fn text(&self) -> String {
        let mut text = self.note.clone();
        self.lines.iter().for_each(|l| push_line(&mut text, &l.name, l.key_hash, &l.payload));
        text
    }
}

/// How a known head of this witness is called.
pub(super) fn source(config: &WitnessConfig) -> String {
    format!("witness {} ({})", config.name, config.url)
}

/// A cosigned checkpoint from disk, its cosignature verified.
pub(super) struct Stored {
    pub(super) checkpoint: SignedCheckpoint,
    pub(super) note: String,
    line: NoteLine,
    seconds: u64,
}

/// What `dir` holds of this witness; whatever does not verify is no evidence and is passed over.
pub(super) fn stored(dir: &Path, key: &VerifierKey, origin: &str) -> Option<Stored> {
    let text = std::fs::read_to_string(dir.join(file_name(key))).ok()?;
    let checkpoint = SignedCheckpoint::parse(&text).ok().filter(|c| c.origin == origin)?;
    let line = checkpoint.signatures.last()?.clone();
    let seconds = cosignature::check(key, &checkpoint.body, &line)?;
    let last = text.trim_end_matches('\n').rfind('\n')? + 1;
    Some(Stored { checkpoint, note: text[..last].to_owned(), line, seconds })
}

/// Keeps a witness's newest cosigned checkpoint.
pub(super) fn store(dir: &Path, key: &VerifierKey, note: &str, line: &NoteLine) -> io::Result<()> {
    let mut text = note.to_owned();
    push_line(&mut text, &line.name, line.key_hash, &line.payload);
    std::fs::create_dir_all(dir)?;
    replace(&dir.join(file_name(key)), text.as_bytes(), 0o666)
}

fn file_name(key: &VerifierKey) -> String {
    format!("{}.note", hex(&key.id()))
}
