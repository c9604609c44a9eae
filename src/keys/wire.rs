//! The signer socket's protocol: frames of big-endian fields, nothing optional, every length limited.
//!
//! A frame is `u32 length || u8 kind || body`; `length` counts kind and body. The front speaks first with
//! [`Request::Hello`]; the signer numbers its keys in the answer and jobs name them by that number. Several jobs
//! travel in one frame, and answers come in any order, each with the id of its job.

mod codec;
mod failure;

use super::KeyLabel;
use codec::{Reader, frame};
pub use failure::{Failure, FailureClass, WireError};

/// Version of this protocol; both ends must speak the same one.
pub const VERSION: u16 = 3;
/// Most jobs, and most answers, in one frame.
pub const MAX_BATCH: usize = 1024;
/// Most bytes of a frame after its length field: a full batch of the longest failures does not fit, a full batch
/// of jobs or signatures does.
pub const MAX_FRAME: usize = 128 * 1024;
/// Most bytes of a message that a key signs whole, and of a head kept in the HSM token.
pub const MAX_MESSAGE: usize = 1024;
/// Most heads that are read from the HSM token at once.
pub const MAX_KEPT: usize = 8;
/// Most bytes of an error text; longer ones are cut at a character.
pub const MAX_TEXT: usize = 512;

/// Exit status of the signer: a PKCS#11 call took longer than its limit. Start it again.
pub const EXIT_CALL_LIMIT: i32 = 74;
/// Exit status of the signer: the HSM token stopped working. Start it again.
pub const EXIT_TOKEN_LOST: i32 = 75;
/// Exit status of the signer: the HSM token cannot be reached yet. Start it again, later.
pub const EXIT_UNAVAILABLE: i32 = 69;
/// Exit status of the signer: the HSM token refused the PIN. Never start it again by itself: tokens lock.
pub const EXIT_PIN_REFUSED: i32 = 77;
/// Exit status of the signer: files, keys or options are not as they must be. An operator has to act.
pub const EXIT_CONFIGURATION: i32 = 78;

const HELLO: u8 = 1;
const SIGN: u8 = 2;
const GENERATE: u8 = 3;
const STATUS: u8 = 4;
const KEEP: u8 = 5;
const SIGN_MESSAGE: u8 = 6;
const GENERATE_ED25519: u8 = 7;
const INVENTORY: u8 = 8;
const ANSWER: u8 = 0x80;

/// What the front asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// First frame: the version the front speaks.
    Hello {
        /// See [`VERSION`].
        version: u16,
    },
    /// Sign each of these: 1 to [`MAX_BATCH`].
    Sign(Vec<SignJob>),
    /// Make a P-256 key pair; only a signer started for a ceremony does it.
    Generate {
        /// Comes back in the answer.
        id: u64,
        /// CKA_LABEL of the new pair.
        label: KeyLabel,
    },
    /// Replace the head that the HSM token keeps in a data object; empty: only read it.
    Keep {
        /// Comes back in the answer.
        id: u64,
        /// At most [`MAX_MESSAGE`] bytes.
        head: Vec<u8>,
    },
    /// Sign the whole message with an Ed25519 key.
    SignMessage {
        /// Comes back in the answer.
        id: u64,
        /// Position of the key in [`Hello::keys`].
        key: u16,
        /// 1 to [`MAX_MESSAGE`] bytes.
        message: Vec<u8>,
    },
    /// Make an Ed25519 key pair; only a signer started for a ceremony does it.
    GenerateEd25519 {
        /// Comes back in the answer.
        id: u64,
        /// CKA_LABEL of the new pair.
        label: KeyLabel,
    },
    /// How it goes; also the sign of life while nothing is to be signed.
    Status {
        /// Comes back in the answer.
        id: u64,
    },
    /// Make, model, mechanisms and keys, read anew.
    Inventory {
        /// Comes back in the answer.
        id: u64,
    },
}

/// One signature asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignJob {
    /// Comes back in the answer.
    pub id: u64,
    /// Position of the key in [`Hello::keys`].
    pub key: u16,
    /// SHA-256 value to sign with CKM_ECDSA.
    pub digest: [u8; 32],
}

