//! The folder of `pechat audit export`, verified from nothing but itself and the auditor's own keys.

pub mod twin;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::manifest::{MANIFEST, Manifest};
use super::trust::Pins;
use super::verify::{facts_json, head_line, lines};
use super::{Fault, Pick, Report};
use crate::clock::UtcMicros;
use crate::commands::verify::material::{certificates, public_key, with_trust};
use crate::digest::Digest;
use crate::journal::checkpoint::{Checkpoint, open_note};
use crate::journal::entry::{Entry, EntryKind};
use crate::journal::range_export::Preamble;
use crate::journal::receipt::{HeadProof, parse_single};
use crate::journal::tenure::Statement;
use crate::journal::twin::Twin;
use crate::journal::verify::{
    Checked, ExportFacts, Pace, verify_checkpoint, verify_continuation, verify_head, verify_receipt,
};
use crate::timestamp::revocation::check_revocation;

/// The whole journal.
pub const EXPORT: &str = "journal.export";
/// The newest head when the folder was made, and its way up.
pub const HEAD: &str = "head.json";
/// From the export's head to that head; there when they differ in size.
pub const CONSISTENCY: &str = "consistency.json";
/// The newest root checkpoint.
pub const CHECKPOINT: &str = "checkpoint.txt";
/// Receipt of the export's last entry, for `verify.py`.
pub const RECEIPT: &str = "receipt.txt";
/// The root certificate the auditor trusted when the folder was made.
pub const ROOT: &str = "root.pem";
/// The journal-head key.
pub const HEAD_KEY: &str = "journal-head.pem";

/// The statement of control entry `seq`.
pub fn statement_name(seq: u64) -> String {
    format!("statement-{seq}.json")
}

/// Longest file read into memory, bytes.
const MAX_FILE: u64 = 16 << 20;

/// A consistency path as the appliance answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consistency {
    /// Size of the export's head.
    pub old: u64,
    /// Size of the newer head.
    pub new: u64,
    /// RFC 6962 section 2.1.2.
    pub path: Vec<Digest>,
}

/// A folder whose files are what the MANIFEST says.
struct Folder<'p> {
    dir: &'p Path,
    manifest: Manifest,
    trusted: Pins,
}

/// Verifies a folder, and gives back the entries that are picked.
pub fn verify(dir: &Path, pins: &Pins, pace: Pace, pick: Pick) -> Report {
    let mut report = Report::default();
    match Folder::open(dir, pins, &mut report) {
        Err(fault) => report.note(fault),
        Ok(folder) => {
            if let Err(fault) = folder.check(pace, pick, &mut report) {
                report.note(fault);
            }
            if let Some(missing) = pins.missing() {
                folder.own_word(missing, &mut report);
            }
        }
    }
    report
}

