//! Revoking, and the lists that say so.

use std::collections::HashMap;
use std::sync::Arc;

use const_oid::AssociatedOid;
use der::{Decode, Encode};
use serde_json::json;
use x509_cert::Certificate;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use super::authority::{Authority, find, seconds};
use super::crl::{self, LIFETIME, Reason, RevocationList};
use super::draft::iso8601;
use super::issuer::Issuer;
use super::record::{CertificateRecord, RequestState, Revocation};
use super::{CertificateError, Serial};
use crate::access::Identity;
use crate::clock::UtcMicros;
use crate::digest::Digest;

/// What a revocation did.
#[derive(Debug)]
pub struct Revoked {
    /// The certificate as it is kept now.
    pub certificate: CertificateRecord,
    /// The number of the list that names it; an error when that list must wait (it is tried again by
    /// [`Issuer::refresh_crls`]). The identity is out of force in either case.
    pub list: Result<u32, CertificateError>,
}

impl Issuer {
    /// Revokes at once: recorded, out of force for live connections, and on a new list. Works without
    /// trusted time (`now` absent), with the last time that was trusted.
    pub async fn revoke(
        &self,
        serial: Serial,
        reason: Reason,
        by: &Identity,
        now: Option<UtcMicros>,
    ) -> Result<Revoked, CertificateError> {
        let time = self.at_or_last(now)?;
        let (this, by) = (self.clone(), by.to_string());
        // A caller that hangs up must not keep the list from being made.
        let flow = async move { this.revoke_and_list(serial, Revocation { time, reason, by }).await };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn revoke_and_list(
        &self,
        serial: Serial,
        revocation: Revocation,
    ) -> Result<Revoked, CertificateError> {
        let record = self.revocable(serial).await?;
        self.note(json!({
            "event": "revocation", "serial": serial.to_string(), "issuer": record.issuer, "name": record.name,
            "institution": record.institution, "reason": revocation.reason, "by": revocation.by,
            "time": iso8601(revocation.time),
        }))
        .await?;
        let time = revocation.time;
        self.0.store.add_certificate(record.clone()).await?;
        if !self.0.store.revoke(serial, revocation).await? {
            return Err(revoked_already(&self.certificate(serial).await?));
        }
        self.0.answers.forget(&serial);
        self.refresh_directory().await?;
        let authority = self.authorities().find(|a| a.label.as_str() == record.issuer);
        let list = match authority {
            Some(authority) => self.publish(authority, time).await.map(|list| list.number),
            None => Err(CertificateError::UnknownCa(record.issuer)),
        };
        Ok(Revoked { certificate: self.certificate(serial).await?, list })
    }

    /// The certificate, or what stands for one whose signing was interrupted: it may exist somewhere.
    async fn revocable(&self, serial: Serial) -> Result<CertificateRecord, CertificateError> {
        let Some(record) = self.0.store.certificate(serial).await? else {
            return self.interrupted(serial).await;
        };
        match &record.revocation {
            _ if record.institution.is_none() => Err(CertificateError::Infrastructure(serial.to_string())),
            Some(_) => Err(revoked_already(&record)),
            None => Ok(record),
        }
    }

    async fn interrupted(&self, serial: Serial) -> Result<CertificateRecord, CertificateError> {
        let request = self.0.store.request_of_serial(serial).await?;
        let request = request.filter(|r| r.state == RequestState::FailedSigning);
        let request = request.ok_or_else(|| CertificateError::UnknownCertificate(serial.to_string()))?;
        let (not_before, not_after) = super::draft::Draft::thaw(request.tbs.clone())?.validity()?;
        Ok(CertificateRecord {
            serial,
            issuer: self.authority(request.environment)?.label.as_str().to_owned(),
            der: Vec::new(),
            institution: Some(request.institution),
            environment: Some(request.environment),
            role: Some(request.role),
            name: request.name,
            key_hash: request.key_hash,
            not_before,
            not_after,
            revocation: None,
        })
    }

    /// Keeps a certificate of the appliance itself (CA, time-stamping unit, TLS listener), so that its
    /// serial and key are known; `name` says what it is for. The same once more changes nothing.
    pub async fn adopt(&self, der: &[u8], name: &str) -> Result<(), CertificateError> {
        let certificate = Certificate::from_der(der)?;
        let tbs = certificate.tbs_certificate();
        let extensions = tbs.extensions().map_or(&[][..], |e| e.as_slice());
        let issuer = find::<AuthorityKeyIdentifier>(extensions)
            .and_then(|(_, a)| a.key_identifier)
            .and_then(|k| self.authorities().find(|a| a.key_identifier == k.as_bytes()))
            .ok_or_else(|| {
                CertificateError::UnknownCa(format!("{} of {name}", AuthorityKeyIdentifier::OID))
            })?;
        let record = CertificateRecord {
            serial: Serial::try_from(tbs.serial_number().as_bytes())?,
            issuer: issuer.label.as_str().to_owned(),
            der: der.to_vec(),
            institution: None,
            environment: None,
            role: None,
            name: name.to_owned(),
            key_hash: Digest::of(&tbs.subject_public_key_info().to_der()?),
            not_before: seconds(&tbs.validity().not_before),
            not_after: seconds(&tbs.validity().not_after),
            revocation: None,
        };
        Ok(self.0.store.add_certificate(record).await?)
    }

    /// Renews every list that is past half of its life, missing, or behind the store; says how many.
    /// All CAs are tried; the first error is returned.
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
        let revoked = count(&self.0.store.revoked(label).await?);
        let current = self.list(label);
        // A list from the future came from a clock that was wrong then.
        let fresh = |l: &RevocationList| l.this_update <= now && l.next_update - now > LIFETIME / 2;
        let good = current.is_some_and(|l| l.entries == revoked && fresh(&l));
        if !good {
            self.publish(authority, now).await?;
        }
        Ok(!good)
    }

