//! Quarantine over HTTP: what is wrong, and the gap that two officers record to go on without what is lost.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::access::Action;
use crate::digest::Digest;
use crate::institution::approval::{Agreement, Clause, Standing, standing};
use crate::journal::epoch::{AgreedBy, EVENT, EpochChange, GivenUp, MAX_DESCRIPTION, Why};
use crate::journal::known::{Doubt, Quarantine};

/// Distinct persons who must agree.
pub(super) const NEEDED: usize = 2;
/// Agreements kept at most: two officers who try out descriptions need no more.
const KEPT: usize = 64;

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show)).routes(routes!(gap))
}

/// Agreements to descriptions of the present gap, or to orders about journals. They live as long as the process: after a restart both
/// officers agree again.
#[derive(Default)]
pub struct Agreements(pub(super) Mutex<Vec<Agreement>>);

/// What an officer has to look at.
#[derive(Serialize)]
struct View {
    quarantined: bool,
    epoch: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Leaves and root of the log as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<Digest>,
    doubts: Vec<Doubt>,
    /// What an agreement must name.
    #[serde(skip_serializing_if = "Option::is_none")]
    facts_sha256: Option<Digest>,
}

/// Whether the journals are in quarantine, and every contradiction.
#[utoipa::path(get, path = "/v1/quarantine", tag = "status", responses((status = 200, body = Object)))]
async fn show(State(app): State<App>) -> axum::Json<View> {
    let found = app.journals.quarantine();
    let found = found.as_deref();
    axum::Json(View {
        quarantined: found.is_some(),
        epoch: app.journals.epoch(),
        reason: found.map(Quarantine::reason),
        size: found.map(|q| q.size),
        root: found.map(|q| q.root),
        doubts: found.map_or(Vec::new(), |q| q.doubts.clone()),
        facts_sha256: found.map(facts),
    })
}

/// SHA-256 of the quarantine's facts.
fn facts(quarantine: &Quarantine) -> Digest {
    Digest::of(&serde_json::to_vec(quarantine).unwrap_or_default())
}

/// An officer's agreement.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// `facts_sha256` of `/v1/quarantine`, as the officer saw it.
    #[schema(value_type = String)]
    facts_sha256: Digest,
    /// What happened and what is lost, 1 to 4,096 bytes; both officers send exactly the same text.
    description: String,
}

/// What came of it.
#[derive(Serialize, ToSchema)]
pub struct Agreed {
    /// `awaiting-second-officer` or `recorded`.
    state: &'static str,
    /// SHA-256 over the facts and the description: equal for both officers.
    #[schema(value_type = String)]
    sha256: Digest,
    /// The epoch that begins, once recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Sequence of the record in `own.events`, once recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

/// Agree to go on without what is lost. The second officer's agreement to the same description records the
/// gap in every journal and ends the quarantine.
#[utoipa::path(
    post, path = "/v1/quarantine/gap", tag = "status", request_body = Gap,
    responses(
        (status = 200, description = "Recorded; sealing goes on in a new epoch", body = Agreed),
        (status = 202, description = "Awaits another officer", body = Agreed),
        (status = 400, description = "No description, or a long one", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "No quarantine, or other facts", body = Document, content_type = "application/problem+json"),
    )
)]
async fn gap(
    State(app): State<App>,
    caller: Caller,
    Json(wanted): Json<Gap>,
) -> Result<(StatusCode, axum::Json<Agreed>), Problem> {
    caller.must(Action::SettleJournals)?;
    // Held until the end: nothing is recorded twice.
    let mut agreements = app.front.gap().0.lock().await;
    let found = app.journals.quarantine().ok_or_else(no_quarantine)?;
    let facts = facts(&found);
    if facts != wanted.facts_sha256 {
        return Err(other_facts(facts));
    }
    if wanted.description.trim().is_empty() || wanted.description.len() > MAX_DESCRIPTION {
        let detail = format!("the description has {} bytes", wanted.description.len());
        return Err(Problem::new(
            400,
            "gap-description",
            detail,
            "Say in 1 to 4096 bytes what is lost and why.",
        ));
    }
    let sha256 = Digest::of_parts(&[facts.as_bytes(), wanted.description.as_bytes()]);
    agree(&mut agreements, &caller, sha256);
    let in_force = |officer: &Digest| {
        app.directory.find(officer).is_some_and(|i| !i.revoked && i.role.may(Action::SettleJournals))
    };
    if standing(&agreements, &sha256, NEEDED, in_force) != Standing::Agreed {
        let agreed = Agreed { state: "awaiting-second-officer", sha256, epoch: None, seq: None };
        return Ok((StatusCode::ACCEPTED, axum::Json(agreed)));
    }
    let counted = agreements.iter().filter(|a| a.tbs_sha256 == sha256 && in_force(&a.officer));
    let statement = statement(&app, &found, wanted.description, counted);
    let recorded = app.journals.settle(&statement).await?;
    agreements.clear();
    tracing::warn!(epoch = statement.epoch, seq = recorded.seq, "the gap is recorded; sealing goes on");
    let (epoch, seq) = (Some(statement.epoch), Some(recorded.seq));
    Ok((StatusCode::OK, axum::Json(Agreed { state: "recorded", sha256, epoch, seq })))
}

/// Notes an officer's agreement once.
pub(super) fn agree(agreements: &mut Vec<Agreement>, caller: &Caller, sha256: Digest) {
    let identity = &caller.0;
    let agreement = Agreement {
        officer: identity.fingerprint,
        person: (identity.institution.clone(), identity.name.clone()),
        clause: Clause::Agree,
        tbs_sha256: sha256,
        reason: None,
        time: 0,
    };
    if !agreements.contains(&agreement) {
        if agreements.len() == KEPT {
            agreements.remove(0);
        }
        agreements.push(agreement);
    }
}

fn statement<'a>(
    app: &App,
    found: &Quarantine,
    description: String,
    counted: impl Iterator<Item = &'a Agreement>,
) -> EpochChange {
    let by =
        |a: &Agreement| AgreedBy { person: format!("{}/{}", a.person.0, a.person.1), certificate: a.officer };
    EpochChange {
        event: EVENT.into(),
        epoch: app.journals.epoch() + 1,
        why: Why::Gap,
        size: found.size,
        root: found.root,
        given_up: found.heads().map(GivenUp::from).collect(),
        description,
        agreed_by: counted.map(by).collect(),
    }
}

fn no_quarantine() -> Problem {
    let detail = "the journals are not in quarantine, so there is no gap to record";
    Problem::new(409, "no-quarantine", detail, "Nothing has to be done.")
}

fn other_facts(facts: Digest) -> Problem {
    let detail = format!("the facts are now {facts}");
    Problem::new(409, "other-facts", detail, "Read /v1/quarantine again and decide anew.")
}
