//! The body of `POST /add-checkpoint` (C2SP `tlog-witness`), and checkpoints of any log in it.
//!
//! Our own checkpoints ([`crate::journal::checkpoint`]) are narrower: other logs may have origins with
//! spaces and extension lines, and a witness signs whatever text the log did.

use base64ct::{Base64, Encoding};

use crate::digest::Digest;
use crate::journal::checkpoint::{MAX_LINES, MAX_NOTE, NoteLine, decimal, hash_line, note_line};

/// Most hashes of a consistency proof.
pub const MAX_PROOF: usize = 63;
/// Longest body, bytes: `old` line, proof and note.
pub const MAX_BODY: usize = MAX_NOTE + 45 * MAX_PROOF + 64;

/// Why bytes are no such request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than any honest one.
    #[error("the body has {0} bytes, more than {MAX_BODY}")]
    TooLong(usize),
    /// Not UTF-8, or control characters other than newline.
    #[error("the body is not text of lines")]
    Text,
    /// The first line.
    #[error("the first line is not \"old\" and a size in decimal")]
    Old,
    /// A proof line.
    #[error("line {0} is not a hash in base64, or is beyond 63 hashes")]
    Proof(usize),
    /// The note is cut short.
    #[error("the checkpoint has no blank line followed by signature lines")]
    Unsigned,
    /// A line of the note's text.
    #[error("the {0} line of the checkpoint is missing or malformed")]
    Checkpoint(&'static str),
    /// A signature line.
    #[error("signature line {0} of the checkpoint is malformed, or is beyond 32 lines")]
    Signature(usize),
}

/// A checkpoint note of any log, taken apart; nothing in it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// The log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
    /// The signed text, extension lines included.
    pub body: String,
    /// Its lines, in order.
    pub signatures: Vec<NoteLine>,
}

impl SignedCheckpoint {
    /// Takes a note apart.
    pub fn parse(text: &str) -> Result<SignedCheckpoint, RequestError> {
        if text.len() > MAX_NOTE {
            return Err(RequestError::TooLong(text.len()));
        }
        if text.chars().any(|c| c < ' ' && c != '\n') {
            return Err(RequestError::Text);
        }
        let blank = text.rfind("\n\n").ok_or(RequestError::Unsigned)?;
        let (body, lines) = (&text[..=blank], &text[blank + 2..]);
        let (origin, size, root) = tree_head(body)?;
        Ok(SignedCheckpoint { origin, size, root, body: body.to_owned(), signatures: signatures(lines)? })
    }
}

fn tree_head(body: &str) -> Result<(String, u64, Digest), RequestError> {
    let bad = RequestError::Checkpoint;
    let mut lines = body.split_terminator('\n');
    let origin = lines.next().filter(|line| !line.is_empty()).ok_or(bad("origin"))?;
    // Trees have at most 2^63 - 1 leaves wherever sizes are signed numbers.
    let size = lines.next().and_then(decimal).filter(|n| i64::try_from(*n).is_ok()).ok_or(bad("size"))?;
    let root = lines.next().and_then(hash_line).ok_or(bad("root"))?;
    if lines.any(str::is_empty) {
        return Err(bad("extension"));
    }
    Ok((origin.to_owned(), size, root))
}

fn signatures(text: &str) -> Result<Vec<NoteLine>, RequestError> {
    let mut signatures = Vec::new();
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let bad = RequestError::Signature(index + 1);
        if index == MAX_LINES {
            return Err(bad);
        }
        signatures.push(note_line(line).ok_or(bad)?);
    }
    if signatures.is_empty() { Err(RequestError::Unsigned) } else { Ok(signatures) }
}