/// What the signer answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Answer to [`Request::Hello`].
    Hello(Hello),
    /// Answers to jobs of one or more [`Request::Sign`] or [`Request::SignMessage`]: 1 to [`MAX_BATCH`].
    Signed(Vec<Signed>),
    /// Answer to [`Request::Generate`].
    Generated {
        /// Of the request.
        id: u64,
        /// The key pair, or why there is none.
        outcome: Result<Generated, Failure>,
    },
    /// Answer to [`Request::Keep`].
    Kept {
        /// Of the request.
        id: u64,
        /// The heads in the HSM token now, at most [`MAX_KEPT`], or why they are not known.
        outcome: Result<Vec<Vec<u8>>, Failure>,
    },
    /// Answer to [`Request::GenerateEd25519`].
    GeneratedEd25519 {
        /// Of the request.
        id: u64,
        /// The key pair, or why there is none.
        outcome: Result<GeneratedEd25519, Failure>,
    },
    /// Answer to [`Request::Status`].
    Status(Status),
    /// Answer to [`Request::Inventory`]: JSON, see [`super::inventory::Inventory`].
    Inventory {
        /// Of the request.
        id: u64,
        /// The text, or why there is none.
        outcome: Result<String, Failure>,
    },
}

/// Who answers, and with which keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Version the signer speaks.
    pub version: u16,
    /// Whether [`Request::Generate`] is allowed.
    pub ceremony: bool,
    /// The keys that passed the start-up checks, in the order that [`SignJob::key`] counts from 0.
    pub keys: Vec<HelloKey>,
}

/// A key that is found, checked and matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HelloKey {
    /// CKA_LABEL in the pinned list.
    pub label: KeyLabel,
    /// SHA-256 of its SubjectPublicKeyInfo DER: the front compares it with its own list.
    pub spki_sha256: [u8; 32],
}

/// Answer to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// Of the job.
    pub id: u64,
    /// `r || s`, not yet verified by anybody, or why there is none.
    pub outcome: Result<[u8; 64], Failure>,
}

/// A key pair made in a ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generated {
    /// CKA_ID: 16 random bytes.
    pub key_id: [u8; 16],
    /// SubjectPublicKeyInfo, DER: 91 bytes for P-256.
    pub spki: [u8; 91],
    /// `r || s` by the new key over [`proof_digest`] of `spki`.
    pub proof: [u8; 64],
}

/// An Ed25519 key pair made in a ceremony.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedEd25519 {
    /// CKA_ID: 16 random bytes.
    pub key_id: [u8; 16],
    /// SubjectPublicKeyInfo, DER: 44 bytes.
    pub spki: [u8; 44],
    /// Signature by the new key of the 32 bytes of [`proof_digest`] of `spki`.
    pub proof: [u8; 64],
}

/// Counters of the signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Of the request.
    pub id: u64,
    /// Signatures made since the start.
    pub signed: u64,
    /// Jobs that failed since the start.
    pub failed: u64,
    /// Jobs waiting for a worker.
    pub queued: u32,
}

/// SHA-256 value that a new key signs to prove that the answer's public key is its own.
pub fn proof_digest(spki: &[u8]) -> [u8; 32] {
    *crate::digest::Digest::of_parts(&[b"pechat/key-proof/v1\n", spki]).as_bytes()
}

/// Splits the first whole frame off `buffer`: its kind and body, and how many bytes of `buffer` it used.
/// `None`: more bytes are needed.
pub fn split(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, WireError> {
    let Some((length, rest)) = buffer.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes == 0 || bytes > MAX_FRAME {
        return Err(WireError::FrameLength(length));
    }
    Ok(rest.get(..bytes).map(|payload| (payload, 4 + bytes)))
}

impl Request {
    /// Appends one frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello { version } => frame(out, HELLO, |b| b.u16(*version)),
            Self::Sign(jobs) => frame(out, SIGN, |b| {
                b.count(jobs.len());
                jobs.iter().for_each(|job| b.job(job));
            }),
            Self::Generate { id, label } => frame(out, GENERATE, |b| {
                b.u64(*id);
                b.label(label);
            }),
            Self::Status { id } => frame(out, STATUS, |b| b.u64(*id)),
            Self::Inventory { id } => frame(out, INVENTORY, |b| b.u64(*id)),
            Self::Keep { id, head } => frame(out, KEEP, |b| {
                b.u64(*id);
                b.message(head);
            }),
            Self::SignMessage { id, key, message } => frame(out, SIGN_MESSAGE, |b| {
                b.u64(*id);
                b.u16(*key);
                b.message(message);
            }),
            Self::GenerateEd25519 { id, label } => frame(out, GENERATE_ED25519, |b| {
                b.u64(*id);
                b.label(label);
            }),
        }
    }

    /// Reads the payload that [`split`] found.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader(payload);
        let request = match reader.u8()? {
            HELLO => Self::Hello { version: reader.u16()? },
            SIGN => Self::Sign(reader.list(1, Reader::job)?),
            GENERATE => Self::Generate { id: reader.u64()?, label: reader.label()? },
            STATUS => Self::Status { id: reader.u64()? },
            INVENTORY => Self::Inventory { id: reader.u64()? },
            KEEP => Self::Keep { id: reader.u64()?, head: reader.message(0)? },
            SIGN_MESSAGE => {
                Self::SignMessage { id: reader.u64()?, key: reader.u16()?, message: reader.message(1)? }
            }
            GENERATE_ED25519 => Self::GenerateEd25519 { id: reader.u64()?, label: reader.label()? },
            kind => return Err(WireError::Kind(kind)),
        };
        reader.end().map(|()| request)
    }
}

