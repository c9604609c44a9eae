//! The write-ahead log's record: what one fdatasync makes durable, byte for byte (pure).
//!
//! All integers are big-endian. A record is padded to whole 512-byte sectors, so that writing one
//! never rewrites a sector of another that may already be acknowledged:
//!
//! ```text
//! 0    4  magic "PWAL"
//! 4    2  version, 1
//! 6    2  kind, 1
//! 8   16  log id: random, made with the log; no client can forge a record into its own payload
//! 24   8  epoch
//! 32   8  record number, dense from 0
//! 40   4  payload length
//! 44   4  zero
//! 48  32  hash of the previous record (zeros for record 0)
//! 80   8  header check: first 8 bytes of SHA-256 of bytes 0..80
//! 88      payload: sections, each tag u8, body length u32, body
//!         zeros up to the last 32 bytes of the last sector
//! -32 32  record hash: SHA-256 of everything before
//! ```

use super::RequestId;
use crate::digest::Digest;

/// Sector size records are aligned to.
pub const SECTOR: usize = 512;
/// Bytes before the payload.
pub const HEADER_BYTES: usize = 88;
/// Bytes of one entry inside a group: request id, digest.
pub const SLOT_BYTES: usize = 48;
/// Bytes of a group's body before its head text.
pub const GROUP_FIXED: usize = 32;
/// Tag and length before every section's body.
pub const SECTION_FIXED: usize = 5;

const MAGIC: &[u8; 4] = b"PWAL";
const VERSION: u16 = 1;
const KIND_BATCH: u16 = 1;
const HASH_BYTES: usize = 32;
const TAG_SEAL: u8 = 1;
const TAG_OPENED: u8 = 2;
const TAG_GROUP: u8 = 3;

/// What is wrong with a record's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first 88 bytes are not a header.
    #[error("there is no record header ({0})")]
    Header(&'static str),
    /// Fewer bytes than the header announces.
    #[error("the record has {need} bytes, only {have} are there")]
    Short {
        /// Announced.
        need: usize,
        /// Present.
        have: usize,
    },
    /// The record hash differs.
    #[error("the record hash does not match its bytes")]
    Hash,
    /// The payload is not a list of sections.
    #[error("the payload is malformed: {0}")]
    Payload(&'static str),
}

/// A record's first 88 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which log it belongs to.
    pub log_id: [u8; 16],
    /// Writer epoch.
    pub epoch: u64,
    /// Dense number, from 0.
    pub number: u64,
    /// Bytes of payload.
    pub payload: u32,
    /// Record hash of the predecessor.
    pub previous: Digest,
}

impl Header {
    /// The 88 bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(MAGIC);
        out[4..6].copy_from_slice(&VERSION.to_be_bytes());
        out[6..8].copy_from_slice(&KIND_BATCH.to_be_bytes());
        out[8..24].copy_from_slice(&self.log_id);
        out[24..32].copy_from_slice(&self.epoch.to_be_bytes());
        out[32..40].copy_from_slice(&self.number.to_be_bytes());
        out[40..44].copy_from_slice(&self.payload.to_be_bytes());
        out[48..80].copy_from_slice(self.previous.as_bytes());
        let check = Digest::of(&out[..80]);
        out[80..].copy_from_slice(&check.as_bytes()[..8]);
        out
    }

    /// Reads the header at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Result<Header, RecordError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(RecordError::Header("too few bytes"))?;
        if &header[..4] != MAGIC {
            return Err(RecordError::Header("wrong magic"));
        }
        if header[80..] != Digest::of(&header[..80]).as_bytes()[..8] {
            return Err(RecordError::Header("wrong header check"));
        }
        if header[4..8] != [0, VERSION as u8, 0, KIND_BATCH as u8] || header[44..48] != [0; 4] {
            return Err(RecordError::Header("unknown version or kind"));
        }
        let mut reader = Reader(&header[8..80]);
        let log_id = reader.array()?;
        let (epoch, number, payload) = (reader.u64()?, reader.u64()?, reader.u32()?);
        let _zero = reader.u32()?;
        Ok(Header { log_id, epoch, number, payload, previous: reader.digest()? })
    }

    /// Bytes of the whole record on disk.
    pub fn total(&self) -> usize {
        total_bytes(self.payload as usize)
    }
}

/// Bytes on disk of a record with `payload` bytes of payload.
pub fn total_bytes(payload: usize) -> usize {
    (HEADER_BYTES + payload + HASH_BYTES).next_multiple_of(SECTOR)
}

