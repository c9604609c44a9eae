//! Who takes part, in which environment, and which officers agreed to what.

pub mod approval;
pub mod environment;
pub mod participant;

pub use approval::{Agreement, Clause, Standing};
pub use environment::Environment;
pub use participant::{Institution, ParticipantError};

use serde::{Deserialize, Serialize};

/// Short identifier of an institution: 2 to 40 of `a-z`, `0-9`, `-`, beginning with a letter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstitutionId(String);

/// The text is not an institution identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an institution id: 2 to 40 of a-z, 0-9 and -, beginning with a letter")]
pub struct NotAnInstitutionId(String);

impl TryFrom<String> for InstitutionId {
    type Error = NotAnInstitutionId;

    fn try_from(text: String) -> Result<Self, NotAnInstitutionId> {
        let fits = (2..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if fits { Ok(Self(text)) } else { Err(NotAnInstitutionId(text)) }
    }
}

impl From<InstitutionId> for String {
    fn from(id: InstitutionId) -> String {
        id.0
    }
}

impl InstitutionId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for InstitutionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
