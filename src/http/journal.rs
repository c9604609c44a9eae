//! Journals over HTTP: open, list, append, receipts and proofs.

use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LOCATION, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::answer::{self, Run};
use super::body::Json;
use super::entries::{self, EntriesRequest, parse_entries};
use super::problem::{Document, Problem};
use super::{App, Caller, body, moment, outflow};
use crate::digest::Digest;
use crate::institution::InstitutionId;
use crate::journal::extent::Extent;
use crate::journal::note::Note;
use crate::journal::receipt::HeadProof;
use crate::journal::{JournalInfo, JournalName};
use crate::keys::KeyPurpose;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, open))
        .routes(routes!(show))
        .routes(routes!(append))
        .routes(routes!(receipt))
        .routes(routes!(checkpoint))
        .routes(routes!(range))
        .routes(routes!(consistency))
        .routes(routes!(export))
        .routes(routes!(root_checkpoint))
        .routes(routes!(head_key))
}

/// A journal.
#[derive(Serialize, ToSchema)]
pub struct Journal {
    /// Its name.
    name: String,
    /// The institution it belongs to; absent for the appliance's own journals.
    #[serde(skip_serializing_if = "Option::is_none")]
    institution: Option<String>,
    /// Origin line of its heads.
    origin: String,
    /// Durable entries, charter included.
    size: u64,
    /// Sequence of the final record, once the journal was frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    frozen: Option<u64>,
}

impl From<JournalInfo> for Journal {
    fn from(info: JournalInfo) -> Self {
        let institution = info.institution.map(String::from);
        let JournalInfo { name, origin, size, frozen, .. } = info;
        Self { name: name.into(), institution, origin, size, frozen }
    }
}

/// A journal to be opened.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenJournal {
    /// 1 to 63 of a-z, 0-9 and -, beginning with a letter.
    #[schema(value_type = String)]
    name: JournalName,
    /// The institution it is for.
    #[schema(value_type = String)]
    institution: InstitutionId,
}

/// A journal's newest sealed head and its way up to the signed, stamped root checkpoint.
#[derive(Serialize, ToSchema)]
pub struct Head {
    /// The root log's leaf text.
    head: String,
    /// Index of that leaf in the root log.
    root_index: u64,
    /// RFC 6962 inclusion path of the leaf, hex.
    #[schema(value_type = Vec<String>)]
    root_path: Vec<Digest>,
    /// The root log's checkpoint: a signed note.
    #[schema(value_type = String)]
    checkpoint: Note,
}

impl From<HeadProof> for Head {
    fn from(p: HeadProof) -> Self {
        Self { head: p.head, root_index: p.root_index, root_path: p.root_path, checkpoint: p.checkpoint }
    }
}

/// One digest, or a list under `entries`.
#[derive(ToSchema)]
#[allow(dead_code)] // describes what `entries::parse_entries` reads
pub struct Entries {
    /// Of one digest: 32 hex digits, a UUID or a register number (Annex 3), unique within the journal.
    request_id: Option<String>,
    /// Of one digest: SHA-256, 64 hex digits.
    digest: Option<String>,
    /// 1 to 4,096 digests.
    entries: Option<Vec<EntryToSeal>>,
    /// Seal only if the journal has exactly this size.
    expect: Option<u64>,
}

/// One digest of a list.
#[derive(ToSchema)]
#[allow(dead_code)] // describes what `entries::parse_entries` reads
pub struct EntryToSeal {
    /// 32 hex digits, a UUID or a register number (Annex 3), unique within the journal.
    request_id: String,
    /// SHA-256, 64 hex digits.
    digest: String,
}

/// The journal, or 404 alike for an unknown one and one of another institution.
pub(super) fn visible(app: &App, caller: &Caller, name: &str) -> Result<JournalInfo, Problem> {
    let unknown = || Problem::not_found("journal", name);
    let info = match JournalName::try_from(name.to_owned()) {
        Ok(name) => app.journals.info(&name),
        // The appliance's own journals have names that no caller can give.
        Err(_) => app.journals.list().into_iter().find(|info| info.name.as_str() == name),
    };
    let info = info.ok_or_else(unknown)?;
    caller.must_see(info.institution.as_ref()).map_err(|_| unknown())?;
    Ok(info)
}