/// One journal's entries in a record: all of one type, time and bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// The journal's number in this log.
    pub journal: u32,
    /// Entry type.
    pub kind: u16,
    /// Sequence of the first entry.
    pub first: u64,
    /// Microseconds UTC.
    pub time: i64,
    /// Clock error bound, microseconds.
    pub bound: u32,
    /// Head text after these entries: the root log's leaf.
    pub head: &'a str,
    /// `count * 48` bytes: request id, digest.
    pub slots: &'a [u8],
    /// For own records: a u32 length an entry, then the blobs; else empty.
    pub details: &'a [u8],
}

impl Group<'_> {
    /// Entries in the group.
    pub fn count(&self) -> usize {
        self.slots.len() / SLOT_BYTES
    }

    /// Request id and digest of each entry.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (RequestId, Digest)> + '_ {
        self.slots.chunks_exact(SLOT_BYTES).map(slot)
    }
}

/// Reads one 48-byte slot.
pub fn slot(bytes: &[u8]) -> (RequestId, Digest) {
    let (mut id, mut digest) = ([0; 16], [0; 32]);
    id.copy_from_slice(&bytes[..16]);
    digest.copy_from_slice(&bytes[16..SLOT_BYTES]);
    (RequestId(id), Digest::from_bytes(digest))
}

/// One thing a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section<'a> {
    /// A root checkpoint was signed and stamped.
    Seal {
        /// Root-log size it covers.
        root_size: u64,
        /// The signed note.
        note: &'a str,
    },
    /// A journal was opened.
    Opened {
        /// Its number in this log.
        number: u32,
        /// Its name.
        name: &'a str,
        /// Its institution; empty for own journals.
        institution: &'a str,
        /// The charter.
        charter: &'a str,
    },
    /// Entries of one journal.
    Group(Group<'a>),
}

/// Appends a section to a payload.
pub fn push_section(out: &mut Vec<u8>, section: &Section<'_>) {
    let tag = match section {
        Section::Seal { .. } => TAG_SEAL,
        Section::Opened { .. } => TAG_OPENED,
        Section::Group(_) => TAG_GROUP,
    };
    let start = out.len();
    out.extend_from_slice(&[tag, 0, 0, 0, 0]);
    match section {
        Section::Seal { root_size, note } => {
            out.extend_from_slice(&root_size.to_be_bytes());
            out.extend_from_slice(note.as_bytes());
        }
        Section::Opened { number, name, institution, charter } => {
            out.extend_from_slice(&number.to_be_bytes());
            for text in [name, institution] {
                out.push(text.len() as u8);
                out.extend_from_slice(text.as_bytes());
            }
            out.extend_from_slice(charter.as_bytes());
        }
        Section::Group(group) => push_group(out, group),
    }
    let length = (out.len() - start - SECTION_FIXED) as u32;
    out[start + 1..start + SECTION_FIXED].copy_from_slice(&length.to_be_bytes());
}

fn push_group(out: &mut Vec<u8>, group: &Group<'_>) {
    out.extend_from_slice(&group.journal.to_be_bytes());
    out.extend_from_slice(&group.kind.to_be_bytes());
    out.extend_from_slice(&group.first.to_be_bytes());
    out.extend_from_slice(&group.time.to_be_bytes());
    out.extend_from_slice(&group.bound.to_be_bytes());
    out.extend_from_slice(&(group.count() as u32).to_be_bytes());
    out.extend_from_slice(&(group.head.len() as u16).to_be_bytes());
    out.extend_from_slice(group.head.as_bytes());
    out.extend_from_slice(group.slots);
    out.extend_from_slice(group.details);
}

/// A whole record around `payload`.
pub fn encode(log_id: [u8; 16], epoch: u64, number: u64, previous: Digest, payload: &[u8]) -> Vec<u8> {
    let header = Header { log_id, epoch, number, payload: payload.len() as u32, previous };
    let total = header.total();
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&header.encode());
    out.extend_from_slice(payload);
    out.resize(total - HASH_BYTES, 0);
    let hash = Digest::of(&out);
    out.extend_from_slice(hash.as_bytes());
    out
}

/// A record whose hash matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its header.
    pub header: Header,
    /// Its hash, which the next record names.
    pub hash: Digest,
    /// Its sections with the offset of each within the record.
    pub sections: Vec<(usize, Section<'a>)>,
}

impl<'a> Record<'a> {
    /// Reads the record at the start of `bytes`; what follows it is ignored.
    pub fn decode(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let header = Header::decode(bytes)?;
        let total = header.total();
        let whole = bytes.get(..total).ok_or(RecordError::Short { need: total, have: bytes.len() })?;
        let (body, stored) = whole.split_at(total - HASH_BYTES);
        let hash = Digest::of(body);
        if hash.as_bytes() != stored {
            return Err(RecordError::Hash);
        }
        let (payload, padding) = body[HEADER_BYTES..].split_at(header.payload as usize);
        if padding.iter().any(|b| *b != 0) {
            return Err(RecordError::Payload("padding is not zero"));
        }
        Ok(Record { header, hash, sections: sections(payload)? })
    }
}

