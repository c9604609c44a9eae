//! Several journals in one export: a folder each, the newest root checkpoint and every leaf of its log, so that
//! all are seen to be of one history and none to be left out unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use super::folder::{CHECKPOINT, digest_of, unreadable};
use super::manifest::{MANIFEST, is_plain};
use super::place::{at, write};
use super::progress::{Progress, Unit};
use super::root_log::{self, LABEL, RootLog};
use super::trust::Pins;
use super::verify::{look, within};
use super::{Fault, Report};
use crate::commands::client::http::Connection;
use crate::commands::verify::material::with_trust;
use crate::digest::Digest;
use crate::journal::checkpoint::{Checkpoint, open_note};
use crate::journal::tile_name::{Content, TileName, WIDTH};
use crate::journal::verify::{ExportFacts, Pace, verify_checkpoint};

/// A line `SHA-256  NAME` for each journal's MANIFEST and for the root log's files, as `sha256sum` reads it.
pub const JOURNALS: &str = "JOURNALS";
/// Every leaf of the root log.
pub const HEADS: &str = "root.heads";
/// The appliance's journal that says why an epoch began.
const EVENTS: &str = "/j/own.events";

/// Verifies a folder of either kind, a folder of folders, or a file.
pub fn verify_any(path: &Path, pins: &Pins, pace: Pace) -> Result<Vec<(PathBuf, Report)>, String> {
    if path.join(JOURNALS).exists() {
        return Ok(verify(path, pins, pace, &|_| false));
    }
    let jobs = within(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let reports = look(&jobs, pins, pace, &|_| false);
    Ok(jobs.into_iter().zip(reports).collect())
}

/// Every journal's folder, then the set.
pub fn verify(dir: &Path, pins: &Pins, pace: Pace, pick: super::Pick) -> Vec<(PathBuf, Report)> {
    let mut set = Report::default();
    let index = match index(dir) {
        Ok(index) => index,
        Err(fault) => {
            set.note(fault);
            return vec![(dir.to_owned(), set)];
        }
    };
    let folder =
        |name: &String| name.strip_suffix(MANIFEST).and_then(|n| n.strip_suffix('/')).map(|n| dir.join(n));
    let jobs: Vec<_> = index.keys().filter_map(folder).collect();
    let reports = look(&jobs, pins, pace, pick);
    let facts: Vec<_> = reports.iter().filter_map(|r| r.checked.as_ref()).map(|c| &c.facts).collect();
    if let Err(fault) = check(dir, &index, &facts, pins, &mut set) {
        set.note(fault);
    }
    if let Some(missing) = pins.missing() {
        set.note(Fault::indeterminate(format!("nothing says who made it: give {missing}")));
    }
    let mut all: Vec<_> = jobs.into_iter().zip(reports).collect();
    all.push((dir.to_owned(), set));
    all
}

fn index(dir: &Path) -> Result<BTreeMap<String, Digest>, Fault> {
    let text = fs::read_to_string(dir.join(JOURNALS));
    let text = text.map_err(|e| Fault::indeterminate(format!("{JOURNALS} cannot be read: {e}")))?;
    let mut files = BTreeMap::new();
    for line in text.lines() {
        let pair = line.split_once("  ").and_then(|(digest, name)| Some((name, digest.parse().ok()?)));
        let named = pair
            .filter(|(name, _): &(&str, Digest)| is_plain(name.strip_suffix("/MANIFEST").unwrap_or(name)));
        let (name, digest) =
            named.ok_or_else(|| Fault::failed(format!("{line:?} is no line of it")).of(JOURNALS))?;
        files.insert(name.to_owned(), digest);
    }
    if index_text(&files) == text {
        Ok(files)
    } else {
        Err(Fault::failed("its lines are not in order").of(JOURNALS))
    }
}

fn index_text(files: &BTreeMap<String, Digest>) -> String {
    files.iter().fold(String::new(), |mut text, (name, digest)| {
        let _ = writeln!(text, "{digest}  {name}");
        text
    })
}

fn check(
    dir: &Path,
    index: &BTreeMap<String, Digest>,
    facts: &[&ExportFacts],
    pins: &Pins,
    report: &mut Report,
) -> Result<(), Fault> {
    for (name, expected) in index {
        let found = digest_of(&dir.join(name)).map_err(|e| unreadable(name, &e))?;
        if found != *expected {
            return Err(Fault::failed(format!("{name} was altered: its SHA-256 is {found}, not {expected}")));
        }
    }
    for name in [CHECKPOINT, HEADS] {
        if !index.contains_key(name) {
            return Err(Fault::failed(format!("{name} is not in {JOURNALS}")));
        }
    }
    let journals = index.len() - 2;
    report.lines.push(format!("{journals} journals, each as {JOURNALS} says"));
    report.lines.extend(spare(dir, index).map_err(|e| unreadable(".", &e))?);
    let newest = checkpoint(dir, pins)?;
    let sizes: BTreeSet<u64> = facts.iter().map(|facts| facts.proof.checkpoint.size).collect();
    let heads = File::open(dir.join(HEADS)).map_err(|e| unreadable(HEADS, &e))?;
    let log = root_log::read(BufReader::new(heads), &sizes).map_err(|e| Fault::failed(e).of(HEADS))?;
    if (log.size, log.root) != (newest.size, newest.root) {
        let reason = format!("its {} heads have root {}, not that of {CHECKPOINT}", log.size, log.root);
        return Err(Fault::failed(reason).of(HEADS));
    }
    one_log(&newest, &log, facts)?;
    report.lines.push(format!("root log {} of {} heads, {}", newest.origin, newest.size, newest.root));
    report.lines.extend(left_out(&log, facts));
    epochs(facts, report)
}

fn checkpoint(dir: &Path, pins: &Pins) -> Result<Checkpoint, Fault> {
    let text = fs::read_to_string(dir.join(CHECKPOINT)).map_err(|e| unreadable(CHECKPOINT, &e))?;
    let newest = with_trust(&pins.roots, pins.head_key.as_deref(), |trust| verify_checkpoint(&text, trust));
    newest.map(|(checkpoint, _)| checkpoint).map_err(|e| Fault::failed(e.to_string()).of(CHECKPOINT))
}

/// Every journal's head stands in the log that the heads make.
fn one_log(newest: &Checkpoint, log: &RootLog, facts: &[&ExportFacts]) -> Result<(), Fault> {
    for facts in facts {
        let (origin, theirs) = (&facts.charter.origin, &facts.proof.checkpoint);
        if theirs.origin != newest.origin || log.roots.get(&theirs.size) != Some(&theirs.root) {
            return Err(Fault::failed(format!(
                "{origin} stands in another root log: its checkpoint of {} leaves is none of {}'s",
                theirs.size, newest.origin
            )));
        }
    }
    Ok(())
}

/// Journals of the log that the export does not hold.
fn left_out(log: &RootLog, facts: &[&ExportFacts]) -> Vec<String> {
    let held: BTreeSet<_> = facts.iter().map(|facts| facts.charter.origin.as_str()).collect();
    let missing = log.journals.iter().filter(|(origin, _)| !held.contains(origin.as_str()));
    missing.map(|(origin, size)| format!("NOT IN THIS EXPORT: {origin}, {size} entries")).collect()
}

/// Each epoch change names a statement of `own.events`.
fn epochs(facts: &[&ExportFacts], report: &mut Report) -> Result<(), Fault> {
    let events = facts.iter().find(|facts| facts.charter.origin.ends_with(EVENTS) && facts.is_whole());
    for facts in facts {
        for epoch in &facts.epochs {
            let origin = &facts.charter.origin;
            let Some(events) = events else {
                report
                    .lines
                    .push(format!("NOT CHECKED: why {origin} has an epoch change; own.events is not here"));
                continue;
            };
            if !events.epochs.iter().any(|other| other.statement == epoch.statement) {
                let reason = "no entry of own.events has the statement of its epoch change";
                let fault = Fault::failed(format!("{origin}, entry {}: {reason}", epoch.seq));
                return Err(Fault { entry: Some(epoch.seq), ..fault });
            }
        }
    }
    Ok(())
}

fn spare(dir: &Path, index: &BTreeMap<String, Digest>) -> io::Result<Vec<String>> {
    let mut spare = Vec::new();
    for item in fs::read_dir(dir)? {
        let name = item?.file_name().to_string_lossy().into_owned();
        if name != JOURNALS
            && !index.contains_key(&name)
            && !index.contains_key(&format!("{name}/{MANIFEST}"))
        {
            spare.push(format!("NOT CHECKED: {name} is not in {JOURNALS}"));
        }
    }
    spare.sort();
    Ok(spare)
}

/// Adds the root log to the journals' folders, and the index that makes a set of them.
pub fn complete(dir: &Path, names: &[String], api: &Connection, public: &Connection) -> Result<(), String> {
    let get = |from: &Connection, path: &str| {
        let reply = from.get(path).and_then(|reply| reply.success(path));
        reply.map(|reply| reply.body).map_err(|e| e.to_string())
    };
    let note = get(api, "/v1/checkpoint")?;
    let text = str::from_utf8(&note).map_err(|_| "the checkpoint is not text")?;
    let size = open_note(text).map_err(|e| e.to_string())?.checkpoint.size;
    let mut heads = LABEL.as_bytes().to_vec();
    let progress = Progress::new("root log", Unit::Entries, Some(size));
    for tile in bundles(size) {
        let path = format!("/root/{tile}");
        let hint =
            |e| format!("{e}\n  the root log is read from the public listener; name it with --public-url");
        heads.extend(get(public, &path).map_err(hint)?);
        progress.add(u64::from(tile.width));
    }
    let mut files = BTreeMap::new();
    for (name, bytes) in [(CHECKPOINT, &note), (HEADS, &heads)] {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&path, e)),
            _ => write(&path, bytes)?,
        }
        files.insert(name.to_owned(), Digest::of(bytes));
    }
    for name in names {
        let path = dir.join(name).join(MANIFEST);
        files.insert(format!("{name}/{MANIFEST}"), digest_of(&path).map_err(|e| at(&path, e))?);
    }
    write(&dir.join(JOURNALS), index_text(&files).as_bytes())
}

