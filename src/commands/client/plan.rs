//! The plan of a sealing: which line gets which salt and request id. Pure; written before anything is sent.
//!
//! ```text
//! pechat plan v1
//! journal land-registry
//! records 2
//! 1 {request id, 32 hex} {salt, 64 hex} {digest, 64 hex}
//! 2 …
//! end
//! ```
//! The digest is SHA-256(salt || line without its newline). The salts are as confidential as the
//! records: whoever has a salt can test guesses of its record against the sealed digest.

use std::fmt::Write;

use crate::digest::{Digest, hex, unhex_into};

const HEADING: &str = "pechat plan v1";

/// One line of the file as it will be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// 16 random bytes, the same at every attempt.
    pub request_id: [u8; 16],
    /// 32 random bytes.
    pub salt: [u8; 32],
    /// SHA-256 of salt and line.
    pub digest: Digest,
}

/// All lines of one file, for one journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The journal's name.
    pub journal: String,
    /// Line 1 first.
    pub records: Vec<Planned>,
}

/// Why a plan or its file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The plan's text is damaged.
    #[error("line {line} of the plan is damaged: {reason}")]
    Damaged {
        /// Line of the plan file, from 1.
        line: usize,
        /// What was expected.
        reason: &'static str,
    },
    /// There is nothing to seal.
    #[error("the file has no records")]
    Empty,
    /// An empty line cannot be a record.
    #[error("line {0} is empty; every line must be one record")]
    EmptyLine(usize),
    /// The record on a line, or its salt, is not what was planned.
    #[error("line {0} is not the record that was planned: record or salt has changed")]
    Changed(usize),
    /// A line was added behind the planned ones.
    #[error("line {0} is not in the plan: it was added later; seal added records in a file of their own")]
    Added(usize),
    /// A planned line is gone.
    #[error("line {0} is in the plan but not in the file: it was removed")]
    Removed(usize),
    /// The plan is for another journal.
    #[error("the file is planned for journal {planned:?}, not {asked:?}")]
    OtherJournal {
        /// In the plan.
        planned: String,
        /// On the command line.
        asked: String,
    },
}

impl Planned {
    /// Salts and hashes one record.
    pub fn new(request_id: [u8; 16], salt: [u8; 32], record: &[u8]) -> Planned {
        Planned { request_id, salt, digest: salted(&salt, record) }
    }
}

/// SHA-256(salt || record): what the appliance gets to see of a record.
pub fn salted(salt: &[u8; 32], record: &[u8]) -> Digest {
    Digest::of_parts(&[salt, record])
}

/// The records of a JSON Lines file: the bytes between newlines; a last newline is not a record.
pub fn records(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let body = file.strip_suffix(b"\n").unwrap_or(file);
    let lines = (!file.is_empty()).then(|| body.split(|b| *b == b'\n'));
    lines.into_iter().flatten()
}

impl Plan {
    /// Plans every record of `file`; `random` fills a buffer with random bytes.
    pub fn make(journal: &str, file: &[u8], mut random: impl FnMut(&mut [u8])) -> Result<Plan, PlanError> {
        let mut planned = Vec::new();
        for (i, record) in records(file).enumerate() {
            if record.is_empty() {
                return Err(PlanError::EmptyLine(i + 1));
            }
            let (mut request_id, mut salt) = ([0; 16], [0; 32]);
            random(&mut request_id);
            random(&mut salt);
            planned.push(Planned::new(request_id, salt, record));
        }
        if planned.is_empty() {
            return Err(PlanError::Empty);
        }
        Ok(Plan { journal: journal.to_owned(), records: planned })
    }

    /// Whether the plan is for `journal`.
    pub fn must_be_for(&self, journal: &str) -> Result<(), PlanError> {
        if self.journal == journal {
            return Ok(());
        }
        Err(PlanError::OtherJournal { planned: self.journal.clone(), asked: journal.to_owned() })
    }

    /// The first line of `file` that is not what was planned, if any.
    pub fn must_fit(&self, file: &[u8]) -> Result<(), PlanError> {
        let mut lines = 0;
        for (i, record) in records(file).enumerate() {
            lines = i + 1;
            let planned = self.records.get(i).ok_or(PlanError::Added(lines))?;
            if salted(&planned.salt, record) != planned.digest {
                return Err(PlanError::Changed(lines));
            }
        }
        if lines < self.records.len() { Err(PlanError::Removed(lines + 1)) } else { Ok(()) }
    }

    /// The plan file's text.
    pub fn text(&self) -> String {
        let mut text = String::with_capacity(self.records.len() * 176 + 100);
        let _ = writeln!(text, "{HEADING}\njournal {}\nrecords {}", self.journal, self.records.len());
        for (i, r) in self.records.iter().enumerate() {
            let _ = writeln!(text, "{} {} {} {}", i + 1, hex(&r.request_id), hex(&r.salt), r.digest);
        }
        text.push_str("end\n");
        text
    }

