//! Register numbers over HTTP.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::identifier::IdentifierError;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(issue))
}

/// How many numbers are wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedIdentifiers {
    /// 1 to 1,000.
    #[serde(default = "one")]
    count: u32,
}

fn one() -> u32 {
    1
}

/// Numbers that nobody got before and nobody will get again.
#[derive(Serialize, ToSchema)]
pub struct IssuedIdentifiers {
    /// 16 digits each (Annex 3), ascending.
    identifiers: Vec<String>,
    /// Sequence of their entry in `own.identifiers`.
    seq: u64,
}

/// Get unique register numbers (Annex 3).
///
/// They are recorded durably before they leave; numbers whose answer was lost are not given again.
#[utoipa::path(
    post, path = "/v1/identifiers", tag = "identifiers", request_body = WantedIdentifiers,
    responses(
        (status = 201, body = IssuedIdentifiers),
        (status = 409, description = "The institution has no owner code, or the day's numbers are used up", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "No trusted time or no storage now", body = Document, content_type = "application/problem+json"),
    )
)]
async fn issue(
    State(app): State<App>,
    caller: Caller,
    Json(wanted): Json<WantedIdentifiers>,
) -> Result<(StatusCode, axum::Json<IssuedIdentifiers>), Problem> {
    let issued = app.identifiers.issue(&caller.0.institution, &caller.name(), wanted.count).await?;
    let identifiers = issued.numbers.iter().map(ToString::to_string).collect();
    Ok((StatusCode::CREATED, axum::Json(IssuedIdentifiers { identifiers, seq: issued.seq })))
}

impl From<IdentifierError> for Problem {
    fn from(error: IdentifierError) -> Self {
        use IdentifierError as E;
        let text = error.to_string();
        match error {
            E::Journal(error) => error.into(),
            E::Settings(_) => Self::internal(),
            E::Count(_) => Self::new(400, "count", text, "Ask for 1 to 1000 numbers at a time."),
            E::NoCode(_) => {
                const ACTION: &str = "Have the operator add the institution to [identifiers.codes].";
                Self::new(409, "no-owner-code", text, ACTION)
            }
            E::NotNow(_) => Self::new(503, "no-number-now", text, "Ask again later.").retry_after(5),
            E::Exhausted { .. } => {
                Self::new(409, "numbers-used-up", text, "Ask for fewer, or go on after national midnight.")
            }
        }
    }
}
