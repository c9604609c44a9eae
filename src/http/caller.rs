//! From the certificate the handshake proved to the identity the store knows, on every request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::App;
use super::listen::Peer;
use super::problem::Problem;
use crate::access::{Action, Directory, Identity};
use crate::institution::InstitutionId;

/// The authenticated caller; an axum extractor (403 problem when the certificate is not ours,
/// revoked or expired).
#[derive(Debug, Clone)]
pub struct Caller(pub Arc<Identity>);

impl Caller {
    /// Who `peer` is, as the directory says at this moment. `now`: seconds since 1970 when the clock is
    /// trusted; otherwise the handshake's check of the certificate's dates has to do.
    pub fn identify(peer: Option<&Peer>, directory: &Directory, now: Option<i64>) -> Result<Self, Problem> {
        let fingerprint = peer.and_then(|p| p.fingerprint).ok_or_else(|| unknown("no client certificate"))?;
        let identity =
            directory.find(&fingerprint).ok_or_else(|| unknown(&format!("the certificate {fingerprint}")))?;
        if identity.revoked {
            return Err(revoked(&identity));
        }
        if now.is_some_and(|now| now > identity.not_after) {
            return Err(expired(&identity));
        }
        Ok(Self(identity))
    }

    /// 403 problem unless the caller's role may do this.
    pub fn must(&self, action: Action) -> Result<(), Problem> {
        if self.0.role.may(action) { Ok(()) } else { Err(self.forbidden(&[action])) }
    }

    /// The 403 problem for a role that may do none of `actions`.
    pub fn forbidden(&self, actions: &[Action]) -> Problem {
        let detail =
            format!("{} has the role {:?}, which does not allow {actions:?}", self.name(), self.0.role);
        Problem::new(
            403,
            "role-not-allowed",
            detail,
            "Use a certificate whose role allows it, or ask an officer for one.",
        )
    }

    /// 404 problem (as if unknown) unless the thing belongs to the caller's institution or the role sees all.
    pub fn must_see(&self, owner: Option<&InstitutionId>) -> Result<(), Problem> {
        let sees = self.0.role.sees_all_institutions() || owner == Some(&self.0.institution);
        if sees { Ok(()) } else { Err(Problem::not_found("thing", "of that name")) }
    }

    /// `institution/name`, for records and logs.
    pub fn name(&self) -> String {
        format!("{}/{}", self.0.institution, self.0.name)
    }
}

fn unknown(what: &str) -> Problem {
    const ACTION: &str = "Use the certificate the officer issued for this service; if it is that one, send its \
                          SHA-256 fingerprint to the officer.";
    Problem::new(403, "unknown-certificate", format!("{what} is not known here"), ACTION)
}

fn revoked(identity: &Identity) -> Problem {
    const ACTION: &str = "Stop using this certificate and ask an officer for a new one.";
    let detail = format!("the certificate {} was revoked", identity.fingerprint);
    Problem::new(403, "revoked-certificate", detail, ACTION)
}

fn expired(identity: &Identity) -> Problem {
    const ACTION: &str = "Ask an officer for a new certificate.";
    let detail = format!("the certificate {} has expired", identity.fingerprint);
    Problem::new(403, "expired-certificate", detail, ACTION)
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    /// The gate has identified the caller; a route outside it has none.
    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| unknown("no client certificate"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Role;
    use crate::digest::Digest;

    fn directory(revoked: bool, role: Role) -> (Directory, Peer) {
        let fingerprint = Digest::of(b"certificate");
        let institution = InstitutionId::try_from("land-registry".to_owned()).unwrap();
        let directory = Directory::default();
        let name = "service-1".into();
        directory.replace([Identity { fingerprint, institution, name, role, not_after: 1_000, revoked }]);
        (directory, Peer { address: ([127, 0, 0, 1], 1).into(), fingerprint: Some(fingerprint) })
    }

    #[test]
    fn only_a_known_unrevoked_unexpired_certificate_is_a_caller() {
        let kind = |r: Result<Caller, Problem>| r.map(|c| c.name()).map_err(|p| (p.status, p.kind));
        let (known, peer) = directory(false, Role::Auditor);
        let stranger = Peer { fingerprint: Some(Digest::of(b"another")), ..peer };
        let ours = Ok("land-registry/service-1".to_owned());
        assert_eq!(kind(Caller::identify(Some(&peer), &known, Some(1_000))), ours);
        assert_eq!(kind(Caller::identify(Some(&peer), &known, None)), ours);
        assert_eq!(
            kind(Caller::identify(Some(&peer), &known, Some(1_001))),
            Err((403, "expired-certificate"))
        );
        assert_eq!(kind(Caller::identify(Some(&stranger), &known, None)), Err((403, "unknown-certificate")));
        assert_eq!(kind(Caller::identify(None, &known, None)), Err((403, "unknown-certificate")));
        let (revoked, peer) = directory(true, Role::Auditor);
        assert_eq!(kind(Caller::identify(Some(&peer), &revoked, None)), Err((403, "revoked-certificate")));
    }

    #[test]
    fn another_institutions_thing_reads_like_an_unknown_one() {
        let (known, peer) = directory(false, Role::RegistryService);
        let caller = Caller::identify(Some(&peer), &known, None).unwrap();
        let other = InstitutionId::try_from("tax-office".to_owned()).unwrap();
        assert_eq!(caller.must_see(Some(&caller.0.institution)), Ok(()));
        assert_eq!(caller.must_see(Some(&other)).unwrap_err().status, 404);
        assert_eq!(caller.must_see(None).unwrap_err().status, 404);
        let (known, peer) = directory(false, Role::Auditor);
        assert_eq!(Caller::identify(Some(&peer), &known, None).unwrap().must_see(None), Ok(()));
    }
}