impl<'p> Folder<'p> {
    fn open(dir: &'p Path, pins: &Pins, report: &mut Report) -> Result<Folder<'p>, Fault> {
        let text = fs::read_to_string(dir.join(MANIFEST));
        let text = text.map_err(|e| Fault::indeterminate(format!("{MANIFEST} cannot be read: {e}")))?;
        let manifest = Manifest::parse(&text).map_err(|e| Fault::failed(e).of(MANIFEST))?;
        // The export's own hash is taken while it is replayed.
        for (name, expected) in manifest.0.iter().filter(|(name, _)| *name != EXPORT) {
            let found = digest_of(&dir.join(name)).map_err(|e| unreadable(name, &e))?;
            if found != *expected {
                return Err(altered(name, &found, expected));
            }
        }
        report.lines.push(format!("{} files are as the MANIFEST says", manifest.0.len()));
        let spare = spare(dir, &manifest).map_err(|e| unreadable(".", &e))?;
        report
            .lines
            .extend(spare.into_iter().map(|name| format!("NOT CHECKED: {name} is not in the MANIFEST")));
        let mut folder = Folder { dir, manifest, trusted: pins.clone() };
        folder.fill_in()?;
        Ok(folder)
    }

    /// Where the auditor names no key, the folder's own shows at least whether it fits together.
    fn fill_in(&mut self) -> Result<(), Fault> {
        if self.trusted.roots.is_empty() && self.has(ROOT) {
            self.trusted.roots = certificates(&self.dir.join(ROOT)).map_err(Fault::failed)?;
        }
        if self.trusted.head_key.is_none() && self.has(HEAD_KEY) {
            self.trusted.head_key = Some(public_key(&self.dir.join(HEAD_KEY)).map_err(Fault::failed)?);
        }
        Ok(())
    }

    fn check(&self, pace: Pace, pick: Pick, report: &mut Report) -> Result<(), Fault> {
        let receipt = self.optional(RECEIPT)?.map(|bytes| self.receipt(&bytes)).transpose();
        let seq = receipt.as_ref().ok().and_then(Option::as_ref).map(|(entry, _)| entry.seq);
        let pick = |entry: &Entry| Some(entry.seq) == seq || is_control(entry) || pick(entry);
        let (checked, twin) = std::thread::scope(|scope| {
            let twin = scope.spawn(|| self.twin());
            let checked = self.export(pace, &pick);
            let gone = |_| Err(Fault::indeterminate("the SHA3-256 tree ended early"));
            (checked, twin.join().unwrap_or_else(gone))
        });
        let checked = checked?;
        let receipt = receipt?;
        let facts = checked.facts.clone();
        report.lines.extend(lines(&facts));
        report.facts = facts_json(&facts);
        if let Some((entry, root)) = receipt {
            if !checked.picked.iter().any(|(sealed, _)| *sealed == entry) {
                return Err(Fault::failed("its entry is not that of the export").of(RECEIPT));
            }
            self.same_log(RECEIPT, &root, &facts)?;
        }
        let controls = checked.picked.iter().map(|(entry, _)| entry).filter(|entry| is_control(entry));
        self.statements(&facts, controls, report)?;
        report.checked = Some(checked);
        self.head(&facts, report)?;
        self.checkpoint(&facts)?;
        self.second_root(twin?, &facts, report)?;
        self.revocation(report)
    }

    /// Hash and replay at once; an altered file is altered, whatever the replay says, which tells where.
    fn export(&self, pace: Pace, pick: Pick) -> Result<Checked, Fault> {
        let path = self.dir.join(EXPORT);
        let Some(expected) = self.manifest.0.get(EXPORT) else {
            return Err(Fault::failed(format!("{EXPORT} is not in the MANIFEST")));
        };
        let (found, checked) = std::thread::scope(|scope| {
            let hashing = scope.spawn(|| digest_of(&path));
            let checked = super::verify::checked(&path, &self.trusted, pace, pick);
            let gone = |_| Err(io::Error::other("the hashing thread ended"));
            (hashing.join().unwrap_or_else(gone), checked)
        });
        let found = found.map_err(|e| unreadable(EXPORT, &e))?;
        if found == *expected {
            return checked.map_err(|fault| fault.of(EXPORT));
        }
        let altered = altered(EXPORT, &found, expected);
        Err(match checked {
            Ok(_) => altered,
            Err(Fault { reason, entry, offset, .. }) => {
                Fault { reason: format!("{}; {reason}", altered.reason), entry, offset, ..altered }
            }
        })
    }

    fn receipt(&self, bytes: &[u8]) -> Result<(Entry, Checkpoint), Fault> {
        let bad = |reason: String| Fault::failed(reason).of(RECEIPT);
        let text = str::from_utf8(bytes).map_err(|_| bad("is not UTF-8".into()))?;
        parse_single(text).map_err(|e| bad(e.to_string()))?;
        let facts = self.trusting(|trust| verify_receipt(text, trust)).map_err(|e| bad(e.to_string()))?;
        Ok((facts.entry, facts.proof.checkpoint))
    }

    /// Every control entry's statement: about that entry, of the owner at the time.
    fn statements<'e>(
        &self,
        facts: &ExportFacts,
        controls: impl Iterator<Item = &'e Entry>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        // Whose it was before a part's first entry, the part does not say.
        let mut owner = (facts.first == 0).then(|| facts.charter.institution.clone());
        for entry in controls {
            let name = statement_name(entry.seq);
            let Some(text) = self.optional(&name)? else {
                report.lines.push(format!("NOT CHECKED: why entry {}; there is no {name}", entry.seq));
                continue;
            };
            let bad = |reason: String| Fault::failed(reason).of(&name);
            if Digest::of(&text) != entry.digest {
                return Err(bad(format!("is not what entry {} was sealed for", entry.seq)));
            }
            let said = Statement::parse(&text).map_err(bad)?;
            let about = (said.kind() as u16, &*said.origin, said.seq);
            if about != (entry.kind, &*facts.charter.origin, entry.seq) {
                return Err(bad("is about another entry".into()));
            }
            if owner.as_ref().is_some_and(|owner| owner.as_deref() != Some(said.institution.as_str())) {
                return Err(bad(format!("is about a journal of {}, which it was not", said.institution)));
            }
            let persons: Vec<_> = said.agreed_by.iter().map(|by| &*by.person).collect();
            let (seq, persons) = (entry.seq, persons.join(", "));
            report.lines.push(match &said.to {
                Some(to) => format!("handed over to {to} by entry {seq}, as {persons} agreed"),
                None => format!("frozen by entry {seq}, as {persons} agreed"),
            });
            owner = said.to.map(|to| Some(String::from(to))).or(owner);
        }
        Ok(())
    }

