//! Officers give one-time credentials for enrolment.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::body::Json;
use super::certificate::now;
use super::problem::{Document, Problem};
use super::{App, Caller};
use crate::access::{Action, Role};
use crate::certificate::Grant;
use crate::certificate::draft::iso8601;
use crate::institution::{Environment, InstitutionId};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(grant))
}

/// The one certificate that a machine may ask for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentWanted {
    /// The institution it is for.
    #[schema(value_type = String)]
    institution: InstitutionId,
    /// Where it is to be good; also the EST label.
    environment: Environment,
    /// What the identity may ask for here.
    role: Role,
    /// Name of the service or person within the institution: one DNS label.
    name: String,
}

/// A credential for enrolment by EST, shown once.
#[derive(Serialize, ToSchema)]
pub struct EnrolmentView {
    /// User name.
    id: String,
    /// The password is the first half followed by the second; they go to the institution on two ways.
    secret_halves: [String; 2],
    /// Last second of use, ISO 8601.
    expires: String,
}

/// Give a machine a one-time credential to ask for exactly one certificate by EST.
#[utoipa::path(
    post, path = "/v1/enrolments", tag = "certificates", request_body = EnrolmentWanted,
    responses(
        (status = 201, description = "Only its hash is kept: it cannot be shown again", body = EnrolmentView),
        (status = 404, description = "Unknown institution", body = Document, content_type = "application/problem+json"),
    )
)]
async fn grant(
    State(app): State<App>,
    caller: Caller,
    Json(w): Json<EnrolmentWanted>,
) -> Result<(StatusCode, axum::Json<EnrolmentView>), Problem> {
    caller.must(Action::RequestCertificate)?;
    let grant = Grant { institution: w.institution, environment: w.environment, role: w.role, name: w.name };
    let made = app.issuer.grant_enrolment(grant, &caller.0, now(&app)?).await?;
    let view = EnrolmentView { id: made.id, secret_halves: made.halves, expires: iso8601(made.expires) };
    Ok((StatusCode::CREATED, axum::Json(view)))
}