/// Entry bundles of a log of `size` leaves, in order.
fn bundles(size: u64) -> impl Iterator<Item = TileName> {
    let wide = u64::from(WIDTH);
    (0..size.div_ceil(wide)).map(move |index| {
        let width = (size - index * wide).min(wide) as u16;
        TileName { content: Content::Entries, index, width }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_in_full_bundles_and_one_partial() {
        let names = |size| bundles(size).map(|tile| tile.to_string()).collect::<Vec<_>>();
        assert_eq!(names(600), ["tile/entries/000", "tile/entries/001", "tile/entries/002.p/88"]);
        assert_eq!(names(256), ["tile/entries/000"]);
        assert!(names(0).is_empty());
    }

    #[test]
    fn an_index_is_read_in_its_one_form_and_leads_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(dir.path().join(JOURNALS), text).unwrap();
            index(dir.path())
        };
        let names = ["checkpoint.txt", "land/MANIFEST", "own.events/MANIFEST"];
        let files = BTreeMap::from(names.map(|name| (name.to_owned(), Digest::of(name.as_bytes()))));
        let text = index_text(&files);
        assert_eq!(read(&text).unwrap(), files);
        let dots = text.replace("land/", "../");
        for bad in [text.trim_end().to_owned(), text.to_uppercase(), dots, text.replace("land/", "a/b/")] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
