//! Names and sizes of journals, and what callers hand in.

use serde::{Deserialize, Serialize};

use super::{JournalError, entry};
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// Name of a journal within the appliance: 1 to 63 of `a-z`, `0-9`, `-`, beginning with a letter.
/// The appliance's own journals begin with `own.`, which no caller may use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JournalName(String);

impl TryFrom<String> for JournalName {
    type Error = JournalError;
    fn try_from(text: String) -> Result<Self, JournalError> {
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let own = OwnJournal::ALL.iter().any(|own| own.name() == text);
        if fits || own { Ok(Self(text)) } else { Err(JournalError::BadName(text)) }
    }
}

impl From<JournalName> for String {
    fn from(n: JournalName) -> String {
        n.0
    }
}

impl JournalName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The appliance's own journals; their entries carry a detail (JSON) whose SHA-256 is the digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OwnJournal {
    /// `own.timestamps`: one entry a token, before it is signed.
    Timestamps,
    /// `own.certificates`: intents, outcomes, revocations, agreements.
    Certificates,
    /// `own.clock`: transitions of the clock.
    Clock,
    /// `own.identifiers`: runs of register numbers, before they are handed out.
    Identifiers,
    /// `own.events`: start, stop, officers' acts, journals opened.
    Events,
    /// `own.twins`: SHA3-256 roots beside the SHA-256 roots.
    Twins,
}

impl OwnJournal {
    /// All of them.
    pub const ALL: [OwnJournal; 6] = [
        OwnJournal::Timestamps,
        OwnJournal::Certificates,
        OwnJournal::Clock,
        OwnJournal::Events,
        OwnJournal::Identifiers,
        OwnJournal::Twins,
    ];

    /// Its journal name.
    pub fn name(self) -> &'static str {
        match self {
            OwnJournal::Timestamps => "own.timestamps",
            OwnJournal::Certificates => "own.certificates",
            OwnJournal::Clock => "own.clock",
            OwnJournal::Identifiers => "own.identifiers",
            OwnJournal::Events => "own.events",
            OwnJournal::Twins => "own.twins",
        }
    }
}

impl From<OwnJournal> for JournalName {
    fn from(own: OwnJournal) -> JournalName {
        JournalName(own.name().to_owned())
    }
}

/// 16 bytes chosen by the client, unique within the journal; 32 hex digits (or a UUID) in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 16]);

/// One digest to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Submission {
    /// The client's id of this record.
    pub request_id: RequestId,
    /// SHA-256 of salt and record.
    pub digest: Digest,
}

/// Where a recorded own entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Sequence within the own journal.
    pub seq: u64,
    /// Its time.
    pub time: UtcMicros,
}

/// What a journal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalInfo {
    /// Its name.
    pub name: JournalName,
    /// The institution it belongs to; `None` for own journals.
    pub institution: Option<InstitutionId>,
    /// Origin line, `{site}/j/{name}`.
    pub origin: String,
    /// Durable entries, charter included.
    pub size: u64,
    /// Sequence of the final record, if the journal was frozen.
    pub frozen: Option<u64>,
}

pub(super) fn is_own(name: &JournalName) -> bool {
    name.as_str().starts_with("own.")
}

pub(super) fn charter_text(origin: &str, institution: Option<&InstitutionId>, opened: UtcMicros) -> String {
    let institution = institution.map(|id| id.as_str().to_owned());
    entry::Charter { origin: origin.to_owned(), institution, opened: opened.iso8601() }.text()
}
