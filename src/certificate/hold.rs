//! Back from hold: the only revocation that can be taken back, by two officers.

use serde_json::json;

use super::draft::iso8601;
use super::issuer::Issuer;
use super::revocation::Revoked;
use super::{CertificateError, Reason, Serial};
use crate::access::{Identity, Role};
use crate::clock::UtcMicros;

/// Officers who must agree before a certificate is taken from hold.
const OFFICERS: usize = 2;

impl Issuer {
    /// Keeps an officer's agreement to a release; the second officer's puts the certificate back in force
    /// and takes it off the lists. `None`: another officer is needed.
    pub async fn release(
        &self,
        serial: Serial,
        officer: &Identity,
        now: UtcMicros,
    ) -> Result<Option<Revoked>, CertificateError> {
        let (this, officer, now) = (self.clone(), officer.clone(), self.at(now));
        let flow = async move { this.agree_and_release(serial, &officer, now).await };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn agree_and_release(
        &self,
        serial: Serial,
        officer: &Identity,
        now: i64,
    ) -> Result<Option<Revoked>, CertificateError> {
        let record = self.certificate(serial).await?;
        let on_hold = record.revocation.as_ref().is_some_and(|r| r.reason == Reason::CertificateHold);
        if !on_hold {
            return Err(CertificateError::NotOnHold(serial.to_string()));
        }
        let in_force = |fingerprint| self.0.directory.in_force(fingerprint, Role::ControlAdministrator);
        if !in_force(&officer.fingerprint) {
            return Err(CertificateError::NotAnOfficer(officer.to_string()));
        }
        let event = |what| {
            json!({
                "event": what, "serial": serial.to_string(), "issuer": record.issuer, "name": record.name,
                "institution": record.institution, "by": officer.to_string(), "time": iso8601(now),
            })
        };
        self.note(event("release-agreed")).await?;
        let person = officer.to_string();
        let agreed = self.0.store.agree_to_release(serial, officer.fingerprint, person, now).await?;
        if agreed.iter().filter(|(fingerprint, _)| in_force(fingerprint)).count() < OFFICERS {
            return Ok(None);
        }
        self.note(event("release")).await?;
        if !self.0.store.release_from_hold(serial).await? {
            return Err(CertificateError::NotOnHold(serial.to_string()));
        }
        self.0.answers.forget(&serial);
        self.refresh_directory().await?;
        self.listed(serial, &record.issuer, now).await.map(Some)
    }
}
