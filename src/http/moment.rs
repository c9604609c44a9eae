//! The logs over time: a journal's head at a moment, and that one root checkpoint continues another.

use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::journal::{Consistency, Head, Sizes, visible};
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::clock::UtcMicros;
use crate::journal::checkpoint::open_note;
use crate::timestamp::read::token_info;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(head_at)).routes(routes!(root_consistency))
}

/// When.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Moment {
    /// RFC 3339, for instance `2026-11-24T10:00:00Z`.
    at: String,
}

/// A journal's newest sealed head at a moment.
#[derive(Serialize, ToSchema)]
struct HeadAt {
    /// The moment asked for, microseconds UTC since 1970.
    at: i64,
    /// genTime of the token over `head`'s checkpoint, microseconds UTC: not after `at`.
    stamped: i64,
    /// The head under the newest checkpoint stamped by then.
    head: Head,
    /// The head after it under its first checkpoint, stamped after `at`; null while there is none.
    next: Option<Head>,
}

/// The head a journal had at a moment, with proof.
///
/// The newest head whose checkpoint had its token by then. `next` is the journal's very next head, stamped
/// later: so nothing was left out.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/head", tag = "journals", params(("journal" = String, Path), Moment),
    responses((status = 200, body = HeadAt), (status = 404, body = Document, content_type = "application/problem+json"))
)]
async fn head_at(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(moment): Query<Moment>,
) -> Result<axum::Json<HeadAt>, Problem> {
    let info = visible(&app, &caller, &name)?;
    let at = parse("at", &moment.at)?;
    let found = app.journals.head_at(&info.name, at, stamped).await?.ok_or_else(|| {
        let detail = format!("journal {name:?} had no sealed head at {}", at.iso8601());
        Problem::new(404, "no-head-then", detail, "Ask for a later moment.")
    })?;
    let (head, next) = (found.head.into(), found.next.map(Head::from));
    Ok(axum::Json(HeadAt { at: at.0, stamped: found.stamped, head, next }))
}

/// The moment that query parameter `name` gives.
pub(super) fn parse(name: &str, text: &str) -> Result<UtcMicros, Problem> {
    let moment: Result<jiff::Timestamp, _> = text.parse();
    let moment =
        moment.map_err(|e| Problem::malformed(format!("{name}={text:?} is no RFC 3339 time: {e}")))?;
    Ok(UtcMicros(moment.as_microsecond()))
}

/// genTime of a note's token.
fn stamped(note: &str) -> Result<i64, String> {
    let note = open_note(note).map_err(|e| e.to_string())?;
    let token = note.token().ok_or("a checkpoint has no token")?;
    token_info(&token.payload).map(|info| info.gen_time.0).map_err(|e| e.to_string())
}

/// Proof that a root checkpoint continues an earlier one.
#[utoipa::path(
    get, path = "/v1/consistency", tag = "journals", params(Sizes),
    responses((status = 200, body = Consistency), (status = 404, body = Document, content_type = "application/problem+json"))
)]
async fn root_consistency(
    State(app): State<App>,
    Query(Sizes { old, new }): Query<Sizes>,
) -> Result<axum::Json<Consistency>, Problem> {
    if old > new {
        return Err(Problem::malformed(format!("old ({old}) must not be greater than new ({new})")));
    }
    let path = app.journals.root_consistency(old, new).await?;
    Ok(axum::Json(Consistency { old, new, path }))
}