/// The same for whoever seals: a former owner too, who is told what happened and gets earlier receipts again.
fn sealable(app: &App, caller: &Caller, name: &str) -> Result<JournalInfo, Problem> {
    visible(app, caller, name).or_else(|unknown| {
        let name = JournalName::try_from(name.to_owned()).ok();
        let info = name.and_then(|name| app.journals.info(&name)).ok_or(unknown.clone())?;
        let was = app.journals.tenure(&info.name)?.former.contains(&caller.0.institution);
        if was { Ok(info) } else { Err(unknown) }
    })
}

/// List the journals the caller may see.
#[utoipa::path(get, path = "/v1/journals", tag = "journals", responses((status = 200, body = Vec<Journal>)))]
async fn list(State(app): State<App>, caller: Caller) -> axum::Json<Vec<Journal>> {
    let seen =
        app.journals.list().into_iter().filter(|info| caller.must_see(info.institution.as_ref()).is_ok());
    axum::Json(seen.map(Journal::from).collect())
}

/// Open a journal for an institution.
#[utoipa::path(
    post, path = "/v1/journals", tag = "journals", request_body = OpenJournal,
    responses(
        (status = 201, description = "Opened; entry 0 is its charter", body = Journal),
        (status = 409, description = "The name is taken", body = Document, content_type = "application/problem+json"),
    )
)]
async fn open(State(app): State<App>, Json(wanted): Json<OpenJournal>) -> Result<Response, Problem> {
    let registered = app.issuer.institutions().await?;
    if !registered.iter().any(|known| known.id == wanted.institution) {
        return Err(unknown_institution(&wanted.institution));
    }
    let info = app.journals.create(wanted.name, wanted.institution).await?;
    let location = format!("/v1/journals/{}", info.name.as_str());
    Ok(created(location, axum::Json(Journal::from(info))))
}

/// The 404 problem for an institution that is not registered.
pub(super) fn unknown_institution(id: &InstitutionId) -> Problem {
    let detail = format!("there is no institution {:?}", id.as_str());
    const ACTION: &str = "Register the institution first, or correct its id.";
    Problem::new(404, "unknown-institution", detail, ACTION)
}

fn created(location: String, content: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, content).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// Show one journal.
#[utoipa::path(
    get, path = "/v1/journals/{journal}", tag = "journals", params(("journal" = String, Path)),
    responses((status = 200, body = Journal), (status = 404, body = Document, content_type = "application/problem+json"))
)]
async fn show(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<Journal>, Problem> {
    Ok(axum::Json(visible(&app, &caller, &name)?.into()))
}

/// How much of each run is answered.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Detail {
    /// `full`: repeat request ids, digests, times, bounds and types of all entries.
    #[param(inline)]
    entries: Option<Full>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Full {
    Full,
}

/// Seal one digest or up to 4,096.
///
/// Answers when they are durable, signed and stamped. The same ids with the same digests may be sent
/// again at any time and give the receipts they had. With `Accept: text/plain` a single digest is
/// answered with its receipt as text.
#[utoipa::path(
    post, path = "/v1/journals/{journal}/entries", tag = "journals",
    params(("journal" = String, Path), Detail), request_body = Entries,
    responses(
        (status = 201, description = "Sealed", content((answer::Sealed = "application/json"), (String = "text/plain"))),
        (status = 409, description = "An id seals another digest, `expect` does not hold, or the journal was frozen or handed over; nothing was sealed", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "No seal now: clock, HSM, disk or load; ask again with the same ids", body = Document, content_type = "application/problem+json"),
    )
)]
async fn append(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(detail): Query<Detail>,
    request: Request,
) -> Result<Response, Problem> {
    let info = sealable(&app, &caller, &name)?;
    let as_text = accepts(request.headers(), "text/plain");
    body::must_be(request.headers(), "application/json")?;
    let asked: EntriesRequest = parse_entries(&body::read(request, entries::CAP).await?)?;
    let ids: Vec<_> = asked.submissions.iter().map(|s| s.request_id).collect();
    let by = &caller.0.institution;
    let receipts = app.journals.seal_as(by, &info.name, asked.submissions, asked.expect).await?;
    app.front.metrics().sealed(ids.len() as u64);
    match receipts.as_slice() {
        [only] if as_text && ids.len() == 1 => {
            let text = app.journals.receipt(&info.name, only.first).await?;
            let location = format!("/v1/journals/{name}/receipts/{}", only.first);
            Ok(created(location, plain(text)))
        }
        _ => {
            let runs = receipts.iter().map(|r| Run::new(r, &ids, detail.entries.is_some())).collect();
            let json = answer::Sealed { receipts: runs }.to_json()?;
            Ok((StatusCode::CREATED, [(CONTENT_TYPE, "application/json")], json).into_response())
        }
    }
}

