//! Whether a run of receipts proves its lines: entries → journal tree → root log → signed and stamped
//! checkpoint. Works with nothing but the stored receipts, the root certificate and the head key.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use der::Decode;
use der::referenced::OwnedToRef;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::plan::{Plan, Planned};
use super::runs::{Run, StoredRun};
use crate::digest::Digest;
use crate::journal::RequestId;
use crate::journal::checkpoint::{Head, OpenNote, open_note};
use crate::journal::entry::{Entry, EntryKind, journal_id};
use crate::journal::tree::{leaf_hash, root_of_range, verify_inclusion};
use crate::timestamp::verify::verify_sha256;

/// The journal head's public key, as pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadKey {
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}

/// Why stored evidence proves nothing, or something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// A key or certificate file cannot be used.
    #[error("{path}: {reason}")]
    Key {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The receipt of these lines does not hold.
    #[error("{lines}: the receipt does not hold: {reason}")]
    Receipt {
        /// Which lines of the file.
        lines: String,
        /// What does not fit.
        reason: String,
    },
}

/// Where and when the verified lines stand in their journal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proved {
    /// Lines with a receipt that holds.
    pub lines: u64,
    /// Checkpoints they rest on.
    pub checkpoints: usize,
    /// Time of the first token, microseconds UTC.
    pub from: Option<i64>,
    /// Time of the last token, microseconds UTC.
    pub to: Option<i64>,
}

/// Checks runs one after another; each distinct checkpoint's signature and token are checked once.
pub struct Verifier {
    head_key: HeadKey,
    root: Vec<u8>,
    notes: HashMap<Digest, OpenNote>,
    proved: Proved,
}

impl HeadKey {
    /// Reads a PEM `PUBLIC KEY` file.
    pub fn read(path: &Path) -> Result<HeadKey, EvidenceError> {
        let name = path.display().to_string();
        let pem =
            fs::read(path).map_err(|e| EvidenceError::Key { path: name.clone(), reason: e.to_string() })?;
        Self::from_pem(&pem, &name)
    }

    /// The same from bytes; `name` is for the error text.
    pub fn from_pem(pem: &[u8], name: &str) -> Result<HeadKey, EvidenceError> {
        let bad = || EvidenceError::Key { path: name.to_owned(), reason: "is not a PEM public key".into() };
        let (label, spki) = der::pem::decode_vec(pem).map_err(|_| bad())?;
        let readable = SubjectPublicKeyInfoOwned::from_der(&spki).is_ok();
        if label == "PUBLIC KEY" && readable { Ok(HeadKey { spki }) } else { Err(bad()) }
    }

    fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        let Ok(spki) = SubjectPublicKeyInfoOwned::from_der(&self.spki) else { return false };
        let point = spki.owned_to_ref().subject_public_key.raw_bytes().to_vec();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(text.as_bytes(), signature).is_ok()
    }
}

/// The first certificate of a PEM file, DER.
pub fn root_certificate(path: &Path) -> Result<Vec<u8>, EvidenceError> {
    let bad = |reason: String| EvidenceError::Key { path: path.display().to_string(), reason };
    let pem = fs::read(path).map_err(|e| bad(e.to_string()))?;
    let (label, der) = der::pem::decode_vec(&pem).map_err(|_| bad("is not PEM".into()))?;
    if label == "CERTIFICATE" { Ok(der) } else { Err(bad("is not a PEM certificate".into())) }
}

impl Verifier {
    /// Trusts the head key and the root certificate in `ca` (PEM), nothing else.
    pub fn new(head_key: HeadKey, ca: &Path) -> Result<Verifier, EvidenceError> {
        Ok(Verifier {
            head_key,
            root: root_certificate(ca)?,
            notes: HashMap::new(),
            proved: Proved::default(),
        })
    }

    /// Checks one run against the plan's salted digests and request ids.
    pub fn run(&mut self, stored: &StoredRun, plan: &Plan) -> Result<(), EvidenceError> {
        self.holds(stored, plan).map_err(|reason| EvidenceError::Receipt { lines: lines(stored), reason })?;
        self.proved.lines += stored.run.count;
        Ok(())
    }