/// What a log asks a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// Size that the proof starts from: what the witness cosigned last.
    pub old: u64,
    /// RFC 6962 consistency path from there to the checkpoint.
    pub proof: Vec<Digest>,
    /// The checkpoint.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<AddCheckpoint, RequestError> {
        if body.len() > MAX_BODY {
            return Err(RequestError::TooLong(body.len()));
        }
        let text = str::from_utf8(body).map_err(|_| RequestError::Text)?;
        let (first, mut rest) = text.split_once('\n').ok_or(RequestError::Old)?;
        let old = first.strip_prefix("old ").and_then(decimal).ok_or(RequestError::Old)?;
        let mut proof = Vec::new();
        loop {
            let bad = RequestError::Proof(proof.len() + 2);
            let (line, after) = rest.split_once('\n').ok_or(bad.clone())?;
            rest = after;
            if line.is_empty() {
                break;
            }
            let hash = hash_line(line).filter(|_| proof.len() < MAX_PROOF);
            proof.push(hash.ok_or(bad)?);
        }
        Ok(AddCheckpoint { old, proof, checkpoint: SignedCheckpoint::parse(rest)? })
    }

    /// The body that asks to cosign this note.
    pub fn text(old: u64, proof: &[Digest], note: &str) -> String {
        let hash = |hash: &Digest| Base64::encode_string(hash.as_bytes()) + "\n";
        let proof: String = proof.iter().map(hash).collect();
        format!("old {old}\n{proof}\n{note}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification.
    const EXAMPLE: &str = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

    fn read(text: &str) -> Result<AddCheckpoint, RequestError> {
        AddCheckpoint::parse(text.as_bytes())
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written_again() {
        let request = read(EXAMPLE).unwrap();
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(request.checkpoint.size, 20_852_163);
        assert_eq!(request.checkpoint.signatures.len(), 2);
        let note = &EXAMPLE[EXAMPLE.find("example").unwrap()..];
        assert!(note.starts_with(&request.checkpoint.body));
        assert_eq!(AddCheckpoint::text(request.old, &request.proof, note), EXAMPLE);
    }

    #[test]
    fn extension_lines_belong_to_the_signed_text() {
        let extended = EXAMPLE.replacen("jxq2I=\n", "jxq2I=\nextension one\n", 1);
        let body = read(&extended).unwrap().checkpoint.body;
        assert!(body.ends_with("jxq2I=\nextension one\n"), "{body}");
    }

    #[test]
    fn an_origin_may_be_any_line_of_text() {
        let origin = "Go checksum database tree + more";
        let other = EXAMPLE.replacen("\nexample.com/behind-the-sofa\n", &format!("\n{origin}\n"), 1);
        assert_eq!(read(&other).unwrap().checkpoint.origin, origin);
    }

    #[test]
    fn bodies_that_are_almost_right_are_refused() {
        for (from, to) in [
            ("old 2", "old  2"),
            ("old 2", "old 02"),
            ("old 2", "old +2"),
            ("old 2", "new 2"),
            ("old 20852014", "old 18446744073709551616"),
            ("old 20852014", "old"),
            ("\n20852163", "\n020852163"),
            ("\n20852163", "\n9223372036854775808"),
            ("\n20852163\n", "\n"),
            ("PlRN", "PlR"),
            ("pkaw=\n", "pkax=\n"),
            ("\n\nexample", "\nexample"),
            ("\nexample", "\n\nexample"),
            ("jxq2I=\n", "jxq2I=\n\nextension\n"),
            ("jxq2I=\n", "jxq2J=\n"),
            ("— example", "- example"),
            ("— example", "—  example"),
            ("behind-the-sofa\n", "behind-the-sofa\r\n"),
        ] {
            assert!(read(&EXAMPLE.replacen(from, to, 1)).is_err(), "{from:?} → {to:?}");
        }
        assert_eq!(read(""), Err(RequestError::Old));
        assert_eq!(read(EXAMPLE.trim_end()), Err(RequestError::Signature(2)));
        assert_eq!(AddCheckpoint::parse(&[0xff, b'\n']), Err(RequestError::Text));
        for cut in 0..EXAMPLE.len() {
            let whole_lines = EXAMPLE[..cut.min(EXAMPLE.floor_char_boundary(cut))].matches('\n').count();
            // After the first signature line the rest is only one line fewer.
            let held = EXAMPLE.get(..cut).is_some_and(|text| read(text).is_ok());
            assert!(!held || (whole_lines == 11 && EXAMPLE.as_bytes()[cut - 1] == b'\n'), "cut to {cut}");
        }
    }

    #[test]
    fn more_hashes_or_bytes_than_any_proof_has_are_refused() {
        let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        assert!(read(&EXAMPLE.replacen(hash, &hash.repeat(60), 1)).is_ok());
        assert_eq!(read(&EXAMPLE.replacen(hash, &hash.repeat(61), 1)), Err(RequestError::Proof(65)));
        let long = "x".repeat(MAX_BODY + 1);
        assert_eq!(read(&long), Err(RequestError::TooLong(MAX_BODY + 1)));
        let lines = "— x AAAAAA==\n".repeat(31);
        assert_eq!(read(&format!("{EXAMPLE}{lines}")), Err(RequestError::Signature(33)));
    }
}
