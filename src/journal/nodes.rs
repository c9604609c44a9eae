//! Inclusion paths from an export that verified, without going over all of it again.

use std::collections::HashMap;
use std::io;

use super::parallel::Bytes;
use super::replay::Frame;
use super::tree::{inclusion_path, leaf_hash, level_at, node_hash};
use crate::digest::Digest;
use crate::journal::entry::ENTRY_BYTES;

/// Complete subtrees of a journal whose hashes are known, and where its entries are in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nodes {
    pub(super) known: HashMap<(u32, u64), Digest>,
    first: u64,
    end: u64,
    start: u64,
    size: u64,
}

impl Nodes {
    /// What a file's header tells of the leaves before and after its entries.
    pub(super) fn beside(frame: &Frame) -> Nodes {
        let (first, end, start, size) = (frame.first, frame.first + frame.count, frame.start, frame.size);
        let mut known = HashMap::new();
        for (from, to, nodes) in [(0, first, &frame.left), (end, size, &frame.right)] {
            let mut at = from;
            for node in nodes {
                if at >= to {
                    break;
                }
                let level = level_at(at, to);
                known.insert((level, at >> level), *node);
                at += 1 << level;
            }
        }
        Nodes { known, first, end, start, size }
    }

    /// RFC 6962 inclusion path of one of the file's entries in the journal's head.
    pub fn path(&self, file: &(impl Bytes + ?Sized), seq: u64) -> io::Result<Vec<Digest>> {
        inclusion_path(seq, self.size, |level, index| self.node(file, u32::from(level), index))
    }

    fn node(&self, file: &(impl Bytes + ?Sized), level: u32, index: u64) -> io::Result<Digest> {
        if let Some(node) = self.known.get(&(level, index)) {
            return Ok(*node);
        }
        if level > 0 {
            let left = self.node(file, level - 1, 2 * index)?;
            return Ok(node_hash(&left, &self.node(file, level - 1, 2 * index + 1)?));
        }
        let mut bytes = [0; ENTRY_BYTES];
        let place = (self.first..self.end).contains(&index);
        let offset = self.start + index.saturating_sub(self.first) * ENTRY_BYTES as u64;
        if !place || file.read_at(&mut bytes, offset)? != ENTRY_BYTES {
            return Err(io::Error::other(format!("entry {index} is not in the file")));
        }
        Ok(leaf_hash(&bytes))
    }
}
