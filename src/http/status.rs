//! What the appliance says about itself: clock, HSM, journals, metrics, interface.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::overview::Overview;
use super::problem::Problem;
use super::{App, version};
use crate::clock::ClockStatus;
use crate::digest::Digest;
use crate::journal::JournalStats;
use crate::keys::client::SignerControl;
use crate::keys::inventory::Inventory;
use crate::keys::{KeyLabel, KeyPurpose, SignerState};
use crate::telemetry::Snapshot;
use crate::witness::WitnessView;

/// A probe's outcome is given to everybody who asks within this time, so that probing cannot load the HSM.
const FRESH: Duration = Duration::from_secs(1);
/// A check without an answer by then has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(clock))
        .routes(routes!(hsm))
        .routes(routes!(status))
        .routes(routes!(openapi))
}

/// The clock: state, reason, bound, every source.
#[utoipa::path(get, path = "/v1/clock", tag = "status", responses((status = 200, body = Object)))]
async fn clock(State(app): State<App>) -> axum::Json<ClockStatus> {
    axum::Json(app.clock.status())
}

/// The HSM as the front sees it.
#[derive(Serialize)]
pub struct Hsm {
    /// Whether signing works.
    #[serde(flatten)]
    signer: SignerState,
    /// Process id of the signer.
    pid: Option<u32>,
    /// How often it was started again.
    restarts: u64,
    /// Why signing last stopped, if it ever did.
    last_error: Option<String>,
    /// Keys that gave a wrong signature; refused until the service restarts.
    frozen: Vec<KeyLabel>,
    /// Keys that differ from the pinned inventory, and in what; refused until the service restarts.
    differing: BTreeMap<String, String>,
    /// The HSM at the last look: module and its hash, make, model, serial, firmware, mechanisms, keys.
    inventory: Option<Inventory>,
    /// The pinned keys.
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    label: KeyLabel,
    purpose: KeyPurpose,
    /// SHA-256 of the SubjectPublicKeyInfo DER.
    spki_sha256: Option<Digest>,
}

fn hsm_of(app: &App) -> Hsm {
    let keys = app.keys.pinned().keys.iter().map(|key| Key {
        spki_sha256: app.keys.public_key_der(&key.label).ok().map(|der| Digest::of(&der)),
        label: key.label.clone(),
        purpose: key.purpose,
    });
    let control = app.keys.control();
    Hsm {
        signer: app.keys.state(),
        pid: control.and_then(SignerControl::pid),
        restarts: control.map_or(0, SignerControl::restarts),
        last_error: control.and_then(SignerControl::last_error),
        frozen: app.keys.frozen(),
        differing: app.keys.differing().into_iter().map(|(label, what)| (label.into(), what)).collect(),
        inventory: control.and_then(SignerControl::inventory),
        keys: keys.collect(),
    }
}

/// The HSM: state of the signer, pinned keys.
#[utoipa::path(get, path = "/v1/hsm", tag = "status", responses((status = 200, body = Object)))]
async fn hsm(State(app): State<App>) -> axum::Json<Hsm> {
    axum::Json(hsm_of(&app))
}

/// Everything `pechat status` shows.
#[derive(Serialize)]
pub struct Status {
    version: &'static str,
    readiness: Readiness,
    clock: ClockStatus,
    hsm: Hsm,
    journal: JournalState,
    requests_in_flight: u32,
}

#[derive(Serialize)]
struct JournalState {
    /// The storage error that stopped it.
    failed: Option<String>,
    /// Why nothing is written, if a signed head is known that the log does not hold.
    quarantine: Option<String>,
    journals: usize,
    #[serde(flatten)]
    stats: JournalStats,
    /// Who cosigns the root log, and how far.
    witnesses: Vec<WitnessView>,
}

/// The witnesses against the newest sealed root.
pub(super) fn witnesses_of(app: &App) -> Vec<WitnessView> {
    let ours = app.journals.newest_root().map_or(0, |(size, _)| size);
    app.journals.witnesses().view(ours)
}

