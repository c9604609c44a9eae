//! A journal's newest SHA3-256 root, with the receipt of the entry that states it.

use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::journal::visible;
use super::problem::{Document, Problem};
use super::{App, Caller};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(twin))
}

/// What `own.twins` says of a journal.
#[derive(Serialize, ToSchema)]
struct TwinRoot {
    /// The statement, byte for byte: its SHA-256 is the digest of the receipt's entry.
    statement: String,
    /// The receipt of that entry, C2SP tlog-proof text.
    receipt: String,
}

/// The newest SHA3-256 root of a journal.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/twin", tag = "journals", params(("journal" = String, Path)),
    responses(
        (status = 200, description = "See docs/formats/journal.md", body = TwinRoot),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn twin(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<TwinRoot>, Problem> {
    let info = visible(&app, &caller, &name)?;
    let (statement, receipt) = app.journals.twin(&info.origin).await?.ok_or_else(|| {
        let detail = format!("no SHA3-256 root of journal {name:?} is stated and sealed yet");
        Problem::new(404, "no-twin-yet", detail, "Ask again after journal.twin_interval_s.")
    })?;
    Ok(axum::Json(TwinRoot { statement, receipt }))
}
