//! Certificates over HTTP: ask, decide, fetch, revoke; and on the plain listener lists and CA certificates.

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::certificate_view::{CertificateView, RequestView, RevokedView};
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::access::{Action, Role};
use crate::certificate::{
    Application, CertificateError, Reason, RevocationList, Serial, pem, pem_chain, pkcs7,
};
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::institution::{Clause, Environment, InstitutionId};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, submit))
        .routes(routes!(show))
        .routes(routes!(revoke))
        .routes(routes!(release))
        .routes(routes!(requests))
        .routes(routes!(request))
        .routes(routes!(decide))
}

/// What relying parties fetch over plain HTTP, without a certificate.
pub fn public_routes() -> Router<App> {
    Router::new().route("/crl/{file}", get(revocation_list)).route("/ca/{file}", get(ca_certificate))
}

/// Trusted time, or the 503 that says why there is none.
pub(super) fn now(app: &App) -> Result<UtcMicros, Problem> {
    let untrusted = |u: crate::clock::Untrusted| {
        Problem::new(
            503,
            "clock-not-trusted",
            u.to_string(),
            "Ask again later; an operator looks after the clock.",
        )
        .retry_after(u.retry_after.as_secs().max(1))
    };
    Ok(app.clock.permit().map_err(untrusted)?.reading.utc)
}

/// A certificate asked for, for an institution.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// PKCS #10 request, PEM. Its names are empty or exactly those of the record.
    csr: String,
    /// The institution it is for.
    #[schema(value_type = String)]
    institution: InstitutionId,
    /// Where it is to be good.
    environment: Environment,
    /// What the identity may ask for here.
    role: Role,
    /// Name of the service or person within the institution: one DNS label.
    name: String,
}

/// Ask for a certificate. Test and integration certificates are issued at once; a production request
/// waits for two officers.
#[utoipa::path(
    post, path = "/v1/certificates", tag = "certificates", request_body = Wanted,
    responses(
        (status = 201, description = "Issued", body = CertificateView),
        (status = 202, description = "Frozen; awaits two officers' agreement", body = RequestView),
        (status = 400, description = "The request is refused", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "Key or name is in use", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Clock, HSM or journal do not allow it now", body = Document, content_type = "application/problem+json"),
    )
)]
async fn submit(State(app): State<App>, caller: Caller, Json(w): Json<Wanted>) -> Result<Response, Problem> {
    caller.must(Action::RequestCertificate)?;
    let application = Application {
        csr: w.csr.into_bytes(),
        institution: w.institution,
        environment: w.environment,
        role: w.role,
        name: w.name,
    };
    let (request, certificate) = app.issuer.submit(application, &caller.0, now(&app)?).await?;
    Ok(match certificate {
        Some(certificate) => {
            let location = format!("/v1/certificates/{}", certificate.serial);
            let view = CertificateView::with_chain(&certificate, &app.issuer.chain(&certificate));
            located(StatusCode::CREATED, location, axum::Json(view))
        }
        None => {
            let location = format!("/v1/certificate-requests/{}", request.id);
            located(StatusCode::ACCEPTED, location, axum::Json(RequestView::new(&request, &[])))
        }
    })
}

