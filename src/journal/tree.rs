//! The Merkle tree of RFC 6962, section 2.1: hashes, compact ranges, proofs and their checks. Pure.
//!
//! A *complete subtree* of level `l` and index `i` covers the leaves `i << l .. (i + 1) << l`. Where a
//! function takes `read`, it asks only for complete subtrees, so tiles or plain arrays can answer.

use aws_lc_rs::digest::{SHA256, digest};

use crate::digest::Digest;

/// More hashes than any inclusion or consistency path of a tree below 2^63 leaves can have.
pub const MAX_PATH: usize = 64;

/// Why a proof does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The leaf or range asked about lies outside the tree.
    #[error("leaves {first} to {end} (exclusive) are not all within a tree of {size}")]
    OutOfTree {
        /// First leaf.
        first: u64,
        /// One past the last leaf.
        end: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// A tree cannot shrink.
    #[error("a tree of {new} leaves cannot follow one of {old}")]
    Shrunk {
        /// Older size.
        old: u64,
        /// Newer size.
        new: u64,
    },
    /// Too many or too few hashes for the place in the tree.
    #[error("the path has {found} hashes where {needed} are needed")]
    Length {
        /// Hashes given.
        found: usize,
        /// Hashes the sizes call for.
        needed: usize,
    },
    /// The path leads somewhere else.
    #[error("the path leads to root {computed}, not to {expected}")]
    Root {
        /// What the path gives.
        computed: Digest,
        /// What it should give.
        expected: Digest,
    },
}

/// Hash of a leaf: SHA-256(0x00 || data).
pub fn leaf_hash(data: &[u8]) -> Digest {
    const ROOM: usize = 256;
    if data.len() >= ROOM {
        return Digest::of_parts(&[&[0], data]);
    }
    // One call over one buffer needs no hash context from the heap.
    let mut buffer = [0; ROOM];
    buffer[1..=data.len()].copy_from_slice(data);
    sha256(&buffer[..=data.len()])
}

/// Hash of an inner node: SHA-256(0x01 || left || right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut buffer = [1; 65];
    buffer[1..33].copy_from_slice(left.as_bytes());
    buffer[33..].copy_from_slice(right.as_bytes());
    sha256(&buffer)
}

/// Root of the tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Digest {
    sha256(&[])
}

fn sha256(data: &[u8]) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, data).as_ref());
    Digest::from_bytes(bytes)
}

/// The roots of the maximal complete subtrees of a growing tree: all that is needed to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRange {
    size: u64,
    nodes: Vec<Digest>,
}

impl CompactRange {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a tree of `size` leaves from its maximal complete subtrees, largest (leftmost) first.
    pub fn from_nodes(size: u64, nodes: Vec<Digest>) -> Result<Self, ProofError> {
        let needed = size.count_ones() as usize;
        if nodes.len() != needed {
            return Err(ProofError::Length { found: nodes.len(), needed });
        }
        Ok(Self { size, nodes })
    }

    /// Adds the hash of one leaf.
    pub fn append(&mut self, leaf: Digest) {
        self.append_with(leaf, |_, _, _| {});
    }

    /// Adds the hash of one leaf and shows every complete subtree this finishes, the leaf included:
    /// level, index within the level, hash.
    pub fn append_with(&mut self, leaf: Digest, mut finished: impl FnMut(u8, u64, &Digest)) {
        let mut hash = leaf;
        finished(0, self.size, &hash);
        for level in 0..self.size.trailing_ones() {
            let Some(left) = self.nodes.pop() else { break };
            hash = node_hash(&left, &hash);
            finished(level as u8 + 1, self.size >> (level + 1), &hash);
        }
        self.nodes.push(hash);
        self.size += 1;
    }

    /// Adds a complete subtree of `1 << level` leaves at once; the size so far is a multiple of that.
    pub(super) fn append_complete(&mut self, level: u32, node: Digest) {
        append_subtree(self, node, level);
    }

