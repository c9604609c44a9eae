//! What the OpenAPI document says of every operation alike: who may call it, how it refuses.

use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::{OpenApi, PathItem, Ref};

use super::{ROUTES, Route};
use crate::access::Role;

/// Adds to each listed operation its roles (`x-roles`) and the problem document as default answer.
pub fn complete(mut document: OpenApi) -> OpenApi {
    for route in ROUTES {
        let item = document.paths.paths.get_mut(route.path);
        if let Some(operation) = item.and_then(|item| operation(item, route.method)) {
            explain(operation, route);
        }
    }
    document
}

fn operation<'a>(item: &'a mut PathItem, method: &str) -> Option<&'a mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "DELETE" => item.delete.as_mut(),
        "PATCH" => item.patch.as_mut(),
        _ => None,
    }
}

fn explain(operation: &mut Operation, route: &Route) {
    let roles: Vec<_> = Role::ALL.into_iter().filter(|r| route.lets_in(*r)).map(Role::as_str).collect();
    let roles = ExtensionsBuilder::new().add("x-roles", roles).build();
    operation.extensions.get_or_insert_default().merge(roles);
    let schema = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Refused: certificate, role, limits, form, or state of the appliance")
        .content("application/problem+json", schema)
        .build();
    operation.responses.responses.entry("default".into()).or_insert(problem.into());
}
