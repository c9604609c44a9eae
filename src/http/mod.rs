//! Every route on one screen.

pub mod problem;

use std::sync::Arc;

use crate::access::{Action, Directory, Identity};
use crate::certificate::Issuer;
use crate::clock::Clock;
use crate::institution::InstitutionId;
use crate::journal::Journals;
use crate::keys::Keys;
use crate::timestamp::Authority;
use problem::Problem;

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
}

/// The authenticated caller; an axum extractor (401/403 problem when the certificate is not ours,
/// revoked or expired).
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Identity>);

impl Caller {
    /// 403 problem unless the caller's role may do this.
    pub fn must(&self, _action: Action) -> Result<(), Problem> {
        todo!()
    }
    /// 404 problem (as if unknown) unless the thing belongs to the caller's institution or the role sees all.
    pub fn must_see(&self, _owner: Option<&InstitutionId>) -> Result<(), Problem> {
        todo!()
    }
}
