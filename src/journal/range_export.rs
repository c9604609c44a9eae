//! A part of a journal as one file that verifies by itself: the line `pechat-range v1`, one line of JSON,
//! then the 152 bytes of each of its entries.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::export::{EXPORT_LABEL, ExportError, ExportHeader, exactly, json_line, within_bounds};
use crate::digest::{Digest, hex, unhex_into};
use crate::journal::entry::{ENTRY_BYTES, Entry, EntryKind, journal_id};
use crate::journal::receipt::HeadProof;
use crate::journal::tree;

/// First line of a part; the digit is the version of the whole file.
pub const RANGE_LABEL: &str = "pechat-range v1\n";

/// What stands before the entries of a part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeHeader {
    /// The journal's origin line.
    pub origin: String,
    /// Text of the charter, which entry 0 commits to.
    pub charter: String,
    /// Entry 0, hex.
    pub opening: String,
    /// Its inclusion path in the head.
    pub opening_path: Vec<Digest>,
    /// Sequence of the first entry that follows.
    pub first: u64,
    /// Entries that follow.
    pub count: u64,
    /// From the entries to the head, see [`tree::range_path`].
    pub range_path: Vec<Digest>,
    /// The head over these entries and others, and everything above it.
    #[serde(flatten)]
    pub proof: HeadProof,
}

impl RangeHeader {
    /// Label line and JSON line.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = RANGE_LABEL.as_bytes().to_vec();
        serde_json::to_writer(&mut text, self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Puts entry 0 into the header.
    pub fn opened_by(entry: &Entry) -> String {
        hex(&entry.encode())
    }

    fn read_json(input: &mut impl Read) -> Result<(RangeHeader, u64), ExportError> {
        let (header, length): (RangeHeader, u64) = json_line(input)?;
        within_bounds(&header.charter)?;
        Ok((header, RANGE_LABEL.len() as u64 + length))
    }

    /// Entry 0 is what it must be, commits to the charter and stands in the journal; else why not.
    pub(super) fn check_opening(&self, size: u64, root: &Digest) -> Result<(), String> {
        let mut bytes = [0; ENTRY_BYTES];
        let read = unhex_into(&self.opening, &mut bytes).filter(|()| hex(&bytes) == self.opening);
        read.ok_or("it is not the lower-case hex of 152 bytes")?;
        let entry = Entry::decode(&bytes).map_err(|e| e.to_string())?;
        if entry.journal != journal_id(&self.origin) {
            return Err("it belongs to another journal".into());
        }
        let charter = Digest::of(self.charter.as_bytes());
        let opens = entry.seq == 0 && entry.kind == EntryKind::Charter as u16;
        if !opens || entry.prev != charter || entry.digest != charter {
            return Err("it does not commit to the charter".into());
        }
        let leaf = tree::leaf_hash(&bytes);
        tree::verify_inclusion(&leaf, 0, size, &self.opening_path, root).map_err(|e| e.to_string())
    }
}

/// What stands before the entries of either kind of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preamble {
    /// Of a whole journal.
    Whole(ExportHeader),
    /// Of a part.
    Part(RangeHeader),
}

impl Preamble {
    /// Reads label and JSON and leaves `input` at the first entry; also gives their length in bytes.
    pub fn read(input: &mut impl Read) -> Result<(Preamble, u64), ExportError> {
        let mut label = [0; RANGE_LABEL.len()];
        exactly(input, &mut label)?;
        if label == RANGE_LABEL.as_bytes() {
            return RangeHeader::read_json(input).map(|(header, length)| (Preamble::Part(header), length));
        }
        let (beginning, end) = EXPORT_LABEL.as_bytes().split_at(label.len());
        let mut rest = vec![0; end.len()];
        if label != beginning {
            return Err(ExportError::Label);
        }
        exactly(input, &mut rest)?;
        if rest != end {
            return Err(ExportError::Label);
        }
        ExportHeader::read_json(input).map(|(header, length)| (Preamble::Whole(header), length))
    }

    /// Label line and JSON line.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Whole(header) => header.text(),
            Self::Part(header) => header.text(),
        }
    }

    /// The journal's origin line.
    pub fn origin(&self) -> &str {
        match self {
            Self::Whole(header) => &header.origin,
            Self::Part(header) => &header.origin,
        }
    }

    /// The charter's text.
    pub fn charter(&self) -> &str {
        match self {
            Self::Whole(header) => &header.charter,
            Self::Part(header) => &header.charter,
        }
    }

    /// The head and what is above it.
    pub fn proof(&self) -> &HeadProof {
        match self {
            Self::Whole(header) => &header.proof,
            Self::Part(header) => &header.proof,
        }
    }

    /// Sequence of the first entry.
    pub fn first(&self) -> u64 {
        match self {
            Self::Whole(_) => 0,
            Self::Part(header) => header.first,
        }
    }

    /// Entries that follow.
    pub fn count(&self) -> u64 {
        match self {
            Self::Whole(header) => header.count,
            Self::Part(header) => header.count,
        }
    }
}
