//! `root.heads`: every leaf of the root log, so that a set of journals is seen to be of one log, and whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::digest::Digest;
use crate::journal::checkpoint::Head;
use crate::journal::tree::{CompactRange, leaf_hash};

/// First line of the file; the digit is its version.
pub const LABEL: &str = "pechat-heads v1\n";

/// What a root log's heads say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootLog {
    /// Leaves.
    pub size: u64,
    /// Root of all of them.
    pub root: Digest,
    /// Roots of the sizes asked for.
    pub roots: BTreeMap<u64, Digest>,
    /// Entries of each journal, by origin, in its newest head.
    pub journals: BTreeMap<String, u64>,
}

/// Reads heads, each after its length (2 bytes, big-endian), to the end; the error names the first one that is none,
/// or that does not continue its journal.
pub fn read(mut input: impl Read, sizes: &BTreeSet<u64>) -> Result<RootLog, String> {
    let mut label = [0; LABEL.len()];
    input.read_exact(&mut label).map_err(|e| format!("cannot be read: {e}"))?;
    if label != LABEL.as_bytes() {
        return Err("does not begin with the line \"pechat-heads v1\"".into());
    }
    let (mut tree, mut log) = (CompactRange::new(), RootLog::default());
    while let Some(text) = next(&mut input).map_err(|e| format!("head {}: {e}", tree.size()))? {
        let wrong = |reason: String| format!("head {}: {reason}", tree.size());
        let text = String::from_utf8(text).map_err(|_| wrong("is not text".into()))?;
        let head = Head::parse(&text).map_err(|e| wrong(e.to_string()))?;
        let before = log.journals.get(&head.origin).copied().unwrap_or(0);
        if head.size <= before {
            return Err(wrong(format!("{} has {} entries after {before}", head.origin, head.size)));
        }
        log.journals.insert(head.origin, head.size);
        tree.append(leaf_hash(text.as_bytes()));
        if sizes.contains(&tree.size()) {
            log.roots.insert(tree.size(), tree.root());
        }
    }
    (log.size, log.root) = (tree.size(), tree.root());
    Ok(log)
}

fn next(input: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    let mut length = [0; 2];
    if input.read(&mut length[..1]).map_err(|e| e.to_string())? == 0 {
        return Ok(None);
    }
    let mut head = vec![0; 0];
    input.read_exact(&mut length[1..]).map_err(|e| e.to_string())?;
    head.resize(usize::from(u16::from_be_bytes(length)), 0);
    input.read_exact(&mut head).map_err(|e| e.to_string())?;
    Ok(Some(head))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tile_name::bundle;

    fn head(name: &str, size: u64) -> String {
        Head {
            origin: format!("a.example/j/{name}"),
            size,
            root: Digest::of(name.as_bytes()),
            after: Digest::default(),
        }
        .text()
    }

    fn of(heads: &[String], sizes: &[u64]) -> Result<RootLog, String> {
        let file = [LABEL.as_bytes().to_vec(), bundle(heads.iter())].concat();
        read(&file[..], &sizes.iter().copied().collect())
    }

    #[test]
    fn a_root_log_gives_its_roots_and_each_journals_size() {
        let heads = [head("land", 1), head("sea", 1), head("land", 7)];
        let log = of(&heads, &[2]).unwrap();
        assert_eq!((log.size, log.journals.values().sum::<u64>()), (3, 8));
        assert_eq!(log.roots[&2], of(&heads[..2], &[]).unwrap().root);
        assert_ne!(log.root, log.roots[&2]);
    }

    #[test]
    fn a_journal_that_shrinks_and_a_cut_or_foreign_file_are_refused() {
        let shrunk = of(&[head("land", 7), head("land", 7)], &[]).unwrap_err();
        assert_eq!(shrunk, "head 1: a.example/j/land has 7 entries after 7");
        let file = [LABEL.as_bytes().to_vec(), bundle([head("land", 1)].iter())].concat();
        assert!(read(&file[..file.len() - 1], &BTreeSet::new()).is_err());
        assert!(read(&file[1..], &BTreeSet::new()).is_err());
    }
}
