//! A whole journal as one file: the line `pechat-export v1`, one line of JSON, then every entry's 152
//! bytes from sequence 0 on.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::journal::entry::{ENTRY_BYTES, MAX_CHARTER};
use crate::journal::range_export::RANGE_LABEL;
use crate::journal::receipt::HeadProof;

/// First line of an export; the digit is the version of the whole file.
pub const EXPORT_LABEL: &str = "pechat-export v1\n";
/// Longest JSON line, bytes, newline included.
pub const MAX_HEADER: usize = 256 * 1024;

/// What stands before the entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportHeader {
    /// The journal's origin line.
    pub origin: String,
    /// Text of the charter, which entry 0 commits to.
    pub charter: String,
    /// Entries that follow; the size of the head.
    pub count: u64,
    /// The head over exactly these entries and everything above it.
    #[serde(flatten)]
    pub proof: HeadProof,
}

/// Why bytes are no export.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// Not an export, or a newer version.
    #[error("the file does not begin with the line \"pechat-export v1\" or \"pechat-range v1\"")]
    Label,
    /// A part of a journal where a whole one is needed.
    #[error("the file is a part of a journal (\"pechat-range v1\"); the whole journal is needed here")]
    Part,
    /// Longer than any honest one, or cut off.
    #[error("the header line does not end within 256 KiB")]
    Unending,
    /// Not the JSON of a header.
    #[error("the header is not that of an export: {0}")]
    Header(String),
    /// Unknown fields, another order or spaces.
    #[error("the header is not in its canonical form")]
    NotCanonical,
    /// The file cannot be read.
    #[error("cannot read on: {0}")]
    Read(String),
}

impl ExportHeader {
    /// Label line and JSON line.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let mut text = EXPORT_LABEL.as_bytes().to_vec();
        serde_json::to_writer(&mut text, self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the two lines and leaves `input` at the first entry; also gives their length in bytes.
    pub fn read(input: &mut impl Read) -> Result<(ExportHeader, u64), ExportError> {
        let mut label = [0; EXPORT_LABEL.len()];
        exactly(input, &mut label)?;
        if label.starts_with(RANGE_LABEL.as_bytes()) {
            return Err(ExportError::Part);
        }
        if label != EXPORT_LABEL.as_bytes() {
            return Err(ExportError::Label);
        }
        Self::read_json(input)
    }

    /// The same from behind the label.
    pub(super) fn read_json(input: &mut impl Read) -> Result<(ExportHeader, u64), ExportError> {
        let (header, length): (ExportHeader, u64) = json_line(input)?;
        within_bounds(&header.charter)?;
        Ok((header, EXPORT_LABEL.len() as u64 + length))
    }
}

/// Fills `label`; a file that is shorter has none.
pub(super) fn exactly(input: &mut impl Read, label: &mut [u8]) -> Result<(), ExportError> {
    input.read_exact(label).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => ExportError::Label,
        _ => ExportError::Read(e.to_string()),
    })
}

pub(super) fn within_bounds(charter: &str) -> Result<(), ExportError> {
    if charter.len() <= MAX_CHARTER {
        return Ok(());
    }
    Err(ExportError::Header("the charter is longer than 2048 bytes".into()))
}

/// One line of JSON that is written as the same bytes again, and its length in bytes.
pub(super) fn json_line<T: DeserializeOwned + Serialize>(
    input: &mut impl Read,
) -> Result<(T, u64), ExportError> {
    let line = read_line(input)?;
    let header = serde_json::from_slice(&line).map_err(|e| ExportError::Header(e.to_string()))?;
    let mut again = serde_json::to_vec(&header).map_err(|e| ExportError::Header(e.to_string()))?;
    again.push(b'\n');
    if again == line { Ok((header, line.len() as u64)) } else { Err(ExportError::NotCanonical) }
}

/// One line, its newline included; callers hand in a buffered reader.
fn read_line(input: &mut impl Read) -> Result<Vec<u8>, ExportError> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < MAX_HEADER {
        match input.read(&mut byte) {
            Ok(0) => return Err(ExportError::Unending),
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ExportError::Read(e.to_string())),
        }
        if byte[0] == b'\n' {
            return Ok(line);
        }
    }
    Err(ExportError::Unending)
}

/// Writes an export. The caller gives exactly `header.count` entries from sequence 0 on, as stored;
/// any other number is an error, so that no export can end early unnoticed.
pub fn write(
    out: &mut impl Write,
    header: &ExportHeader,
    entries: impl IntoIterator<Item = [u8; ENTRY_BYTES]>,
) -> io::Result<()> {
    out.write_all(&header.text()?)?;
    let mut written = 0;
    for entry in entries {
        out.write_all(&entry)?;
        written += 1;
    }
    if written == header.count {
        return Ok(());
    }
    let text = format!("an export of {} entries was given {written}", header.count);
    Err(io::Error::new(io::ErrorKind::InvalidInput, text))
}