fn accepts(headers: &HeaderMap, media: &str) -> bool {
    headers.get(ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|accept| accept.contains(media))
}

fn plain(text: String) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// The receipt of one sealed entry; always the same bytes unless cosignatures are asked for.
///
/// With `Accept: application/json` as a range receipt of one entry, otherwise as text.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/receipts/{seq}", tag = "journals",
    params(("journal" = String, Path), ("seq" = u64, Path), Cosigned),
    responses(
        (status = 200, description = "C2SP tlog-proof text, or a run of one entry", content(
            (String = "text/plain"), (Run<'static> = "application/json"))),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn receipt(
    State(app): State<App>,
    caller: Caller,
    Path((name, seq)): Path<(String, u64)>,
    Query(wanted): Query<Cosigned>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let info = visible(&app, &caller, &name)?;
    if accepts(&headers, "application/json") && !accepts(&headers, "text/plain") {
        let receipt = app.journals.range_receipt(&info.name, seq).await?;
        return Ok(([(VARY, "Accept")], axum::Json(Run::whole(&receipt))).into_response());
    }
    let text = match wanted.cosigned {
        0 => app.journals.receipt(&info.name, seq).await?,
        count => app.journals.cosigned_receipt(&info.name, seq, count).await?,
    };
    Ok(([(VARY, "Accept")], plain(text)).into_response())
}

/// The journal's newest sealed head.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/checkpoint", tag = "journals", params(("journal" = String, Path)),
    responses((status = 200, body = Head), (status = 404, body = Document, content_type = "application/problem+json"))
)]
async fn checkpoint(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<Head>, Problem> {
    let info = visible(&app, &caller, &name)?;
    Ok(axum::Json(app.journals.head(&info.name).await?.into()))
}

/// Which entries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Span {
    /// Sequence of the first entry.
    first: u64,
    /// How many, 1 to 4,096.
    count: u64,
}

/// One receipt for a run of entries, against the newest seal.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/range", tag = "journals", params(("journal" = String, Path), Span),
    responses(
        (status = 200, description = "A run with all its entries", body = Run),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn range(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(span): Query<Span>,
) -> Result<Response, Problem> {
    let info = visible(&app, &caller, &name)?;
    let count = usize::try_from(span.count).unwrap_or(usize::MAX);
    if !(1..=entries::MOST).contains(&count) {
        let detail = format!("a run has 1 to {} entries, not {count}", entries::MOST);
        return Err(Problem::new(400, "count", detail, "Ask for a longer run in parts."));
    }
    let receipt = app.journals.range(&info.name, span.first, span.count).await?;
    Ok(axum::Json(Run::whole(&receipt)).into_response())
}

/// Which two sizes.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Sizes {
    /// The earlier size, entries.
    pub old: u64,
    /// The later size, entries.
    pub new: u64,
}

/// RFC 6962 section 2.1.2: the journal at `new` continues the journal at `old`.
#[derive(Serialize, ToSchema)]
pub(super) struct Consistency {
    /// The earlier size.
    pub old: u64,
    /// The later size.
    pub new: u64,
    /// The path, hex.
    #[schema(value_type = Vec<String>)]
    pub path: Vec<Digest>,
}

/// Proof that nothing was changed between two sizes.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/consistency", tag = "journals", params(("journal" = String, Path), Sizes),
    responses((status = 200, body = Consistency), (status = 404, body = Document, content_type = "application/problem+json"))
)]
async fn consistency(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(sizes): Query<Sizes>,
) -> Result<Response, Problem> {
    let info = visible(&app, &caller, &name)?;
    let Sizes { old, new } = sizes;
    if old > new {
        return Err(Problem::malformed(format!("old ({old}) must not be greater than new ({new})")));
    }
    let path = app.journals.consistency(&info.name, old, new).await?;
    Ok(axum::Json(Consistency { old, new, path }).into_response())
}

