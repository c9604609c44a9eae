//! Canonical bytes of a journal entry and of the charter that entry 0 commits to.

use crate::digest::{Digest, unhex_into};
use crate::identifier::Number;
use crate::journal::{RequestId, checkpoint, tree};

/// Length of every entry, bytes.
pub const ENTRY_BYTES: usize = 152;

/// First 16 bytes of every entry; the digit is the version of the whole layout.
pub const LABEL: &[u8; 16] = b"pechat/entry/v1\n";

/// The one digest algorithm of version 1: SHA-256.
const SHA_256: u16 = 1;

/// Longest charter text accepted, bytes.
pub const MAX_CHARTER: usize = 2048;

/// What an entry is about (u16 on the wire). 4 key change, 5 clock event, 7 rehash and
/// 8 renewal are reserved and refused until a version gives them meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum EntryKind {
    /// Entry 0: the digest is that of the charter text.
    Charter = 1,
    /// A digest submitted by the institution.
    Seal = 2,
    /// The appliance's own record: the digest is that of its detail text.
    Record = 3,
    /// Another writer epoch began here: the digest is that of the statement in `own.events` that says why.
    EpochChange = 6,
    /// The journal's final record: the digest is that of the statement that says why.
    Freeze = 9,
    /// Another institution's journal from here on: the digest is that of the statement that names both.
    HandOver = 10,
}

impl EntryKind {
    /// The kind with this number.
    pub fn from_wire(kind: u16) -> Result<Self, EntryError> {
        match kind {
            1 => Ok(Self::Charter),
            2 => Ok(Self::Seal),
            3 => Ok(Self::Record),
            6 => Ok(Self::EpochChange),
            9 => Ok(Self::Freeze),
            10 => Ok(Self::HandOver),
            other => Err(EntryError::Kind(other)),
        }
    }
}

/// One entry. On the wire 152 bytes, integers big-endian: label (16), journal (32), sequence (8),
/// prev (32), time (8), bound (4), kind (2), request id (16), digest algorithm (2), digest (32).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// SHA-256 of the journal's origin.
    pub journal: Digest,
    /// Sequence within the journal, from 0 without gaps.
    pub seq: u64,
    /// Leaf hash of the entry before; SHA-256 of the charter text in entry 0.
    pub prev: Digest,
    /// Microseconds since 1970 UTC, never negative.
    pub time: i64,
    /// How far the clock may have been off, microseconds.
    pub bound: u32,
    /// An [`EntryKind`] number.
    pub kind: u16,
    /// Chosen by the client, unique within the journal.
    pub request_id: RequestId,
    /// SHA-256 of what is sealed.
    pub digest: Digest,
}

/// Why bytes are no entry, or text no charter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Wrong length.
    #[error("an entry has 152 bytes, not {0}")]
    Length(usize),
    /// Another format or a newer version.
    #[error("the entry does not begin with the label \"pechat/entry/v1\"")]
    Label,
    /// Beyond what signed 64 bits hold.
    #[error("entry time {0} µs is beyond the calendar")]
    Time(u64),
    /// Not a kind of version 1.
    #[error(
        "entry kind {0} has no meaning in version 1 (1 charter, 2 seal, 3 record, 6 epoch change, 9 freeze, 10 hand-over)"
    )]
    Kind(u16),
    /// Not SHA-256.
    #[error("digest algorithm {0} has no meaning in version 1 (1 SHA-256)")]
    Algorithm(u16),
    /// The charter's line does not have its form.
    #[error("the charter's {0} line is missing or malformed")]
    Charter(&'static str),
}

