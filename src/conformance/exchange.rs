//! What is sent over one connection and what comes back.

use std::time::Duration;

use super::query::Query;
use crate::clock::UtcMicros;

/// Media type of queries, RFC 3161 section 3.4.
pub const QUERY: &str = "application/timestamp-query";
/// Sent in headers and never to be found in a token (line 10).
pub const MARKER: &str = "requester-5f1e";

/// What is known of the authority before a probe is laid.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Value of `Host`.
    pub host: String,
    /// Path and query of the URL.
    pub path: String,
    /// Whether the connection is TLS.
    pub secure: bool,
    /// Different in every run: imprints and nonces come from it.
    pub seed: Vec<u8>,
    /// The policy of an ordinary token, contents octets.
    pub policy: Vec<u8>,
    /// Names in the client's certificate, which must not be in a token.
    pub names: Vec<String>,
}

/// One act on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Write these bytes.
    Send(Vec<u8>),
    /// Read one whole final answer.
    Answer,
    /// Read until `100 Continue` or a final answer is there; a final one ends the exchange.
    Continue,
    /// Read until the authority ends the connection.
    End,
    /// Do nothing for a while.
    Pause(Duration),
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The queries in it, in order.
    pub queries: Vec<Query>,
    /// Bytes and waits.
    pub steps: Vec<Step>,
    /// The answer has no body (HEAD).
    pub head: bool,
    /// Texts that must not be in a token.
    pub names: Vec<String>,
    /// Whether the connection is TLS.
    pub secure: bool,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Every step was taken.
    Done,
    /// The authority closed the connection before.
    Closed,
    /// Nothing came for the whole time limit.
    TimedOut,
    /// The connection failed, in words.
    Failed(String),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Every byte, in order.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: End,
    /// The prober's clock before the first and after the last step.
    pub between: (UtcMicros, UtcMicros),
}

impl Known {
    /// Head and body of a POST; `lines` are further header lines, each with its CRLF.
    pub fn post(&self, lines: &str, body: &[u8]) -> Vec<u8> {
        let lines = format!("Content-Length: {}\r\n{lines}", body.len());
        [&self.head("POST", "1.1", QUERY, &lines)[..], body].concat()
    }

    /// A request head; `lines` as in [`Known::post`].
    pub fn head(&self, method: &str, version: &str, media_type: &str, lines: &str) -> Vec<u8> {
        let Self { host, path, .. } = self;
        let kind =
            if media_type.is_empty() { String::new() } else { format!("Content-Type: {media_type}\r\n") };
        format!("{method} {path} HTTP/{version}\r\nHost: {host}\r\nUser-Agent: {MARKER}\r\n{kind}{lines}\r\n")
            .into_bytes()
    }

    /// One query, sent as it should be.
    pub fn ask(&self, query: Query) -> Sent {
        self.bytes(query.clone(), &query.der())
    }

    /// These bytes in place of a query's.
    pub fn bytes(&self, query: Query, body: &[u8]) -> Sent {
        self.steps(vec![query], vec![Step::Send(self.post("", body)), Step::Answer])
    }

    /// Anything.
    pub fn steps(&self, queries: Vec<Query>, steps: Vec<Step>) -> Sent {
        Sent { queries, steps, head: false, names: self.names.clone(), secure: self.secure }
    }
}
