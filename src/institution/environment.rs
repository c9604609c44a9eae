//! The three environments, each with an issuing CA of its own.

use serde::{Deserialize, Serialize};

/// Where a certificate is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Trying out.
    Test,
    /// Experimental integration.
    Integration,
    /// Real data.
    Production,
}

impl Environment {
    /// All three, in the order an institution passes through them.
    pub const ALL: [Environment; 3] = [Self::Test, Self::Integration, Self::Production];

    /// `test`, `integration` or `production`: the word in labels, paths and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Integration => "integration",
            Self::Production => "production",
        }
    }

    /// The environment of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.as_str() == word)
    }
}
