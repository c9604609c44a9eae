//! EST (RFC 7030, 8951) below `/.well-known/est`: machines enrol with a one-time credential and renew
//! with their certificate. Served on a listener that takes TLS without a client certificate, too.

use axum::Extension;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use base64ct::{Base64, Base64Unpadded, Encoding};

use super::gate::Explained;
use super::listen::Peer;
use super::problem::Problem;
use super::{App, body};
use crate::certificate::{CertificateError, Enrolled, EnrolmentError, pkcs7};
use crate::institution::Environment;

/// Longest body, bytes: base64 of the longest request that is read.
const CAP: usize = 96 * 1024;
/// Officers need longer; a machine that asks this often disturbs nobody, seconds.
const ASK_AGAIN: u64 = 15;

/// The routes of this file.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/.well-known/est/{operation}", any(unlabelled))
        .route("/.well-known/est/{label}/{operation}", any(labelled))
}

/// Without a label production is meant.
async fn unlabelled(
    State(app): State<App>,
    Path(operation): Path<String>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Response {
    serve(&app, Environment::Production, &operation, peer.map(|p| p.0), request).await
}

async fn labelled(
    State(app): State<App>,
    Path((label, operation)): Path<(String, String)>,
    peer: Option<Extension<Peer>>,
    request: Request,
) -> Response {
    match Environment::from_word(&label) {
        Some(environment) => serve(&app, environment, &operation, peer.map(|p| p.0), request).await,
        None => said(404, format!("there is no label {label:?}: test, integration and production are")),
    }
}

async fn serve(
    app: &App,
    environment: Environment,
    operation: &str,
    peer: Option<Peer>,
    request: Request,
) -> Response {
    let method = request.method().clone();
    let outcome = match (method, operation) {
        (Method::GET, "cacerts") => cacerts(app, environment),
        // RFC 7030 section 4.5.2: nothing is asked of a request; its names come from the record.
        (Method::GET, "csrattrs") => Ok(StatusCode::NO_CONTENT.into_response()),
        (Method::POST, "simpleenroll") => enrol(app, environment, request).await,
        (Method::POST, "simplereenroll") => reenrol(app, environment, peer, request).await,
        (_, "cacerts" | "csrattrs" | "simpleenroll" | "simplereenroll") => {
            Ok(said(405, "this operation takes another method".into()))
        }
        _ => Ok(said(404, format!("there is no operation {operation:?} here"))),
    };
    outcome.unwrap_or_else(refused)
}

/// The issuing CA and the root (RFC 7030 section 4.1.3).
fn cacerts(app: &App, environment: Environment) -> Result<Response, CertificateError> {
    let label = format!("ca-{}", environment.as_str());
    let of = |label: &str| {
        app.issuer.ca_certificate(label).ok_or_else(|| CertificateError::UnknownCa(label.to_owned()))
    };
    let (issuing, root) = (of(&label)?, of("root-ca")?);
    Ok(certificates(&[&issuing, &root], "application/pkcs7-mime")?)
}

/// Base64 without line breaks (RFC 8951 section 3.1; strongSwan 5.9 fails on wrapped bodies).
fn certificates(chain: &[&[u8]], kind: &'static str) -> Result<Response, der::Error> {
    Ok(([(CONTENT_TYPE, kind)], Base64::encode_string(&pkcs7(chain)?)).into_response())
}

async fn enrol(app: &App, environment: Environment, request: Request) -> Result<Response, CertificateError> {
    // Who asks is looked at before what is asked.
    let Some((id, secret)) = basic(request.headers()) else {
        return Err(EnrolmentError::BadCredential.into());
    };
    let now = app.clock.permit().map_err(|_| CertificateError::NoTime)?.reading.utc;
    let credential = app.issuer.credential(&id, &secret, environment, now).await?;
    match csr(app, request).await {
        Ok(csr) => app.issuer.enrol(credential, csr, now).await.and_then(answer),
        Err(refusal) => Ok(*refusal),
    }
}

async fn reenrol(
    app: &App,
    environment: Environment,
    peer: Option<Peer>,
    request: Request,
) -> Result<Response, CertificateError> {
    let Some(fingerprint) = peer.and_then(|p| p.fingerprint) else {
        return Err(
            EnrolmentError::BadCertificate("missing: renewal is asked for with the current one").into()
        );
    };
    let now = app.clock.permit().map_err(|_| CertificateError::NoTime)?.reading.utc;
    let current = app.issuer.renewable(fingerprint, environment, now).await?;
    match csr(app, request).await {
        Ok(csr) => app.issuer.reenrol(current, csr, now).await.and_then(answer),
        Err(refusal) => Ok(*refusal),
    }
}

fn answer(outcome: Enrolled) -> Result<Response, CertificateError> {
    Ok(match outcome {
        Enrolled::Issued(record) => {
            certificates(&[&record.der], "application/pkcs7-mime; smime-type=certs-only")?
        }
        Enrolled::Waiting => {
            let mut response = said(202, "the request waits for officers; send the same one again".into());
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(ASK_AGAIN));
            response
        }
        Enrolled::Refused(why) => said(403, why),
    })
}

