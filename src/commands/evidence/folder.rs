//! A folder with evidence: files, and beside them `evidence/NAME.er` for each.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::commands::client::store::write_durably;
use crate::evidence::record::{EvidenceRecord, MAX_RECORD_BYTES};
use crate::timestamp::Hash;

/// Where the records are.
pub const EVIDENCE: &str = "evidence";
/// How their names end.
pub const SUFFIX: &str = ".er";

/// Files of the folder itself, sorted by name.
pub fn files(dir: &Path) -> Result<Vec<String>, String> {
    let of = |item: io::Result<fs::DirEntry>| -> io::Result<Option<String>> {
        let item = item?;
        let name = item.file_name().to_string_lossy().into_owned();
        Ok(item.file_type()?.is_file().then_some(name))
    };
    let names = fs::read_dir(dir).and_then(|all| all.map(of).collect::<io::Result<Vec<_>>>());
    let mut names: Vec<String> = names.map_err(|e| at(dir, e))?.into_iter().flatten().collect();
    names.sort();
    Ok(names)
}

/// Names of the files that have a record, sorted.
pub fn recorded(dir: &Path) -> Result<Vec<String>, String> {
    let names = files(&dir.join(EVIDENCE))?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).map(str::to_owned).collect())
}

/// The record of a file.
pub fn read_record(dir: &Path, name: &str) -> Result<EvidenceRecord, String> {
    let path = record_path(dir, name);
    let mut der = Vec::new();
    let file = File::open(&path).and_then(|f| f.take(MAX_RECORD_BYTES as u64 + 1).read_to_end(&mut der));
    file.map_err(|e| at(&path, e))?;
    EvidenceRecord::from_der(&der).map_err(|e| format!("{}: {e}", path.display()))
}

/// Writes a record so that after any interruption the old or the new one is there.
pub fn write_record(dir: &Path, name: &str, record: &EvidenceRecord) -> Result<(), String> {
    write_durably(&record_path(dir, name), &record.to_der()).map_err(|e| e.to_string())
}

fn record_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(EVIDENCE).join(format!("{name}{SUFFIX}"))
}

/// Value of `hash` for a file of any length.
pub fn digest(hash: Hash, path: &Path) -> Result<Vec<u8>, String> {
    let mut file = File::open(path).map_err(|e| at(path, e))?;
    let mut context = hash.context();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(context.finish().as_ref().to_vec()),
            Ok(n) => context.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(at(path, e)),
        }
    }
}

/// Says which file an error is about.
pub fn at(path: &Path, error: io::Error) -> String {
    format!("{}: {error}", path.display())
}
