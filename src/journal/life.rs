//! The life of one reference number (RNU) across journals: under which request ids its steps stand. Pure.
//!
//! A request id stands once in a journal, a life has several steps, and an entry has no free field. So step N
//! of a life stands under an id that anybody who knows the number can compute, and nobody else can read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::digest::Digest;
use crate::journal::RequestId;
use crate::journal::entry::Entry;

/// Longest reference number, bytes.
pub const MAX_REFERENCE: usize = 200;

/// Request id of step `step` (from 1) of the life of `reference` within one journal: the first 16 bytes of
/// SHA-256 of `pechat life v1`, the reference and the decimal step, each ended by a newline.
pub fn step_id(reference: &str, step: u32) -> RequestId {
    let hash = Digest::of(format!("pechat life v1\n{reference}\n{step}\n").as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&hash.as_bytes()[..16]);
    RequestId(id)
}

/// How an entry is known to belong to the life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// Its request id is the reference itself: a UUID, 32 hex digits or a number of 16 digits.
    ById,
    /// Its request id is that of this step.
    Step(u32),
    /// The register's list names it, on this line.
    Listed(u64),
}

/// Request ids that a life can stand under.
#[derive(Debug, Clone, Default)]
pub struct Wanted(HashMap<RequestId, Known>);

impl Wanted {
    /// The ids of a reference: its own and those of its first `steps` steps. The error says why it is none.
    pub fn of(reference: &str, steps: u32) -> Result<Wanted, String> {
        let fits = (1..=MAX_REFERENCE).contains(&reference.len()) && !reference.contains(char::is_control);
        if !fits {
            return Err(format!(
                "a reference number has 1 to {MAX_REFERENCE} bytes and no control characters"
            ));
        }
        let mut ids: HashMap<_, _> = (1..=steps).map(|n| (step_id(reference, n), Known::Step(n))).collect();
        ids.extend(itself(reference).map(|id| (id, Known::ById)));
        Ok(Wanted(ids))
    }

    /// Adds an id that the register's list names; what is known otherwise stays so.
    pub fn list(&mut self, id: RequestId, line: u64) {
        self.0.entry(id).or_insert(Known::Listed(line));
    }

    /// Whether, and how, an entry belongs to the life.
    pub fn known(&self, entry: &Entry) -> Option<Known> {
        self.0.get(&entry.request_id).copied()
    }

    /// Lines of the list whose id is not among these.
    pub fn unsealed(&self, sealed: &BTreeSet<RequestId>) -> Vec<(u64, RequestId)> {
        let listed = self.0.iter().filter_map(|(id, known)| match known {
            Known::Listed(line) if !sealed.contains(id) => Some((*line, *id)),
            _ => None,
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_unstable();
        listed
    }
}

/// The reference as a request id, where it has the form of one.
fn itself(reference: &str) -> Option<RequestId> {
    let number: Option<[u8; 16]> = reference.as_bytes().try_into().ok();
    let number = number.filter(|digits| digits.iter().all(u8::is_ascii_digit));
    number.map(RequestId).or_else(|| RequestId::parse(reference))
}

/// Steps that a journal must hold because it holds a later one, by journal. Entries come with what they are.
pub fn missing<'e>(found: impl IntoIterator<Item = (&'e Entry, Known)>) -> BTreeMap<Digest, Vec<u32>> {
    let mut steps: BTreeMap<Digest, BTreeSet<u32>> = BTreeMap::new();
    for (entry, known) in found {
        if let Known::Step(step) = known {
            steps.entry(entry.journal).or_default().insert(step);
        }
    }
    let gaps = |held: BTreeSet<u32>| -> Vec<u32> {
        let last = held.last().copied().unwrap_or(0);
        (1..last).filter(|step| !held.contains(step)).collect()
    };
    steps
        .into_iter()
        .map(|(journal, held)| (journal, gaps(held)))
        .filter(|(_, gaps)| !gaps.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::hex;

    fn entry(journal: &str, request_id: RequestId) -> Entry {
        let (journal, digest) = (Digest::of(journal.as_bytes()), Digest::default());
        Entry { journal, seq: 1, prev: digest, time: 0, bound: 0, kind: 2, request_id, digest }
    }

    #[test]
    fn a_step_has_the_id_that_a_shell_computes() {
        // printf 'pechat life v1\nRNU-2026-000017\n1\n' | sha256sum | cut -c1-32
        assert_eq!(hex(&step_id("RNU-2026-000017", 1).0), "33e9dc5707919a8df6cfd7f8bd110895");
        assert_ne!(step_id("a", 11), step_id("a1", 1));
    }

    #[test]
    fn a_life_is_known_by_the_reference_its_steps_and_the_list() {
        let mut wanted = Wanted::of("2475001150024593", 3).unwrap();
        wanted.list(RequestId([7; 16]), 4);
        wanted.list(step_id("2475001150024593", 2), 5);
        wanted.list(RequestId([8; 16]), 6);
        let known = |id| wanted.known(&entry("a", id));
        assert_eq!(known(RequestId(*b"2475001150024593")), Some(Known::ById));
        assert_eq!(known(step_id("2475001150024593", 2)), Some(Known::Step(2)));
        assert_eq!(known(step_id("2475001150024593", 4)), None);
        assert_eq!(known(RequestId([7; 16])), Some(Known::Listed(4)));
        assert_eq!(wanted.unsealed(&[RequestId([7; 16])].into()), [(6, RequestId([8; 16]))]);
        let uuid = Wanted::of("07070707-0707-0707-0707-070707070707", 0).unwrap();
        assert_eq!(uuid.known(&entry("a", RequestId([7; 16]))), Some(Known::ById));
        for bad in ["", "a\nb", &"x".repeat(201)] {
            assert!(Wanted::of(bad, 1).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_step_that_a_later_one_needs_is_missed_in_its_own_journal() {
        let entries: Vec<_> = [("a", 1), ("a", 2), ("b", 1), ("b", 4), ("c", 2)]
            .map(|(journal, step)| (entry(journal, step_id("x", step)), Known::Step(step)))
            .into();
        let missing = missing(entries.iter().map(|(entry, known)| (entry, *known)));
        let expected =
            [("b", vec![2, 3]), ("c", vec![1])].map(|(name, steps)| (Digest::of(name.as_bytes()), steps));
        assert_eq!(missing, expected.into());
    }
}
