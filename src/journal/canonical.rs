//! The first path's own making of entries and head texts; [`super::entry::Entry`] and
//! [`super::checkpoint::Head`] are the second path's.

use super::entry::EntryKind;
use super::tree::leaf_hash;
use crate::digest::Digest;

/// The root log's leaf text; [`super::checkpoint::Head`] is the second path's.
pub fn head_text(origin: &str, size: u64, root: &Digest, after: &Digest) -> String {
    use base64ct::{Base64, Encoding};
    format!("{origin}\n{size}\n{}\nafter {after}\n", Base64::encode_string(root.as_bytes()))
}

/// The canonical entry, of which only sequence, link, id and digest change within a group.
pub struct EntryBytes([u8; 152]);

impl EntryBytes {
    /// Entries of one journal, kind, time (µs) and bound (µs).
    pub fn new(journal: Digest, kind: EntryKind, time: i64, bound: u32) -> EntryBytes {
        let mut bytes = [0; 152];
        bytes[..16].copy_from_slice(b"pechat/entry/v1\n");
        bytes[16..48].copy_from_slice(journal.as_bytes());
        bytes[88..96].copy_from_slice(&time.to_be_bytes());
        bytes[96..100].copy_from_slice(&bound.to_be_bytes());
        bytes[100..102].copy_from_slice(&(kind as u16).to_be_bytes());
        bytes[118..120].copy_from_slice(&1u16.to_be_bytes());
        EntryBytes(bytes)
    }

    /// Leaf hash of the entry at `seq` with this slot.
    pub fn leaf(&mut self, seq: u64, prev: &Digest, slot: &[u8]) -> Digest {
        self.0[48..56].copy_from_slice(&seq.to_be_bytes());
        self.0[56..88].copy_from_slice(prev.as_bytes());
        self.0[102..118].copy_from_slice(&slot[..16]);
        self.0[120..152].copy_from_slice(&slot[16..]);
        leaf_hash(&self.0)
    }
}