    fn head(&self, facts: &ExportFacts, report: &mut Report) -> Result<(), Fault> {
        let Some(bytes) = self.optional(HEAD)? else { return Ok(()) };
        let bad = |reason: String| Fault::failed(reason).of(HEAD);
        let proof: HeadProof = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let newer = self.trusting(|trust| verify_head(&proof, trust)).map_err(|e| bad(e.to_string()))?;
        self.same_log(HEAD, &newer.checkpoint, facts)?;
        let old = &facts.proof.head;
        let path =
            if newer.head.size == old.size { Vec::new() } else { self.path(old.size, newer.head.size)? };
        verify_continuation(old, &newer.head, &path).map_err(|e| bad(e.to_string()))?;
        if newer.head.size > old.size {
            report.lines.push(format!("continued since, consistently: {}", head_line(&newer)));
        }
        Ok(())
    }

    fn path(&self, old: u64, new: u64) -> Result<Vec<Digest>, Fault> {
        let bytes = self.optional(CONSISTENCY)?;
        let bytes = bytes.ok_or_else(|| {
            Fault::indeterminate(format!(
                "nothing leads from {old} to {new} entries: there is no {CONSISTENCY}"
            ))
        })?;
        let bad = |reason: String| Fault::failed(reason).of(CONSISTENCY);
        let found: Consistency = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if (found.old, found.new) != (old, new) {
            return Err(bad(format!(
                "is from {} to {} entries, not from {old} to {new}",
                found.old, found.new
            )));
        }
        Ok(found.path)
    }

    fn checkpoint(&self, facts: &ExportFacts) -> Result<(), Fault> {
        let Some(bytes) = self.optional(CHECKPOINT)? else { return Ok(()) };
        let bad = |reason: String| Fault::failed(reason).of(CHECKPOINT);
        let text = str::from_utf8(&bytes).map_err(|_| bad("is not UTF-8".into()))?;
        let (newest, _) =
            self.trusting(|trust| verify_checkpoint(text, trust)).map_err(|e| bad(e.to_string()))?;
        self.same_log(CHECKPOINT, &newest, facts)?;
        if newest.size < facts.proof.checkpoint.size {
            return Err(bad(format!(
                "the root log has {} leaves, fewer than the {} under the export",
                newest.size, facts.proof.checkpoint.size
            )));
        }
        Ok(())
    }

    /// What the SHA3-256 tree says, if it is under the same root log.
    fn second_root(
        &self,
        held: Option<twin::Held>,
        facts: &ExportFacts,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let Some(held) = held else {
            if facts.is_whole() {
                report.lines.push("no SHA3-256 root yet; an export made later holds one".into());
            }
            return Ok(());
        };
        self.same_log(twin::RECEIPT, &held.checkpoint, facts)?;
        let Twin { size, twin, .. } = held.twin;
        report.lines.push(if held.covered {
            format!("SHA3-256 root of its first {size} entries, sealed in own.twins: {twin}")
        } else {
            format!(
                "NOT CHECKED: the SHA3-256 root of its first {size} entries; this part does not hold them all"
            )
        });
        Ok(())
    }

