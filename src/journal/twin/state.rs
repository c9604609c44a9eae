//! How far the twin trees are: a cache. Whoever loses it computes it again from the log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{TwinTree, sha3};
use crate::digest::Digest;

/// One tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// The SHA3-256 tree so far.
    pub tree: TwinTree,
    /// SHA-256 root of the same leaves: says that the line belongs to this log and no other.
    pub root: Digest,
    /// Its newest statement.
    pub stated: Option<Stated>,
}

/// Where a root was stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// Leaves then.
    pub size: u64,
    /// Sequence in `own.twins`.
    pub seq: u64,
}

/// All of them by origin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct State(pub BTreeMap<String, Line>);

impl State {
    /// One line of JSON, one with the SHA3-256 of it.
    pub fn text(&self) -> String {
        // Strings, numbers and arrays only: nothing in it can fail to be written.
        let line = serde_json::to_string(self).unwrap_or_default() + "\n";
        let check = sha3(&[line.as_bytes()]);
        format!("{line}{check}\n")
    }

    /// Reads what [`State::text`] wrote; anything else is no state.
    pub fn parse(text: &str) -> Option<State> {
        let (line, check) = text.split_once('\n')?;
        let state: State = serde_json::from_str(line).ok()?;
        let line = &text[..=line.len()];
        let whole = check.strip_suffix('\n')?.parse() == Ok(sha3(&[line.as_bytes()]));
        (whole && state.0.values().all(|line| line.tree.holds())).then_some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_its_text_and_any_damage_is_no_state() {
        let mut tree = TwinTree::default();
        (0..5_u8).for_each(|leaf| tree.append(&[leaf]));
        let line = Line { tree, root: Digest::of(b"root"), stated: Some(Stated { size: 4, seq: 2 }) };
        let both = [("a.example/root".to_owned(), Line::default()), ("a.example/j/one".to_owned(), line)];
        let state = State(both.into());
        let text = state.text();
        assert_eq!(State::parse(&text), Some(state));
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let damaged = String::from_utf8(bytes).ok().and_then(|text| State::parse(&text));
            assert_eq!(damaged, None, "byte {at}");
            assert_eq!(State::parse(&text[..at]), None, "cut at {at}");
        }
        assert_eq!(State::parse(&text.replacen("\"size\":5", "\"size\":4", 1)), None);
    }
}