impl Response {
    /// Appends one frame to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => frame(out, ANSWER | HELLO, |b| b.hello(hello)),
            Self::Signed(answers) => frame(out, ANSWER | SIGN, |b| {
                b.count(answers.len());
                answers.iter().for_each(|answer| b.signed(answer));
            }),
            Self::Generated { id, outcome } => frame(out, ANSWER | GENERATE, |b| {
                b.u64(*id);
                b.outcome(outcome, codec::Body::generated);
            }),
            Self::Status(status) => frame(out, ANSWER | STATUS, |b| b.status(status)),
            Self::Inventory { id, outcome } => frame(out, ANSWER | INVENTORY, |b| {
                b.u64(*id);
                b.outcome(outcome, |b, text| b.text(text));
            }),
            Self::Kept { id, outcome } => frame(out, ANSWER | KEEP, |b| {
                b.u64(*id);
                b.outcome(outcome, |b, heads| b.kept(heads));
            }),
            Self::GeneratedEd25519 { id, outcome } => frame(out, ANSWER | GENERATE_ED25519, |b| {
                b.u64(*id);
                b.outcome(outcome, codec::Body::generated_ed25519);
            }),
        }
    }

    /// Reads the payload that [`split`] found.
    pub fn decode(payload: &[u8]) -> Result<Self, WireError> {
        const HELLO_ANSWER: u8 = ANSWER | HELLO;
        const SIGN_ANSWER: u8 = ANSWER | SIGN;
        const GENERATE_ANSWER: u8 = ANSWER | GENERATE;
        const STATUS_ANSWER: u8 = ANSWER | STATUS;
        const INVENTORY_ANSWER: u8 = ANSWER | INVENTORY;
        const KEEP_ANSWER: u8 = ANSWER | KEEP;
        const ED25519_ANSWER: u8 = ANSWER | GENERATE_ED25519;
        let mut reader = Reader(payload);
        let response = match reader.u8()? {
            HELLO_ANSWER => Self::Hello(reader.hello()?),
            SIGN_ANSWER => Self::Signed(reader.list(1, Reader::signed)?),
            GENERATE_ANSWER => {
                Self::Generated { id: reader.u64()?, outcome: reader.outcome(Reader::generated)? }
            }
            STATUS_ANSWER => Self::Status(reader.status()?),
            INVENTORY_ANSWER => Self::Inventory { id: reader.u64()?, outcome: reader.outcome(Reader::text)? },
            KEEP_ANSWER => Self::Kept { id: reader.u64()?, outcome: reader.outcome(Reader::kept)? },
            ED25519_ANSWER => {
                let (id, outcome) = (reader.u64()?, reader.outcome(Reader::generated_ed25519)?);
                Self::GeneratedEd25519 { id, outcome }
            }
            kind => return Err(WireError::Kind(kind)),
        };
        reader.end().map(|()| response)
    }
}

/// What the fuzzer calls: whatever decodes must encode to the same bytes, on either side.
pub fn reads_back(data: &[u8]) -> bool {
    let Ok(Some((payload, used))) = split(data) else { return true };
    let mut again = Vec::new();
    if let Ok(request) = Request::decode(payload) {
        request.encode(&mut again);
        return again == data[..used];
    }
    if let Ok(response) = Response::decode(payload) {
        response.encode(&mut again);
        return again == data[..used];
    }
    true
}

#[cfg(test)]
mod tests;
