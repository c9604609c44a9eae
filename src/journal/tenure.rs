//! Who may write to a journal, and what changes that: a hand-over to another institution (entry kind 10),
//! the freeze that ends it (kind 9; Art. 38a). Pure.
//!
//! The statement is the detail of the control entry, and of a record in `own.events` beside it.

use serde::{Deserialize, Serialize};

use super::JournalError;
use super::entry::EntryKind;
use super::epoch::{AgreedBy, MAX_DESCRIPTION};
use super::record::Group;
use crate::institution::InstitutionId;

/// Longest statement, bytes.
pub const MAX_STATEMENT: usize = 32 << 10;

/// A control entry: its sequence, and the statement's text unless only its digest is known.
pub type Stated = (u64, Option<Vec<u8>>);

/// What happened to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Its last entry is written.
    #[serde(rename = "journal-frozen")]
    Frozen,
    /// It belongs to another institution from this entry on.
    #[serde(rename = "journal-handed-over")]
    HandedOver,
}

/// Why a control entry stands in a journal, and who answers for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What happened.
    pub event: Event,
    /// The journal's origin line.
    pub origin: String,
    /// Sequence of the control entry.
    pub seq: u64,
    /// Whom the journal belonged to before.
    pub institution: InstitutionId,
    /// Whom it belongs to from here on; of a hand-over only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<InstitutionId>,
    /// The order behind it, in the officers' words.
    pub description: String,
    /// The officers who agreed.
    pub agreed_by: Vec<AgreedBy>,
}

impl Statement {
    /// JSON, the entry's detail.
    pub fn text(&self) -> Vec<u8> {
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a statement; whatever is accepted gives the same text again.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_STATEMENT {
            return Err(format!("it has {} bytes, more than {MAX_STATEMENT}", text.len()));
        }
        let read: Self = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        read.check()?;
        if read.text() == text { Ok(read) } else { Err("it is not written in the one way".into()) }
    }

    fn check(&self) -> Result<(), String> {
        match (self.event, &self.to) {
            (Event::Frozen, None) => {}
            (Event::HandedOver, Some(to)) if *to != self.institution => {}
            _ => return Err("its event does not go with its institutions".into()),
        }
        let fits = (1..=MAX_DESCRIPTION).contains(&self.description.trim().len());
        if fits { Ok(()) } else { Err("its description is empty or too long".into()) }
    }

    /// The kind of the entry that holds it.
    pub fn kind(&self) -> EntryKind {
        match self.event {
            Event::Frozen => EntryKind::Freeze,
            Event::HandedOver => EntryKind::HandOver,
        }
    }
}

/// What a group changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing may follow the entry of this sequence.
    Frozen(u64),
    /// Another owner from here on.
    HandedOver {
        /// The entry's sequence.
        seq: u64,
        /// Before.
        from: InstitutionId,
        /// Now.
        to: InstitutionId,
    },
}

impl Change {
    /// Sequence of the control entry.
    pub fn seq(&self) -> u64 {
        match self {
            Change::Frozen(seq) | Change::HandedOver { seq, .. } => *seq,
        }
    }
}

/// The change that a group makes in the journal of `origin`; its details have been held against their
/// digests. A freeze that returned from a receipt may lack its statement.
pub fn change(group: &Group<'_>, origin: &str) -> Result<Option<Change>, String> {
    let kind = match EntryKind::from_wire(group.kind) {
        Ok(kind @ (EntryKind::Freeze | EntryKind::HandOver)) => kind,
        _ => return Ok(None),
    };
    if group.count() != 1 {
        return Err("a control entry does not stand alone".into());
    }
    if kind == EntryKind::Freeze && group.details.is_empty() {
        return Ok(Some(Change::Frozen(group.first)));
    }
    // One statement a group: four bytes of length, then the text.
    let text = group.details.get(4..).ok_or("a control entry without its statement")?;
    let statement = Statement::parse(text).map_err(|why| format!("the statement: {why}"))?;
    if (statement.kind(), &*statement.origin, statement.seq) != (kind, origin, group.first) {
        return Err("the statement is about another entry".into());
    }
    Ok(Some(match statement.to {
        None => Change::Frozen(group.first),
        Some(to) => Change::HandedOver { seq: group.first, from: statement.institution, to },
    }))
}

/// Whom a journal belongs to and whether it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenure {
    /// Whose it is; `None` for own journals.
    pub owner: Option<InstitutionId>,
    /// Whose it was, oldest first.
    pub former: Vec<InstitutionId>,
    /// Sequence of the final record.
    pub frozen: Option<u64>,
    /// What led here, oldest first.
    pub changes: Vec<Change>,
}

impl Tenure {
    /// As the charter says.
    pub fn new(owner: Option<InstitutionId>) -> Tenure {
        Tenure { owner, former: Vec::new(), frozen: None, changes: Vec::new() }
    }

    /// Makes a change that follows; the text says why one does not.
    pub fn apply(&mut self, change: &Change) -> Result<(), String> {
        if let Some(seq) = self.frozen {
            return Err(format!("it was frozen at sequence {seq}"));
        }
        let owner = self.owner.clone().ok_or("an own journal has no owner to change and no end")?;
        match change {
            Change::Frozen(seq) => self.frozen = Some(*seq),
            Change::HandedOver { from, .. } if *from != owner => {
                return Err(format!("it belongs to {owner}, not to {from}"));
            }
            Change::HandedOver { to, .. } => {
                self.former.push(owner);
                self.owner = Some(to.clone());
            }
        }
        self.changes.push(change.clone());
        Ok(())
    }

