//! A whole journal as one file: the line `pechat-export v1`, one line of JSON, then every entry's 152
//! bytes from sequence 0 on.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::journal::entry::{ENTRY_BYTES, MAX_CHARTER};
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
    #[error("the file does not begin with the line \"pechat-export v1\"")]
    Label,
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
        let stopped = |e: io::Error| ExportError::Read(e.to_string());
        match input.read_exact(&mut label) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Err(ExportError::Label),
            other => other.map_err(stopped)?,
        }
        if label != EXPORT_LABEL.as_bytes() {
            return Err(ExportError::Label);
        }
        let line = read_line(input)?;
        let header: ExportHeader =
            serde_json::from_slice(&line).map_err(|e| ExportError::Header(e.to_string()))?;
        if header.charter.len() > MAX_CHARTER {
            return Err(ExportError::Header("the charter is longer than 2048 bytes".into()));
        }
        let text = header.text().map_err(stopped)?;
        if text[label.len()..] != line {
            return Err(ExportError::NotCanonical);
        }
        Ok((header, text.len() as u64))
    }
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
