//! Revoking; what says so is in `listing.rs`.

use const_oid::AssociatedOid;
use der::{Decode, Encode};
use serde_json::json;
use x509_cert::Certificate;
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use super::Reason;
use super::authority::{find, seconds};
use super::draft::iso8601;
use super::issuer::Issuer;
use super::record::{CertificateRecord, RequestState, Revocation};
use super::{CertificateError, Serial};
use crate::access::{Identity, Role};
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
        self.revoke_since(serial, reason, None, by, now).await
    }

    /// The same with the moment since when the key is not to be trusted, seconds since 1970.
    pub async fn revoke_since(
        &self,
        serial: Serial,
        reason: Reason,
        invalid_since: Option<i64>,
        by: &Identity,
        now: Option<UtcMicros>,
    ) -> Result<Revoked, CertificateError> {
        let time = self.at_or_last(now)?;
        self.revoke_as(serial, Revocation { time, reason, by: by.to_string(), invalid_since }).await
    }

    pub(super) async fn revoke_as(
        &self,
        serial: Serial,
        revocation: Revocation,
    ) -> Result<Revoked, CertificateError> {
        let this = self.clone();
        // A caller that hangs up must not keep the list from being made.
        let flow = async move { this.revoke_and_list(serial, revocation).await };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn revoke_and_list(
        &self,
        serial: Serial,
        revocation: Revocation,
    ) -> Result<Revoked, CertificateError> {
        let record = self.revocable(serial, &revocation).await?;
        self.note(json!({
            "event": "revocation", "serial": serial.to_string(), "issuer": record.issuer, "name": record.name,
            "institution": record.institution, "reason": revocation.reason, "by": revocation.by,
            "time": iso8601(revocation.time), "invalid_since": revocation.invalid_since.map(iso8601),
        }))
        .await?;
        let time = revocation.time;
        self.0.store.add_certificate(record.clone()).await?;
        if !self.0.store.revoke(serial, revocation).await? {
            return Err(revoked_already(&self.certificate(serial).await?));
        }
        self.0.answers.forget(&serial);
        self.refresh_directory().await?;
        self.listed(serial, &record.issuer, time).await
    }

    /// Puts a change of a status on the CA's next lists.
    pub(super) async fn listed(
        &self,
        serial: Serial,
        issuer: &str,
        time: i64,
    ) -> Result<Revoked, CertificateError> {
        let authority = self.authorities().find(|a| a.label.as_str() == issuer);
        let list = match authority {
            Some(authority) => self.publish(authority, time).await.map(|list| list.number),
            None => Err(CertificateError::UnknownCa(issuer.to_owned())),
        };
        Ok(Revoked { certificate: self.certificate(serial).await?, list })
    }

    /// The certificate, or what stands for one whose signing was interrupted: it may exist somewhere.
    async fn revocable(
        &self,
        serial: Serial,
        revocation: &Revocation,
    ) -> Result<CertificateRecord, CertificateError> {
        let Some(record) = self.0.store.certificate(serial).await? else {
            return self.interrupted(serial).await;
        };
        let to_hold = revocation.reason == Reason::CertificateHold;
        let since = revocation.invalid_since.filter(|at| *at < record.not_before || *at > revocation.time);
        match &record.revocation {
            _ if record.institution.is_none() => Err(CertificateError::Infrastructure(serial.to_string())),
            _ if to_hold && record.role != Some(Role::RegistryService) => {
                Err(CertificateError::HoldNotAllowed(serial.to_string()))
            }
            Some(before) if to_hold || before.reason != Reason::CertificateHold => {
                Err(revoked_already(&record))
            }
            _ => since.map_or(Ok(record), |at| Err(CertificateError::InvaliditySpan(iso8601(at)))),
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
}

pub(super) fn revoked_already(record: &CertificateRecord) -> CertificateError {
    let time = record.revocation.as_ref().map_or(record.not_before, |r| r.time);
    CertificateError::RevokedAlready { serial: record.serial.to_string(), time: iso8601(time) }
}