    /// Makes, signs and publishes a CA's next list. One at a time, so that the newest number holds the
    /// newest state.
    async fn publish(
        &self,
        authority: &Authority,
        now: i64,
    ) -> Result<Arc<RevocationList>, CertificateError> {
        let _turn = self.0.listing.lock().await;
        let label = authority.label.as_str();
        // 1. Prepare.
        let this_update = now;
        let revoked = self.0.store.revoked(label).await?;
        let next_update = this_update + LIFETIME;
        let number = self.0.store.reserve_list(label, this_update, next_update, count(&revoked)).await?;
        let tbs = crl::draft(authority, number, this_update, &revoked)?;
        // 2. Record.
        self.note(json!({
            "event": "crl", "issuer": label, "number": number, "entries": revoked.len(),
            "tbs_sha256": Digest::of(&tbs), "time": iso8601(this_update),
        }))
        .await?;
        // 3. Sign. 4. Keep. 5. Release.
        let signature = self.0.keys.sign(&authority.label, &tbs).await?;
        let der = crl::finish(&tbs, signature.as_der(), authority)?;
        self.0.store.finish_list(label, number, der.clone()).await?;
        let list = RevocationList { number, this_update, next_update, entries: count(&revoked), der };
        Ok(self.put_in_force(label, list))
    }

    fn put_in_force(&self, label: &str, list: RevocationList) -> Arc<RevocationList> {
        let list = Arc::new(list);
        let mut lists = HashMap::clone(&self.0.lists.load());
        lists.insert(label.to_owned(), Arc::clone(&list));
        self.0.lists.store(Arc::new(lists));
        list
    }

    /// The newest list of the CA with this key label.
    pub fn list(&self, label: &str) -> Option<Arc<RevocationList>> {
        self.0.lists.load().get(label).cloned()
    }
}

fn revoked_already(record: &CertificateRecord) -> CertificateError {
    let time = record.revocation.as_ref().map_or(record.not_before, |r| r.time);
    CertificateError::RevokedAlready { serial: record.serial.to_string(), time: iso8601(time) }
}

fn count(revoked: &[(Serial, Revocation)]) -> u32 {
    u32::try_from(revoked.len()).unwrap_or(u32::MAX)
}
