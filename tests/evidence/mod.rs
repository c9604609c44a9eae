//! A small journal under a root log, sealed with a software key: true evidence for tests to bend.

use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use pechat::digest::Digest;
use pechat::journal::RequestId;
use pechat::journal::checkpoint::{Checkpoint, Head, note};
use pechat::journal::entry::{Charter, Entry, EntryKind, journal_id};
use pechat::journal::export::{self, ExportHeader};
use pechat::journal::range_export::RangeHeader;
use pechat::journal::receipt::{HeadProof, RangeEntry, RangeReceipt, single_text};
use pechat::journal::tree::{CompactRange, inclusion_path, leaf_hash, range_path};

pub const SITE: &str = "seal.example.gov";
pub const ORIGIN: &str = "seal.example.gov/j/land";
pub const START: i64 = 1_764_000_000_000_000;
/// Leaf of the journal's head among the six of the root log.
pub const ROOT_INDEX: u64 = 4;

#[allow(dead_code)] // not every test binary uses all of it
pub struct Evidence {
    pub charter: String,
    pub entries: Vec<Entry>,
    pub proof: HeadProof,
    key: SigningKey,
}

pub fn key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

pub fn spki() -> Vec<u8> {
    key().verifying_key().to_public_key_der().unwrap().into_vec()
}

pub fn root_of(leaves: &[Digest]) -> Digest {
    let mut tree = CompactRange::new();
    leaves.iter().for_each(|leaf| tree.append(*leaf));
    tree.root()
}

pub fn read(leaves: &[Digest]) -> impl FnMut(u8, u64) -> Result<Digest, String> {
    move |level, index| {
        let from = (index as usize) << level;
        Ok(root_of(&leaves[from..from + (1 << level)]))
    }
}

/// Entries of a journal: the charter, then seals of the texts "salt and record N".
pub fn entries(size: u64, charter: &str) -> Vec<Entry> {
    let mut prev = Digest::of(charter.as_bytes());
    let mut all = Vec::new();
    for seq in 0..size {
        let kind = if seq == 0 { EntryKind::Charter } else { EntryKind::Seal };
        let mut id = [0; 16];
        id[8..].copy_from_slice(&seq.to_be_bytes());
        let entry = Entry {
            journal: journal_id(ORIGIN),
            seq,
            prev,
            time: START + (seq as i64 + 1) / 2 * 1000,
            bound: 1500,
            kind: kind as u16,
            request_id: RequestId(id),
            digest: if seq == 0 { prev } else { Digest::of(format!("salt and record {seq}").as_bytes()) },
        };
        prev = entry.leaf();
        all.push(entry);
    }
    all
}

#[allow(dead_code)]
impl Evidence {
    /// `stamp` makes the token over the checkpoint's body.
    pub fn new(size: u64, stamp: impl FnOnce(&str) -> Vec<u8>) -> Evidence {
        let opened = "2025-11-24T16:00:00.000Z".to_owned();
        let charter =
            Charter { origin: ORIGIN.into(), institution: Some("land-office".into()), opened }.text();
        Self::of(entries(size, &charter), charter, stamp)
    }

    /// Seals any entries, also false ones: what an appliance with bad intent could do.
    pub fn of(entries: Vec<Entry>, charter: String, stamp: impl FnOnce(&str) -> Vec<u8>) -> Evidence {
        Self::within(entries, charter, (ROOT_INDEX, 6), stamp)
    }

    /// The same with another place: leaf of the head, and leaves of the root log.
    pub fn within(
        entries: Vec<Entry>,
        charter: String,
        place: (u64, u8),
        stamp: impl FnOnce(&str) -> Vec<u8>,
    ) -> Evidence {
        let leaves: Vec<_> = entries.iter().map(Entry::leaf).collect();
        let head = Head {
            origin: ORIGIN.into(),
            size: entries.len() as u64,
            root: root_of(&leaves),
            after: Digest::of(b"token before"),
        };
        let (head, (root_index, size)) = (head.text(), place);
        let mut root: Vec<_> = (0..size).map(|i| leaf_hash(&[i])).collect();
        root[root_index as usize] = leaf_hash(head.as_bytes());
        let size = u64::from(size);
        let checkpoint = Checkpoint { origin: format!("{SITE}/root"), size, root: root_of(&root) };
        let body = checkpoint.body();
        let key = key();
        let signature: Signature = key.sign(body.as_bytes());
        let token = stamp(&body);
        let checkpoint = note(&body, &checkpoint.origin, &spki(), signature.to_der().as_bytes(), &token);
        let root_path = inclusion_path(root_index, size, read(&root)).unwrap();
        let proof = HeadProof { head, root_index, root_path, checkpoint: checkpoint.into() };
        Evidence { charter, entries, proof, key }
    }

    pub fn leaves(&self) -> Vec<Digest> {
        self.entries.iter().map(Entry::leaf).collect()
    }

    pub fn public_key_pem(&self) -> String {
        self.key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap()
    }

    pub fn single(&self, seq: u64) -> String {
        let path = inclusion_path(seq, self.entries.len() as u64, read(&self.leaves())).unwrap();
        single_text(&self.entries[seq as usize], &path, &self.proof)
    }

    pub fn range(&self, first: u64, count: u64) -> RangeReceipt {
        let run = &self.entries[first as usize..(first + count) as usize];
        let said = |e: &Entry| RangeEntry {
            request_id: pechat::digest::hex(&e.request_id.0),
            digest: e.digest,
            time: e.time,
            bound: e.bound,
            kind: e.kind,
        };
        let size = self.entries.len() as u64;
        RangeReceipt {
            first,
            prev: run[0].prev,
            entries: run.iter().map(said).collect(),
            range_path: range_path(first, count, size, read(&self.leaves())).unwrap(),
            proof: self.proof.clone(),
        }
    }

    /// `count` entries from `first` on as a file that verifies by itself.
    pub fn range_export(&self, first: u64, count: u64) -> Vec<u8> {
        let (leaves, size) = (self.leaves(), self.entries.len() as u64);
        let header = RangeHeader {
            origin: ORIGIN.into(),
            charter: self.charter.clone(),
            opening: RangeHeader::opened_by(&self.entries[0]),
            opening_path: inclusion_path(0, size, read(&leaves)).unwrap(),
            first,
            count,
            range_path: range_path(first, count, size, read(&leaves)).unwrap(),
            proof: self.proof.clone(),
        };
        let entries = &self.entries[first as usize..(first + count) as usize];
        let entries: Vec<_> = entries.iter().map(Entry::encode).collect();
        [header.text().unwrap(), entries.concat()].concat()
    }

    pub fn export(&self) -> Vec<u8> {
        let header = ExportHeader {
            origin: ORIGIN.into(),
            charter: self.charter.clone(),
            count: self.entries.len() as u64,
            proof: self.proof.clone(),
        };
        let mut out = Vec::new();
        export::write(&mut out, &header, self.entries.iter().map(Entry::encode)).unwrap();
        out
    }
}