    /// Reads exactly what [`Plan::text`] writes; anything else is damage.
    pub fn parse(text: &str) -> Result<Plan, PlanError> {
        let mut lines = Lines { rest: text, number: 0 };
        if lines.next("the heading")? != HEADING {
            return Err(lines.damaged("the heading `pechat plan v1`"));
        }
        let journal = lines.field("journal ", "the journal's name")?.to_owned();
        if journal.is_empty() || journal.contains(char::is_whitespace) {
            return Err(lines.damaged("the journal's name"));
        }
        let count: usize = number(lines.field("records ", "the number of records")?)
            .filter(|n| *n > 0)
            .ok_or_else(|| lines.damaged("the number of records"))?;
        let mut records = Vec::new();
        for line in 1..=count {
            let text = lines.next("one line a record")?;
            records.push(
                record(text, line).ok_or_else(|| lines.damaged("number, request id, salt and digest"))?,
            );
        }
        if lines.next("`end`")? != "end" || !lines.rest.is_empty() {
            return Err(lines.damaged("`end` as the last line"));
        }
        Ok(Plan { journal, records })
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self, expected: &'static str) -> Result<&'a str, PlanError> {
        self.number += 1;
        let (line, rest) = self.rest.split_once('\n').ok_or_else(|| self.damaged(expected))?;
        self.rest = rest;
        Ok(line)
    }

    fn field(&mut self, prefix: &str, expected: &'static str) -> Result<&'a str, PlanError> {
        self.next(expected)?.strip_prefix(prefix).ok_or_else(|| self.damaged(expected))
    }

    fn damaged(&self, reason: &'static str) -> PlanError {
        PlanError::Damaged { line: self.number, reason }
    }
}

/// Decimal without sign or leading zero, so that text and value stand one to one.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|n: &usize| n.to_string() == text)
}

fn record(text: &str, line: usize) -> Option<Planned> {
    let mut parts = text.split(' ');
    if number(parts.next()?)? != line {
        return None;
    }
    let request_id = lower_hex(parts.next()?)?;
    let salt = lower_hex(parts.next()?)?;
    let digest = Digest::from_bytes(lower_hex(parts.next()?)?);
    parts.next().is_none().then_some(Planned { request_id, salt, digest })
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    unhex_into(text, &mut bytes)?;
    (!text.bytes().any(|b| b.is_ascii_uppercase())).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 0u8;
        move |buffer| {
            next += 1;
            buffer.fill(next);
        }
    }

    fn plan_of(file: &[u8]) -> Plan {
        Plan::make("land", file, counting()).unwrap()
    }

    #[test]
    fn every_line_is_planned_with_its_own_salt_and_id() {
        let plan = plan_of(b"{\"a\":1}\n{\"a\":1}");
        assert_eq!(plan.records.len(), 2);
        assert_eq!(plan.records[0].digest, Digest::of(&[&[2; 32][..], b"{\"a\":1}"].concat()));
        assert_ne!(plan.records[0].digest, plan.records[1].digest);
        assert_ne!(plan.records[0].request_id, plan.records[1].request_id);
    }

    #[test]
    fn changed_added_and_removed_lines_are_named() {
        let plan = plan_of(b"a\nb\nc\n");
        assert_eq!(plan.must_fit(b"a\nb\nc\n"), Ok(()));
        assert_eq!(plan.must_fit(b"a\nb\nc"), Ok(()));
        assert_eq!(plan.must_fit(b"a\nB\nc\n"), Err(PlanError::Changed(2)));
        assert_eq!(plan.must_fit(b"a\nb\nc\nd\n"), Err(PlanError::Added(4)));
        assert_eq!(plan.must_fit(b"a\nb\n"), Err(PlanError::Removed(3)));
        assert_eq!(plan.must_fit(b""), Err(PlanError::Removed(1)));
    }

    #[test]
    fn changed_salt_is_named_by_its_line() {
        let mut plan = plan_of(b"a\nb\nc\n");
        plan.records[2].salt[0] ^= 1;
        assert_eq!(plan.must_fit(b"a\nb\nc\n"), Err(PlanError::Changed(3)));
    }

    #[test]
    fn file_without_records_or_with_an_empty_line_is_refused() {
        assert_eq!(Plan::make("j", b"", counting()), Err(PlanError::Empty));
        assert_eq!(Plan::make("j", b"\n", counting()), Err(PlanError::EmptyLine(1)));
        assert_eq!(Plan::make("j", b"a\n\nb\n", counting()), Err(PlanError::EmptyLine(2)));
    }

    #[test]
    fn plan_for_another_journal_is_refused() {
        let error = plan_of(b"a\n").must_be_for("births").unwrap_err();
        assert_eq!(error.to_string(), "the file is planned for journal \"land\", not \"births\"");
    }

    #[test]
    fn truncated_plan_is_damage_and_says_where() {
        let text = plan_of(b"a\nb\n").text();
        for end in 0..text.len() {
            assert!(Plan::parse(&text[..end]).is_err(), "{end}");
        }
        let cut = text.replace("end\n", "");
        assert_eq!(Plan::parse(&cut), Err(PlanError::Damaged { line: 6, reason: "`end`" }));
    }

    #[test]
    fn huge_announced_count_takes_no_memory() {
        let text = format!("{HEADING}\njournal j\nrecords {}\n", usize::MAX);
        assert_eq!(Plan::parse(&text), Err(PlanError::Damaged { line: 4, reason: "one line a record" }));
    }

    proptest! {
        #[test]
        fn plan_written_and_read_is_the_same_plan(file in "[a-z]{1,9}(\n[a-z]{1,9}){0,20}\n?") {
            let plan = plan_of(file.as_bytes());
            prop_assert_eq!(Plan::parse(&plan.text()), Ok(plan.clone()));
            prop_assert_eq!(plan.must_fit(file.as_bytes()), Ok(()));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(pechat plan v1\n)?(journal j\nrecords [0-9]{1,3}\n)?.{0,200}") {
            if let Ok(plan) = Plan::parse(&text) {
                prop_assert_eq!(plan.text(), text);
            }
        }
    }
}
