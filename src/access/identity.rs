//! The exact client certificate is the identity; its names are never trusted by themselves.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Role;
use crate::digest::Digest;
use crate::institution::InstitutionId;

/// What the store says about one client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 of the certificate's DER.
    pub fingerprint: Digest,
    /// The institution the certificate was issued for.
    pub institution: InstitutionId,
    /// The name officers gave this identity, unique within the institution.
    pub name: String,
    /// The one role.
    pub role: Role,
    /// Seconds since 1970 after which the certificate is no longer accepted.
    pub not_after: i64,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl std::fmt::Display for Identity {
    /// `institution/name`: the person or service, in records.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.institution, self.name)
    }
}

/// All identities, looked up on every request; replaced whole at each change, so that a
/// revocation holds for live connections from the next request on.
#[derive(Clone, Default)]
pub struct Directory(Arc<ArcSwap<HashMap<Digest, Arc<Identity>>>>);

impl Directory {
    /// Puts `identities` in force at once.
    pub fn replace(&self, identities: impl IntoIterator<Item = Identity>) {
        let map = identities.into_iter().map(|i| (i.fingerprint, Arc::new(i))).collect();
        self.0.store(Arc::new(map));
    }

    /// The identity of the certificate with this SHA-256 fingerprint, revoked or not.
    pub fn find(&self, fingerprint: &Digest) -> Option<Arc<Identity>> {
        self.0.load().get(fingerprint).cloned()
    }

    /// Whether this fingerprint is known, not revoked, and of `role`.
    pub fn in_force(&self, fingerprint: &Digest, role: Role) -> bool {
        self.find(fingerprint).is_some_and(|identity| !identity.revoked && identity.role == role)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_directory_holds_for_every_clone_at_once() {
        let (directory, fingerprint) = (Directory::default(), Digest::of(b"certificate"));
        let clone = directory.clone();
        let identity = Identity {
            fingerprint,
            institution: InstitutionId::try_from("agency".to_owned()).unwrap(),
            name: "registry".into(),
            role: Role::RegistryService,
            not_after: i64::MAX,
            revoked: false,
        };
        directory.replace([identity.clone()]);
        assert!(clone.in_force(&fingerprint, Role::RegistryService));
        assert!(!clone.in_force(&fingerprint, Role::Auditor));
        directory.replace([Identity { revoked: true, ..identity.clone() }]);
        assert!(!clone.in_force(&fingerprint, Role::RegistryService));
        assert_eq!(clone.find(&fingerprint).as_deref(), Some(&Identity { revoked: true, ..identity }));
        directory.replace([]);
        assert_eq!(clone.find(&fingerprint), None);
    }
}
