//! `POST /compromised` on the plain listener: the holder of a key gives it up. The proof is the key's
//! own signature, so nobody needs a certificate for it (`docs/formats/compromise.md`).

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};

use super::App;
use super::body::Json;
use super::problem::Problem;
use crate::certificate::Statement;
use crate::certificate::draft::iso8601;

/// The routes of this file.
pub fn public_routes() -> Router<App> {
    Router::new().route("/compromised", post(compromised))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    /// The text, byte for byte as it was signed.
    statement: String,
    /// Base64 of the signature.
    signature: String,
}

/// What was done.
#[derive(Serialize)]
struct Believed {
    serial: String,
    revoked_at: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invalid_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_number: Option<u32>,
}

async fn compromised(
    State(app): State<App>,
    Json(report): Json<Report>,
) -> Result<axum::Json<Believed>, Problem> {
    if let Some(why) = app.journals.quarantine() {
        return Err(Problem::quarantined(format!("the journals are in quarantine: {}", why.reason())));
    }
    let statement = Statement::parse(&report.statement);
    let statement =
        statement.ok_or_else(|| Problem::malformed("the statement is not the text of the format"))?;
    let signature = Base64::decode_vec(&report.signature);
    let signature = signature.map_err(|_| Problem::malformed("the signature is not base64"))?;
    // It does not wait for the clock.
    let now = app.clock.permit().ok().map(|permit| permit.reading.utc);
    let done = app.issuer.compromised(statement, signature, now).await?;
    let revocation = done.certificate.revocation.as_ref();
    Ok(axum::Json(Believed {
        serial: done.certificate.serial.to_string(),
        revoked_at: revocation.map(|r| iso8601(r.time)).unwrap_or_default(),
        reason: revocation.map_or("", |r| r.reason.as_str()),
        invalid_since: revocation.and_then(|r| r.invalid_since).map(iso8601),
        crl_number: done.list.ok(),
    }))
}
