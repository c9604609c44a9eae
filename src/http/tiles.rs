//! The logs as static resources, C2SP `tlog-tiles`: checkpoint and tiles of the root log and the journals'
//! hash tiles for anybody, the journals' entries for those who may read them (decision 12).

use super::journal::Cosigned;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{Document, Problem};
use super::{App, Caller, journal};
use crate::digest::{Digest, hex};
use crate::journal::JournalName;
use crate::journal::tile_name::{Content, TileName, WIDTH};

/// A newer checkpoint comes with the next seal.
const BRIEF: &str = "max-age=1";
/// A full tile never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// Nor does a partial one, but it is soon of no use.
const A_WHILE: &str = "public, max-age=3600, immutable";

/// The route of the mTLS listener.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(tile))
}

/// The routes of the plain listener.
pub fn public_routes() -> Router<App> {
    Router::new()
        .route("/root/checkpoint", get(checkpoint))
        .route("/root/tile/{*tile}", get(root_tile))
        .route("/j/{journal}/tile/{*tile}", get(journal_tile))
}

/// The newest root checkpoint, a signed note; `?cosigned=2`: the newest with so many cosignatures.
pub async fn checkpoint(
    State(app): State<App>,
    Query(wanted): Query<Cosigned>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let published = app.journals.published_checkpoint().filter(|_| wanted.cosigned == 0);
    let note = match published {
        Some(note) => note,
        None => app.journals.cosigned_checkpoint(wanted.cosigned).await?,
    };
    Ok(cacheable(&headers, "text/plain; charset=utf-8", BRIEF.into(), note.into_bytes()))
}

async fn root_tile(State(app): State<App>, uri: Uri, headers: HeaderMap) -> Result<Response, Problem> {
    let name = named(uri.path(), "/root/")?;
    answer(&headers, &name, "", app.journals.root_tile(name).await?, uri.path())
}

/// Hashes only, of journals of institutions only: their digests are salted, those of own records are not.
async fn journal_tile(
    State(app): State<App>,
    uri: Uri,
    Path((journal, _tile)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = named(uri.path(), &format!("/j/{journal}/"))?;
    let hashes = matches!(name.content, Content::Hashes { .. }) && app.front.hash_tiles();
    let journal = JournalName::try_from(journal).map_err(|_| no_tile(uri.path()))?;
    let salted = app.journals.info(&journal).is_some_and(|info| info.institution.is_some());
    if !(hashes && salted) {
        return Err(no_tile(uri.path()));
    }
    answer(&headers, &name, "", app.journals.tile(&journal, name).await?, uri.path())
}

/// A tile of hashes or a bundle of entries, C2SP tlog-tiles: `0/000`, `entries/x001/234.p/5` and so on.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/tile/{*tile}", tag = "journals",
    params(("journal" = String, Path), ("tile" = String, Path)),
    responses(
        (status = 200, description = "Hashes, or entries each after its length (u16)", body = [u8],
         content_type = "application/octet-stream"),
        (status = 304, description = "As named in If-None-Match"),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn tile(
    State(app): State<App>,
    caller: Caller,
    uri: Uri,
    Path((journal, _tile)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let info = journal::visible(&app, &caller, &journal)?;
    let name = named(uri.path(), &format!("/v1/journals/{journal}/"))?;
    // For this caller alone, so not in caches that others share.
    answer(&headers, &name, "private", app.journals.tile(&info.name, name).await?, uri.path())
}

/// The name as sent: nothing percent-encoded is a tile.
fn named(path: &str, prefix: &str) -> Result<TileName, Problem> {
    path.strip_prefix(prefix).and_then(TileName::parse).ok_or_else(|| no_tile(path))
}

fn no_tile(path: &str) -> Problem {
    const ACTION: &str =
        "Ask for tiles of a size that a checkpoint or head has, named as C2SP tlog-tiles says.";
    Problem::new(404, "no-tile", format!("{path} is not a published tile"), ACTION)
}

fn answer(
    headers: &HeaderMap,
    name: &TileName,
    scope: &str,
    tile: Option<Vec<u8>>,
    path: &str,
) -> Result<Response, Problem> {
    let tile = tile.ok_or_else(|| no_tile(path))?;
    let policy = if name.width == WIDTH { FOR_EVER } else { A_WHILE };
    let policy = if scope.is_empty() { policy.to_owned() } else { policy.replace("public", scope) };
    Ok(cacheable(headers, "application/octet-stream", policy, tile))
}

/// The content with its entity tag, or 304 if the caller has it.
fn cacheable(headers: &HeaderMap, media: &'static str, policy: String, content: Vec<u8>) -> Response {
    let tag = format!("\"{}\"", hex(&Digest::of(&content).as_bytes()[..16]));
    let mut answer = if has(headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(CONTENT_TYPE, media)], content).into_response()
    };
    for (header, value) in [(ETAG, tag), (CACHE_CONTROL, policy)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            answer.headers_mut().insert(header, value);
        }
    }
    answer
}

/// RFC 9110 section 13.1.2, weak comparison.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = lists.flat_map(|list| list.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}
