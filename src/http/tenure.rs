//! The end of a journal and its way to another owner over HTTP: two officers agree, then it is recorded.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::journal::visible;
use super::problem::{Document, Problem};
use super::quarantine::{NEEDED, agree};
use super::{App, Caller};
use crate::access::Action;
use crate::digest::Digest;
use crate::institution::approval::{Standing, standing};
use crate::institution::{Agreement, InstitutionId};
use crate::journal::JournalInfo;
use crate::journal::control::Ordered;
use crate::journal::entry::EntryKind;
use crate::journal::epoch::{AgreedBy, MAX_DESCRIPTION};
use crate::journal::tenure::{Event, Statement};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(freeze)).routes(routes!(hand_over)).routes(routes!(statements))
}

/// An order to freeze.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// The order behind it (Art. 38a), 1 to 4,096 bytes; both officers send exactly the same text.
    description: String,
}

/// An order to hand over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HandOver {
    /// The institution whose journal it shall be.
    #[schema(value_type = String)]
    to: InstitutionId,
    /// The order behind it, 1 to 4,096 bytes; both officers send exactly the same text.
    description: String,
}

/// What came of an officer's agreement.
#[derive(Serialize, ToSchema)]
pub struct Ordering {
    /// `awaiting-second-officer` or `recorded`.
    state: &'static str,
    /// SHA-256 over the order: equal for both officers.
    #[schema(value_type = String)]
    sha256: Digest,
    /// Sequence of the control entry, once recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Agree to freeze a journal with a final record.
///
/// The second officer's agreement to the same text writes the record; from then on nothing can be sealed in
/// the journal, ever. Reads, receipts, proofs and the export go on.
#[utoipa::path(
    post, path = "/v1/journals/{journal}/freeze", tag = "journals", params(("journal" = String, Path)),
    request_body = Freeze,
    responses(
        (status = 200, description = "Recorded: the journal is frozen", body = Ordering),
        (status = 202, description = "Awaits another officer", body = Ordering),
        (status = 409, description = "It is frozen already, or of no institution", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "No record now: clock, disk or quarantine", body = Document, content_type = "application/problem+json"),
    )
)]
async fn freeze(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(wanted): Json<Freeze>,
) -> Result<(StatusCode, axum::Json<Ordering>), Problem> {
    caller.must(Action::CloseJournal)?;
    let info = visible(&app, &caller, &name)?;
    order(&app, &caller, &info, None, wanted.description).await
}

/// Agree to hand a journal over to another institution.
///
/// The second officer's agreement to the same text records it. From that entry on only the new institution
/// seals and reads; receipts that the old one holds stay valid.
#[utoipa::path(
    post, path = "/v1/journals/{journal}/hand-over", tag = "journals", params(("journal" = String, Path)),
    request_body = HandOver,
    responses(
        (status = 200, description = "Recorded: the journal is the other institution's", body = Ordering),
        (status = 202, description = "Awaits another officer", body = Ordering),
        (status = 409, description = "It is frozen, of no institution, or that institution's already", body = Document, content_type = "application/problem+json"),
        (status = 503, description = "No record now: clock, disk or quarantine", body = Document, content_type = "application/problem+json"),
    )
)]
async fn hand_over(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Json(wanted): Json<HandOver>,
) -> Result<(StatusCode, axum::Json<Ordering>), Problem> {
    caller.must(Action::CloseJournal)?;
    let info = visible(&app, &caller, &name)?;
    let registered = app.issuer.institutions().await?;
    if !registered.iter().any(|known| known.id == wanted.to) {
        return Err(super::journal::unknown_institution(&wanted.to));
    }
    if info.institution.as_ref() == Some(&wanted.to) {
        let detail = format!("journal {name:?} is that of {} already", wanted.to);
        return Err(Problem::new(409, "owner-already", detail, "Nothing has to be done."));
    }
    order(&app, &caller, &info, Some(wanted.to), wanted.description).await
}