/// Reads the sections of a payload.
pub fn sections(payload: &[u8]) -> Result<Vec<(usize, Section<'_>)>, RecordError> {
    let mut reader = Reader(payload);
    let mut found = Vec::new();
    while !reader.0.is_empty() {
        let offset = HEADER_BYTES + payload.len() - reader.0.len();
        let tag = reader.take(1)?[0];
        let length = reader.u32()? as usize;
        let body = Reader(reader.take(length)?);
        found.push((offset, section(tag, body)?));
    }
    Ok(found)
}

fn section<'a>(tag: u8, mut body: Reader<'a>) -> Result<Section<'a>, RecordError> {
    match tag {
        TAG_SEAL => Ok(Section::Seal { root_size: body.u64()?, note: text(body.0)? }),
        TAG_OPENED => {
            let number = body.u32()?;
            let (name, institution) = (body.short_text()?, body.short_text()?);
            Ok(Section::Opened { number, name, institution, charter: text(body.0)? })
        }
        TAG_GROUP => group(body).map(Section::Group),
        _ => Err(RecordError::Payload("unknown section")),
    }
}

fn group<'a>(mut body: Reader<'a>) -> Result<Group<'a>, RecordError> {
    let (journal, kind, first) = (body.u32()?, body.u16()?, body.u64()?);
    let (time, bound) = (body.u64()? as i64, body.u32()?);
    let count = body.u32()? as usize;
    let head_bytes = usize::from(body.u16()?);
    let head = text(body.take(head_bytes)?)?;
    let slots = body.take(count.checked_mul(SLOT_BYTES).ok_or(RecordError::Payload("count"))?)?;
    if count == 0 || first.checked_add(count as u64).is_none() {
        return Err(RecordError::Payload("a group of no entries, or beyond the last sequence"));
    }
    let details = body.0;
    if !details.is_empty() {
        check_details(details, count)?;
    }
    Ok(Group { journal, kind, first, time, bound, head, slots, details })
}

fn check_details(details: &[u8], count: usize) -> Result<(), RecordError> {
    let mut lengths = Reader(details);
    let mut total = 4 * count as u64;
    for _ in 0..count {
        total += u64::from(lengths.u32()?);
    }
    if total == details.len() as u64 { Ok(()) } else { Err(RecordError::Payload("details")) }
}

fn text(bytes: &[u8]) -> Result<&str, RecordError> {
    std::str::from_utf8(bytes).map_err(|_| RecordError::Payload("text is not UTF-8"))
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Payload("too short"))?;
        self.0 = rest;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }
    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_be_bytes)
    }
    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_be_bytes)
    }
    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_be_bytes)
    }
    fn digest(&mut self) -> Result<Digest, RecordError> {
        self.array().map(Digest::from_bytes)
    }
    fn short_text(&mut self) -> Result<&'a str, RecordError> {
        let length = usize::from(self.take(1)?[0]);
        text(self.take(length)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut payload = Vec::new();
        push_section(&mut payload, &Section::Seal { root_size: 7, note: "note\n" });
        let opened = Section::Opened { number: 1, name: "land", institution: "cadastre", charter: "c\n" };
        push_section(&mut payload, &opened);
        let group = Group {
            journal: 1,
            kind: 3,
            first: 5,
            time: -1,
            bound: 9,
            head: "head\n",
            slots: &[7; 96],
            details: &[0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b', b'c'],
        };
        push_section(&mut payload, &Section::Group(group));
        encode([3; 16], 1, 42, Digest::of(b"before"), &payload)
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let bytes = sample();
        assert_eq!(bytes.len() % SECTOR, 0);
        let record = Record::decode(&bytes).unwrap();
        assert_eq!((record.header.number, record.header.epoch), (42, 1));
        let mut payload = Vec::new();
        for (_, section) in &record.sections {
            push_section(&mut payload, section);
        }
        let again = encode([3; 16], 1, 42, record.header.previous, &payload);
        assert_eq!(again, bytes);
        let Section::Group(group) = record.sections[2].1 else { panic!("no group") };
        assert_eq!((group.count(), group.time, group.bound), (2, -1, 9));
        assert_eq!(bytes[record.sections[2].0], TAG_GROUP);
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let bytes = sample();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(Record::decode(&bad).is_err(), "flip at {at}");
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = sample();
        for length in 0..bytes.len() {
            assert!(Record::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }
}
