//! What an auditor runs: evidence in, facts or the first broken link out. No files, no clock, no network.
//!
//! The chain of a receipt: entry → journal tree → head → root log → checkpoint → signature and token.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::digest::Digest;
use crate::journal::checkpoint::{Checkpoint, Head, NoteError, NoteLine, OpenNote, open_note};
use crate::journal::entry::{Entry, EntryKind, journal_id};
use crate::journal::receipt::{HeadProof, RangeReceipt, ReceiptError, parse_single};
use crate::journal::tree::{self, ProofError};

pub use crate::journal::parallel::{Bytes, Checked, Pace, Picked, verify_parallel};
pub use crate::journal::replay::{ExportFacts, Fault, ReplayError, verify_export, visit_export};

/// genTime's unit when a token leaves accuracy and fraction out, microseconds.
const WHOLE_SECOND: u64 = 1_000_000;

/// What a verified token says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTime {
    /// genTime, microseconds since 1970 UTC.
    pub gen_time_us: i64,
    /// accuracy, microseconds, if the token has one.
    pub accuracy_us: Option<u64>,
}

/// Verifies a DER token over a SHA-256 imprint up to a trusted root; the error says what is wrong.
pub type TokenCheck<'a> = &'a dyn Fn(&[u8], &Digest) -> Result<TokenTime, String>;

/// What the verifier trusts. Without any of both only the structure is checked, which proves nothing
/// about who made it.
#[derive(Clone, Copy, Default)]
pub struct Trust<'a> {
    /// The journal-head key, SubjectPublicKeyInfo DER; the checkpoint must carry its signature.
    pub head_key_spki: Option<&'a [u8]>,
    /// The judge of tokens; the checkpoint must carry one.
    pub token: Option<TokenCheck<'a>>,
}

/// What a verified head proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadFacts {
    /// The journal's state.
    pub head: Head,
    /// The root log's state that holds it.
    pub checkpoint: Checkpoint,
    /// Whether the head key's signature was checked.
    pub signed: bool,
    /// Time of the token, if one was checked.
    pub stamped: Option<TokenTime>,
    /// The checkpoint's lines as they stand, for those who know witnesses.
    pub lines: Vec<NoteLine>,
}

/// What a verified receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// The entry as it stands in the journal.
    pub entry: Entry,
    /// The head that holds it.
    pub proof: HeadFacts,
}

/// What a verified range receipt proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeFacts {
    /// The entries, in order.
    pub entries: Vec<Entry>,
    /// The head that holds them.
    pub proof: HeadFacts,
}

/// The first link that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not a receipt.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The head or the checkpoint is none.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The entry belongs to another journal than the head.
    #[error("entry {seq} belongs to another journal than {origin}")]
    Journal {
        /// The entry.
        seq: u64,
        /// The head's origin.
        origin: String,
    },
    /// The entry's own rules do not hold.
    #[error("entry {seq}: {reason}")]
    Entry {
        /// The entry.
        seq: u64,
        /// Which rule.
        reason: &'static str,
    },
    /// The way from the entries to the journal's head.
    #[error("from entry {seq} to the journal's head: {reason}")]
    JournalPath {
        /// First entry.
        seq: u64,
        /// What does not fit.
        reason: ProofError,
    },
    /// The way from the head to the checkpoint.
    #[error("from the journal's head (leaf {index}) to the root checkpoint: {reason}")]
    RootPath {
        /// Leaf in the root log.
        index: u64,
        /// What does not fit.
        reason: ProofError,
    },
    /// Head and checkpoint are of different appliances.
    #[error("the head of {head} cannot stand in the root log {root}")]
    Site {
        /// The head's origin.
        head: String,
        /// The checkpoint's origin.
        root: String,
    },
    /// The head key did not sign, or signed something else.
    #[error("the checkpoint's signature {0}")]
    Signature(&'static str),
    /// The token is missing or does not hold.
    #[error("the checkpoint's time-stamp token: {0}")]
    Token(String),
    /// The entry claims to be from after the token that covers it.
    #[error(
        "entry {seq} is of {time} µs, give or take {bound} µs, after its token of {gen_time} µs, give or take {accuracy} µs"
    )]
    Time {
        /// The entry.
        seq: u64,
        /// Its time.
        time: i64,
        /// Its bound.
        bound: u32,
        /// The token's time.
        gen_time: i64,
        /// The token's accuracy.
        accuracy: u64,
    },
    /// Two heads that cannot be states of one journal.
    #[error("the heads are of different journals, {0} and {1}")]
    Origins(String, String),
    /// The newer head does not continue the older one.
    #[error("from {old} to {new} entries: {reason}")]
    Consistency {
        /// Older size.
        old: u64,
        /// Newer size.
        new: u64,
        /// What does not fit.
        reason: ProofError,
    },
}

