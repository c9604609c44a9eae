//! What a witness remembers, as a file: the latest cosigned head of each log. Replaced whole and durable
//! before a cosignature leaves; bound to the witness's key, so that neither is used without the other.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};

use super::vkey::VerifierKey;
use crate::digest::Digest;
use crate::journal::checkpoint::{decimal, hash_line};
use crate::replace::replace;

/// First line of the file.
const LABEL: &str = "pechat witness heads v1";

/// A log's state as it was cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogHead {
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
}

/// Latest cosigned head by origin.
pub type Heads = BTreeMap<String, LogHead>;

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The file system said no.
    #[error("{path}: {reason}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Its words.
        reason: io::Error,
    },
    /// Not what was written.
    #[error(
        "{0} is damaged: a witness without its memory could cosign a second history, so restore that very file or make a new key"
    )]
    Damaged(PathBuf),
    /// It belongs to another key.
    #[error("{path} is the memory of {found}, not of {wanted}")]
    OtherKey {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

/// Label, key, one line a log (`{size} {root} {origin}`), and the SHA-256 of all that.
pub fn text(key: &VerifierKey, heads: &Heads) -> String {
    let line = |(origin, head): (&String, &LogHead)| {
        format!("{} {} {origin}\n", head.size, Base64::encode_string(head.root.as_bytes()))
    };
    let lines: String = heads.iter().map(line).collect();
    let text = format!("{LABEL}\nkey {key}\n{lines}");
    let sum = Digest::of(text.as_bytes());
    format!("{text}sum {sum}\n")
}

/// Reads the text; `Err(None)` for damage, `Err(Some(key))` when it is another key's.
pub fn parse(key: &VerifierKey, text: &str) -> Result<Heads, Option<String>> {
    let (rest, sum) = text.strip_suffix('\n').and_then(|t| t.rsplit_once("\nsum ")).ok_or(None)?;
    let signed = &text[..=rest.len()];
    if sum.parse() != Ok(Digest::of(signed.as_bytes())) {
        return Err(None);
    }
    let mut lines = signed.split_terminator('\n');
    if lines.next() != Some(LABEL) {
        return Err(None);
    }
    let owner = lines.next().and_then(|line| line.strip_prefix("key ")).ok_or(None)?;
    if owner != key.to_string() {
        return Err(Some(owner.to_owned()));
    }
    lines.map(head).collect::<Option<Heads>>().ok_or(None)
}

fn head(line: &str) -> Option<(String, LogHead)> {
    let (size, rest) = line.split_once(' ')?;
    let (root, origin) = rest.split_once(' ')?;
    Some((origin.to_owned(), LogHead { size: decimal(size)?, root: hash_line(root)? }))
}

/// The file on disk, held by one process at a time.
#[derive(Debug)]
pub struct HeadsFile {
    dir: PathBuf,
    key: VerifierKey,
    _lock: File,
}

impl HeadsFile {
    /// Writes the memory of a key that has cosigned nothing; refuses to replace one that exists.
    pub fn create(dir: &Path, key: &VerifierKey) -> Result<(), HeadsError> {
        let path = dir.join("heads");
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        if path.exists() {
            return Err(HeadsError::Io { path, reason: exists });
        }
        replace(&dir.join("heads"), text(key, &Heads::new()).as_bytes(), 0o600)
            .map_err(|reason| HeadsError::Io { path, reason })
    }

    /// Opens the memory of this key. A missing file is an error: a witness that forgot may not sign.
    pub fn open(dir: &Path, key: &VerifierKey) -> Result<(HeadsFile, Heads), HeadsError> {
        let path = dir.join("heads");
        let fail = |reason: io::Error| HeadsError::Io { path: path.clone(), reason };
        let lock = open_lock(dir).map_err(fail)?;
        let bytes = std::fs::read(&path).map_err(fail)?;
        let damaged = || HeadsError::Damaged(path.clone());
        let content = String::from_utf8(bytes).map_err(|_| damaged())?;
        let heads = parse(key, &content).map_err(|found| match found {
            Some(found) => HeadsError::OtherKey { path: path.clone(), found, wanted: key.to_string() },
            None => damaged(),
        })?;
        Ok((HeadsFile { dir: dir.to_owned(), key: key.clone(), _lock: lock }, heads))
    }

    /// Replaces the file; returns when the new one is durable under its name.
    pub fn store(&self, heads: &Heads) -> io::Result<()> {
        replace(&self.dir.join("heads"), text(&self.key, heads).as_bytes(), 0o600)
    }
}

fn open_lock(dir: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(dir.join("lock"))?;
    lock.try_lock().map_err(|_| io::Error::other("another witness process uses this directory"))?;
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::witness::cosignature::CosignerKey;

    fn key(seed: u8) -> VerifierKey {
        CosignerKey::from_seed("w.example", [seed; 32]).unwrap().public().clone()
    }

    fn heads() -> Heads {
        let head = |n: u64| LogHead { size: n, root: Digest::of(&n.to_be_bytes()) };
        Heads::from([("a.example/root".into(), head(7)), ("b example + log".into(), head(u64::MAX >> 1))])
    }

    #[test]
    fn heads_survive_their_file_and_its_replacement() {
        let dir = tempfile::tempdir().unwrap();
        HeadsFile::create(dir.path(), &key(1)).unwrap();
        let (file, empty) = HeadsFile::open(dir.path(), &key(1)).unwrap();
        assert_eq!(empty, Heads::new());
        file.store(&heads()).unwrap();
        drop(file);
        assert_eq!(HeadsFile::open(dir.path(), &key(1)).unwrap().1, heads());
    }

    #[test]
    fn a_memory_is_never_made_anew_over_an_old_one_nor_by_opening() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(HeadsFile::open(dir.path(), &key(1)), Err(HeadsError::Io { .. })));
        HeadsFile::create(dir.path(), &key(1)).unwrap();
        assert!(matches!(HeadsFile::create(dir.path(), &key(1)), Err(HeadsError::Io { .. })));
    }

    #[test]
    fn the_memory_of_another_key_and_of_a_running_witness_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        HeadsFile::create(dir.path(), &key(1)).unwrap();
        assert!(matches!(HeadsFile::open(dir.path(), &key(2)), Err(HeadsError::OtherKey { .. })));
        let _held = HeadsFile::open(dir.path(), &key(1)).unwrap();
        let second = HeadsFile::open(dir.path(), &key(1)).unwrap_err();
        assert!(second.to_string().contains("another witness process"), "{second}");
    }

    #[test]
    fn a_memory_with_any_byte_changed_or_cut_off_is_refused() {
        let text = text(&key(1), &heads());
        assert_eq!(parse(&key(1), &text), Ok(heads()));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let bent = String::from_utf8(bytes).unwrap();
            assert_eq!(parse(&key(1), &bent), Err(None), "byte {at}");
            assert_eq!(parse(&key(1), &text[..at]), Err(None), "cut to {at}");
        }
    }
}