/// One officer's agreement, and the record if it is the one that was missing.
async fn order(
    app: &App,
    caller: &Caller,
    info: &JournalInfo,
    to: Option<InstitutionId>,
    description: String,
) -> Result<(StatusCode, axum::Json<Ordering>), Problem> {
    let name = info.name.as_str();
    let Some(institution) = info.institution.clone() else { return Err(own_journal(name)) };
    if description.trim().is_empty() || description.len() > MAX_DESCRIPTION {
        let detail = format!("the description has {} bytes", description.len());
        const ACTION: &str = "Name the order behind it in 1 to 4096 bytes.";
        return Err(Problem::new(400, "order-description", detail, ACTION));
    }
    app.journals.tenure(&info.name)?.admit(name, None)?;
    // Held until the end: nothing is recorded twice.
    let mut agreements = app.front.orders().0.lock().await;
    let mut ordered = Ordered { institution, to, description, agreed_by: Vec::new() };
    let sha256 = Digest::of(&ordered.statement(&info.origin, 0).text());
    agree(&mut agreements, caller, sha256);
    let in_force = |officer: &Digest| {
        app.directory.find(officer).is_some_and(|i| !i.revoked && i.role.may(Action::CloseJournal))
    };
    if standing(&agreements, &sha256, NEEDED, in_force) != Standing::Agreed {
        let awaiting = Ordering { state: "awaiting-second-officer", sha256, seq: None };
        return Ok((StatusCode::ACCEPTED, axum::Json(awaiting)));
    }
    let by =
        |a: &Agreement| AgreedBy { person: format!("{}/{}", a.person.0, a.person.1), certificate: a.officer };
    let counted = agreements.iter().filter(|a| a.tbs_sha256 == sha256 && in_force(&a.officer));
    ordered.agreed_by = counted.map(by).collect();
    let recorded = app.journals.control(&info.name, ordered).await?;
    agreements.retain(|agreement| agreement.tbs_sha256 != sha256);
    tracing::warn!(journal = name, seq = recorded.seq, "two officers' order about a journal is recorded");
    let seq = Some(recorded.seq);
    Ok((StatusCode::OK, axum::Json(Ordering { state: "recorded", sha256, seq })))
}

/// A control entry with its statement.
#[derive(Serialize, ToSchema)]
pub struct ControlEntry {
    /// Its sequence.
    seq: u64,
    /// 9 freeze, 10 hand-over; absent if the statement is not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<u16>,
    /// The statement (JSON): its SHA-256 is the entry's digest. Absent if only the entry returned after a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
}

/// The statements of a journal's control entries: hand-overs, and the freeze.
#[utoipa::path(
    get, path = "/v1/journals/{journal}/statements", tag = "journals", params(("journal" = String, Path)),
    responses(
        (status = 200, body = Vec<ControlEntry>),
        (status = 404, body = Document, content_type = "application/problem+json"),
    )
)]
async fn statements(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<axum::Json<Vec<ControlEntry>>, Problem> {
    let info = visible(&app, &caller, &name)?;
    let all = app.journals.statements(&info.name)?.into_iter().map(|(seq, text)| {
        let statement = text.and_then(|text| String::from_utf8(text).ok());
        let event = statement.as_ref().and_then(|s| Statement::parse(s.as_bytes()).ok()).map(|s| s.event);
        let kind = event.map(|event| match event {
            Event::Frozen => EntryKind::Freeze as u16,
            Event::HandedOver => EntryKind::HandOver as u16,
        });
        ControlEntry { seq, kind, statement }
    });
    Ok(axum::Json(all.collect()))
}

fn own_journal(name: &str) -> Problem {
    let detail = format!("{name:?} is the appliance's own journal: it has no owner to change, and no end");
    Problem::new(409, "own-journal", detail, "Name a journal of an institution.")
}