fn located(status: StatusCode, location: String, content: impl IntoResponse) -> Response {
    let mut response = (status, content).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// List the certificates the caller may see, newest first.
#[utoipa::path(
    get, path = "/v1/certificates", tag = "certificates", responses((status = 200, body = Vec<CertificateView>))
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<axum::Json<Vec<CertificateView>>, Problem> {
    caller.must(Action::ReadCertificates)?;
    let all = app.issuer.certificates().await?;
    let seen = all.iter().filter(|c| caller.must_see(c.institution.as_ref()).is_ok());
    Ok(axum::Json(seen.map(CertificateView::new).collect()))
}

/// The form a certificate is wanted in.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Form {
    Pem,
    Chain,
    P7,
    Der,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct InForm {
    /// `pem`: the certificate. `chain`: PEM, leaf first, root last. `p7`: the same as PKCS #7. `der`. Absent: JSON.
    #[param(inline)]
    format: Option<Form>,
}

/// Fetch a certificate, alone or with its chain in order.
#[utoipa::path(
    get, path = "/v1/certificates/{serial}", tag = "certificates",
    params(("serial" = String, Path, description = "40 hex digits"), InForm),
    responses(
        (status = 200, body = CertificateView),
        (status = 404, description = "Unknown, or another institution's", body = Document, content_type = "application/problem+json"),
    )
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(serial): Path<String>,
    form: Result<Query<InForm>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Problem> {
    caller.must(Action::ReadCertificates)?;
    let Query(InForm { format }) = form.map_err(|e| Problem::malformed(e.body_text()))?;
    let unknown = || Problem::not_found("certificate", &serial);
    let record = app.issuer.certificate(serial.parse::<Serial>().map_err(|_| unknown())?).await?;
    caller.must_see(record.institution.as_ref()).map_err(|_| unknown())?;
    let chain = app.issuer.chain(&record);
    let parts: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let of_type = |kind: &'static str, bytes: Vec<u8>| ([(CONTENT_TYPE, kind)], bytes).into_response();
    Ok(match format {
        None => axum::Json(CertificateView::with_chain(&record, &chain)).into_response(),
        // Signing was interrupted and the serial revoked: there is nothing to fetch.
        Some(_) if record.der.is_empty() => return Err(unknown()),
        Some(Form::Pem) => of_type("application/x-pem-file", pem(&record.der).into_bytes()),
        Some(Form::Chain) => of_type("application/pem-certificate-chain", pem_chain(&parts).into_bytes()),
        Some(Form::P7) => of_type("application/pkcs7-mime", pkcs7(&parts).map_err(CertificateError::from)?),
        Some(Form::Der) => of_type("application/pkix-cert", record.der),
    })
}

/// Why a certificate is to be revoked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// The reason. `certificate-hold` is for registry services only and can be taken back.
    reason: Reason,
    /// Since when the key is not to be trusted, ISO 8601, if it is known.
    #[serde(default)]
    invalid_since: Option<String>,
}

/// Revoke a certificate: out of force at once, on a new list at once.
#[utoipa::path(
    post, path = "/v1/certificates/{serial}/revocation", tag = "certificates", request_body = Revocation,
    params(("serial" = String, Path, description = "40 hex digits")),
    responses(
        (status = 200, description = "Revoked", body = RevokedView),
        (status = 404, description = "Unknown", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "Revoked already, or the appliance's own", body = Document, content_type = "application/problem+json"),
    )
)]
async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(serial): Path<String>,
    Json(wanted): Json<Revocation>,
) -> Result<axum::Json<RevokedView>, Problem> {
    caller.must(Action::RevokeCertificate)?;
    let known = serial.parse::<Serial>().map_err(|_| Problem::not_found("certificate", &serial))?;
    let since = wanted.invalid_since.map(|text| {
        let moment = text.parse::<jiff::Timestamp>();
        moment
            .map(|t| t.as_second())
            .map_err(|_| Problem::malformed(format!("{text:?} is not an ISO 8601 time")))
    });
    // A compromised key does not wait for the clock.
    let at = now(&app).ok();
    let revoked = app.issuer.revoke_since(known, wanted.reason, since.transpose()?, &caller.0, at).await?;
    Ok(axum::Json(RevokedView::new(&revoked)))
}

/// Agree to take a certificate from hold. The second officer's agreement puts it back in force.
#[utoipa::path(
    post, path = "/v1/certificates/{serial}/release", tag = "certificates",
    params(("serial" = String, Path, description = "40 hex digits")),
    responses(
        (status = 200, description = "Back in force", body = RevokedView),
        (status = 202, description = "Kept; another officer must agree", body = CertificateView),
        (status = 404, description = "Unknown", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "Not on hold", body = Document, content_type = "application/problem+json"),
    )
)]
async fn release(
    State(app): State<App>,
    caller: Caller,
    Path(serial): Path<String>,
) -> Result<Response, Problem> {
    caller.must(Action::RevokeCertificate)?;
    let known = serial.parse::<Serial>().map_err(|_| Problem::not_found("certificate", &serial))?;
    Ok(match app.issuer.release(known, &caller.0, now(&app)?).await? {
        Some(released) => axum::Json(RevokedView::new(&released)).into_response(),
        None => {
            let record = app.issuer.certificate(known).await?;
            (StatusCode::ACCEPTED, axum::Json(CertificateView::new(&record))).into_response()
        }
    })
}

/// List the certificate requests the caller may see, newest first.
#[utoipa::path(
    get, path = "/v1/certificate-requests", tag = "certificates", responses((status = 200, body = Vec<RequestView>))
)]
async fn requests(State(app): State<App>, caller: Caller) -> Result<axum::Json<Vec<RequestView>>, Problem> {
    caller.must(Action::ReadCertificates)?;
    let all = app.issuer.requests().await?;
    let seen = all.iter().filter(|r| caller.must_see(Some(&r.institution)).is_ok());
    Ok(axum::Json(seen.map(|r| RequestView::new(r, &[])).collect()))
}

