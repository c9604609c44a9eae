//! What anybody may read on the plain listener.

use super::journal::Cosigned;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::App;
use super::gate::Explained;
use super::problem::Problem;

/// `/livez`: the process answers.
pub async fn alive() -> &'static str {
    "alive\n"
}

/// `/readyz`: 200 when clock, HSM, journal and timestamps work, tried out; otherwise 503 and which does not.
pub async fn ready(State(app): State<App>) -> Response {
    let readiness = app.front.probe().readiness(&app).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Extension(Explained), [(CACHE_CONTROL, "no-store")], axum::Json(&*readiness)).into_response()
}

/// `/checkpoint`: the newest root checkpoint, a signed note; `?cosigned=2`: the newest with so many cosignatures.
pub async fn checkpoint(State(app): State<App>, Query(wanted): Query<Cosigned>) -> Result<Response, Problem> {
    let note = app.journals.cosigned_checkpoint(wanted.cosigned).await?;
    // A newer one comes with the next seal.
    Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "max-age=1")], note).into_response())
}
