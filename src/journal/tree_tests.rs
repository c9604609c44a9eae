//! Known values of RFC 6962 trees, and every proof of every small tree, true and altered.

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

/// The leaves of the vectors used by every implementation of RFC 6962, hex.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

/// Their roots for sizes 1 to 8.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn known_leaves() -> Vec<Digest> {
    let bytes = |hex: &str| {
        let mut out = vec![0; hex.len() / 2];
        crate::digest::unhex_into(hex, &mut out).unwrap();
        out
    };
    LEAVES.iter().map(|l| leaf_hash(&bytes(l))).collect()
}

fn leaves(size: u64) -> Vec<Digest> {
    (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

/// RFC 6962's definition of the tree head, word for word: the second opinion.
fn head(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(split(more.len() as u64) as usize);
            node_hash(&head(left), &head(right))
        }
    }
}

fn reader(leaves: &[Digest]) -> impl FnMut(u8, u64) -> Result<Digest, Infallible> {
    move |level, index| {
        let width = 1usize << level;
        let from = index as usize * width;
        Ok(head(&leaves[from..from + width]))
    }
}

fn sure<T>(result: Result<T, Infallible>) -> T {
    result.unwrap_or_else(|never| match never {})
}

#[test]
fn known_trees_have_their_known_roots() {
    let leaves = known_leaves();
    let mut tree = CompactRange::new();
    assert_eq!(tree.root().to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (leaf, root) in leaves.iter().zip(ROOTS) {
        tree.append(*leaf);
        assert_eq!(tree.root().to_string(), root);
        assert_eq!(head(&leaves[..tree.size() as usize]).to_string(), root);
    }
}

#[test]
fn known_inclusion_path_is_found() {
    let path = sure(inclusion_path(5, 8, reader(&known_leaves())));
    let text: Vec<_> = path.iter().map(Digest::to_string).collect();
    assert_eq!(
        text,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn known_consistency_path_is_found() {
    let path = sure(consistency_path(6, 8, reader(&known_leaves())));
    let text: Vec<_> = path.iter().map(Digest::to_string).collect();
    assert_eq!(
        text,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn long_leaves_hash_like_short_ones() {
    for length in [0, 1, 152, 255, 256, 257, 5000] {
        let data = vec![7; length];
        assert_eq!(leaf_hash(&data), Digest::of_parts(&[&[0], &data]), "{length}");
    }
}

#[test]
fn every_small_inclusion_holds_and_only_in_its_place() {
    let all = leaves(40);
    for size in 1..=40 {
        let root = head(&all[..size as usize]);
        for index in 0..size {
            let path = sure(inclusion_path(index, size, reader(&all)));
            assert!(path.len() <= MAX_PATH);
            let leaf = &all[index as usize];
            assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()), "{index} of {size}");
            for other in (0..size).filter(|o| *o != index) {
                assert!(verify_inclusion(leaf, other, size, &path, &root).is_err(), "{index} as {other}");
            }
        }
    }
}

#[test]
fn every_small_consistency_holds() {
    let all = leaves(70);
    for new in 0..=70 {
        let new_root = head(&all[..new as usize]);
        for old in 0..=new {
            let old_root = head(&all[..old as usize]);
            let path = sure(consistency_path(old, new, reader(&all)));
            assert_eq!(verify_consistency(old, &old_root, new, &new_root, &path), Ok(()), "{old} → {new}");
        }
    }
}

#[test]
fn every_small_range_leads_to_the_root() {
    let all = leaves(33);
    for size in 1..=33 {
        let root = head(&all[..size as usize]);
        for first in 0..size {
            for count in 1..=size - first {
                let path = sure(range_path(first, count, size, reader(&all)));
                let run = &all[first as usize..(first + count) as usize];
                assert_eq!(root_of_range(first, run, size, &path), Ok(root), "{first}+{count} of {size}");
            }
        }
    }
}

#[test]
fn sizes_at_the_end_of_the_number_line_do_not_panic() {
    let (leaf, root) = (Digest::of(b"l"), Digest::of(b"r"));
    let read = |_, _| Ok::<_, Infallible>(leaf);
    for size in [1 << 62, (1 << 63) - 1, 1 << 63, (1 << 63) + 1, u64::MAX - 1, u64::MAX] {
        for index in [0, 1, size / 2, size - 1] {
            let path = sure(inclusion_path(index, size, read));
            assert!(matches!(
                verify_inclusion(&leaf, index, size, &path, &root),
                Err(ProofError::Root { .. })
            ));
            let path = sure(range_path(index, 1, size, read));
            assert!(root_of_range(index, &[leaf], size, &path).is_ok());
            let path = sure(consistency_path(index, size, read));
            assert!(verify_consistency(index, &root, size, &root, &path).is_err());
        }
        assert!(verify_inclusion(&leaf, size, size, &[], &root).is_err());
        assert!(root_of_range(size, &[leaf], size, &[]).is_err());
    }
}

#[test]
fn empty_and_backward_questions_are_refused() {
    let root = Digest::of(b"r");
    assert_eq!(verify_consistency(3, &root, 2, &root, &[]), Err(ProofError::Shrunk { old: 3, new: 2 }));
    assert_eq!(root_of_range(0, &[], 0, &[]), Err(ProofError::OutOfTree { first: 0, end: 0, size: 0 }));
    assert_eq!(CompactRange::from_nodes(3, vec![root]), Err(ProofError::Length { found: 1, needed: 2 }));
}

#[test]
fn finished_subtrees_are_shown_once_each_with_their_hash() {
    let all = leaves(21);
    let mut tree = CompactRange::new();
    let mut seen = Vec::new();
    for leaf in &all {
        tree.append_with(*leaf, |level, index, hash| {
            assert_eq!(*hash, sure(reader(&all)(level, index)));
            seen.push((level, index));
        });
    }
    seen.sort_unstable();
    let expected: Vec<_> = (0..5u8).flat_map(|l| (0..21 >> l).map(move |i| (l, i))).collect();
    assert_eq!(seen, expected);
    let resumed = CompactRange::from_nodes(tree.size(), tree.nodes().to_vec()).unwrap();
    assert_eq!(resumed.root(), head(&all));
}

/// `path` with one bit, or one hash more or fewer.
fn altered(path: &[Digest], at: usize, bit: u8) -> Vec<Vec<Digest>> {
    let mut longer = path.to_vec();
    longer.push(Digest::of(b"more"));
    let mut all = vec![longer];
    if !path.is_empty() {
        let at = at % path.len();
        let mut flipped = path.to_vec();
        let mut bytes = *flipped[at].as_bytes();
        bytes[usize::from(bit) % 32] ^= 1 << (bit % 8);
        flipped[at] = Digest::from_bytes(bytes);
        let mut shorter = path.to_vec();
        shorter.remove(at);
        all.extend([flipped, shorter]);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn altered_inclusion_paths_fail(size in 1u64..=300, seed: u64, at: usize, bit: u8) {
        let all = leaves(size);
        let (root, index) = (head(&all), seed % size);
        let leaf = &all[index as usize];
        let path = sure(inclusion_path(index, size, reader(&all)));
        prop_assert_eq!(verify_inclusion(leaf, index, size, &path, &root), Ok(()));
        for bad in altered(&path, at, bit) {
            prop_assert!(verify_inclusion(leaf, index, size, &bad, &root).is_err());
        }
        prop_assert!(verify_inclusion(&Digest::of(b"x"), index, size, &path, &root).is_err());
        prop_assert!(verify_inclusion(leaf, index, size, &path, &Digest::of(b"x")).is_err());
    }

    #[test]
    fn altered_consistency_paths_fail(new in 2u64..=300, seed: u64, at: usize, bit: u8) {
        let all = leaves(new);
        let old = 1 + seed % (new - 1);
        let (old_root, new_root) = (head(&all[..old as usize]), head(&all));
        let path = sure(consistency_path(old, new, reader(&all)));
        prop_assert_eq!(verify_consistency(old, &old_root, new, &new_root, &path), Ok(()));
        for bad in altered(&path, at, bit) {
            prop_assert!(verify_consistency(old, &old_root, new, &new_root, &bad).is_err());
        }
        prop_assert!(verify_consistency(old, &Digest::of(b"x"), new, &new_root, &path).is_err());
        prop_assert!(verify_consistency(old, &old_root, new, &Digest::of(b"x"), &path).is_err());
    }

    #[test]
    fn altered_ranges_fail(size in 1u64..=300, a: u64, b: u64, at: usize, bit: u8) {
        let all = leaves(size);
        let first = a % size;
        let count = 1 + b % (size - first);
        let run = &all[first as usize..(first + count) as usize];
        let path = sure(range_path(first, count, size, reader(&all)));
        prop_assert_eq!(root_of_range(first, run, size, &path), Ok(head(&all)));
        for bad in altered(&path, at, bit) {
            prop_assert_ne!(root_of_range(first, run, size, &bad), Ok(head(&all)));
        }
        for bad in altered(run, at, bit) {
            prop_assert_ne!(root_of_range(first, &bad, size, &path), Ok(head(&all)));
        }
    }
}
