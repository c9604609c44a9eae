//! Institutions over HTTP: register and list.

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
use crate::access::Action;
use crate::certificate::CertificateError;
use crate::institution::{Institution, InstitutionId};

/// The routes of this file.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, register))
}

/// An institution: every name in its certificates comes from here.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// 2 to 40 of a-z, 0-9 and -, beginning with a letter.
    #[schema(value_type = String)]
    id: InstitutionId,
    /// Organisation name, 1 to 64 characters.
    organisation: String,
    /// ISO 3166-1 alpha-2, upper case.
    country: String,
    /// organizationIdentifier of EN 319 412-1, e.g. `NTRBG-123456789`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    organisation_identifier: Option<String>,
    /// DNS domain below which its services' canonical names lie.
    domain: String,
}

impl From<Institution> for Participant {
    fn from(i: Institution) -> Self {
        Self {
            id: i.id,
            organisation: i.organisation,
            country: i.country,
            organisation_identifier: i.organisation_identifier,
            domain: i.domain,
        }
    }
}

/// List the institutions the caller may see.
#[utoipa::path(
    get, path = "/v1/institutions", tag = "institutions", responses((status = 200, body = Vec<Participant>))
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<axum::Json<Vec<Participant>>, Problem> {
    let all = app.issuer.institutions().await?.into_iter();
    let seen = all.filter(|institution| caller.must_see(Some(&institution.id)).is_ok());
    Ok(axum::Json(seen.map(Participant::from).collect()))
}

/// Register an institution.
#[utoipa::path(
    post, path = "/v1/institutions", tag = "institutions", request_body = Participant,
    responses(
        (status = 201, description = "Registered", body = Participant),
        (status = 400, description = "A field is refused", body = Document, content_type = "application/problem+json"),
        (status = 409, description = "Id or domain is taken", body = Document, content_type = "application/problem+json"),
    )
)]
async fn register(
    State(app): State<App>,
    caller: Caller,
    Json(p): Json<Participant>,
) -> Result<(StatusCode, axum::Json<Participant>), Problem> {
    caller.must(Action::ManageInstitutions)?;
    let institution = Institution::new(p.id, p.organisation, p.country, p.organisation_identifier, p.domain)
        .map_err(CertificateError::from)?;
    let registered = app.issuer.register(institution, &caller.name(), now(&app)?).await?;
    Ok((StatusCode::CREATED, axum::Json(registered.into())))
}
