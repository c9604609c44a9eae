//! The check of an evidence record at any later time: RFC 4998 sections 4.3 and 5.3.
//!
//! Each token must have been good when the next one covered it: certificates in force, algorithms trusted by the
//! policy, nothing revoked by the lists it carries. The last must be good at the verifier's own time.

use super::policy::Policy;
use super::record::{ArchiveTimestamp, EvidenceRecord, sequence_der};
use super::renew::renewed;
use super::tree::root;
use crate::clock::UtcMicros;
use crate::timestamp::revocation::check_revocation;
use crate::timestamp::strength::{lacks_root, strength, token_lists};
use crate::timestamp::{Hash, TokenFacts, verify_token};

/// Why a record does not prove its file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Something does not hold.
    #[error("{0}")]
    Failed(String),
    /// Nothing is wrong, but it is not enough: a renewal is missing, or a root, or a list.
    #[error("{0}")]
    Indeterminate(String),
}

/// What the verifier brings.
pub struct Verifier<'a> {
    /// Trusted roots, DER.
    pub roots: &'a [Vec<u8>],
    /// Further revocation lists, DER, beside those in the tokens.
    pub lists: &'a [Vec<u8>],
    /// Until when algorithms are trusted.
    pub policy: &'a Policy,
    /// The verifier's own time.
    pub at: UtcMicros,
}

impl Verifier<'_> {
    /// Verifies a record of the file whose value of a hash `digest` gives. The facts of every token, oldest first;
    /// the file existed at the first one's time.
    pub fn verify(
        &self,
        record: &EvidenceRecord,
        digest: &mut dyn FnMut(Hash) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<TokenFacts>, Doubt> {
        let facts = self.structure(record, digest)?;
        let all: Vec<_> = places(record).collect();
        for (n, (place, timestamp)) in all.iter().enumerate() {
            let covered = facts.get(n + 1).map_or(self.at, |next| UtcMicros(next.gen_time_us));
            self.token_until(timestamp, covered).map_err(|doubt| said_of(place, doubt))?;
        }
        self.hashes_until(record, &facts)?;
        Ok(facts)
    }

    /// Every link: tree, imprint, signature, order. What fails here fails for ever.
    fn structure(
        &self,
        record: &EvidenceRecord,
        digest: &mut dyn FnMut(Hash) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<TokenFacts>, Doubt> {
        let mut facts: Vec<TokenFacts> = Vec::new();
        for (c, chain) in record.chains.iter().enumerate() {
            for (t, timestamp) in chain.iter().enumerate() {
                let hash = timestamp.hash;
                let covers = match (t.checked_sub(1), c) {
                    (Some(before), _) => hash.of(&[&chain[before].token]),
                    (None, 0) => digest(hash).map_err(Doubt::Failed)?,
                    (None, _) => {
                        let file = digest(hash).map_err(Doubt::Failed)?;
                        renewed(hash, &file, &sequence_der(&record.chains[..c]))
                    }
                };
                let place = format!("time-stamp {} of chain {}", t + 1, c + 1);
                let found = self.link(timestamp, &covers).map_err(|doubt| said_of(&place, doubt))?;
                if facts.last().is_some_and(|before| before.gen_time_us > found.gen_time_us) {
                    return Err(Doubt::Failed(format!("{place} is older than the one it covers")));
                }
                facts.push(found);
            }
        }
        if facts.is_empty() {
            return Err(Doubt::Failed("the record holds no time-stamp".into()));
        }
        Ok(facts)
    }

    fn link(&self, timestamp: &ArchiveTimestamp, covers: &Vec<u8>) -> Result<TokenFacts, Doubt> {
        let first = timestamp.tree.first();
        if !first.is_some_and(|values| values.contains(covers)) {
            return Err(Doubt::Failed(
                "it does not cover what it should: the hash is not in its tree".into(),
            ));
        }
        let imprint = root(timestamp.hash, &timestamp.tree);
        let facts = verify_token(&timestamp.token, timestamp.hash, &imprint, self.roots, Some(self.at));
        facts.map_err(|error| {
            if lacks_root(&error) {
                Doubt::Indeterminate(error.to_string())
            } else {
                Doubt::Failed(error.to_string())
            }
        })
    }

    /// Whether a token that holds was still good when it was covered.
    fn token_until(&self, timestamp: &ArchiveTimestamp, covered: UtcMicros) -> Result<(), Doubt> {
        let when = covered.iso8601();
        let late = |why: String| Doubt::Indeterminate(format!("{why}, and nothing covers it before {when}"));
        let strength = strength(&timestamp.token, self.roots).map_err(|e| Doubt::Failed(e.to_string()))?;
        for algorithm in &strength.algorithms {
            self.policy.trusts(algorithm, covered).map_err(late)?;
        }
        if covered > strength.validity.to {
            return Err(late(format!("its certificates end at {}", strength.validity.to.iso8601())));
        }
        let mut lists = token_lists(&timestamp.token).map_err(|e| Doubt::Failed(e.to_string()))?;
        lists.extend_from_slice(self.lists);
        check_revocation(&timestamp.token, self.roots, &lists).map(drop).map_err(|error| {
            let text = error.to_string();
            if error.is_revoked() { Doubt::Failed(text) } else { Doubt::Indeterminate(text) }
        })
    }

    /// Whether each chain's hash was still good when the next chain began.
    fn hashes_until(&self, record: &EvidenceRecord, facts: &[TokenFacts]) -> Result<(), Doubt> {
        let mut next = 0;
        for (c, chain) in record.chains.iter().enumerate() {
            next += chain.len();
            let renewed = facts.get(next).map_or(self.at, |first| UtcMicros(first.gen_time_us));
            let Some(timestamp) = chain.first() else { continue };
            self.policy.trusts(timestamp.hash.name(), renewed).map_err(|why| {
                let when = renewed.iso8601();
                Doubt::Indeterminate(format!(
                    "the hash of chain {}: {why}, and was not renewed before {when}",
                    c + 1
                ))
            })?;
        }
        Ok(())
    }
}

fn places(record: &EvidenceRecord) -> impl Iterator<Item = (String, &ArchiveTimestamp)> {
    record.chains.iter().enumerate().flat_map(|(c, chain)| {
        let place = move |t: usize| format!("time-stamp {} of chain {}", t + 1, c + 1);
        chain.iter().enumerate().map(move |(t, timestamp)| (place(t), timestamp))
    })
}

fn said_of(place: &str, doubt: Doubt) -> Doubt {
    match doubt {
        Doubt::Failed(why) => Doubt::Failed(format!("{place}: {why}")),
        Doubt::Indeterminate(why) => Doubt::Indeterminate(format!("{place}: {why}")),
    }
}
