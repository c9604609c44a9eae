//! Hash trees of RFC 4998 section 4.2: sorted pairs without prefixes, and the reduced tree of each leaf.
//!
//! Readers differ where the first partial tree holds a leaf and its siblings, so it holds the leaf alone (or the
//! group that is the leaf), each further one a single sibling, and it is there even when the tree is one leaf.

use super::record::PartialTree;
use crate::timestamp::Hash;

/// The value of a group: of one member itself, else the hash of the sorted members (section 4.2.1).
fn value(hash: Hash, group: &[Vec<u8>]) -> Vec<u8> {
    if let [only] = group {
        return only.clone();
    }
    let mut sorted: Vec<&[u8]> = group.iter().map(Vec::as_slice).collect();
    sorted.sort_unstable();
    hash.of(&sorted)
}

/// Root over `leaves`, and for each leaf its reduced tree. There is at least one leaf.
pub fn reduced(hash: Hash, leaves: &[PartialTree]) -> (Vec<u8>, Vec<Vec<PartialTree>>) {
    let mut trees: Vec<Vec<PartialTree>> = leaves.iter().map(|leaf| vec![leaf.clone()]).collect();
    let mut level: Vec<Vec<u8>> = leaves.iter().map(|leaf| value(hash, leaf)).collect();
    let mut height = 0_u32;
    while level.len() > 1 {
        for (leaf, tree) in trees.iter_mut().enumerate() {
            if let Some(sibling) = level.get((leaf >> height) ^ 1) {
                tree.push(vec![sibling.clone()]);
            }
        }
        level = level.chunks(2).map(|pair| value(hash, pair)).collect();
        height += 1;
    }
    (level.pop().unwrap_or_default(), trees)
}

/// The root that a reduced tree leads to (section 4.3).
pub fn root(hash: Hash, tree: &[PartialTree]) -> Vec<u8> {
    let Some((first, rest)) = tree.split_first() else { return Vec::new() };
    rest.iter().fold(value(hash, first), |below, part| {
        let mut part = part.clone();
        part.push(below);
        value(hash, &part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<PartialTree> {
        (0..count).map(|n| vec![Hash::Sha512.of(&[&n.to_be_bytes()])]).collect()
    }

    #[test]
    fn every_leaf_of_every_tree_leads_to_its_root() {
        for count in 1..40 {
            let leaves = leaves(count);
            let (top, trees) = reduced(Hash::Sha512, &leaves);
            for (leaf, tree) in leaves.iter().zip(&trees) {
                assert_eq!(&tree[0], leaf);
                assert!(tree[1..].iter().all(|part| part.len() == 1));
                assert_eq!(root(Hash::Sha512, tree), top, "{count} leaves");
            }
        }
    }

    #[test]
    fn a_tree_of_one_leaf_is_the_leaf_and_a_group_is_hashed_sorted() {
        let one = leaves(1);
        assert_eq!(reduced(Hash::Sha512, &one), (one[0][0].clone(), vec![one.clone()]));
        let group = vec![vec![2; 64], vec![1; 64]];
        let expected = Hash::Sha512.of(&[&[1; 64], &[2; 64]]);
        assert_eq!(reduced(Hash::Sha512, &[group]).0, expected);
    }
}
