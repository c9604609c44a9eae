//! What an entry of `own.twins` says: SHA-256 root and SHA3-256 root of trees at one size each.

use serde::{Deserialize, Serialize};

use super::ALGORITHM;
use crate::digest::Digest;

/// The word of [`Statement::event`].
pub const EVENT: &str = "twin-roots";
/// Trees of one statement at most: its text stays below the limit of a detail.
pub const MAX_TREES: usize = 400;

/// Both roots of one tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Twin {
    /// Origin line of the journal, or of the root log, whose leaves are the texts of heads.
    pub origin: String,
    /// Leaves: the size of a head under a signed checkpoint.
    pub size: u64,
    /// SHA-256 root, that of the head.
    pub root: Digest,
    /// SHA3-256 root over the same leaves.
    pub twin: Digest,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// `twin-roots`.
    pub event: String,
    /// `sha3-256`.
    pub algorithm: String,
    /// Sorted by origin, none twice.
    pub trees: Vec<Twin>,
}

impl Statement {
    /// Of these trees, sorted by origin.
    pub fn new(trees: Vec<Twin>) -> Statement {
        Statement { event: EVENT.into(), algorithm: ALGORITHM.into(), trees }
    }

    /// JSON, the entry's detail.
    pub fn text(&self) -> Vec<u8> {
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a statement; whatever is accepted gives the same text again.
    pub fn parse(text: &[u8]) -> Result<Statement, String> {
        let read: Statement = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if read.event != EVENT || read.algorithm != ALGORITHM {
            return Err(format!("its event is {:?} with {:?}", read.event, read.algorithm));
        }
        if read.trees.is_empty() || read.trees.len() > MAX_TREES {
            return Err(format!("it names {} trees, not 1 to {MAX_TREES}", read.trees.len()));
        }
        if !read.trees.is_sorted_by(|a, b| a.origin < b.origin) {
            return Err("its trees are not sorted by origin, or one is there twice".into());
        }
        if read.text() == text { Ok(read) } else { Err("it is not written in the one way".into()) }
    }

    /// What it says of one tree.
    pub fn of(&self, origin: &str) -> Option<&Twin> {
        self.trees.iter().find(|twin| twin.origin == origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn twin(origin: &str) -> Twin {
        Twin { origin: origin.into(), size: 3, root: Digest::of(b"a"), twin: Digest::of(b"b") }
    }

    #[test]
    fn a_statement_survives_its_text_and_almost_right_ones_are_refused() {
        let statement = Statement::new(vec![twin("a.example/j/one"), twin("a.example/root")]);
        let text = String::from_utf8(statement.text()).unwrap();
        assert_eq!(Statement::parse(text.as_bytes()), Ok(statement.clone()));
        assert_eq!(statement.of("a.example/root"), Some(&twin("a.example/root")));
        assert_eq!(statement.of("a.example/j/two"), None);
        for (from, to) in [
            ("twin-roots", "twin-root"),
            ("sha3-256", "sha3-512"),
            ("\"size\":3", "\"size\": 3"),
            ("\"size\":3", "\"size\":3,\"more\":1"),
            ("j/one", "roots"),
            ("j/one", "root"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Statement::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
        assert!(Statement::parse(&Statement::new(Vec::new()).text()).is_err());
        let many = (0..=MAX_TREES).map(|n| twin(&format!("a.example/j/{n:04}"))).collect();
        assert!(Statement::parse(&Statement::new(many).text()).is_err());
    }

    #[test]
    fn the_longest_statement_is_a_detail() {
        let longest = |n| Twin { size: u64::MAX, ..twin(&format!("{n:0>255}")) };
        let statement = Statement::new((0..MAX_TREES).map(longest).collect());
        assert!(statement.text().len() <= crate::journal::DETAIL_MAX, "{}", statement.text().len());
    }
}
