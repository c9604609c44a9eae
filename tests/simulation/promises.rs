//! What was acknowledged and signed, and whether a history keeps it.

use std::collections::BTreeMap;

use super::checker::{Hash, History};

/// What must be found again.
#[derive(Default)]
pub struct Promises {
    /// (journal, request id) of every acknowledged entry: sequence, digest, and its bytes once seen.
    pub acknowledged: BTreeMap<(String, [u8; 16]), (u64, Hash)>,
    /// Entries seen after an acknowledgement; they must never change.
    pub seen: BTreeMap<(String, u64), Vec<u8>>,
    /// Size and root of every head ever signed.
    pub signed: BTreeMap<u64, Hash>,
    /// Journals whose freeze was acknowledged: sequence of the final record.
    pub frozen: BTreeMap<String, u64>,
}

impl Promises {
    /// A head was signed.
    pub fn sign(&mut self, size: u64, root: Hash) -> Result<(), String> {
        match self.signed.insert(size, root) {
            Some(other) if other != root => Err(format!("fork: two signed heads of size {size}")),
            _ => Ok(()),
        }
    }

    /// Whether the history keeps every promise.
    pub fn kept(&mut self, history: &History) -> Result<(), String> {
        for ((journal, id), (seq, digest)) in &self.acknowledged {
            let fact = history.journals.get(journal).and_then(|facts| facts.get(*seq as usize));
            let fact = fact.ok_or(format!("lost: entry {seq} of {journal} was acknowledged"))?;
            if (fact.id, fact.digest) != (*id, *digest) {
                return Err(format!(
                    "changed: entry {seq} of {journal} was acknowledged with another digest"
                ));
            }
            let seen = self.seen.entry((journal.clone(), *seq)).or_insert_with(|| fact.bytes.clone());
            if *seen != fact.bytes {
                return Err(format!("changed: entry {seq} of {journal} has other bytes than before"));
            }
        }
        for (journal, seq) in &self.frozen {
            let size = history.journals.get(journal).map_or(0, |facts| facts.len() as u64);
            if size <= *seq {
                return Err(format!("lost: the final record {seq} of {journal}"));
            }
            if size > seq + 1 {
                return Err(format!("accepted after the freeze: {journal} ended with {seq} and has {size}"));
            }
        }
        for (size, root) in &self.signed {
            match history.roots.get(*size as usize) {
                None => return Err(format!("lost: the signed head of size {size} is ahead of the log")),
                Some(found) if found != root => {
                    return Err(format!("fork: the signed head of size {size} is not that of the log"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}
