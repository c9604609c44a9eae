//! The version every answer names.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, HeaderValue};

/// This program's version, `Pechat-Version` of every answer.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");
/// The interface's version, `API-Version` of every answer and first part of every path.
pub const API: &str = "v1";

const PECHAT_VERSION: HeaderName = HeaderName::from_static("pechat-version");
const API_VERSION: HeaderName = HeaderName::from_static("api-version");

/// Puts both versions on an answer.
pub fn stamp(headers: &mut HeaderMap) {
    headers.insert(PECHAT_VERSION, HeaderValue::from_static(PROGRAM));
    headers.insert(API_VERSION, HeaderValue::from_static(API));
}
