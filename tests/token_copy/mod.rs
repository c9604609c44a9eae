//! SoftHSM 2.6.1 empties `token.object` and writes it again at every login: a kill between the two loses the token.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, fcntl_lock};

/// A copy of the file that makes a directory a token.
pub struct TokenCopy {
    dir: PathBuf,
    bytes: Vec<u8>,
}

impl TokenCopy {
    /// Of the one token below `tokens`, while nobody writes to it.
    pub fn take(tokens: &Path) -> Self {
        let mut dirs = std::fs::read_dir(tokens).expect("tokens").map(|e| e.expect("an entry").path());
        let dir = dirs.next().expect("a token");
        assert!(dirs.next().is_none(), "one token");
        let _held = lock(&dir);
        let bytes = std::fs::read(dir.join("token.object")).expect("token.object");
        assert!(!bytes.is_empty(), "a whole token");
        Self { dir, bytes }
    }

    /// The token file.
    pub fn file(&self) -> PathBuf {
        self.dir.join("token.object")
    }

    /// Puts the copy back if the file is shorter than it; says whether. SoftHSM's own lock is held meanwhile,
    /// so that a signer within its rewrite is not taken for a torn file.
    pub fn heal(&self) -> bool {
        let _held = lock(&self.dir);
        let found = std::fs::metadata(self.file()).map_or(0, |meta| meta.len());
        if found >= self.bytes.len() as u64 {
            return false;
        }
        let whole = self.dir.with_extension("copy");
        std::fs::write(&whole, &self.bytes).expect("a copy");
        std::fs::rename(&whole, self.file()).expect("the token file");
        println!("SoftHSM's token.object was torn by a kill ({found} bytes): copy put back");
        true
    }
}

/// The lock that SoftHSM holds while it rewrites the file.
fn lock(dir: &Path) -> File {
    let file = OpenOptions::new().write(true).open(dir.join("token.lock")).expect("token.lock");
    fcntl_lock(&file, FlockOperation::LockExclusive).expect("SoftHSM's lock");
    file
}