/// Everything at once, with a fresh test signature and test timestamp.
#[utoipa::path(get, path = "/v1/status", tag = "status", responses((status = 200, body = Object)))]
async fn status(State(app): State<App>) -> axum::Json<Status> {
    axum::Json(Status {
        version: version::PROGRAM,
        readiness: Readiness::clone(&*app.front.probe().readiness(&app).await),
        clock: app.clock.status(),
        hsm: hsm_of(&app),
        journal: JournalState {
            failed: app.journals.failed(),
            quarantine: app.journals.quarantine().map(|why| why.reason()),
            journals: app.journals.list().len(),
            stats: app.journals.stats(),
            witnesses: witnesses_of(&app),
        },
        requests_in_flight: app.front.clients().in_flight(),
    })
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "status", responses((status = 200, body = Object)))]
pub async fn openapi() -> Response {
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| super::description().to_json().unwrap_or_default().into());
    ([(CONTENT_TYPE, "application/json")], document.clone()).into_response()
}

/// `/metrics`, OpenMetrics text.
pub async fn metrics(State(app): State<App>) -> Result<Response, Problem> {
    let now = Snapshot {
        journal: app.journals.stats(),
        journals: app.journals.list().len(),
        journal_failed: app.journals.failed().is_some(),
        clock: app.clock.status(),
        signer: app.keys.state(),
        signer_restarts: app.keys.control().map_or(0, SignerControl::restarts),
        keys_frozen: app.keys.frozen().len(),
        in_flight: app.front.clients().in_flight(),
        witnesses: witnesses_of(&app),
    };
    let text = app.front.metrics().text(&now).map_err(|_| Problem::internal())?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}

/// `/status` of the metrics listener: what `pechat status` prints.
pub async fn overview(State(app): State<App>) -> axum::Json<Overview> {
    axum::Json(Overview::of(&app).await)
}

/// Whether the appliance can do its work, tried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// All checks passed.
    pub ready: bool,
    /// Each check.
    pub checks: Vec<Check>,
}

/// One thing tried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// `clock`, `hsm`, `journal`, `timestamp`.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// Why not; empty when it works.
    pub detail: String,
}

fn check(name: &'static str, outcome: Result<(), String>) -> Check {
    Check { name, ok: outcome.is_ok(), detail: outcome.err().unwrap_or_default() }
}

/// The last readiness and when it was found.
#[derive(Default)]
pub struct Probe(Mutex<Option<(Instant, Arc<Readiness>)>>);

impl Probe {
    /// At most one second old; who asks meanwhile waits for the probe under way.
    pub async fn readiness(&self, app: &App) -> Arc<Readiness> {
        let mut last = self.0.lock().await;
        if let Some((at, readiness)) = &*last
            && at.elapsed() < FRESH
        {
            return readiness.clone();
        }
        let found = Arc::new(probe(app).await);
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

async fn probe(app: &App) -> Readiness {
    let clock = app.clock.permit().map(|_| ()).map_err(|e| e.to_string());
    let quarantined = app.journals.quarantine().map(|why| format!("quarantine: {}", why.reason()));
    let journal = app.journals.failed().or(quarantined).map_or(Ok(()), Err);
    let (hsm, timestamp) = tokio::join!(in_time(test_signature(app)), in_time(test_stamp(app)));
    let checks = vec![
        check("clock", clock),
        check("hsm", hsm),
        check("journal", journal),
        check("timestamp", timestamp),
    ];
    Readiness { ready: checks.iter().all(|c| c.ok), checks }
}

async fn in_time(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    tokio::time::timeout(PATIENCE, work)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))
}

/// A signature of the one key that signs nothing else; verified by `Keys` before it is returned.
async fn test_signature(app: &App) -> Result<(), String> {
    let canary = KeyLabel::new("canary").map_err(|e| e.to_string())?;
    app.keys.sign(&canary, b"pechat readiness").await.map(|_| ()).map_err(|e| e.to_string())
}

/// A whole timestamp, recorded like every other: nothing is signed that was not recorded first.
async fn test_stamp(app: &App) -> Result<(), String> {
    // TimeStampReq: version 1, SHA-256 imprint (RFC 3161 section 2.4.1).
    const HEAD: [u8; 24] = [
        0x30, 0x36, 0x02, 0x01, 0x01, 0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03,
        0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20,
    ];
    let query = [&HEAD[..], Digest::of(b"pechat readiness").as_bytes()].concat();
    match app.authority.answer(&query, "pechat/readiness").await.outcome {
        "granted" => Ok(()),
        other => Err(format!("the test query was answered with {other}")),
    }
}
