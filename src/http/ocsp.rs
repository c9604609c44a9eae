//! OCSP over HTTP (RFC 6960 appendix A), on the plain listener. Every answer, a refusal too, is an
//! OCSPResponse with status 200: clients that see another status do not read the body.

use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, LAST_MODIFIED};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64ct::{Base64, Base64Unpadded, Encoding};

use super::{App, body};
use crate::certificate::ocsp::{MAX_REQUEST_BYTES, OcspAnswer, Refusal, Window};
use crate::digest::Digest;

/// Where requests are posted; after it and a slash, the GET form.
pub const PATH: &str = "/ocsp";
const REQUEST: &str = "application/ocsp-request";
const ANSWER: HeaderValue = HeaderValue::from_static("application/ocsp-response");
/// Longest encoded request in a path, bytes (RFC 6960 appendix A.1); longer ones are posted.
const LONGEST_IN_PATH: usize = 255;
/// A cache keeps an answer this long, seconds: a revocation must not hide behind it.
const MAX_AGE: i64 = 60;

/// The routes of this file.
pub fn public_routes() -> Router<App> {
    Router::new().route(PATH, post(posted)).route("/ocsp/{*request}", get(asked))
}

async fn posted(State(app): State<App>, request: Request) -> Response {
    if body::must_be(request.headers(), REQUEST).is_err() {
        return refused(Refusal::MalformedRequest);
    }
    match body::read(request, MAX_REQUEST_BYTES).await {
        Ok(request) => answer(&app, &request).await,
        Err(_) => refused(Refusal::MalformedRequest),
    }
}

async fn asked(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    match path.strip_prefix("/ocsp/").and_then(unescaped) {
        Some(request) => answer(&app, &request).await,
        None => refused(Refusal::MalformedRequest),
    }
}

/// Base64 out of a path: percent-encoded as it should be, or with `/`, `+` and `=` as they are.
fn unescaped(path: &str) -> Option<Vec<u8>> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let byte = u8::from_str_radix(after.get(..2)?, 16).ok()?;
        text.push(char::from(byte));
        rest = &after[2..];
    }
    text.push_str(rest);
    if text.len() > LONGEST_IN_PATH {
        return None;
    }
    Base64::decode_vec(&text).or_else(|_| Base64Unpadded::decode_vec(&text)).ok()
}

async fn answer(app: &App, request: &[u8]) -> Response {
    // What was revoked since might be missing from a log that lacks its end.
    if app.journals.quarantine().is_some() {
        return refused(Refusal::TryLater);
    }
    let now = app.clock.permit().ok().map(|permit| permit.reading.utc);
    let answer = app.issuer.ocsp(request, now, Instant::now()).await;
    let now = now.map_or(i64::MAX, |now| now.0.div_euclid(1_000_000));
    respond(answer, now)
}

/// The answer of a listener that is too busy to look at the request.
pub(super) fn later() -> Response {
    refused(Refusal::TryLater)
}

fn refused(status: Refusal) -> Response {
    respond(status.into(), 0)
}

fn respond(answer: OcspAnswer, now: i64) -> Response {
    let mut response = answer.der.clone().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, ANSWER);
    let Some(Window { this_update, next_update }) = answer.cacheable else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        return response;
    };
    // RFC 9919 section 5: fresh no longer than the answer itself.
    let max_age = next_update.saturating_sub(now).saturating_sub(1).clamp(0, MAX_AGE);
    let fields = [
        (CACHE_CONTROL, Some(format!("max-age={max_age}, public, no-transform, must-revalidate"))),
        (ETAG, Some(format!("\"{}\"", Digest::of(&answer.der)))),
        (LAST_MODIFIED, super::certificate::http_date(this_update)),
        (EXPIRES, super::certificate::http_date(next_update)),
    ];
    for (name, value) in fields {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_26_base64_in_a_path_is_read_escaped_or_not_up_to_255_bytes() {
        let bytes = vec![0xFB, 0xEF, 0xFF, 0xFE];
        for form in ["++///g==", "%2B%2B%2F%2F%2Fg%3D%3D", "%2b+/%2f/g==", "++///g"] {
            assert_eq!(unescaped(form).as_ref(), Some(&bytes), "{form}");
        }
        for wrong in ["%2", "%zz", "++///g=", "%C3%A4", "@@@@"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
        assert!(unescaped(&"AAAA".repeat(63)).is_some());
        assert_eq!(unescaped(&"AAAA".repeat(64)), None);
    }
}
