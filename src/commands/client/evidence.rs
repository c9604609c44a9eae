//! Whether a run of receipts proves its lines: entries → journal tree → root log → signed and stamped
//! checkpoint. Works with nothing but the stored receipts, the root certificate and the head key.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use der::Decode;
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::plan::Plan;
use super::runs::StoredRun;
use crate::digest::{Digest, hex};
use crate::journal::entry::EntryKind;
use crate::journal::receipt::{RangeEntry, RangeReceipt};
use crate::journal::verify::{TokenTime, Trust, verify_range};
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
    pub lines: usize,
    /// Checkpoints they rest on.
    pub checkpoints: usize,
    /// Time of the first token, microseconds UTC.
    pub from: Option<i64>,
    /// Time of the last token, microseconds UTC.
    pub to: Option<i64>,
    /// Whether the checkpoints' signatures were checked, besides their tokens.
    pub signed: bool,
}

/// Checks runs one after another; each distinct token is checked once.
pub struct Verifier {
    head_key: Option<HeadKey>,
    root: Vec<u8>,
    tokens: RefCell<BTreeMap<(Digest, Digest), TokenTime>>,
    lines: usize,
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
}

/// The first certificate of a PEM file, DER.
pub fn root_certificate(path: &Path) -> Result<Vec<u8>, EvidenceError> {
    let bad = |reason: String| EvidenceError::Key { path: path.display().to_string(), reason };
    let pem = fs::read(path).map_err(|e| bad(e.to_string()))?;
    let (label, der) = der::pem::decode_vec(&pem).map_err(|_| bad("is not PEM".into()))?;
    if label == "CERTIFICATE" { Ok(der) } else { Err(bad("is not a PEM certificate".into())) }
}

impl Verifier {
    /// Trusts the head key (if it is known) and the root certificate in `ca` (PEM), nothing else.
    pub fn new(head_key: Option<HeadKey>, ca: &Path) -> Result<Verifier, EvidenceError> {
        Ok(Verifier { head_key, root: root_certificate(ca)?, tokens: RefCell::default(), lines: 0 })
    }

    /// Checks one run against the plan's salted digests and request ids.
    pub fn run(&mut self, stored: &StoredRun, plan: &Plan) -> Result<(), EvidenceError> {
        let lines = stored.indexes(plan.records.len()).unwrap_or_default();
        self.holds(stored, &lines, plan)
            .map_err(|reason| EvidenceError::Receipt { lines: words(&lines), reason })?;
        self.lines += lines.len();
        Ok(())
    }

    /// What held so far.
    pub fn proved(&self) -> Proved {
        let tokens = self.tokens.borrow();
        let times = || tokens.values().map(|t| t.gen_time_us);
        let signed = self.head_key.is_some();
        Proved {
            lines: self.lines,
            checkpoints: tokens.len(),
            from: times().min(),
            to: times().max(),
            signed,
        }
    }

    fn holds(&self, stored: &StoredRun, lines: &[usize], plan: &Plan) -> Result<(), String> {
        if lines.is_empty() {
            return Err("it speaks of lines that are not there".into());
        }
        let receipt = receipt(stored, lines, plan)?;
        let token = |token: &[u8], imprint: &Digest| self.token(token, imprint);
        let trust =
            Trust { head_key_spki: self.head_key.as_ref().map(|k| k.spki.as_slice()), token: Some(&token) };
        let facts = verify_range(&receipt, &trust).map_err(|e| e.to_string())?;
        let origin = &facts.proof.head.origin;
        let name = origin.rsplit_once("/j/").map(|(_, name)| name);
        if name == Some(&plan.journal) { Ok(()) } else { Err(format!("it is of journal {origin:?}")) }
    }

    fn token(&self, token: &[u8], imprint: &Digest) -> Result<TokenTime, String> {
        let id = (Digest::of(token), *imprint);
        if let Some(known) = self.tokens.borrow().get(&id) {
            return Ok(*known);
        }
        let facts = verify_sha256(token, imprint, &[&self.root], None).map_err(|e| e.to_string())?;
        let time = TokenTime { gen_time_us: facts.gen_time_us, accuracy_us: facts.accuracy_us };
        self.tokens.borrow_mut().insert(id, time);
        Ok(time)
    }
}

/// The range receipt as the plan says it must be: ids and digests are ours, never the server's.
pub fn receipt(stored: &StoredRun, lines: &[usize], plan: &Plan) -> Result<RangeReceipt, String> {
    let run = &stored.run;
    let mut entries = Vec::with_capacity(lines.len());
    for (k, line) in lines.iter().enumerate() {
        let planned = plan.records.get(*line).ok_or("it is beyond the file")?;
        let said = run.entries.as_ref().and_then(|entries| entries.get(k));
        let time = run.time.or(said.map(|e| e.time)).ok_or("it lacks an entry's time")?;
        let bound = run.bound.or(said.map(|e| e.bound)).ok_or("it lacks an entry's bound")?;
        let kind = run.kind.or(said.map(|e| e.kind)).ok_or("it lacks an entry's type")?;
        if kind != EntryKind::Seal as u16 {
            return Err(format!("an entry is of type {kind}, not a seal"));
        }
        entries.push(RangeEntry {
            request_id: hex(&planned.request_id),
            digest: planned.digest,
            time,
            bound,
            kind,
        });
    }
    Ok(RangeReceipt {
        first: run.first,
        prev: run.prev,
        entries,
        range_path: run.range_path.clone(),
        proof: run.proof.clone(),
    })
}

/// `line 7`, `lines 3 to 9`.
fn words(lines: &[usize]) -> String {
    match (lines.iter().min(), lines.iter().max()) {
        (Some(a), Some(b)) if a == b => format!("line {}", a + 1),
        (Some(a), Some(b)) => format!("lines {} to {}", a + 1, b + 1),
        _ => "a receipt".into(),
    }
}