impl Entry {
    /// The canonical bytes.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut out = [0; ENTRY_BYTES];
        out[..16].copy_from_slice(LABEL);
        out[16..48].copy_from_slice(self.journal.as_bytes());
        out[48..56].copy_from_slice(&self.seq.to_be_bytes());
        out[56..88].copy_from_slice(self.prev.as_bytes());
        out[88..96].copy_from_slice(&self.time.to_be_bytes());
        out[96..100].copy_from_slice(&self.bound.to_be_bytes());
        out[100..102].copy_from_slice(&self.kind.to_be_bytes());
        out[102..118].copy_from_slice(&self.request_id.0);
        out[118..120].copy_from_slice(&SHA_256.to_be_bytes());
        out[120..].copy_from_slice(self.digest.as_bytes());
        out
    }

    /// Reads canonical bytes; whatever is accepted encodes to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Entry, EntryError> {
        let bytes: &[u8; ENTRY_BYTES] = bytes.try_into().map_err(|_| EntryError::Length(bytes.len()))?;
        if &bytes[..16] != LABEL {
            return Err(EntryError::Label);
        }
        let time = u64::from_be_bytes(part(bytes, 88));
        let kind = u16::from_be_bytes(part(bytes, 100));
        let algorithm = u16::from_be_bytes(part(bytes, 118));
        EntryKind::from_wire(kind)?;
        if algorithm != SHA_256 {
            return Err(EntryError::Algorithm(algorithm));
        }
        Ok(Entry {
            journal: Digest::from_bytes(part(bytes, 16)),
            seq: u64::from_be_bytes(part(bytes, 48)),
            prev: Digest::from_bytes(part(bytes, 56)),
            time: i64::try_from(time).map_err(|_| EntryError::Time(time))?,
            bound: u32::from_be_bytes(part(bytes, 96)),
            kind,
            request_id: RequestId(part(bytes, 102)),
            digest: Digest::from_bytes(part(bytes, 120)),
        })
    }

    /// RFC 6962 leaf hash of the canonical bytes: what the tree holds and what the next entry's `prev` is.
    pub fn leaf(&self) -> Digest {
        tree::leaf_hash(&self.encode())
    }
}

impl RequestId {
    /// 32 hex digits, a UUID (RFC 9562 section 4) of any version, or a register number (Annex 3).
    pub fn parse(text: &str) -> Option<RequestId> {
        if text.len() == 16 {
            return Number::parse(text).ok().map(Number::request_id);
        }
        let mut id = [0; 16];
        if text.len() != 36 {
            return unhex_into(text, &mut id).map(|()| RequestId(id));
        }
        let mut at = 0;
        for (group, length) in text.split('-').zip([8, 4, 4, 4, 12]) {
            if group.len() != length {
                return None;
            }
            unhex_into(group, id.get_mut(at..at + length / 2)?)?;
            at += length / 2;
        }
        (at == 16).then_some(RequestId(id))
    }
}

/// `N` bytes at a place that the caller knows to be within the entry.
fn part<const N: usize>(bytes: &[u8; ENTRY_BYTES], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// The journal field of every entry of the journal with this origin line.
pub fn journal_id(origin: &str) -> Digest {
    Digest::of(origin.as_bytes())
}

/// What a journal was opened as; its text is hashed into entry 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charter {
    /// Origin line, `{site}/j/{name}`.
    pub origin: String,
    /// The institution that may write; `None` for the appliance's own journals.
    pub institution: Option<String>,
    /// When it was opened, ISO 8601 UTC.
    pub opened: String,
}

impl Charter {
    /// The charter's lines, each ended by a newline.
    pub fn text(&self) -> String {
        let institution = self.institution.as_deref().unwrap_or("-");
        format!(
            "pechat charter v1\norigin {}\ninstitution {institution}\ndigest sha256\nopened {}\n",
            self.origin, self.opened
        )
    }

