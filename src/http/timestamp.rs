//! `POST /tsa`: RFC 3161 section 3.4, TSP over HTTP.

use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Document, Problem};
use super::{App, Caller, body};

/// Cap of a query, bytes; real ones have fewer than 200.
const QUERY_CAP: usize = 4 * 1024;
const QUERY: &str = "application/timestamp-query";
// Clients compare the whole value (pyHanko, rfc3161ng): no parameter may follow.
const REPLY: HeaderValue = HeaderValue::from_static("application/timestamp-reply");

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stamp))
}

/// Ask for a timestamp.
///
/// The answer to every query of the right media type and size is a TimeStampResp with status 200; a
/// rejection says why in PKIFailureInfo and in words. A certificate whose role has no timestamps gets a
/// problem document with status 403 instead, since for it there is no unit at all that could reject.
#[utoipa::path(
    post, path = "/tsa", tag = "timestamps",
    request_body(content = [u8], content_type = "application/timestamp-query", description = "DER TimeStampReq, at most 4 KiB"),
    responses(
        (status = 200, description = "DER TimeStampResp; Retry-After is set on refusals that pass", body = [u8], content_type = "application/timestamp-reply"),
        (status = "4XX", description = "Not a query, or not from a certificate that may ask", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Too many requests at once, or no turn in time; see Retry-After", body = Document, content_type = "application/problem+json"),
    )
)]
async fn stamp(State(app): State<App>, caller: Caller, request: Request) -> Result<Response, Problem> {
    // Accept is not looked at: jarsigner sends one that does not list the reply's type.
    body::must_be(request.headers(), QUERY)?;
    let query = body::read(request, QUERY_CAP).await?;
    let turn = app.front.turns().take(caller.0.fingerprint, Instant::now()).await?;
    let answer = app.authority.answer(&query, &caller.name()).await;
    drop(turn);
    app.front.metrics().token(answer.outcome);
    let mut response = answer.reply.into_response();
    response.headers_mut().insert(CONTENT_TYPE, REPLY);
    if let Some(seconds) = answer.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(response)
}
