//! Heads of journals and of the root log as text, and the signed note around the latter
//! (C2SP `tlog-checkpoint` and `signed-note`).

use base64ct::{Base64, Encoding};

use crate::digest::{Digest, hex};

/// Longest origin line, bytes.
pub const MAX_ORIGIN: usize = 255;
/// Longest head text, bytes.
pub const MAX_HEAD: usize = 1024;
/// Longest note, bytes: room for tokens with long chains and for later signature lines.
pub const MAX_NOTE: usize = 64 * 1024;
/// Most signature lines of one note.
pub const MAX_LINES: usize = 32;

/// C2SP signature type "has its own identifier", and ours for a time-stamp token.
const OTHER: u8 = 0xff;
const TOKEN: &[u8] = b"rfc3161";

/// Why text is no head, checkpoint or note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than any honest one.
    #[error("the {what} has {found} bytes, more than {limit}")]
    TooLong {
        /// Which text.
        what: &'static str,
        /// Its bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Not a valid origin.
    #[error("{0:?} is not an origin: it begins with a letter and has neither spaces nor '+'")]
    Origin(String),
    /// A line does not have its form.
    #[error("the {line} line of the {what} is missing or malformed")]
    Line {
        /// Which text.
        what: &'static str,
        /// Which line.
        line: &'static str,
    },
    /// No blank line, or nothing after it.
    #[error("the checkpoint has no blank line followed by signature lines")]
    Unsigned,
    /// A signature line does not have its form.
    #[error("signature line {0} of the checkpoint is malformed or repeats a key")]
    Signature(usize),
    /// More signature lines than the limit.
    #[error("the checkpoint has more than 32 signature lines")]
    TooMany,
}

/// An origin begins with a letter, so that no signed text can be read as DER, and is one word without `+`.
pub fn check_origin(origin: &str) -> Result<(), NoteError> {
    let word = origin.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
    let letter = origin.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    if word && letter && origin.len() <= MAX_ORIGIN {
        return Ok(());
    }
    Err(NoteError::Origin(origin.chars().take(MAX_ORIGIN).collect()))
}

/// State of one journal: the text of it is one leaf of the root log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The journal's origin line, `{site}/j/{name}`.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
    /// SHA-256 of the newest token known when the head was formed; zeros before the first.
    pub after: Digest,
}

impl Head {
    /// `{origin}\n{size}\n{base64 root}\nafter {hex}\n`.
    pub fn text(&self) -> String {
        let root = Base64::encode_string(self.root.as_bytes());
        format!("{}\n{}\n{root}\nafter {}\n", self.origin, self.size, self.after)
    }

    /// Reads a head; whatever is accepted gives the same text again.
    pub fn parse(text: &str) -> Result<Head, NoteError> {
        let what = "journal head";
        limit(what, text, MAX_HEAD)?;
        let mut lines = Lines { what, rest: text };
        let (origin, size, root) = lines.tree_head()?;
        let after = lines.next("after")?.strip_prefix("after ");
        let after = after.filter(|t| !t.bytes().any(|b| b.is_ascii_uppercase())).and_then(|t| t.parse().ok());
        let after = after.ok_or(NoteError::Line { what, line: "after" })?;
        lines.end()?;
        Ok(Head { origin, size, root, after })
    }
}

/// State of the root log: the body is what the head key signs and the token stamps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The root log's origin line, `{site}/root`.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Digest,
}

