//! What goes wrong: jobs that fail, and bytes that are not this protocol.

use super::MAX_TEXT;

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub class: FailureClass,
    /// In words, at most [`MAX_TEXT`] bytes.
    pub text: String,
}

/// Kinds of failure, by who can do something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureClass {
    /// The HSM refused this one request; the next may work.
    Refused = 1,
    /// No such key number.
    UnknownKey = 2,
    /// The HSM token stopped working; the signer ends itself after this answer.
    TokenLost = 3,
    /// The signer's queue is full.
    Busy = 4,
    /// The signer was not started for a ceremony, or the label is taken.
    NotAllowed = 5,
    /// The HSM said that it signed and gave something else than a signature: the key is not to be believed again.
    WrongSignature = 6,
}

/// Bytes that are not this protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The length field is 0 or above [`MAX_FRAME`](super::MAX_FRAME).
    #[error("a frame of {0} bytes: 1 to 131072 are allowed")]
    FrameLength(u32),
    /// The body ends early.
    #[error("a frame ends in the middle of a field")]
    Short,
    /// The body goes on after its last field.
    #[error("a frame has {0} bytes after its last field")]
    Trailing(usize),
    /// Not a kind that this end understands.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// A count, tag, text or label out of its limits.
    #[error("a frame with a wrong {0}")]
    Field(&'static str),
}

impl Failure {
    /// A failure whose text is cut to [`MAX_TEXT`] bytes.
    pub fn new(class: FailureClass, text: impl Into<String>) -> Self {
        let mut text = text.into();
        text.truncate(text.floor_char_boundary(MAX_TEXT));
        Self { class, text }
    }
}