/// Verifies a single receipt (text).
pub fn verify_receipt(text: &str, trust: &Trust) -> Result<ReceiptFacts, VerifyError> {
    let receipt = parse_single(text)?;
    let proof = verify_head(&receipt.proof, trust)?;
    let entry = receipt.entry;
    check_entry(&entry, &proof.head)?;
    tree::verify_inclusion(
        &entry.leaf(),
        entry.seq,
        proof.head.size,
        &receipt.journal_path,
        &proof.head.root,
    )
    .map_err(|reason| VerifyError::JournalPath { seq: entry.seq, reason })?;
    check_time(&entry, proof.stamped)?;
    Ok(ReceiptFacts { entry, proof })
}

/// Verifies a range receipt: the entries chain from its `prev`, and stand together in the head.
pub fn verify_range(receipt: &RangeReceipt, trust: &Trust) -> Result<RangeFacts, VerifyError> {
    let proof = verify_head(&receipt.proof, trust)?;
    let (entries, leaves) = chain(receipt, &proof.head)?;
    let seq = receipt.first;
    let wrong = |reason| VerifyError::JournalPath { seq, reason };
    let root = tree::root_of_range(seq, &leaves, proof.head.size, &receipt.range_path).map_err(wrong)?;
    if root != proof.head.root {
        return Err(wrong(ProofError::Root { computed: root, expected: proof.head.root }));
    }
    for entry in &entries {
        check_time(entry, proof.stamped)?;
    }
    Ok(RangeFacts { entries, proof })
}

/// The run's entries with their leaf hashes, each entry's `prev` being the leaf before it.
fn chain(receipt: &RangeReceipt, head: &Head) -> Result<(Vec<Entry>, Vec<Digest>), VerifyError> {
    let journal = journal_id(&head.origin);
    let mut prev = receipt.prev;
    let mut last = i64::MIN;
    let mut entries = Vec::with_capacity(receipt.entries.len());
    let mut leaves = Vec::with_capacity(receipt.entries.len());
    for (seq, said) in (receipt.first..).zip(&receipt.entries) {
        let wrong = |reason| VerifyError::Entry { seq, reason };
        let request_id = said.id().ok_or_else(|| wrong("its request id is not 32 hex digits"))?;
        let (time, bound, kind, digest) = (said.time, said.bound, said.kind, said.digest);
        let entry = Entry { journal, seq, prev, time, bound, kind, request_id, digest };
        check_entry(&entry, head)?;
        if time < last {
            return Err(wrong("its time is before that of the entry before it"));
        }
        if entries.last().is_some_and(|before: &Entry| before.kind == EntryKind::Freeze as u16) {
            return Err(wrong("it stands after the journal's final record"));
        }
        (prev, last) = (entry.leaf(), time);
        entries.push(entry);
        leaves.push(prev);
    }
    Ok((entries, leaves))
}

/// Rules of an entry that need nothing but the journal's name.
fn check_entry(entry: &Entry, head: &Head) -> Result<(), VerifyError> {
    let seq = entry.seq;
    if entry.journal != journal_id(&head.origin) {
        return Err(VerifyError::Journal { seq, origin: head.origin.clone() });
    }
    entry_rules(entry).map_err(|reason| VerifyError::Entry { seq, reason })
}

