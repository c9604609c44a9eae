//! The body of `POST …/entries`: bytes to submissions and back. Pure.

use std::collections::HashSet;
use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Deserializer};

use super::body::Object;
use crate::digest::{Digest, hex};
use crate::identifier::{Number, NumberError};
use crate::journal::{JournalError, RequestId, Submission};

/// Digests one request may carry.
pub const MOST: usize = 4096;
/// Cap of the body, bytes: 4,096 digests take some 500 KB.
pub const CAP: usize = 1024 * 1024;

/// What a client wants sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntriesRequest {
    /// 1 to 4,096 digests, request ids distinct.
    pub submissions: Vec<Submission>,
    /// The size the client believes the journal to have.
    pub expect: Option<u64>,
}

/// Why a body is not an entries request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntriesError {
    /// Not JSON, or not the JSON described.
    #[error("the body is not an entries request: {0}")]
    Malformed(String),
    /// Neither one digest nor a list, or both.
    #[error("the body must have either request_id and digest, or entries")]
    Form,
    /// None or too many.
    #[error("a request carries 1 to 4096 digests, not {0}")]
    Count(usize),
    /// A register number that is none.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// Two digests of one request have the same id.
    #[error("request id {0} stands twice in the request")]
    Twice(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    request_id: Option<IdText>,
    digest: Option<Digest>,
    entries: Option<Vec<Object<WireEntry>>>,
    expect: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireEntry {
    request_id: IdText,
    digest: Digest,
}

/// A request id in JSON, read without a copy of the text.
struct IdText(Result<RequestId, NumberError>);

impl<'de> Deserialize<'de> for IdText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = IdText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("32 hex digits, a UUID or a register number of 16 digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<IdText, E> {
                if text.len() == 16
                    && let Err(error @ (NumberError::Check { .. } | NumberError::Day(_))) =
                        Number::parse(text)
                {
                    return Ok(IdText(Err(error)));
                }
                request_id(text)
                    .map(|id| IdText(Ok(id)))
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// 32 hex digits, or a UUID (RFC 9562 section 4) of any version.
pub fn request_id(text: &str) -> Option<RequestId> {
    RequestId::parse(text)
}

/// Reads `{"request_id", "digest"}` or `{"entries": [{"request_id", "digest"}, …]}`, either with an
/// optional `expect`; unknown and repeated keys are refused.
pub fn parse_entries(json: &[u8]) -> Result<EntriesRequest, EntriesError> {
    let Object(wire) =
        serde_json::from_slice::<Object<Wire>>(json).map_err(|e| EntriesError::Malformed(e.to_string()))?;
    let submissions: Vec<Submission> = match (wire.request_id, wire.digest, wire.entries) {
        (Some(id), Some(digest), None) => vec![Submission { request_id: id.0?, digest }],
        (None, None, Some(entries)) => {
            let submission = |Object(e): Object<WireEntry>| {
                Ok(Submission { request_id: e.request_id.0?, digest: e.digest })
            };
            entries.into_iter().map(submission).collect::<Result<_, NumberError>>()?
        }
        _ => return Err(EntriesError::Form),
    };
    if !(1..=MOST).contains(&submissions.len()) {
        return Err(EntriesError::Count(submissions.len()));
    }
    let mut seen = HashSet::with_capacity(submissions.len());
    match submissions.iter().find(|s| !seen.insert(s.request_id)) {
        Some(twice) => Err(EntriesError::Twice(hex(&twice.request_id.0))),
        None => Ok(EntriesRequest { submissions, expect: wire.expect }),
    }
}

impl EntriesRequest {
    /// The body a client sends; [`parse_entries`] gives the same value back.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = String::with_capacity(32 + 136 * self.submissions.len());
        json.push_str("{\"entries\":[");
        for (index, s) in self.submissions.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(
                json,
                "{comma}{{\"request_id\":\"{}\",\"digest\":\"{}\"}}",
                hex(&s.request_id.0),
                s.digest
            );
        }
        json.push(']');
        if let Some(expect) = self.expect {
            let _ = write!(json, ",\"expect\":{expect}");
        }
        json.push('}');
        json.into_bytes()
    }
}

