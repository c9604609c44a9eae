//! Errors as RFC 9457 problem documents.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::Serialize;

use crate::journal::JournalError;

/// Longest detail, bytes: it also goes to the log.
const LONGEST_DETAIL: usize = 1000;

/// One answer to a failed request: `application/problem+json` with `type` (stable URI
/// `https://pechat.example/problems/{kind}` is a name, not a link), `title`, `status`, `detail`
/// (the cause, names the thing), `action` (what to do next) and `request_id` (added by the middleware).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable word, e.g. `request-id-conflict`.
    pub kind: &'static str,
    /// What happened, to what.
    pub detail: String,
    /// What to do next.
    pub action: &'static str,
    /// `Retry-After`, seconds.
    pub retry_after: Option<u64>,
}

/// The document itself; also its schema in the OpenAPI document.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Document<'a> {
    /// `https://pechat.example/problems/` and the kind; a name, not a link.
    #[schema(value_type = String)]
    r#type: Name<'a>,
    /// The status in words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened, to what.
    detail: &'a str,
    /// What to do next.
    action: &'a str,
    /// The `X-Request-Id` of this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

struct Name<'a>(&'a str);

impl Serialize for Name<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("https://pechat.example/problems/{}", self.0))
    }
}

impl Problem {
    /// A problem without `Retry-After`. Details quote what was sent; a long one is cut.
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>, action: &'static str) -> Self {
        let mut detail = detail.into();
        if detail.len() > LONGEST_DETAIL {
            detail.truncate(detail.floor_char_boundary(LONGEST_DETAIL));
            detail.push('…');
        }
        Self { status, kind, detail, action, retry_after: None }
    }

    /// Adds `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// 404 for a path nobody serves.
    pub fn no_route(path: &str) -> Self {
        let detail = format!("nothing is served at {path:?}");
        Self::new(404, "unknown-route", detail, "Compare the path with /v1/openapi.json.")
    }

    /// 404 for a thing that does not exist or belongs to somebody else: both read the same.
    pub fn not_found(what: &str, name: &str) -> Self {
        let detail = format!("there is no {what} {name:?} that this certificate may see");
        Self::new(
            404,
            "not-found",
            detail,
            "Check the name, and that the certificate is the institution's own.",
        )
    }

    /// 400 for a request that is not what the OpenAPI document describes.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(
            400,
            "malformed-request",
            detail,
            "Correct the request; /v1/openapi.json describes its form.",
        )
    }

    /// 415 naming the one media type that is taken.
    pub fn media_type(wanted: &str, given: &str) -> Self {
        let detail = format!("the body must be {wanted}, not {given:?}");
        Self::new(415, "unsupported-media-type", detail, "Set Content-Type to the type named in the detail.")
    }

    /// 413 naming the cap in bytes.
    pub fn too_large(cap: usize) -> Self {
        let detail = format!("the body is longer than the {cap} bytes this route takes");
        Self::new(413, "body-too-large", detail, "Send less at a time.")
    }

    /// 503 while the log lacks a head that was signed: what is written now might contradict it.
    pub fn quarantined(detail: impl Into<String>) -> Self {
        const ACTION: &str = "Keep your receipts and give them to the operator, who restores the lost entries from \
                              them (`pechat journal resurrect`) or has two officers record the gap; then ask again \
                              with the same request ids.";
        Self::new(503, "quarantined", detail, ACTION).retry_after(60)
    }

    /// 500 that tells the caller nothing but the request id; the log has the rest.
    pub fn internal() -> Self {
        let detail = "the service failed while it answered this request";
        Self::new(
            500,
            "internal-error",
            detail,
            "Ask again; if it happens again, give the request id to the operator.",
        )
    }

    /// The document; `request_id` once it is known.
    fn document(&self, request_id: Option<&str>) -> Vec<u8> {
        let document = Document {
            r#type: Name(self.kind),
            title: StatusCode::from_u16(self.status)
                .ok()
                .and_then(|s| s.canonical_reason())
                .unwrap_or("Error"),
            status: self.status,
            detail: &self.detail,
            action: self.action,
            request_id,
        };
        serde_json::to_vec(&document).unwrap_or_default()
    }

    /// The answer, with the request's id in the document.
    pub fn respond(&self, request_id: Option<&str>) -> Response<Body> {
        let mut response = Response::new(Body::from(self.document(request_id)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for Problem {
    /// The problem also rides in the extensions, so that the gate can write it again with the request id.
    fn into_response(self) -> Response<Body> {
        let mut response = self.respond(None);
        response.extensions_mut().insert(self);
        response
    }
}

impl From<JournalError> for Problem {
    fn from(error: JournalError) -> Self {
        use JournalError as E;
        const AGAIN: &str = "Ask again with the same request ids: nothing is sealed twice.";
        let text = error.to_string();
        match error {
            E::BadName(_) => Self::new(400, "bad-journal-name", text, "Choose another name."),
            E::Unknown(name) => Self::not_found("journal", &name),
            E::Exists(_) => {
                Self::new(409, "journal-exists", text, "Use the journal, or choose another name.")
            }
            E::Conflict { .. } => {
                const ACTION: &str =
                    "Nothing of this request was sealed. Give the changed record a new request id.";
                Self::new(409, "request-id-conflict", text, ACTION)
            }
            E::Stale { .. } => {
                Self::new(409, "stale-expectation", text, "Read the journal's checkpoint and decide anew.")
            }
            E::NotNow(_) => Self::new(503, "no-seal-now", text, AGAIN).retry_after(5),
            E::Busy => Self::new(503, "journal-busy", text, AGAIN).retry_after(1),
            E::Storage(_) => {
                Self::new(503, "storage-failed", text, "Tell the operator: the service must be restarted.")
                    .retry_after(60)
            }
            E::Quarantined(_) => Self::quarantined(text),
            E::Damaged(_) => {
                Self::new(500, "journal-damaged", text, "Tell the operator and keep your receipts.")
            }
            E::Beyond { .. } => {
                Self::new(404, "beyond-journal", text, "Ask for a sequence number below the sealed size.")
            }
            E::Frozen { .. } => {
                const ACTION: &str =
                    "Nothing was sealed. Reads and receipts go on; seal into the journal that follows it.";
                Self::new(409, "journal-frozen", text, ACTION)
            }
            E::NotOwner { .. } => {
                const ACTION: &str =
                    "Nothing was sealed. Earlier receipts stay valid; seal into a journal of your own.";
                Self::new(409, "journal-handed-over", text, ACTION)
            }
            E::Count(0) => Self::new(400, "count", text, "Send at least one digest."),
            E::Count(_) => Self::new(413, "count", text, "Send the digests in several requests."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_has_every_member_and_the_request_id() {
        let problem = Problem::new(409, "journal-exists", "journal \"a\" exists already", "Use it.");
        let json: serde_json::Value = serde_json::from_slice(&problem.document(Some("00ff"))).unwrap();
        let expected = serde_json::json!({
            "type": "https://pechat.example/problems/journal-exists", "title": "Conflict", "status": 409,
            "detail": "journal \"a\" exists already", "action": "Use it.", "request_id": "00ff",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn a_detail_that_quotes_a_long_input_is_cut_between_characters() {
        let long = Problem::malformed("я".repeat(100_000)).detail;
        assert_eq!(long, "я".repeat(500) + "…");
    }

    #[test]
    fn busy_says_when_to_ask_again() {
        let response = Problem::from(JournalError::Busy).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    }
}