/// Which part of a journal; without any of it the whole.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Part {
    /// Sequence of the first entry.
    first: Option<u64>,
    /// How many entries from there; up to the newest sealed head unless given.
    count: Option<u64>,
    /// RFC 3339: entries of this time and later, with the last one before.
    since: Option<String>,
    /// RFC 3339: entries before this time, with the first one that is not.
    until: Option<String>,
}

impl Part {
    fn extent(&self) -> Result<Extent, Problem> {
        let micros = |name, text: &Option<String>| {
            text.as_deref().map(|text| moment::parse(name, text).map(|at| at.0)).transpose()
        };
        let (since, until) = (micros("since", &self.since)?, micros("until", &self.until)?);
        match (self.first, self.count) {
            (None, None) if since.is_none() && until.is_none() => Ok(Extent::Whole),
            (None, None) => Ok(Extent::Times { since, until }),
            _ if since.is_some() || until.is_some() => {
                Err(Problem::malformed("a part is named by first and count, or by since and until"))
            }
            (first, count) => Ok(Extent::Numbers { first: first.unwrap_or(0), count }),
        }
    }
}

/// The whole journal, or a part of it that verifies by itself, for `pechat verify` and `pechat audit`.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/export", tag = "journals", params(("journal" = String, Path), Part),
    responses(
        (status = 200, description = "See docs/formats/journal.md", body = [u8], content_type = "application/octet-stream"),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn export(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Query(part): Query<Part>,
) -> Result<Response, Problem> {
    let info = visible(&app, &caller, &name)?;
    Ok(outflow::answer(app.journals.export_of(&info.name, part.extent()?).await?))
}

/// Which root checkpoint, or under which one.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Cosigned {
    /// The newest one with at least this many witness cosignatures; the newest of all unless given.
    #[serde(default)]
    pub cosigned: usize,
}

/// The newest signed and stamped root checkpoint, with the cosignatures it has so far.
#[utoipa::path(
    get, path = "/v1/checkpoint", tag = "journals", params(Cosigned),
    responses((status = 200, description = "C2SP signed note", body = String, content_type = "text/plain"))
)]
pub async fn root_checkpoint(
    State(app): State<App>,
    Query(wanted): Query<Cosigned>,
) -> Result<Response, Problem> {
    Ok(plain(app.journals.cosigned_checkpoint(wanted.cosigned).await?))
}

/// The public key that signs root checkpoints, PEM. Compare it with the one the authority published.
#[utoipa::path(
    get, path = "/v1/keys/journal-head", tag = "journals",
    responses((status = 200, description = "SubjectPublicKeyInfo", body = String, content_type = "application/x-pem-file"))
)]
pub async fn head_key(State(app): State<App>) -> Result<Response, Problem> {
    let unknown = || Problem::not_found("key", "journal-head");
    let pinned = app.keys.pinned().keys.iter().find(|key| key.purpose == KeyPurpose::JournalHead);
    let spki = app.keys.public_key_der(&pinned.ok_or_else(unknown)?.label).map_err(|_| unknown())?;
    let pem =
        der::pem::encode_string("PUBLIC KEY", der::pem::LineEnding::LF, &spki).map_err(|_| unknown())?;
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}
