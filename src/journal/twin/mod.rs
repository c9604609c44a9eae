//! Twin trees: for every tree of the appliance a second one over the same leaves with an unrelated hash,
//! SHA3-256, so that the end of SHA-256 leaves the evidence its structure (`docs/decisions/0019-twin-roots.md`).
//!
//! Here is what is pure. [`rounds`] computes them behind the appliance's back and states their roots in
//! `own.twins`; [`state`] is what a restart goes on from.

pub mod rounds;
pub mod state;
pub mod statement;

use aws_lc_rs::digest::{Context, SHA3_256};
use serde::{Deserialize, Serialize};

pub use statement::{Statement, Twin};

use crate::digest::Digest;

/// Name of the hash in statements.
pub const ALGORITHM: &str = "sha3-256";

/// SHA3-256 (FIPS 202) of the parts one after the other.
pub fn sha3(parts: &[&[u8]]) -> Digest {
    let mut context = Context::new(&SHA3_256);
    parts.iter().for_each(|part| context.update(part));
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    Digest::from_bytes(bytes)
}

/// The right edge of a tree as in RFC 6962 section 2.1, with SHA3-256 in place of SHA-256: leaves are hashed
/// after a byte 0, nodes after a byte 1.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwinTree {
    size: u64,
    /// Roots of the complete subtrees, left to right: one for each 1 in the size.
    peaks: Vec<Digest>,
}

impl TwinTree {
    /// Adds the next leaf.
    pub fn append(&mut self, leaf: &[u8]) {
        let mut node = sha3(&[&[0], leaf]);
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = joined(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root; of no leaves the hash of nothing.
    pub fn root(&self) -> Digest {
        let right_to_left = self.peaks.iter().rev().copied();
        right_to_left.reduce(|right, left| joined(&left, &right)).unwrap_or_else(|| sha3(&[]))
    }

    /// Whether there are as many subtrees as the size calls for.
    fn holds(&self) -> bool {
        self.peaks.len() == self.size.count_ones() as usize
    }
}

fn joined(left: &Digest, right: &Digest) -> Digest {
    sha3(&[&[1], left.as_bytes(), right.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6962 section 2.1 word for word.
    fn defined(leaves: &[[u8; 4]]) -> Digest {
        match leaves {
            [] => sha3(&[]),
            [leaf] => sha3(&[&[0], leaf]),
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                joined(&defined(left), &defined(right))
            }
        }
    }

    #[test]
    fn the_hash_of_nothing_is_the_published_value() {
        let published = "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a";
        assert_eq!(sha3(&[]).to_string(), published);
        assert_eq!(sha3(&[b"a", b"bc"]), sha3(&[b"abc"]));
    }

    #[test]
    fn roots_of_every_size_are_those_of_the_definition() {
        let leaves: Vec<[u8; 4]> = (0..70_u32).map(u32::to_be_bytes).collect();
        let mut tree = TwinTree::default();
        for size in 0..leaves.len() {
            assert_eq!((tree.size(), tree.root()), (size as u64, defined(&leaves[..size])));
            assert!(tree.holds());
            tree.append(&leaves[size]);
        }
    }
}