    /// Reads a charter text; whatever is accepted gives the same text again.
    pub fn parse(text: &str) -> Result<Charter, EntryError> {
        if text.len() > MAX_CHARTER {
            return Err(EntryError::Charter("last"));
        }
        let mut lines = text.split_inclusive('\n');
        let mut line = |prefix: &str, name| {
            let line = lines.next().and_then(|l| l.strip_suffix('\n')).and_then(|l| l.strip_prefix(prefix));
            line.ok_or(EntryError::Charter(name))
        };
        line("pechat charter v1", "first").and_then(|rest| nothing(rest, "first"))?;
        let origin = line("origin ", "origin")?;
        let institution = line("institution ", "institution")?;
        line("digest sha256", "digest").and_then(|rest| nothing(rest, "digest"))?;
        let opened = line("opened ", "opened")?;
        checkpoint::check_origin(origin).map_err(|_| EntryError::Charter("origin"))?;
        if !is_word(institution) {
            return Err(EntryError::Charter("institution"));
        }
        if !is_word(opened) || !opened.ends_with('Z') {
            return Err(EntryError::Charter("opened"));
        }
        if lines.next().is_some() {
            return Err(EntryError::Charter("last"));
        }
        Ok(Charter {
            origin: origin.to_owned(),
            institution: (institution != "-").then(|| institution.to_owned()),
            opened: opened.to_owned(),
        })
    }
}

fn nothing(rest: &str, name: &'static str) -> Result<(), EntryError> {
    if rest.is_empty() { Ok(()) } else { Err(EntryError::Charter(name)) }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Entry {
        Entry {
            journal: journal_id("seal.example.gov/j/land"),
            seq: 0x0102_0304_0506_0708,
            prev: Digest::of(b"before"),
            time: 1_764_000_000_123_456,
            bound: 1500,
            kind: EntryKind::Seal as u16,
            request_id: RequestId(*b"0123456789abcdef"),
            digest: Digest::of(b"salt and record"),
        }
    }

    #[test]
    fn an_entry_survives_its_bytes() {
        let entry = sample();
        let bytes = entry.encode();
        assert_eq!(Entry::decode(&bytes), Ok(entry));
        assert_eq!(entry.leaf(), Digest::of_parts(&[&[0], &bytes]));
        assert_eq!(bytes[48..56], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(bytes[100..102], [0, 2]);
        assert_eq!(bytes[118..120], [0, 1]);
    }

    #[test]
    fn bytes_that_are_no_entry_are_refused_by_name() {
        let good = sample().encode();
        let with = |at: usize, byte: u8| {
            let mut bytes = good;
            bytes[at] = byte;
            Entry::decode(&bytes)
        };
        assert_eq!(Entry::decode(&good[..151]), Err(EntryError::Length(151)));
        assert_eq!(with(14, b'2'), Err(EntryError::Label));
        assert!(matches!(with(88, 0x80), Err(EntryError::Time(_))));
        assert_eq!(with(101, 4), Err(EntryError::Kind(4)));
        assert_eq!(with(101, 0), Err(EntryError::Kind(0)));
        assert_eq!(with(119, 2), Err(EntryError::Algorithm(2)));
    }

    #[test]
    fn a_charter_survives_its_text() {
        for institution in [None, Some("land-office".to_owned())] {
            let charter = Charter {
                origin: "seal.example.gov/j/land".into(),
                institution,
                opened: "2026-11-24T14:00:00.000000Z".into(),
            };
            assert_eq!(Charter::parse(&charter.text()), Ok(charter));
        }
    }

    #[test]
    fn a_charter_of_another_form_is_refused() {
        let good =
            "pechat charter v1\norigin a.b/j/c\ninstitution -\ndigest sha256\nopened 2026-11-24T14:00:00Z\n";
        assert!(Charter::parse(good).is_ok());
        for (from, to, line) in [
            ("v1", "v2", "first"),
            ("origin a.b/j/c", "origin 1.b/j/c", "origin"),
            ("institution -", "institution ", "institution"),
            ("sha256", "sha512", "digest"),
            ("Z\n", "Z", "opened"),
            ("Z\n", "Z\n\n", "last"),
        ] {
            let bad = good.replace(from, to);
            assert_eq!(Charter::parse(&bad), Err(EntryError::Charter(line)), "{bad}");
        }
    }
}