    /// What held so far.
    pub fn proved(&self) -> Proved {
        Proved { checkpoints: self.notes.len(), ..self.proved.clone() }
    }

    fn holds(&mut self, stored: &StoredRun, plan: &Plan) -> Result<(), String> {
        let planned =
            stored.indexes().and_then(|range| plan.records.get(range)).ok_or("it is beyond the file")?;
        let run = &stored.run;
        let head = Head::parse(&run.proof.head).map_err(|e| e.to_string())?;
        let of_journal = head.origin.rsplit_once("/j/").is_some_and(|(_, name)| name == plan.journal);
        if !of_journal {
            return Err(format!("it is of journal {:?}", head.origin));
        }
        if run.kind != EntryKind::Record as u16 {
            return Err(format!("its entries are of type {}, not records", run.kind));
        }
        let leaves = leaves(run, planned, &head.origin)?;
        let root =
            root_of_range(run.first, &leaves, head.size, &run.range_path).map_err(|e| e.to_string())?;
        if root != head.root {
            return Err("records, salts or request ids are not those that were sealed".into());
        }
        let note = self.checkpoint(&run.proof.checkpoint)?;
        let site = head.origin.strip_suffix(&format!("/j/{}", plan.journal)).unwrap_or_default();
        if note.checkpoint.origin != format!("{site}/root") {
            return Err(format!("its checkpoint is of {:?}, another appliance", note.checkpoint.origin));
        }
        let leaf = leaf_hash(run.proof.head.as_bytes());
        let checkpoint = &note.checkpoint;
        verify_inclusion(&leaf, run.proof.root_index, checkpoint.size, &run.proof.root_path, &checkpoint.root)
            .map_err(|e| format!("the journal's head is not in the checkpoint: {e}"))
    }

    /// The note, its head signature and its token verified.
    fn checkpoint(&mut self, text: &str) -> Result<&OpenNote, String> {
        let id = Digest::of(text.as_bytes());
        if !self.notes.contains_key(&id) {
            let note = open_note(text).map_err(|e| e.to_string())?;
            let line = note.ecdsa(&self.head_key.spki).ok_or("its checkpoint is signed with another key")?;
            if !self.head_key.verifies(&note.body, &line.payload) {
                return Err("the checkpoint's signature does not verify".into());
            }
            let token = note.token().ok_or("its checkpoint has no timestamp")?;
            let imprint = Digest::of(note.body.as_bytes());
            let facts = verify_sha256(&token.payload, &imprint, &[&self.root], None)
                .map_err(|e| format!("the checkpoint's timestamp: {e}"))?;
            let time = facts.gen_time_us;
            self.proved.from = Some(self.proved.from.map_or(time, |t| t.min(time)));
            self.proved.to = Some(self.proved.to.map_or(time, |t| t.max(time)));
            self.notes.insert(id, note);
        }
        self.notes.get(&id).ok_or_else(|| "its checkpoint is lost".into())
    }
}

/// The entries' leaves; each entry names the leaf before it, so a changed line breaks all after it.
fn leaves(run: &Run, planned: &[Planned], origin: &str) -> Result<Vec<Digest>, String> {
    let journal = journal_id(origin);
    let mut prev = run.prev;
    let mut leaves = Vec::with_capacity(planned.len());
    for (seq, record) in (run.first..).zip(planned) {
        let entry = Entry {
            journal,
            seq,
            prev,
            time: run.time,
            bound: run.bound,
            kind: run.kind,
            request_id: RequestId(record.request_id),
            digest: record.digest,
        };
        prev = entry.leaf();
        leaves.push(prev);
    }
    if leaves.len() == planned.len() { Ok(leaves) } else { Err("its sequence numbers overflow".into()) }
}

fn lines(stored: &StoredRun) -> String {
    let last = stored.line.saturating_add(stored.run.count).saturating_sub(1);
    if last == stored.line { format!("line {last}") } else { format!("lines {} to {last}", stored.line) }
}
