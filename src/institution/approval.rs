//! Who agreed to what: a decision is over the SHA-256 of exactly the bytes that will be signed.

use serde::{Deserialize, Serialize};

use super::InstitutionId;
use crate::digest::Digest;

/// The clause an officer writes under a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Clause {
    /// Saglasan: the frozen bytes may be signed.
    Agree,
    /// Nesaglasan: final, with a reason.
    DoNotAgree,
}

impl Clause {
    /// `agree` or `do-not-agree`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::DoNotAgree => "do-not-agree",
        }
    }
}

/// One officer's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// SHA-256 of the certificate the officer used.
    pub officer: Digest,
    /// The officer's institution and name: the person, whichever certificate was used.
    pub person: (InstitutionId, String),
    /// What was decided.
    pub clause: Clause,
    /// SHA-256 of the to-be-signed bytes it is about.
    pub tbs_sha256: Digest,
    /// Why; required with `do-not-agree`.
    pub reason: Option<String>,
    /// Seconds since 1970.
    pub time: i64,
}

/// Where a request stands after all decisions so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// So many distinct persons agreed, and more are needed.
    Awaiting(usize),
    /// Enough distinct persons agreed.
    Agreed,
    /// One did not agree.
    Refused,
}

/// Counts decisions. An agreement counts when it is over exactly `tbs`, its officer is still
/// `in_force`, and its person was not counted before; one `do-not-agree` stops the request.
pub fn standing(
    decisions: &[Agreement],
    tbs: &Digest,
    needed: usize,
    in_force: impl Fn(&Digest) -> bool,
) -> Standing {
    if decisions.iter().any(|d| d.clause == Clause::DoNotAgree) {
        return Standing::Refused;
    }
    let mut persons: Vec<_> = decisions
        .iter()
        .filter(|d| d.tbs_sha256 == *tbs && in_force(&d.officer))
        .map(|d| &d.person)
        .collect();
    persons.sort();
    persons.dedup();
    if persons.len() >= needed { Standing::Agreed } else { Standing::Awaiting(persons.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(officer: u8, person: &str, clause: Clause, tbs: u8) -> Agreement {
        Agreement {
            officer: Digest::of(&[officer]),
            person: (InstitutionId::try_from("operator".to_owned()).unwrap(), person.into()),
            clause,
            tbs_sha256: Digest::of(&[tbs]),
            reason: None,
            time: 0,
        }
    }

    #[test]
    fn two_distinct_persons_over_the_same_bytes_are_needed() {
        let tbs = Digest::of(&[0]);
        let count = |decisions: &[Agreement]| standing(decisions, &tbs, 2, |_| true);
        let ana = by(1, "ana", Clause::Agree, 0);
        assert_eq!(count(&[]), Standing::Awaiting(0));
        assert_eq!(count(std::slice::from_ref(&ana)), Standing::Awaiting(1));
        assert_eq!(count(&[ana.clone(), by(2, "boris", Clause::Agree, 0)]), Standing::Agreed);
        // The same person with a second certificate is still one person.
        assert_eq!(count(&[ana.clone(), by(3, "ana", Clause::Agree, 0)]), Standing::Awaiting(1));
        // Other bytes are another request.
        assert_eq!(count(&[ana.clone(), by(2, "boris", Clause::Agree, 9)]), Standing::Awaiting(1));
        let refusal = by(2, "boris", Clause::DoNotAgree, 0);
        assert_eq!(count(&[ana.clone(), refusal, by(3, "vera", Clause::Agree, 0)]), Standing::Refused);
    }

    #[test]
    fn an_agreement_falls_with_its_officer() {
        let (tbs, gone) = (Digest::of(&[0]), Digest::of(&[1]));
        let decisions = [by(1, "ana", Clause::Agree, 0), by(2, "boris", Clause::Agree, 0)];
        assert_eq!(standing(&decisions, &tbs, 2, |o| *o != gone), Standing::Awaiting(1));
    }
}
