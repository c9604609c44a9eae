//! The lists of every CA: renewed in time and at every change, a complete and a delta list together.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::json;

use super::CertificateError;
use super::authority::Authority;
use super::crl::{self, Delta, Heading, LIFETIME, RevocationList, Scope};
use super::draft::iso8601;
use super::issuer::Issuer;
use crate::clock::UtcMicros;
use crate::digest::Digest;

impl Issuer {
    /// Renews every list that is past half of its life, missing, or behind the store; says of how many
    /// CAs. All CAs are tried; the first error is returned.
    pub async fn refresh_crls(&self, now: UtcMicros) -> Result<usize, CertificateError> {
        let now = self.at(now);
        let (mut renewed, mut first_error) = (0, None);
        for authority in self.authorities() {
            match self.refresh(authority, now).await {
                Ok(true) => renewed += 1,
                Ok(false) => {}
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(renewed), Err)
    }

    async fn refresh(&self, authority: &Authority, now: i64) -> Result<bool, CertificateError> {
        let label = authority.label.as_str();
        let current = self.list(label);
        // A list from the future came from a clock that was wrong then.
        let fresh = |l: &RevocationList| l.this_update <= now && l.next_update - now > LIFETIME / 2;
        let good = match current.filter(|l| fresh(l) && l.delta.is_some()) {
            Some(list) => {
                let revoked = self.0.store.revoked(label).await?;
                crl::read(&list.der)? == crl::entries(&revoked, list.this_update)?
            }
            None => false,
        };
        // The first list of a CA has no delta list, but its certificates say where one is.
        if !good && self.publish(authority, now).await?.delta.is_none() {
            self.publish(authority, now).await?;
        }
        Ok(!good)
    }

    /// Makes, signs and publishes a CA's next lists. One at a time, so that the newest number holds the
    /// newest state.
    pub(super) async fn publish(
        &self,
        authority: &Authority,
        now: i64,
    ) -> Result<Arc<RevocationList>, CertificateError> {
        let _turn = self.0.listing.lock().await;
        let label = authority.label.as_str();
        let before = self.list(label);
        let revoked = self.0.store.revoked(label).await?;
        let entries = u32::try_from(revoked.len()).unwrap_or(u32::MAX);
        let (this_update, next_update) = (now, now + LIFETIME);
        let number = self.0.store.reserve_list(label, this_update, next_update, entries).await?;
        let heading = Heading { issuer: authority, public_url: &self.0.public_url, number, this_update };
        let listed = crl::entries(&revoked, this_update)?;
        let delta = match before.as_deref().map(|list| base_of(list, now)) {
            None => None,
            Some((base, base_update, base_der)) => {
                let released = self.0.store.released_since(label, base).await?;
                let changes = crl::changes(&crl::read(&base_der)?, &listed, &released, this_update)?;
                let der = self.sign_list(&heading, Scope::Delta(base), changes).await?;
                Some(Delta { base, base_update, base_der, der })
            }
        };
        let der = self.sign_list(&heading, Scope::Complete, listed).await?;
        // 4. Keep. 5. Release.
        let list = RevocationList { number, this_update, next_update, entries, der, delta };
        self.0.store.finish_list(label, &list).await?;
        Ok(self.put_in_force(label, list))
    }

    async fn sign_list(
        &self,
        heading: &Heading<'_>,
        scope: Scope,
        entries: Vec<x509_cert::crl::RevokedCert>,
    ) -> Result<Vec<u8>, CertificateError> {
        // 1. Prepare.
        let (issuer, count) = (heading.issuer, entries.len());
        let tbs = crl::draft(heading, scope, entries)?;
        // 2. Record.
        let (event, base) = match scope {
            Scope::Complete => ("crl", None),
            Scope::Delta(base) => ("delta-crl", Some(base)),
        };
        self.note(json!({
            "event": event, "issuer": issuer.label, "number": heading.number, "base": base, "entries": count,
            "tbs_sha256": Digest::of(&tbs), "time": iso8601(heading.this_update),
        }))
        .await?;
        // 3. Sign.
        let signature = self.0.keys.sign(&issuer.label, &tbs).await?;
        crl::finish(&tbs, signature.as_der(), issuer)
    }

    fn put_in_force(&self, label: &str, list: RevocationList) -> Arc<RevocationList> {
        let list = Arc::new(list);
        let mut lists = HashMap::clone(&self.0.lists.load());
        lists.insert(label.to_owned(), Arc::clone(&list));
        self.0.lists.store(Arc::new(lists));
        list
    }

    /// The newest lists of the CA with this key label.
    pub fn list(&self, label: &str) -> Option<Arc<RevocationList>> {
        self.0.lists.load().get(label).cloned()
    }
}

/// Number, thisUpdate and bytes of the list the next delta is against: the same as before for half a
/// list's life, so that who fetches complete lists seldom can use every delta; then the newest.
fn base_of(newest: &RevocationList, now: i64) -> (u32, i64, Vec<u8>) {
    match &newest.delta {
        Some(d) if (0..LIFETIME / 2).contains(&(now - d.base_update)) => {
            (d.base, d.base_update, d.base_der.clone())
        }
        _ => (newest.number, newest.this_update, newest.der.clone()),
    }
}
