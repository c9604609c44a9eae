//! What receipts and exports say about a lost log: entries, heads by their place in the root log, seals,
//! charters. Only what verifies with the journal-head key is taken.

use std::collections::BTreeMap;

use super::checkpoint::{Head, open_note};
use super::entry::{Charter, Entry};
use super::export::{EXPORT_LABEL, ExportHeader};
use super::receipt::{HeadProof, RangeReceipt, SINGLE_LABEL, parse_ranges, parse_single};
use super::tenure::Statement;
use super::verify::{HeadFacts, Trust, verify_range, verify_receipt, visit_export};
use crate::digest::Digest;

/// Everything collected.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Entries by origin and sequence.
    pub entries: BTreeMap<String, BTreeMap<u64, Entry>>,
    /// Largest size a signed head gives each origin.
    pub sizes: BTreeMap<String, u64>,
    /// Head texts by index in the root log.
    pub heads: BTreeMap<u64, String>,
    /// Notes by root-log size.
    pub seals: BTreeMap<u64, Seal>,
    /// Charter texts by origin.
    pub charters: BTreeMap<String, String>,
    /// Statements of control entries by digest: an entry that verifies says which one is its own.
    pub statements: BTreeMap<Digest, Vec<u8>>,
}

/// A signed and stamped root checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The root.
    pub root: Digest,
    /// SHA-256 of its token.
    pub token: Digest,
    /// The note.
    pub note: String,
}

impl Evidence {
    /// Adds what a file holds; `Ok(0)`: it is nothing of this kind. Otherwise the entries in it.
    pub fn add(&mut self, bytes: &[u8], trust: &Trust<'_>) -> Result<usize, String> {
        if bytes.starts_with(SINGLE_LABEL.as_bytes()) {
            return self.single(std::str::from_utf8(bytes).map_err(|e| e.to_string())?, trust);
        }
        if bytes.starts_with(EXPORT_LABEL.as_bytes()) {
            return self.export(bytes, trust);
        }
        if bytes.starts_with(b"pechat charter v") {
            let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
            let charter = Charter::parse(text).map_err(|e| e.to_string())?;
            self.charters.insert(charter.origin, text.to_owned());
            return Ok(0);
        }
        if bytes.first() != Some(&b'{') {
            return Ok(0);
        }
        if Statement::parse(bytes).is_ok() {
            self.statements.insert(Digest::of(bytes), bytes.to_vec());
            return Ok(0);
        }
        let mut count = 0;
        for receipt in parse_ranges(bytes).map_err(|e| e.to_string())? {
            count += self.range(&receipt, trust)?;
        }
        Ok(count)
    }

    fn single(&mut self, text: &str, trust: &Trust<'_>) -> Result<usize, String> {
        let receipt = parse_single(text).map_err(|e| e.to_string())?;
        let facts = verify_receipt(text, trust).map_err(|e| e.to_string())?;
        self.head(&receipt.proof, &facts.proof)?;
        self.entry(&facts.proof.head.origin, facts.entry)?;
        Ok(1)
    }

    /// Adds a range receipt; the entries in it.
    pub fn range(&mut self, receipt: &RangeReceipt, trust: &Trust<'_>) -> Result<usize, String> {
        let facts = verify_range(receipt, trust).map_err(|e| e.to_string())?;
        self.head(&receipt.proof, &facts.proof)?;
        for entry in &facts.entries {
            self.entry(&facts.proof.head.origin, *entry)?;
        }
        Ok(facts.entries.len())
    }

    fn export(&mut self, bytes: &[u8], trust: &Trust<'_>) -> Result<usize, String> {
        let (header, _) = ExportHeader::read(&mut &bytes[..]).map_err(|e| e.to_string())?;
        let mut entries = Vec::new();
        let facts = visit_export(bytes, trust, |entry, _| entries.push(*entry)).map_err(|e| e.to_string())?;
        self.head(&header.proof, &facts.proof)?;
        self.charters.insert(header.origin.clone(), header.charter.clone());
        let count = entries.len();
        entries.into_iter().try_for_each(|entry| self.entry(&header.origin, entry))?;
        Ok(count)
    }

    fn entry(&mut self, origin: &str, entry: Entry) -> Result<(), String> {
        let known = self.entries.entry(origin.to_owned()).or_default();
        match known.insert(entry.seq, entry) {
            Some(other) if other != entry => {
                Err(format!("{origin} has two different signed entries at sequence {}", entry.seq))
            }
            _ => Ok(()),
        }
    }

    fn head(&mut self, proof: &HeadProof, facts: &HeadFacts) -> Result<(), String> {
        let Head { origin, size, .. } = &facts.head;
        let largest = self.sizes.entry(origin.clone()).or_default();
        *largest = (*largest).max(*size);
        self.seal(&proof.checkpoint)?;
        match self.heads.insert(proof.root_index, proof.head.clone()) {
            Some(other) if other != proof.head => {
                Err(format!("two different signed heads stand at leaf {} of the root log", proof.root_index))
            }
            _ => Ok(()),
        }
    }

    /// Adds a checkpoint that verified.
    pub fn seal(&mut self, note: &str) -> Result<(), String> {
        let open = open_note(note).map_err(|e| e.to_string())?;
        let Some(token) = open.token().map(|line| Digest::of(&line.payload)) else { return Ok(()) };
        let (size, root) = (open.checkpoint.size, open.checkpoint.root);
        match self.seals.get(&size) {
            Some(other) if other.root != root => {
                Err(format!("two different heads of {size} leaves were signed"))
            }
            Some(_) => Ok(()),
            None => {
                self.seals.insert(size, Seal { root, token, note: note.to_owned() });
                Ok(())
            }
        }
    }
}
