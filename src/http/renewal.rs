//! Renewals of evidence that was taken away, reported so that the appliance's own journal holds them.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::journal::visible;
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::digest::Digest;
use crate::evidence::renewal::{EVENT, Renewal, Statement};
use crate::journal::{JournalError, OwnJournal, epoch};

/// How long the seal over the entry is waited for: in so many steps of so long.
const STEPS: u32 = 50;
const STEP: Duration = Duration::from_millis(100);

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(record))
}

/// A renewal of the evidence records of a folder.
#[derive(ToSchema)]
#[allow(dead_code)] // describes what `Renewal` reads
pub struct EvidenceRenewal {
    /// Origin line of the folder's journal.
    origin: String,
    /// Hash of the records before, and of `before`: sha256 to sha3-512.
    algorithm_before: String,
    /// Hash of the records after, and of `after`.
    algorithm: String,
    /// 1 to 400, sorted by file.
    records: Vec<RenewedRecord>,
}

/// One evidence record, by hashes of its DER.
#[derive(ToSchema)]
#[allow(dead_code)] // so does this
pub struct RenewedRecord {
    /// Name of the file it is about.
    file: String,
    /// The record that was renewed, hex.
    before: String,
    /// The record that came of it, hex.
    after: String,
}

/// The entry in `own.events`.
#[derive(Serialize, ToSchema)]
struct RecordedRenewal {
    /// The detail, byte for byte: its SHA-256 is the digest of the receipt's entry.
    statement: String,
    /// The receipt of that entry, C2SP tlog-proof text.
    receipt: String,
}

/// Record a renewal of evidence.
///
/// The same renewal from the same caller again is the same entry.
#[utoipa::path(
    post, path = "/v1/renewals", tag = "journals", request_body = EvidenceRenewal,
    responses(
        (status = 201, description = "Recorded and sealed", body = RecordedRenewal),
        (status = 400, body = Document, content_type = "application/problem+json"),
        (status = 404, description = "No such journal", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "Not now; ask again with the same", body = Document, content_type = "application/problem+json"),
    )
)]
async fn record(
    State(app): State<App>,
    caller: Caller,
    Json(renewal): Json<Renewal>,
) -> Result<(StatusCode, axum::Json<RecordedRenewal>), Problem> {
    renewal.check().map_err(|why| Problem::malformed(format!("the renewal cannot be recorded: {why}")))?;
    let name = renewal.origin.rsplit('/').next().unwrap_or_default();
    let info = visible(&app, &caller, name)?;
    if info.origin != renewal.origin {
        return Err(Problem::not_found("journal", &renewal.origin));
    }
    let (by, certificate) = (caller.name(), caller.0.fingerprint);
    let statement = Statement { event: EVENT.into(), by, certificate, renewal }.text();
    let id = epoch::entry_id(&Digest::of(&statement));
    let recorded = app.journals.record(OwnJournal::Events, id, statement.clone()).await?;
    let receipt = sealed(&app, recorded.seq).await?;
    let statement = String::from_utf8_lossy(&statement).into_owned();
    Ok((StatusCode::CREATED, axum::Json(RecordedRenewal { statement, receipt })))
}

/// The receipt, once there is one.
async fn sealed(app: &App, seq: u64) -> Result<String, JournalError> {
    let events = OwnJournal::Events.into();
    for _ in 0..STEPS {
        match app.journals.receipt(&events, seq).await {
            Err(JournalError::Beyond { .. } | JournalError::NotNow(_)) => tokio::time::sleep(STEP).await,
            other => return other,
        }
    }
    Err(JournalError::NotNow("the renewal is recorded and not sealed yet".into()))
}
