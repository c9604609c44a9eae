//! Every route on one screen.
//!
//! Three listeners: [`api()`] (mutual TLS, every route of [`ROUTES`]), [`public()`] (plain, what anybody may
//! read) and [`metrics()`] (plain, loopback). [`listen::listen`] serves any of them.

pub mod answer;
pub mod body;
pub mod caller;
pub mod certificate;
pub mod certificate_view;
pub mod document;
pub mod entries;
pub mod front;
pub mod gate;
pub mod identifier;
pub mod institution;
pub mod journal;
pub mod limit;
pub mod listen;
pub mod moment;
pub mod outflow;
pub mod overview;
pub mod pace;
pub mod problem;
pub mod public;
pub mod quarantine;
pub mod status;
pub mod tenure;
pub mod tiles;
pub mod timestamp;
pub mod tls;
pub mod version;
pub mod witness;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::access::{Action, Directory, Role};
use crate::certificate::Issuer;
use crate::clock::Clock;
use crate::identifier::Identifiers;
use crate::journal::Journals;
use crate::keys::Keys;
use crate::timestamp::Authority;
use problem::Problem;

pub use caller::Caller;
pub use front::Front;
pub use limit::Limits;

/// What handlers work with.
#[derive(Clone)]
pub struct App {
    /// Journals.
    pub journals: Journals,
    /// The TSA.
    pub authority: Authority,
    /// The clock.
    pub clock: Clock,
    /// The HSM.
    pub keys: Keys,
    /// Certificates, requests, institutions and the store behind them.
    pub issuer: Issuer,
    /// Who is who.
    pub directory: Directory,
    /// Register numbers.
    pub identifiers: Identifiers,
    /// Limits, counters and the readiness probe of the listeners.
    pub front: Front,
}

/// One route of the mTLS listener and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// `GET`, `POST` …
    pub method: &'static str,
    /// The path with its parameters in braces.
    pub path: &'static str,
    /// Any one of these lets a caller in; none listed: everybody with a certificate of ours.
    pub any_of: &'static [Action],
}

impl Route {
    /// Whether callers of this role get past the gate.
    pub fn lets_in(&self, role: Role) -> bool {
        self.any_of.is_empty() || self.any_of.iter().any(|action| role.may(*action))
    }
}

const fn route(method: &'static str, path: &'static str, any_of: &'static [Action]) -> Route {
    Route { method, path, any_of }
}

use Action::*;

/// All routes of the mTLS listener. The gate refuses what is not in this table, so it is the
/// authorisation matrix; a test holds it against the OpenAPI document.
pub const ROUTES: &[Route] = &[
    route("POST", "/tsa", &[Stamp]),
    route("GET", "/v1/journals", &[ReadJournal, OpenJournal]),
    route("POST", "/v1/journals", &[OpenJournal]),
    route("GET", "/v1/journals/{journal}", &[ReadJournal, OpenJournal]),
    route("POST", "/v1/journals/{journal}/entries", &[Seal]),
    route("GET", "/v1/journals/{journal}/receipts/{seq}", &[ReadJournal]),
    route("GET", "/v1/journals/{journal}/checkpoint", &[ReadJournal]),
    route("GET", "/v1/journals/{journal}/head", &[ReadJournal]),
    route("GET", "/v1/journals/{journal}/range", &[ReadJournal]),
    route("GET", "/v1/journals/{journal}/consistency", &[ReadJournal]),
    route("GET", "/v1/journals/{journal}/export", &[ReadJournal]),
    route("POST", "/v1/journals/{journal}/freeze", &[CloseJournal]),
    route("POST", "/v1/journals/{journal}/hand-over", &[CloseJournal]),
    route("GET", "/v1/journals/{journal}/statements", &[ReadJournal, CloseJournal]),
    route("POST", "/v1/identifiers", &[TakeIdentifiers]),
    route("GET", "/v1/journals/{journal}/tile/{*tile}", &[ReadJournal]),
    route("GET", "/v1/checkpoint", &[]),
    route("GET", "/v1/consistency", &[]),
    route("GET", "/v1/keys/journal-head", &[]),
    route("GET", "/v1/quarantine", &[SettleJournals]),
    route("POST", "/v1/quarantine/gap", &[SettleJournals]),
    route("GET", "/v1/institutions", &[ManageInstitutions, ReadCertificates]),
    route("POST", "/v1/institutions", &[ManageInstitutions]),
    route("GET", "/v1/certificates", &[ReadCertificates]),
    route("POST", "/v1/certificates", &[RequestCertificate]),
    route("GET", "/v1/certificates/{serial}", &[ReadCertificates]),
    route("POST", "/v1/certificates/{serial}/revocation", &[RevokeCertificate]),
    route("GET", "/v1/certificate-requests", &[ReadCertificates]),
    route("GET", "/v1/certificate-requests/{id}", &[ReadCertificates]),
    route("POST", "/v1/certificate-requests/{id}/decision", &[AgreeToCertificate]),
    route("GET", "/v1/clock", &[ReadStatus]),
    route("GET", "/v1/hsm", &[ReadStatus]),
    route("GET", "/v1/status", &[ReadStatus]),
    route("GET", "/v1/openapi.json", &[]),
];