impl From<EntriesError> for super::Problem {
    fn from(error: EntriesError) -> Self {
        match error {
            EntriesError::Count(count) => JournalError::Count(count).into(),
            EntriesError::Number(error) => {
                const ACTION: &str = "Correct the number: one of its digits is wrong. Nothing was sealed.";
                Self::new(400, "bad-register-number", error.to_string(), ACTION)
            }
            other => Self::malformed(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";
    const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";

    fn submission(last: u8) -> Submission {
        let mut id = [0; 16];
        id[15] = last;
        Submission { request_id: RequestId(id), digest: Digest::of(&[last]) }
    }

    #[test]
    fn one_digest_and_a_list_of_one_are_the_same_request() {
        let digest = Digest::of(b"record");
        let one = format!("{{\"digest\":\"{digest}\",\"request_id\":\"{UUID}\"}}");
        let list = format!("{{\"entries\":[{{\"request_id\":\"{ID}\",\"digest\":\"{digest}\"}}]}}");
        assert_eq!(parse_entries(one.as_bytes()), parse_entries(list.as_bytes()));
        assert_eq!(hex(&parse_entries(one.as_bytes()).unwrap().submissions[0].request_id.0), ID);
    }

    #[test]
    fn a_request_id_is_32_hex_digits_or_a_uuid() {
        assert_eq!(request_id(ID), request_id(UUID));
        assert!(request_id(ID).is_some());
        for bad in [
            "",
            &ID[1..],
            "00112233-4455-6677-8899aabbccdd-eeff",
            "0011223344556677-8899-aabb-ccddeeff-",
            &"-".repeat(36),
        ] {
            assert_eq!(request_id(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_register_number_is_a_request_id_unless_its_check_digit_is_wrong() {
        let digest = Digest::of(b"record");
        let one = |number: &str| {
            parse_entries(format!("{{\"request_id\":\"{number}\",\"digest\":\"{digest}\"}}").as_bytes())
        };
        assert_eq!(&one("2475001150024593").unwrap().submissions[0].request_id.0, b"2475001150024593");
        let refused = one("2475001150024594").unwrap_err();
        assert!(matches!(refused, EntriesError::Number(NumberError::Check { expected: 3, .. })), "{refused}");
        assert_eq!(crate::http::Problem::from(refused).kind, "bad-register-number");
    }

    #[test]
    fn what_is_written_reads_back() {
        let request = EntriesRequest { submissions: (0..200).map(submission).collect(), expect: Some(7) };
        assert_eq!(parse_entries(&request.to_json()), Ok(request));
    }

    #[test]
    fn anything_else_is_refused() {
        let d = Digest::of(b"x");
        let refused = |text: String| parse_entries(text.as_bytes()).unwrap_err();
        let malformed = [
            format!("{{\"request_id\":\"{ID}\",\"digest\":\"{d}\",\"record\":\"secret\"}}"),
            format!("{{\"request_id\":\"{ID}\",\"request_id\":\"{ID}\",\"digest\":\"{d}\"}}"),
            format!("{{\"request_id\":\"{}\",\"digest\":\"{d}\"}}", &ID[1..]),
            format!("{{\"request_id\":\"{ID}\",\"digest\":\"{d}\"}} "),
            format!("{{\"request_id\":\"{ID}\",\"digest\":\"{d}\",\"expect\":-1}}"),
            "[".repeat(100_000),
            format!("[\"{ID}\",\"{d}\",null,null]"),
            format!("{{\"entries\":[[\"{ID}\",\"{d}\"]]}}"),
        ];
        for (index, text) in malformed.into_iter().enumerate() {
            let outcome = parse_entries(text.as_bytes());
            let blank_is_fine = index == 3;
            assert_eq!(matches!(outcome, Err(EntriesError::Malformed(_))), !blank_is_fine, "{text:.80}");
        }
        assert_eq!(refused("{}".into()), EntriesError::Form);
        assert_eq!(refused(format!("{{\"request_id\":\"{ID}\"}}")), EntriesError::Form);
        assert_eq!(refused("{\"entries\":[]}".into()), EntriesError::Count(0));
        let many = EntriesRequest { submissions: vec![submission(1); 4097], expect: None };
        assert_eq!(parse_entries(&many.to_json()), Err(EntriesError::Count(4097)));
        let twice = EntriesRequest { submissions: vec![submission(1); 2], expect: None };
        assert!(matches!(parse_entries(&twice.to_json()), Err(EntriesError::Twice(_))));
    }
}