    /// Adds the subtrees of a [`range_path`]'s right side, which lead to a tree of `size` leaves.
    pub(super) fn append_right(&mut self, nodes: &[Digest], size: u64) {
        for node in nodes {
            let level = level_at(self.size, size);
            append_subtree(self, *node, level);
        }
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// RFC 6962 tree head.
    pub fn root(&self) -> Digest {
        fold(self.nodes.iter().copied()).unwrap_or_else(empty_root)
    }

    /// Maximal complete subtrees, largest (leftmost) first; one for each 1 in the binary size.
    pub fn nodes(&self) -> &[Digest] {
        &self.nodes
    }
}

/// Joins neighbouring subtrees of falling size into the node above them all.
fn fold(nodes: impl DoubleEndedIterator<Item = Digest>) -> Option<Digest> {
    nodes.rev().reduce(|right, left| node_hash(&left, &right))
}

/// Largest power of two below `n`, the split of RFC 6962; `n` is at least 2.
fn split(n: u64) -> u64 {
    1 << (63 - (n - 1).leading_zeros())
}

/// Level of the largest complete subtree that begins at `at` and ends at or before `end`.
pub(super) fn level_at(at: u64, end: u64) -> u32 {
    at.trailing_zeros().min((end - at).ilog2())
}

/// Hash of the tree node over `from .. to`, which need not be complete.
fn node_over<E>(
    from: u64,
    to: u64,
    read: &mut impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Digest, E> {
    let mut parts = Vec::new();
    let mut at = from;
    while at < to {
        let level = level_at(at, to);
        parts.push(read(level as u8, at >> level)?);
        at += 1 << level;
    }
    Ok(fold(parts.into_iter()).unwrap_or_else(empty_root))
}

/// RFC 6962 section 2.1.1: path from leaf `index` to the root of the first `size` leaves, leaf end
/// first. Empty if `index` is not below `size`.
pub fn inclusion_path<E>(
    index: u64,
    size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let (mut from, mut to) = (0, size);
    let mut path = Vec::new();
    while index < size && to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(node_over(middle, to, &mut read)?);
            to = middle;
        } else {
            path.push(node_over(from, middle, &mut read)?);
            from = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// RFC 6962 section 2.1.2: path showing that the tree of `new` leaves begins with that of `old`.
/// Empty for `old` = 0 and for `old` >= `new`.
pub fn consistency_path<E>(
    old: u64,
    new: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    if old == 0 || old >= new {
        return Ok(Vec::new());
    }
    let (mut from, mut to) = (0, new);
    let mut path = Vec::new();
    while to != old {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(node_over(middle, to, &mut read)?);
            to = middle;
        } else {
            path.push(node_over(from, middle, &mut read)?);
            from = middle;
        }
    }
    // The verifier holds the old root itself when the old tree is one whole subtree.
    if from != 0 {
        path.push(node_over(from, to, &mut read)?);
    }
    path.reverse();
    Ok(path)
}

/// Path of a run of leaves: the maximal complete subtrees left of it, left to right, then those that
/// cover `first + count .. size`, left to right. Empty if the run is not within the tree.
pub fn range_path<E>(
    first: u64,
    count: u64,
    size: u64,
    mut read: impl FnMut(u8, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    let Some(end) = first.checked_add(count).filter(|end| *end <= size) else { return Ok(Vec::new()) };
    let mut path = Vec::new();
    for (from, to) in [(0, first), (end, size)] {
        let mut at = from;
        while at < to {
            let level = level_at(at, to);
            path.push(read(level as u8, at >> level)?);
            at += 1 << level;
        }
    }
    Ok(path)
}

/// A [`range_path`] of a run `first .. end` as its left and its right side.
pub(super) fn sides_of(
    first: u64,
    end: u64,
    size: u64,
    path: &[Digest],
) -> Result<(&[Digest], &[Digest]), ProofError> {
    if first >= end || end > size {
        return Err(ProofError::OutOfTree { first, end, size });
    }
    let left = first.count_ones() as usize;
    let needed = left + right_cover(end, size);
    if path.len() != needed {
        return Err(ProofError::Length { found: path.len(), needed });
    }
    Ok(path.split_at(left))
}

/// How many subtrees [`range_path`] names right of a run that ends at `end`.
fn right_cover(end: u64, size: u64) -> usize {
    let (mut at, mut count) = (end, 0);
    while at < size {
        at += 1 << level_at(at, size);
        count += 1;
    }
    count
}

/// Root of a tree of `size` leaves that holds `leaves` (hashes) from `first` on.
pub fn root_of_range(
    first: u64,
    leaves: &[Digest],
    size: u64,
    path: &[Digest],
) -> Result<Digest, ProofError> {
    let end = first.saturating_add(leaves.len() as u64);
    let (left, right) = sides_of(first, end, size, path)?;
    let mut tree = CompactRange { size: first, nodes: left.to_vec() };
    for leaf in leaves {
        tree.append(*leaf);
    }
    tree.append_right(right, size);
    Ok(tree.root())
}

/// Adds a complete subtree at once; the size so far is a multiple of its `1 << level` leaves.
fn append_subtree(tree: &mut CompactRange, node: Digest, level: u32) {
    let mut hash = node;
    for _ in 0..(tree.size >> level).trailing_ones() {
        let Some(left) = tree.nodes.pop() else { break };
        hash = node_hash(&left, &hash);
    }
    tree.nodes.push(hash);
    tree.size += 1 << level;
}

/// Whether `leaf` (a leaf hash) stands at `index` in the tree of `size` leaves with `root`.
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfTree { first: index, end: index.saturating_add(1), size });
    }
    let (inner, needed) = steps(index, size - 1);
    if path.len() != needed {
        return Err(ProofError::Length { found: path.len(), needed });
    }
    let (low, high) = path.split_at(inner);
    let mut hash = *leaf;
    for (level, sibling) in low.iter().enumerate() {
        hash = if index >> level & 1 == 0 { node_hash(&hash, sibling) } else { node_hash(sibling, &hash) };
    }
    let hash = high.iter().fold(hash, |hash, left| node_hash(left, &hash));
    same_root(hash, root)
}