    /// One root log, and of one size only one root.
    fn same_log(&self, file: &str, other: &Checkpoint, facts: &ExportFacts) -> Result<(), Fault> {
        let ours = &facts.proof.checkpoint;
        if other.origin != ours.origin {
            let reason = format!("is of root log {}, the export of {}", other.origin, ours.origin);
            return Err(Fault::failed(reason).of(file));
        }
        if other.size == ours.size && other.root != ours.root {
            let reason = format!(
                "the root log of {} leaves has two roots, {} here and {} in the export: a fork",
                ours.size, other.root, ours.root
            );
            return Err(Fault::failed(reason).of(file));
        }
        Ok(())
    }

    fn revocation(&self, report: &mut Report) -> Result<(), Fault> {
        let mut lists = Vec::new();
        for name in self.manifest.0.keys().filter(|name| name.ends_with(".crl")) {
            lists.push(self.read(name)?);
        }
        let token = self.export_token()?;
        let oldest = check_revocation(&token, &self.trusted.roots, &lists).map_err(|error| {
            let reason = format!("the export's token: {error}");
            if error.is_revoked() { Fault::failed(reason) } else { Fault::indeterminate(reason) }
        })?;
        let of = UtcMicros(oldest.0).iso8601();
        report.lines.push(format!("no certificate of its token was revoked, by lists of {of} or later"));
        Ok(())
    }

    fn export_token(&self) -> Result<Vec<u8>, Fault> {
        let bad = |reason: String| Fault::failed(reason).of(EXPORT);
        let file = File::open(self.dir.join(EXPORT)).map_err(|e| unreadable(EXPORT, &e))?;
        let header = Preamble::read(&mut io::BufReader::new(file));
        let (header, _) = header.map_err(|e| bad(e.to_string()))?;
        let note = open_note(&header.proof().checkpoint).map_err(|e| bad(e.to_string()))?;
        note.token().map(|line| line.payload.clone()).ok_or_else(|| bad("holds no token".into()))
    }

    /// The folder vouches for itself with keys that anybody could have put there.
    fn own_word(&self, missing: &str, report: &mut Report) {
        report.note(Fault::indeterminate(format!(
            "everything holds by the keys in the folder itself; to say more, give {missing}, received another way"
        )));
        let roots = self.trusted.roots.iter().map(|der| ("root certificate", Digest::of(der)));
        let keys = self.trusted.head_key.iter().map(|der| ("journal-head key", Digest::of(der)));
        report
            .lines
            .extend(roots.chain(keys).map(|(what, digest)| format!("SHA-256 of the {what}: {digest}")));
    }

    fn trusting<R>(&self, check: impl FnOnce(&crate::journal::verify::Trust) -> R) -> R {
        with_trust(&self.trusted.roots, self.trusted.head_key.as_deref(), check)
    }

    fn has(&self, name: &str) -> bool {
        self.manifest.0.contains_key(name)
    }

    fn optional(&self, name: &str) -> Result<Option<Vec<u8>>, Fault> {
        self.has(name).then(|| self.read(name)).transpose()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        let mut bytes = Vec::new();
        let file = File::open(self.dir.join(name));
        let read = file.and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes));
        read.map_err(|e| unreadable(name, &e)).map(|_| bytes)
    }
}

fn is_control(entry: &Entry) -> bool {
    [EntryKind::Freeze as u16, EntryKind::HandOver as u16].contains(&entry.kind)
}

fn altered(name: &str, found: &Digest, expected: &Digest) -> Fault {
    Fault::failed(format!("{name} was altered: its SHA-256 is {found}, not {expected}"))
}

pub(super) fn unreadable(name: &str, error: &io::Error) -> Fault {
    if error.kind() == io::ErrorKind::NotFound {
        return Fault::failed(format!("{name} is in the MANIFEST but not in the folder"));
    }
    Fault::indeterminate(format!("{name} cannot be read: {error}"))
}

/// Files beside those of the MANIFEST.
fn spare(dir: &Path, manifest: &Manifest) -> io::Result<Vec<String>> {
    let mut spare = Vec::new();
    for item in fs::read_dir(dir)? {
        let name = item?.file_name().to_string_lossy().into_owned();
        if name != MANIFEST && !manifest.0.contains_key(&name) {
            spare.push(name);
        }
    }
    spare.sort();
    Ok(spare)
}

/// SHA-256 of a file of any length.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => hasher.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Digest::try_from(hasher.finish().as_ref()).map_err(io::Error::other)
}
