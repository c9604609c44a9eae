//! What a renewal did, said so that the chain of renewals is evidence itself: an entry of `own.events` names
//! every record before and after by its hash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::EvidenceRecord;
use crate::digest::{Digest, hex};
use crate::timestamp::Hash;

/// The word of [`Statement::event`].
pub const EVENT: &str = "evidence-renewal";
/// Records of one renewal at most: its statement stays below the limit of a detail.
pub const MAX_RECORDS: usize = 400;
/// Longest file name, bytes.
const MAX_NAME: usize = 200;

/// One renewal of the records of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// Origin line of the folder's journal.
    pub origin: String,
    /// Hash of the records before, and of `before`.
    pub algorithm_before: String,
    /// Hash of the records after, and of `after`: another one says that the hash was renewed, not the time-stamp alone.
    pub algorithm: String,
    /// Sorted by file, none twice.
    pub records: Vec<Renewed>,
}

/// One evidence record, by hashes of its DER in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewed {
    /// The file it is about.
    pub file: String,
    /// The record that was renewed.
    pub before: String,
    /// The record that came of it.
    pub after: String,
}

/// A renewal as the appliance records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `evidence-renewal`.
    pub event: String,
    /// Who handed it in, `institution/name`.
    pub by: String,
    /// SHA-256 of the certificate used.
    pub certificate: Digest,
    /// What was done.
    pub renewal: Renewal,
}

impl Renewal {
    /// Of records before and after, in the order of their files' names.
    pub fn of(
        origin: &str,
        names: &[String],
        before: &[EvidenceRecord],
        after: &[EvidenceRecord],
    ) -> Result<Renewal, String> {
        let hash = |records: &[EvidenceRecord]| {
            records.first().and_then(|r| r.last()).map(|newest| newest.hash).ok_or("there is no record")
        };
        let (old, new) = (hash(before)?, hash(after)?);
        let of = |hash: Hash, record: &EvidenceRecord| hex(&hash.of(&[&record.to_der()]));
        let renewed = names.iter().zip(before.iter().zip(after)).map(|(file, (before, after))| Renewed {
            file: file.clone(),
            before: of(old, before),
            after: of(new, after),
        });
        let renewal = Renewal {
            origin: origin.into(),
            algorithm_before: old.name().into(),
            algorithm: new.name().into(),
            records: renewed.collect(),
        };
        renewal.check().map(|()| renewal)
    }

    /// Known hashes, values of their length, plain names in order.
    pub fn check(&self) -> Result<(), String> {
        let known = |name: &str| Hash::from_name(name).ok_or_else(|| format!("hash {name:?} is not known"));
        let (old, new) = (known(&self.algorithm_before)?, known(&self.algorithm)?);
        if self.records.is_empty() || self.records.len() > MAX_RECORDS {
            return Err(format!("it names {} records, not 1 to {MAX_RECORDS}", self.records.len()));
        }
        if !self.records.is_sorted_by(|a, b| a.file < b.file) {
            return Err("its records are not sorted by file, or one is there twice".into());
        }
        for Renewed { file, before, after } in &self.records {
            let plain = file.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\');
            if file.is_empty() || file.len() > MAX_NAME || !plain {
                return Err(format!("{file:?} is not the name of a file"));
            }
            if !is_value(old, before) || !is_value(new, after) {
                return Err(format!("the hashes of {file} are not those of its algorithms"));
            }
        }
        Ok(())
    }

    /// Whether this renewal began where the earlier one ended.
    pub fn continues(&self, earlier: &Renewal) -> Result<(), String> {
        if (&self.origin, &self.algorithm_before) != (&earlier.origin, &earlier.algorithm) {
            return Err(format!("it is of {} with {}", self.origin, self.algorithm_before));
        }
        let ended: BTreeMap<_, _> = earlier.records.iter().map(|r| (&r.file, &r.after)).collect();
        let torn = self.records.iter().find(|r| ended.get(&r.file) != Some(&&r.before));
        torn.map_or(Ok(()), |r| Err(format!("the record of {} was another one before it", r.file)))
    }

    /// Whether the record of this file is what the renewal left.
    pub fn left(&self, file: &str, record: &EvidenceRecord) -> bool {
        let said = self.records.iter().find(|renewed| renewed.file == file);
        let hash = Hash::from_name(&self.algorithm);
        said.zip(hash).is_some_and(|(said, hash)| said.after == hex(&hash.of(&[&record.to_der()])))
    }
}

fn is_value(hash: Hash, text: &str) -> bool {
    text.len() == 2 * hash.bytes() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Statement {
    /// JSON, the entry's detail.
    pub fn text(&self) -> Vec<u8> {
        // Strings and arrays only: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a statement; whatever is accepted gives the same text again.
    pub fn parse(text: &[u8]) -> Result<Statement, String> {
        let read: Statement = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if read.event != EVENT {
            return Err(format!("its event is {:?}", read.event));
        }
        read.renewal.check()?;
        if read.text() == text { Ok(read) } else { Err("it is not written in the one way".into()) }
    }
}
