//! Heads that were signed once and are known outside the log, and what follows when the log does not
//! hold them: quarantine (`docs/decisions/0010-quarantine-after-a-rollback.md`).
//!
//! A log that lost its tail, was restored from an old copy or was exchanged looks whole from inside.
//! Only a head that left it can tell: the published head file, a copy of it, a witness's last head.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use serde::Serialize;

use super::JournalError;
use super::checkpoint::{Checkpoint, MAX_NOTE, open_note};
use super::lookup::Lookup;
use super::verify::{Trust, verify_checkpoint};
use crate::digest::Digest;
use crate::replace::replace;

/// A signed head of the root log from anywhere but the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KnownHead {
    /// Where it is from, for people: a path, a witness's name.
    pub source: String,
    /// Leaves of the root log.
    pub size: u64,
    /// Their root; `None` if the source tells no more than a size.
    pub root: Option<Digest>,
    /// The signed note itself; `None` if the source keeps it to itself.
    pub note: Option<String>,
}

/// Everything that is known before the log is compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Heads that verified.
    pub heads: Vec<KnownHead>,
    /// Sources that are there but do not verify, or that refuse our history.
    pub doubts: Vec<Doubt>,
}

/// What was recovered, shown to sources that tell their head only to who proves to continue it.
pub struct Held<'s>(pub(super) Lookup<'s>);

impl Held<'_> {
    /// The newest signed head of this log: size and note.
    pub fn newest(&self) -> Option<(u64, String)> {
        self.0.0.newest_seal().map(|seal| (seal.root_size, seal.note.to_string()))
    }

    /// RFC 6962 consistency path between two sizes of the root log.
    pub fn consistency(&self, old: u64, new: u64) -> Result<Vec<Digest>, JournalError> {
        self.0.root_consistency(old, new)
    }
}

/// Why the log cannot be trusted to be the newest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "doubt", rename_all = "kebab-case")]
pub enum Doubt {
    /// A head was signed over more leaves than the log has.
    Ahead {
        /// The head.
        known: KnownHead,
        /// Leaves of the log.
        ours: u64,
    },
    /// A head of the same size has another root.
    Differs {
        /// The head.
        known: KnownHead,
        /// The log's root at that size.
        ours: Digest,
    },
    /// A source remembers another history.
    Disputed {
        /// What it remembers.
        known: KnownHead,
        /// Its words.
        why: String,
    },
    /// A source is there, but what it holds is no head of this appliance.
    Unreadable {
        /// Which.
        source: String,
        /// What is wrong with it.
        why: String,
    },
}

impl std::fmt::Display for Doubt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Doubt::Ahead { known, ours } => write!(
                f,
                "{} holds a signed head of {} leaves, but the log has only {ours}",
                known.source, known.size
            ),
            Doubt::Differs { known, .. } => write!(
                f,
                "{} holds a signed head of {} leaves whose root is not the log's",
                known.source, known.size
            ),
            Doubt::Disputed { known, why } => write!(
                f,
                "{} remembers {} leaves and refuses that this log continues them: {why}",
                known.source, known.size
            ),
            Doubt::Unreadable { source, why } => write!(f, "{source} holds no head of this appliance: {why}"),
        }
    }
}

/// Why nothing is sealed, stamped or issued, until it is resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantine {
    /// Durable leaves of the root log.
    pub size: u64,
    /// Their root.
    pub root: Digest,
    /// Every contradiction.
    pub doubts: Vec<Doubt>,
}

impl Quarantine {
    /// One sentence.
    pub fn reason(&self) -> String {
        self.doubts.iter().map(Doubt::to_string).collect::<Vec<_>>().join("; ")
    }

    /// The heads this log does not hold, which a gap record gives up.
    pub fn heads(&self) -> impl Iterator<Item = &KnownHead> {
        self.doubts.iter().filter_map(|doubt| match doubt {
            Doubt::Ahead { known, .. } | Doubt::Differs { known, .. } | Doubt::Disputed { known, .. } => {
                Some(known)
            }
            Doubt::Unreadable { .. } => None,
        })
    }
}

impl Known {
    /// Adds what a file holds. A file that is not there adds nothing and gives `false`.
    pub fn read(&mut self, path: &Path, site: &str, head_key_spki: &[u8]) -> bool {
        let source = path.display().to_string();
        let text = match read_limited(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return false,
            other => other.map_err(|e| e.to_string()),
        };
        self.add(&source, text, site, head_key_spki);
        true
    }

    /// Adds a head some source stated, if it is one of this site signed by this key.
    pub fn add(&mut self, source: &str, text: Result<String, String>, site: &str, head_key_spki: &[u8]) {
        let source = source.to_owned();
        match text.and_then(|text| verified(text, site, head_key_spki)) {
            Ok((checkpoint, note)) => {
                let Checkpoint { size, root, .. } = checkpoint;
                self.heads.push(KnownHead { source, size, root: Some(root), note: Some(note) });
            }
            Err(why) => self.doubts.push(Doubt::Unreadable { source, why }),
        }
    }
}

fn verified(text: String, site: &str, head_key_spki: &[u8]) -> Result<(Checkpoint, String), String> {
    let trust = Trust { head_key_spki: Some(head_key_spki), token: None };
    let (checkpoint, _) = verify_checkpoint(&text, &trust).map_err(|e| e.to_string())?;
    let ours = format!("{site}/root");
    if checkpoint.origin != ours {
        return Err(format!("it is of {:?}, this service is {ours:?}", checkpoint.origin));
    }
    Ok((checkpoint, text))
}

fn read_limited(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_NOTE as u64 + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
}

/// Replaces the head file: written beside it, synced, renamed, the directory synced. A reader sees the
/// old head or the new one. The caller is not in quarantine.
pub fn publish(path: &Path, note: &str) -> io::Result<()> {
    open_note(note).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))?;
    replace(path, note.as_bytes(), 0o644)
}
