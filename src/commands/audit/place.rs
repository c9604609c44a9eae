//! Where an export grows: beside its final name, under a lock, so that it appears whole or not at all.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What an unfinished export was asked to hold; there until it is whole.
pub const PLAN: &str = "PLAN";

/// An export that is not whole yet.
pub struct Place {
    /// Its folder, `OUT.partial`.
    pub dir: PathBuf,
    out: PathBuf,
    _lock: File,
}

impl Place {
    /// Takes the place for this plan: a new one, or the one where the same plan was stopped.
    pub fn take(out: &Path, plan: &str) -> Result<Place, String> {
        if out.exists() {
            return Err(format!("{} exists already; name a new folder", out.display()));
        }
        let mut name = out.as_os_str().to_owned();
        name.push(".partial");
        let dir = PathBuf::from(name);
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => fs::write(dir.join(PLAN), plan).map_err(|e| at(&dir, e))?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(at(&dir, e)),
        }
        let lock = File::open(dir.join(PLAN)).map_err(|e| {
            format!(
                "{} is no export that was stopped ({PLAN}: {e}); remove it or name another folder",
                dir.display()
            )
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(format!("{}: another export is at work there", dir.display()));
            }
            Err(TryLockError::Error(e)) => return Err(at(&dir, e)),
        }
        if fs::read_to_string(dir.join(PLAN)).map_err(|e| at(&dir, e))? != plan {
            let dir = dir.display();
            return Err(format!(
                "{dir} is an export of something else that was stopped; finish that, or remove it"
            ));
        }
        Ok(Place { dir, out: out.to_owned(), _lock: lock })
    }

    /// Removes what a stopped export left in a folder of this name, and makes it anew.
    pub fn fresh(&self, name: &str) -> Result<PathBuf, String> {
        let dir = self.dir.join(name);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&dir, e)),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&dir).map_err(|e| at(&dir, e))?;
        Ok(dir)
    }

    /// Gives a finished folder within the place its name.
    pub fn keep(&self, from: &Path, name: &str) -> Result<(), String> {
        let to = self.dir.join(name);
        fs::rename(from, &to).and_then(|()| sync(&self.dir)).map_err(|e| at(&to, e))
    }

    /// The export is whole: it takes its name.
    pub fn finish(self) -> Result<(), String> {
        let plan = self.dir.join(PLAN);
        let parent = self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        sync(&self.dir)
            .and_then(|()| fs::remove_file(&plan))
            .and_then(|()| fs::rename(&self.dir, &self.out))
            .and_then(|()| sync(parent))
            .map_err(|e| at(&self.out, e))
    }

    /// Takes what there is to its name and the rest away; a single journal's export is begun anew.
    pub fn finish_from(self, from: &Path) -> Result<(), String> {
        fs::rename(from, &self.out).map_err(|e| at(&self.out, e))?;
        self.drop_all();
        Ok(())
    }

    /// Leaves nothing behind.
    pub fn drop_all(self) {
        // What cannot be removed is not taken for an export: its PLAN says so.
        drop(fs::remove_dir_all(&self.dir));
    }
}

/// A new file with these bytes, durable.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|e| at(path, e))
}

/// Makes a folder's names durable.
pub fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// An error about a file.
pub fn at(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_by_one_and_taken_up_again_by_the_same_plan_only() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("all");
        let place = Place::take(&out, "land sea").unwrap();
        let busy = Place::take(&out, "land sea").err().unwrap();
        assert!(busy.contains("another export is at work there"), "{busy}");
        let land = place.fresh("land.partial").unwrap();
        place.keep(&land, "land").unwrap();
        drop(place);
        let other = Place::take(&out, "land").err().unwrap();
        assert!(other.contains("of something else that was stopped"), "{other}");
        let place = Place::take(&out, "land sea").unwrap();
        assert!(place.dir.join("land").is_dir() && !out.exists());
        place.finish().unwrap();
        assert!(out.join("land").is_dir() && !out.join(PLAN).exists());
        let there = Place::take(&out, "land sea").err().unwrap();
        assert!(there.contains("exists already"), "{there}");
        fs::create_dir(dir.path().join("sea.partial")).unwrap();
        let foreign = Place::take(&dir.path().join("sea"), "x").err().unwrap();
        assert!(foreign.contains("is no export that was stopped"), "{foreign}");
    }
}