/// The request in the body, DER, or the answer that says what is wrong with the body.
async fn csr(app: &App, request: Request) -> Result<Vec<u8>, Box<Response>> {
    if app.journals.quarantine().is_some() {
        return Err(Box::new(said(503, "the journals are in quarantine; nothing is issued".into())));
    }
    if body::must_be(request.headers(), "application/pkcs10").is_err() {
        return Err(Box::new(said(415, "the body must be application/pkcs10".into())));
    }
    let body = body::read(request, CAP).await;
    let body = body.map_err(|p| Box::new(said(p.status, p.detail)))?;
    unwrapped(&body).ok_or_else(|| Box::new(said(400, "the body is not base64 of a PKCS #10 request".into())))
}

/// Base64 with line breaks anywhere or nowhere, padded or not (RFC 8951 section 3.1).
pub fn unwrapped(body: &[u8]) -> Option<Vec<u8>> {
    let text: String = body.iter().filter(|b| !b.is_ascii_whitespace()).map(|b| char::from(*b)).collect();
    let decoded = Base64::decode_vec(&text).or_else(|_| Base64Unpadded::decode_vec(&text)).ok()?;
    Some(decoded).filter(|der| !der.is_empty())
}

/// User name and password (RFC 7617).
fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    let text = String::from_utf8(Base64::decode_vec(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    scheme.eq_ignore_ascii_case("basic").then(|| (id.to_owned(), secret.to_owned()))
}

fn refused(error: CertificateError) -> Response {
    let problem = Problem::from(error);
    let text = format!("{}\n{}", problem.detail, problem.action);
    let mut response = said(problem.status, text);
    let headers = response.headers_mut();
    if problem.status == 401 {
        headers.insert(
            WWW_AUTHENTICATE,
            HeaderValue::from_static("Basic realm=\"pechat enrolment\", charset=\"UTF-8\""),
        );
    }
    if let Some(seconds) = problem.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Words for a person (RFC 7030 section 4.2.3).
fn said(status: u16, text: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Extension(Explained), [(CONTENT_TYPE, "text/plain; charset=utf-8")], text + "\n").into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_42_base64_is_read_with_any_line_breaks_or_none() {
        for body in ["+/8=", "+/8", "+\r\n/8=\r\n", "+/\n8=", " +/8=\t\n"] {
            assert_eq!(unwrapped(body.as_bytes()), Some(vec![0xFB, 0xFF]), "{body:?}");
        }
        for body in ["", "\n", "+/8==", "-----BEGIN", "\u{e4}"] {
            assert_eq!(unwrapped(body.as_bytes()), None, "{body:?}");
        }
    }

    #[test]
    fn a_user_name_ends_at_the_first_colon() {
        let mut headers = HeaderMap::new();
        assert_eq!(basic(&headers), None);
        headers.insert(AUTHORIZATION, "bAsIc YTpiOmM=".parse().unwrap());
        assert_eq!(basic(&headers), Some(("a".into(), "b:c".into())));
        headers.insert(AUTHORIZATION, "Bearer YTpiOmM=".parse().unwrap());
        assert_eq!(basic(&headers), None);
    }
}