/// One certificate request, its to-be-signed bytes and the decisions on it.
#[utoipa::path(
    get, path = "/v1/certificate-requests/{id}", tag = "certificates",
    params(("id" = String, Path, description = "32 hex digits")),
    responses(
        (status = 200, body = RequestView),
        (status = 404, description = "Unknown, or another institution's", body = Document, content_type = "application/problem+json"),
    )
)]
async fn request(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<RequestView>, Problem> {
    caller.must(Action::ReadCertificates)?;
    let (request, decisions) = app.issuer.request(&id).await?;
    caller
        .must_see(Some(&request.institution))
        .map_err(|_| Problem::not_found("certificate request", &id))?;
    Ok(axum::Json(RequestView::new(&request, &decisions)))
}

/// An officer's decision.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `agree` or `do-not-agree`.
    clause: Clause,
    /// SHA-256, hex, of the to-be-signed bytes that the officer looked at.
    #[schema(value_type = String)]
    tbs_sha256: Digest,
    /// Why; required with `do-not-agree`.
    #[serde(default)]
    reason: Option<String>,
}

/// Decide on a production request. The second officer's agreement has it signed; one `do-not-agree` is final.
#[utoipa::path(
    post, path = "/v1/certificate-requests/{id}/decision", tag = "certificates", request_body = Decision,
    params(("id" = String, Path, description = "32 hex digits")),
    responses(
        (status = 200, description = "Kept; `state` says where the request stands now", body = RequestView),
        (status = 409, description = "Other bytes, the same officer, or past deciding", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Clock, HSM or journal do not allow it now", body = Document, content_type = "application/problem+json"),
    )
)]
async fn decide(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Json(d): Json<Decision>,
) -> Result<axum::Json<RequestView>, Problem> {
    caller.must(Action::AgreeToCertificate)?;
    let at = now(&app)?;
    app.issuer.decide(&id, &caller.0, d.clause, d.tbs_sha256, d.reason, at).await?;
    let (request, decisions) = app.issuer.request(&id).await?;
    Ok(axum::Json(RequestView::new(&request, &decisions)))
}

/// 404 where nobody has a certificate that might see more.
fn no_such(what: &str, file: &str) -> Problem {
    let detail = format!("there is no {what} {file:?}");
    Problem::new(404, "not-found", detail, "Take the URL from the certificate's own extensions.")
}

/// `/crl/{key label}.crl` and `/crl/{key label}-delta.crl`: the newest list, DER (RFC 5280, RFC 2585 section 3).
async fn revocation_list(
    State(app): State<App>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = file.strip_suffix(".crl").unwrap_or_default();
    let delta = name.strip_suffix("-delta");
    let list = app.issuer.list(delta.unwrap_or(name));
    let list = list.ok_or_else(|| no_such("revocation list", &file))?;
    let der = match delta {
        Some(_) => list.delta.as_ref().map(|d| &d.der).ok_or_else(|| no_such("delta list", &file))?,
        None => &list.der,
    };
    let tag = format!("\"{}-{}\"", list.number, Digest::of(der));
    let same = headers.get_all(IF_NONE_MATCH).iter().any(|v| v.as_bytes() == tag.as_bytes());
    let mut response = if same {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, "application/pkix-crl")], der.clone()).into_response()
    };
    dated(response.headers_mut(), &list, &tag);
    Ok(response)
}

/// `Tue, 24 Nov 2026 20:56:29 GMT` (RFC 9110 section 5.6.7).
pub(super) fn http_date(seconds: i64) -> Option<String> {
    let stamp = jiff::Timestamp::from_second(seconds).ok()?;
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&stamp).ok()
}

fn dated(headers: &mut HeaderMap, list: &RevocationList, tag: &str) {
    // A revocation is published before nextUpdate, so caches ask again after five minutes.
    let fields = [
        (ETAG, Some(tag.to_owned())),
        (LAST_MODIFIED, http_date(list.this_update)),
        (EXPIRES, http_date(list.next_update)),
        (CACHE_CONTROL, Some("max-age=300".to_owned())),
    ];
    for (name, value) in fields {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            headers.insert(name, value);
        }
    }
}

/// `/ca/{key label}.cer`: a CA's certificate, DER.
async fn ca_certificate(State(app): State<App>, Path(file): Path<String>) -> Result<Response, Problem> {
    let der = file.strip_suffix(".cer").and_then(|label| app.issuer.ca_certificate(label));
    let der = der.ok_or_else(|| no_such("CA certificate", &file))?;
    Ok(([(CONTENT_TYPE, "application/pkix-cert"), (CACHE_CONTROL, "max-age=86400")], der).into_response())
}