/// Rules of an entry that need nothing else.
pub(super) fn entry_rules(entry: &Entry) -> Result<(), &'static str> {
    let kind = EntryKind::from_wire(entry.kind).map_err(|_| "its kind has no meaning in version 1")?;
    if entry.time < 0 {
        return Err("its time is before 1970");
    }
    match (entry.seq, kind) {
        (0, EntryKind::Charter) if entry.digest == entry.prev => Ok(()),
        (0, EntryKind::Charter) => Err("it does not commit to one charter in both prev and digest"),
        (0, _) => Err("the first entry is not the charter"),
        (_, EntryKind::Charter) => Err("a charter stands only in entry 0"),
        _ => Ok(()),
    }
}

/// Verifies a journal's head up to the signed, stamped checkpoint.
pub fn verify_head(proof: &HeadProof, trust: &Trust) -> Result<HeadFacts, VerifyError> {
    let head = Head::parse(&proof.head)?;
    let note = open_note(&proof.checkpoint)?;
    let checkpoint = note.checkpoint.clone();
    let same_site = checkpoint.origin.strip_suffix("/root").is_some_and(|site| {
        head.origin
            .strip_prefix(site)
            .and_then(|rest| rest.strip_prefix("/j/"))
            .is_some_and(|n| !n.is_empty())
    });
    if !same_site {
        return Err(VerifyError::Site { head: head.origin, root: checkpoint.origin });
    }
    let leaf = tree::leaf_hash(proof.head.as_bytes());
    let index = proof.root_index;
    tree::verify_inclusion(&leaf, index, checkpoint.size, &proof.root_path, &checkpoint.root)
        .map_err(|reason| VerifyError::RootPath { index, reason })?;
    let stamped = check_note(&note, trust)?;
    let signed = trust.head_key_spki.is_some();
    Ok(HeadFacts { head, checkpoint, signed, stamped, lines: note.signatures })
}

/// Verifies a root checkpoint alone: signature and token.
pub fn verify_checkpoint(text: &str, trust: &Trust) -> Result<(Checkpoint, Option<TokenTime>), VerifyError> {
    let note = open_note(text)?;
    let stamped = check_note(&note, trust)?;
    Ok((note.checkpoint, stamped))
}

fn check_note(note: &OpenNote, trust: &Trust) -> Result<Option<TokenTime>, VerifyError> {
    if let Some(spki) = trust.head_key_spki {
        let line = note.ecdsa(spki).ok_or(VerifyError::Signature("is not one of the trusted head key"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, spki)
            .verify(note.body.as_bytes(), &line.payload)
            .map_err(|_| VerifyError::Signature("does not verify with the trusted head key"))?;
    }
    let stamped = trust.token.map(|check| {
        let line = note.token().ok_or_else(|| VerifyError::Token("there is none".into()))?;
        check(&line.payload, &Digest::of(note.body.as_bytes())).map_err(VerifyError::Token)
    });
    stamped.transpose()
}

/// The token covers the entry, so the entry's earliest true time cannot lie after the token's latest.
fn check_time(entry: &Entry, token: Option<TokenTime>) -> Result<(), VerifyError> {
    let Some(token) = token else { return Ok(()) };
    let accuracy = token.accuracy_us.unwrap_or(WHOLE_SECOND);
    let earliest = entry.time.saturating_sub(i64::from(entry.bound));
    if earliest <= token.gen_time_us.saturating_add_unsigned(accuracy) {
        return Ok(());
    }
    let (seq, time, bound, gen_time) = (entry.seq, entry.time, entry.bound, token.gen_time_us);
    Err(VerifyError::Time { seq, time, bound, gen_time, accuracy })
}

/// Whether the journal of `new` continues that of `old`; both heads have been verified by the caller.
pub fn verify_continuation(old: &Head, new: &Head, path: &[Digest]) -> Result<(), VerifyError> {
    if old.origin != new.origin {
        return Err(VerifyError::Origins(old.origin.clone(), new.origin.clone()));
    }
    tree::verify_consistency(old.size, &old.root, new.size, &new.root, path)
        .map_err(|reason| VerifyError::Consistency { old: old.size, new: new.size, reason })
}
