//! A witness's one route: `POST /add-checkpoint` (C2SP `tlog-witness`). Plain HTTP; what matters is signed.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;

use crate::witness::memory::{Refusal, Witness};
use crate::witness::request::{AddCheckpoint, MAX_BODY};

/// The whole body must be here after this.
const BODY: Duration = Duration::from_secs(10);
/// Of the body of a 409.
const TLOG_SIZE: &str = "text/x.tlog.size";

/// The witness's router.
pub fn router(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/livez", get(|| async { "alive\n" }))
        .with_state(witness)
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let body = match tokio::time::timeout(BODY, to_bytes(body, MAX_BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broke off"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body took too long"),
    };
    // Judging verifies signatures and syncs a file.
    let judged = tokio::task::spawn_blocking(move || judge(&witness, &body)).await;
    judged.unwrap_or_else(|_| refuse(StatusCode::INTERNAL_SERVER_ERROR, "the witness failed"))
}

fn judge(witness: &Witness, body: &Bytes) -> Response {
    let request = match AddCheckpoint::parse(body) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, error),
    };
    let (origin, size) = (&request.checkpoint.origin, request.checkpoint.size);
    match witness.add(&request) {
        Ok(line) => {
            tracing::info!(%origin, size, "cosigned");
            ([(CONTENT_TYPE, "text/plain; charset=utf-8")], line).into_response()
        }
        Err(Refusal::Conflict(size)) => {
            (StatusCode::CONFLICT, [(CONTENT_TYPE, TLOG_SIZE)], format!("{size}\n")).into_response()
        }
        Err(refusal) => {
            if matches!(refusal, Refusal::Fork(_) | Refusal::Proof(_)) {
                // Signed by the log: with the head cosigned before, this may prove that it forked.
                let request = String::from_utf8_lossy(body);
                tracing::error!(%origin, size, %refusal, %request, "not cosigned: keep this as evidence");
            }
            refuse(status(&refusal), refusal)
        }
    }
}

fn status(refusal: &Refusal) -> StatusCode {
    match refusal {
        Refusal::UnknownLog(_) => StatusCode::NOT_FOUND,
        Refusal::Unsigned => StatusCode::FORBIDDEN,
        Refusal::Shrinks { .. } => StatusCode::BAD_REQUEST,
        Refusal::Conflict(_) | Refusal::Fork(_) => StatusCode::CONFLICT,
        Refusal::Proof(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::Storage(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn refuse(status: StatusCode, why: impl std::fmt::Display) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{why}\n")).into_response()
}