    /// Whether new entries are accepted, from `by` if the caller is named.
    pub fn admit(&self, journal: &str, by: Option<&InstitutionId>) -> Result<(), JournalError> {
        if let Some(seq) = self.frozen {
            return Err(JournalError::Frozen { journal: journal.to_owned(), seq });
        }
        match by {
            Some(by) if self.owner.as_ref() != Some(by) => {
                Err(JournalError::NotOwner { journal: journal.to_owned(), by: by.as_str().to_owned() })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn id(text: &str) -> InstitutionId {
        InstitutionId::try_from(text.to_owned()).unwrap()
    }

    fn statement(to: Option<&str>) -> Statement {
        Statement {
            event: if to.is_some() { Event::HandedOver } else { Event::Frozen },
            origin: "seal.example.gov/j/land".into(),
            seq: 7,
            institution: id("mayor"),
            to: to.map(id),
            description: "Order 17".into(),
            agreed_by: vec![AgreedBy { person: "operator/ana".into(), certificate: Digest::of(b"a") }],
        }
    }

    fn group<'a>(kind: u16, slots: &'a [u8], details: &'a [u8]) -> Group<'a> {
        Group { journal: 4, kind, first: 7, time: 1, bound: 1, head: "h", slots, details }
    }

    fn details(text: &[u8]) -> Vec<u8> {
        [&(text.len() as u32).to_be_bytes()[..], text].concat()
    }

    #[test]
    fn a_statement_survives_its_text_and_contradictions_are_refused() {
        for good in [statement(None), statement(Some("ministry"))] {
            assert_eq!(Statement::parse(&good.text()), Ok(good));
        }
        let kept = [
            (&include_bytes!("../../tests/vectors/journal_statement/frozen.json")[..], Event::Frozen),
            (include_bytes!("../../tests/vectors/journal_statement/handed-over.json"), Event::HandedOver),
        ];
        for (text, event) in kept {
            assert_eq!(Statement::parse(text).map(|said| said.event), Ok(event));
        }
        let mut all = vec![statement(Some("mayor")), statement(None), statement(Some("ministry"))];
        all[1].event = Event::HandedOver;
        all[2].event = Event::Frozen;
        all.push(Statement { description: " ".into(), ..statement(None) });
        all.push(Statement { description: "x".repeat(MAX_DESCRIPTION + 1), ..statement(None) });
        for bad in all {
            assert!(Statement::parse(&bad.text()).is_err(), "{bad:?}");
        }
        let spaced = String::from_utf8(statement(None).text()).unwrap().replace(":7,", ": 7,");
        assert!(Statement::parse(spaced.as_bytes()).is_err());
    }

    #[test]
    fn a_control_group_is_about_its_own_entry_and_stands_alone() {
        let handed = statement(Some("ministry"));
        let (text, slot) = (details(&handed.text()), [0; 48]);
        let origin = &*handed.origin;
        let expected = Change::HandedOver { seq: 7, from: id("mayor"), to: id("ministry") };
        assert_eq!(change(&group(10, &slot, &text), origin), Ok(Some(expected)));
        assert_eq!(change(&group(9, &slot, &[]), origin), Ok(Some(Change::Frozen(7))));
        assert_eq!(change(&group(2, &slot, &[]), origin), Ok(None));
        for (bad, of) in [
            (group(9, &slot, &text), origin),
            (group(10, &slot, &[]), origin),
            (group(10, &slot, &text), "seal.example.gov/j/cars"),
            (group(10, &[0; 96], &text), origin),
            (Group { first: 8, ..group(10, &slot, &text) }, origin),
        ] {
            assert!(change(&bad, of).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_follows_a_freeze_and_only_the_owner_hands_over() {
        let mut tenure = Tenure::new(Some(id("mayor")));
        let over = |from, to| Change::HandedOver { seq: 8, from: id(from), to: id(to) };
        assert!(tenure.apply(&over("ministry", "mayor")).is_err());
        tenure.apply(&over("mayor", "ministry")).unwrap();
        assert_eq!((&tenure.owner, &*tenure.former), (&Some(id("ministry")), &[id("mayor")][..]));
        assert_eq!(tenure.admit("land", Some(&id("ministry"))), Ok(()));
        assert!(matches!(tenure.admit("land", Some(&id("mayor"))), Err(JournalError::NotOwner { .. })));
        tenure.apply(&Change::Frozen(9)).unwrap();
        let frozen = Err(JournalError::Frozen { journal: "land".into(), seq: 9 });
        assert_eq!(tenure.admit("land", Some(&id("ministry"))), frozen);
        assert_eq!(tenure.admit("land", None), frozen);
        assert!(tenure.apply(&over("ministry", "mayor")).is_err());
        assert!(tenure.apply(&Change::Frozen(10)).is_err());
        assert!(Tenure::new(None).apply(&Change::Frozen(1)).is_err(), "own journals have no end");
    }
}