/// Whether the tree of `new` leaves begins with the tree of `old` leaves.
pub fn verify_consistency(
    old: u64,
    old_root: &Digest,
    new: u64,
    new_root: &Digest,
    path: &[Digest],
) -> Result<(), ProofError> {
    if old > new {
        return Err(ProofError::Shrunk { old, new });
    }
    if old == 0 || old == new {
        let found = path.len();
        let start = if old == 0 { empty_root() } else { *new_root };
        return if found == 0 {
            same_root(start, old_root)
        } else {
            Err(ProofError::Length { found, needed: 0 })
        };
    }
    // The walk starts at the largest complete subtree that ends the old tree.
    let shift = old.trailing_zeros();
    let index = (old - 1) >> shift;
    let (seed, rest) = match path.split_first() {
        _ if index == 0 => (*old_root, path),
        Some((seed, rest)) => (*seed, rest),
        None => (*old_root, path),
    };
    let needed = steps(index, (new - 1) >> shift).1 + usize::from(index != 0);
    if path.len() != needed {
        return Err(ProofError::Length { found: path.len(), needed });
    }
    let (old_found, new_found) = climb_both(seed, index, (new - 1) >> shift, rest);
    same_root(old_found, old_root)?;
    same_root(new_found, new_root)
}

/// Siblings on the way up from node `index` where `last` is the last node of the level: those below
/// the point where the ways of both meet (one a level, on either side), and all (above it only left ones).
fn steps(index: u64, last: u64) -> (usize, usize) {
    let inner = 64 - (index ^ last).leading_zeros();
    let border = index.checked_shr(inner).unwrap_or(0).count_ones();
    (inner as usize, (inner + border) as usize)
}

/// Climbs old and new tree together (RFC 9162 section 2.1.4.2); only left siblings are in the old one.
fn climb_both(seed: Digest, index: u64, last: u64, path: &[Digest]) -> (Digest, Digest) {
    let (inner, _) = steps(index, last);
    let (mut old, mut new) = (seed, seed);
    for (level, sibling) in path.iter().enumerate() {
        if level >= inner || index >> level & 1 == 1 {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
        } else {
            new = node_hash(&new, sibling);
        }
    }
    (old, new)
}

fn same_root(computed: Digest, expected: &Digest) -> Result<(), ProofError> {
    if computed == *expected { Ok(()) } else { Err(ProofError::Root { computed, expected: *expected }) }
}

#[cfg(test)]
#[path = "tree_tests.rs"]
mod tests;