impl Checkpoint {
    /// `{origin}\n{size}\n{base64 root}\n`.
    pub fn body(&self) -> String {
        let root = Base64::encode_string(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads a body; whatever is accepted gives the same text again. Extension lines are refused.
    pub fn parse(body: &str) -> Result<Checkpoint, NoteError> {
        let what = "checkpoint";
        limit(what, body, MAX_HEAD)?;
        let mut lines = Lines { what, rest: body };
        let (origin, size, root) = lines.tree_head()?;
        lines.end()?;
        Ok(Checkpoint { origin, size, root })
    }
}

fn limit(what: &'static str, text: &str, limit: usize) -> Result<(), NoteError> {
    let found = text.len();
    if found <= limit { Ok(()) } else { Err(NoteError::TooLong { what, found, limit }) }
}

/// Lines of a text, each of which must end with a newline.
struct Lines<'t> {
    what: &'static str,
    rest: &'t str,
}

impl<'t> Lines<'t> {
    fn next(&mut self, line: &'static str) -> Result<&'t str, NoteError> {
        let (next, rest) = self.rest.split_once('\n').ok_or(NoteError::Line { what: self.what, line })?;
        self.rest = rest;
        Ok(next)
    }

    fn tree_head(&mut self) -> Result<(String, u64, Digest), NoteError> {
        let what = self.what;
        let origin = self.next("origin")?;
        check_origin(origin)?;
        let size = decimal(self.next("size")?).ok_or(NoteError::Line { what, line: "size" })?;
        let root = hash_line(self.next("root")?).ok_or(NoteError::Line { what, line: "root" })?;
        Ok((origin.to_owned(), size, root))
    }

    fn end(&self) -> Result<(), NoteError> {
        let what = self.what;
        if self.rest.is_empty() { Ok(()) } else { Err(NoteError::Line { what, line: "last" }) }
    }
}

/// A decimal number without sign or leading zeros.
pub fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// 32 bytes in canonical base64 (44 characters).
pub fn hash_line(text: &str) -> Option<Digest> {
    let mut bytes = [0; 33];
    if text.len() != 44 {
        return None;
    }
    Digest::try_from(Base64::decode(text, &mut bytes).ok()?).ok()
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteLine {
    /// The key's name.
    pub name: String,
    /// C2SP's key id: the first four bytes of a hash that stands for the key.
    pub key_hash: [u8; 4],
    /// What follows: a signature or a token, DER in our lines.
    pub payload: Vec<u8>,
}

/// A note taken apart; nothing in it has been verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenNote {
    /// What the body says.
    pub checkpoint: Checkpoint,
    /// The signed text.
    pub body: String,
    /// Its lines, in order.
    pub signatures: Vec<NoteLine>,
}

impl OpenNote {
    /// The line of the key with this SubjectPublicKeyInfo (DER).
    pub fn ecdsa(&self, spki_der: &[u8]) -> Option<&NoteLine> {
        self.line(ecdsa_key_hash(spki_der))
    }

    /// The line that carries an RFC 3161 token.
    pub fn token(&self) -> Option<&NoteLine> {
        self.line(token_key_hash(&self.checkpoint.origin))
    }

    /// The note as text, exactly as it was read.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.body);
        for line in &self.signatures {
            push_line(&mut text, &line.name, line.key_hash, &line.payload);
        }
        text
    }

