//! The folder `FILE.pechat` beside a sealed file: plan, receipts, the journal-head key as first seen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::plan::Plan;
use super::runs::{self, StoredRun};
use super::{ClientError, at};
use crate::replace::replace;

/// The folder of one sealed file.
#[derive(Debug, Clone)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The folder that belongs to `file`; nothing is made yet.
    pub fn beside(file: &Path) -> Store {
        let mut name = file.as_os_str().to_owned();
        name.push(".pechat");
        Store { dir: name.into() }
    }

    /// Path of the plan.
    pub fn plan_path(&self) -> PathBuf {
        self.dir.join("plan")
    }

    /// Path of the receipts.
    pub fn receipts_path(&self) -> PathBuf {
        self.dir.join("receipts.jsonl")
    }

    /// Path of the journal-head key (PEM) kept at the first sealing.
    pub fn head_key_path(&self) -> PathBuf {
        self.dir.join("journal-head.pem")
    }

    /// Makes the folder (0700) and takes the lock that keeps a second `seal` of the same file out.
    pub fn lock(&self) -> Result<File, ClientError> {
        match fs::DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(at(&self.dir, e)),
            _ => {}
        }
        let path = self.dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|e| at(&path, e))?;
        file.try_lock().map_err(|_| ClientError::InUse(self.dir.display().to_string()))?;
        Ok(file)
    }

    /// The plan, if one was made.
    pub fn plan(&self) -> Result<Option<Plan>, ClientError> {
        let path = self.plan_path();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Plan::parse(&text)?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(&path, e)),
        }
    }

    /// Makes the plan durable. Only after this returns may anything be sent.
    pub fn write_plan(&self, plan: &Plan) -> Result<(), ClientError> {
        write_durably(&self.plan_path(), plan.text().as_bytes())
    }

    /// Keeps a file (0600) in the folder, durably and whole.
    pub fn write_head_key(&self, pem: &[u8]) -> Result<(), ClientError> {
        write_durably(&self.head_key_path(), pem)
    }

    /// The receipts so far; a torn last write is left out.
    pub fn receipts(&self) -> Result<Vec<StoredRun>, ClientError> {
        Ok(runs::parse(&self.receipts_text()?)?.0)
    }

    /// Opens the receipts for appending, with a torn last write cut off.
    pub fn append(&self) -> Result<Receipts, ClientError> {
        let path = self.receipts_path();
        let (_, whole) = runs::parse(&self.receipts_text()?)?;
        let file =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(|e| at(&path, e))?;
        file.set_len(whole as u64).map_err(|e| at(&path, e))?;
        sync_dir(&self.dir)?;
        Ok(Receipts { file, path })
    }

    fn receipts_text(&self) -> Result<Vec<u8>, ClientError> {
        let path = self.receipts_path();
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other.map_err(|e| at(&path, e)),
        }
    }
}

/// `receipts.jsonl`, open for appending.
#[derive(Debug)]
pub struct Receipts {
    file: File,
    path: PathBuf,
}

impl Receipts {
    /// Appends runs and makes them durable.
    pub fn add(&mut self, runs: &[StoredRun]) -> Result<(), ClientError> {
        let mut text = Vec::new();
        for run in runs {
            serde_json::to_writer(&mut text, run).map_err(|e| at(&self.path, e.into()))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).and_then(|()| self.file.sync_data()).map_err(|e| at(&self.path, e))
    }
}

/// Replaces `path` (0600) with `bytes`: after a crash it holds either the old or the new content.
pub fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    replace(path, bytes, 0o600).map_err(|e| at(path, e))
}

fn sync_dir(dir: &Path) -> Result<(), ClientError> {
    File::open(dir).and_then(|d| d.sync_all()).map_err(|e| at(dir, e))
}

#[cfg(test)]
mod tests {
    use super::super::runs::tests::stored;
    use super::*;

    #[test]
    fn plan_survives_and_a_second_seal_of_the_same_file_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::beside(&dir.path().join("r.jsonl"));
        let lock = store.lock().unwrap();
        assert!(matches!(store.lock(), Err(ClientError::InUse(_))));
        assert_eq!(store.plan().unwrap(), None);
        let plan = Plan::make("j", b"a\n", |b| b.fill(7)).unwrap();
        store.write_plan(&plan).unwrap();
        assert_eq!(store.plan().unwrap(), Some(plan));
        drop(lock);
        store.lock().unwrap();
    }

    #[test]
    fn torn_receipt_is_cut_off_before_new_ones_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::beside(&dir.path().join("r.jsonl"));
        let _lock = store.lock().unwrap();
        store.append().unwrap().add(&[stored(1, 2)]).unwrap();
        let mut file = OpenOptions::new().append(true).open(store.receipts_path()).unwrap();
        file.write_all(b"{\"line\":3,\"fir").unwrap();
        assert_eq!(store.receipts().unwrap(), vec![stored(1, 2)]);
        store.append().unwrap().add(&[stored(3, 2)]).unwrap();
        assert_eq!(store.receipts().unwrap(), vec![stored(1, 2), stored(3, 2)]);
    }
}
