//! Errors as RFC 9457 problem documents.

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

impl Problem {
    /// A problem without `Retry-After`.
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>, action: &'static str) -> Self {
        Self { status, kind, detail: detail.into(), action, retry_after: None }
    }
    /// Adds `Retry-After`.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}