    fn line(&self, hash: [u8; 4]) -> Option<&NoteLine> {
        self.signatures.iter().find(|line| line.name == self.checkpoint.origin && line.key_hash == hash)
    }
}

/// Key hash of an ECDSA line (type 0x02): first 4 bytes of SHA-256(SubjectPublicKeyInfo DER). C2SP `signed-note`
/// leaves name and type out of it for this type alone.
pub fn ecdsa_key_hash(spki_der: &[u8]) -> [u8; 4] {
    first_four(Digest::of(spki_der))
}

/// Key hash of a token line: first 4 bytes of SHA-256(name || "\n" || 0xff || "rfc3161").
pub fn token_key_hash(name: &str) -> [u8; 4] {
    first_four(Digest::of_parts(&[name.as_bytes(), &[b'\n', OTHER], TOKEN]))
}

fn first_four(hash: Digest) -> [u8; 4] {
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

/// The note: body, blank line, ECDSA line, token line. The signature is a DER `ECDSA-Sig-Value` over
/// SHA-256 of the body, the token a DER `ContentInfo` with that hash as its imprint.
pub fn note(body: &str, origin: &str, spki_der: &[u8], signature_der: &[u8], token_der: &[u8]) -> String {
    let mut text = format!("{body}\n");
    push_line(&mut text, origin, ecdsa_key_hash(spki_der), signature_der);
    push_line(&mut text, origin, token_key_hash(origin), token_der);
    text
}

pub(crate) fn push_line(text: &mut String, name: &str, hash: [u8; 4], payload: &[u8]) {
    let value = [&hash[..], payload].concat();
    text.push_str("— ");
    text.push_str(name);
    text.push(' ');
    text.push_str(&Base64::encode_string(&value));
    text.push('\n');
}

/// Takes a checkpoint note apart, without judging any signature.
pub fn open_note(text: &str) -> Result<OpenNote, NoteError> {
    limit("checkpoint", text, MAX_NOTE)?;
    let blank = text.rfind("\n\n").ok_or(NoteError::Unsigned)?;
    let (body, lines) = (&text[..=blank], &text[blank + 2..]);
    let checkpoint = Checkpoint::parse(body)?;
    let mut signatures = Vec::new();
    for (index, line) in lines.split_inclusive('\n').enumerate() {
        if index == MAX_LINES {
            return Err(NoteError::TooMany);
        }
        let twice =
            |l: &NoteLine| signatures.iter().any(|s: &NoteLine| s.name == l.name && s.key_hash == l.key_hash);
        let line = note_line(line).filter(|l| !twice(l)).ok_or(NoteError::Signature(index + 1))?;
        signatures.push(line);
    }
    if signatures.is_empty() {
        return Err(NoteError::Unsigned);
    }
    Ok(OpenNote { checkpoint, body: body.to_owned(), signatures })
}

/// One signature line, newline included.
pub(crate) fn note_line(line: &str) -> Option<NoteLine> {
    let (name, value) = line.strip_suffix('\n')?.strip_prefix("— ")?.split_once(' ')?;
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.chars().any(bad) {
        return None;
    }
    let value = Base64::decode_vec(value).ok()?;
    let (hash, payload) = value.split_first_chunk::<4>()?;
    Some(NoteLine { name: name.to_owned(), key_hash: *hash, payload: payload.to_vec() })
}

impl std::fmt::Display for NoteLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}+{}", self.name, hex(&self.key_hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "seal.example.gov/root".into(), size: 7, root: Digest::of(b"root") }
    }

    #[test]
    fn heads_and_checkpoints_survive_their_text() {
        let head = Head {
            origin: "seal.example.gov/j/land".into(),
            size: 3000,
            root: Digest::of(b"journal"),
            after: Digest::default(),
        };
        assert_eq!(Head::parse(&head.text()), Ok(head));
        assert_eq!(Checkpoint::parse(&checkpoint().body()), Ok(checkpoint()));
    }

    #[test]
    fn a_note_opens_into_what_was_put_in() {
        let c = checkpoint();
        let text = note(&c.body(), &c.origin, b"key", b"signature", b"token");
        let open = open_note(&text).unwrap();
        assert_eq!(open.checkpoint, c);
        assert_eq!(open.body, c.body());
        assert_eq!(open.ecdsa(b"key").unwrap().payload, b"signature");
        assert_eq!(open.ecdsa(b"another key"), None);
        assert_eq!(open.token().unwrap().payload, b"token");
        assert_eq!(open.signatures.len(), 2);
        assert_eq!(open.text(), text);
    }

    #[test]
    fn an_ecdsa_line_is_named_by_its_key_alone_as_c2sp_says() {
        let digest = *Digest::of(b"key").as_bytes();
        assert_eq!(ecdsa_key_hash(b"key"), digest[..4]);
        let named = |c: Checkpoint| open_note(&note(&c.body(), &c.origin, b"key", b"s", b"t")).unwrap();
        let other = Checkpoint { origin: "another.example/root".into(), ..checkpoint() };
        let (one, other) = (named(checkpoint()), named(other));
        assert_eq!(one.ecdsa(b"key").unwrap().key_hash, other.ecdsa(b"key").unwrap().key_hash);
        assert_ne!(one.token().unwrap().key_hash, other.token().unwrap().key_hash);
    }

    #[test]
    fn texts_that_are_almost_right_are_refused() {
        let body = checkpoint().body();
        for (from, to) in [
            ("seal.", "+eal."),
            ("seal.", "0eal."),
            ("\n7\n", "\n07\n"),
            ("\n7\n", "\n+7\n"),
            ("\n7\n", "\n18446744073709551616\n"),
            ("=\n", "=\nextension\n"),
            ("=\n", "\n"),
            ("=\n", "="),
            ("\n", "\r\n"),
        ] {
            assert!(Checkpoint::parse(&body.replace(from, to)).is_err(), "{from:?} → {to:?}");
        }
    }

    #[test]
    fn unused_bits_of_base64_must_be_zero() {
        let body = checkpoint().body();
        let last = body.trim_end_matches("=\n").chars().next_back().unwrap();
        let next = char::from(last as u8 + 1);
        assert!(Checkpoint::parse(&body.replace(&format!("{last}=\n"), &format!("{next}=\n"))).is_err());
    }

    #[test]
    fn signature_lines_that_are_almost_right_are_refused() {
        let c = checkpoint();
        let good = note(&c.body(), &c.origin, b"key", b"signature", b"token");
        let unsigned = format!("{}\n", c.body());
        assert_eq!(open_note(&unsigned), Err(NoteError::Unsigned));
        assert_eq!(open_note(&c.body()), Err(NoteError::Unsigned));
        assert_eq!(open_note(&good.replace('—', "-")), Err(NoteError::Signature(1)));
        assert_eq!(open_note(good.trim_end()), Err(NoteError::Signature(2)));
        assert_eq!(open_note(&good.replacen("— s", "— +s", 1)), Err(NoteError::Signature(1)));
        assert_eq!(
            open_note(&format!("{good}{}", good.lines().last().unwrap())),
            Err(NoteError::Signature(3))
        );
        let again = format!("{good}{}\n", good.lines().last().unwrap());
        assert_eq!(open_note(&again), Err(NoteError::Signature(3)));
        let others: String = (0..31).map(|i| format!("— x{i} AAAAAA==\n")).collect();
        let many = format!("{good}{others}");
        assert_eq!(open_note(&many), Err(NoteError::TooMany));
    }
}
