//! What anybody may read on the plain listener.

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};

use super::App;
use super::gate::Explained;

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