/// Paths of the plain listeners, for the metrics.
pub const PLAIN: &[&str] = &[
    "/livez",
    "/readyz",
    "/checkpoint",
    "/root/checkpoint",
    "/root/tile/{*tile}",
    "/j/{journal}/tile/{*tile}",
    "/crl/{file}",
    "/ca/{file}",
    "/metrics",
    "/status",
];

fn api_routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .merge(timestamp::routes())
        .merge(journal::routes())
        .merge(tenure::routes())
        .merge(identifier::routes())
        .merge(moment::routes())
        .merge(tiles::routes())
        .merge(quarantine::routes())
        .merge(institution::routes())
        .merge(certificate::routes())
        .merge(status::routes())
}

fn public_routes() -> Router<App> {
    Router::new()
        .route("/livez", get(public::alive))
        .route("/readyz", get(public::ready))
        .route("/checkpoint", get(tiles::checkpoint))
        .merge(tiles::public_routes())
        .route("/v1/openapi.json", get(status::openapi))
        .merge(certificate::public_routes())
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Pechat",
    description = "Timestamps, journal seals and certificates. Every request needs a client certificate; \
                   errors are RFC 9457 problem documents."
))]
struct Description;

/// The OpenAPI document of the mTLS listener.
pub fn description() -> utoipa::openapi::OpenApi {
    document::complete(api_routes().into_openapi())
}

/// The mTLS listener's router and its OpenAPI document.
pub fn api(app: App) -> (Router, utoipa::openapi::OpenApi) {
    let (router, document) = api_routes().split_for_parts();
    let router = router
        .fallback(unknown_route)
        .layer(DefaultBodyLimit::max(body::JSON_CAP))
        .layer(from_fn_with_state(app.clone(), gate::authenticated))
        .with_state(app);
    (router, document::complete(document))
}

/// The plain listener's router: health, revocation lists, CA certificates, the root checkpoint.
pub fn public(app: App) -> Router {
    let router = public_routes().fallback(unknown_route).method_not_allowed_fallback(wrong_method);
    router.layer(from_fn_with_state(app.clone(), gate::anonymous)).with_state(app)
}

/// The metrics listener's router.
pub fn metrics(app: App) -> Router {
    let router = Router::new()
        .route("/metrics", get(status::metrics))
        .route("/status", get(status::overview))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method);
    router.layer(from_fn_with_state(app.clone(), gate::unmetered)).with_state(app)
}

async fn unknown_route(uri: Uri) -> Problem {
    Problem::no_route(uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}", uri.path());
    Problem::new(405, "wrong-method", detail, "Use a method of the Allow header.")
}
