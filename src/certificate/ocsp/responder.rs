//! Who answers for an issuing CA: a key of its own in the HSM and a certificate of days (RFC 6960
//! section 4.2.2.2), renewed by the CA itself long before its end.

use arc_swap::ArcSwapOption;
use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use der::{Decode, Encode};
use serde_json::json;
use std::sync::Arc;
use x509_cert::{Certificate, SubjectPublicKeyInfo};

use super::request::{CertId, IdHash};
use crate::certificate::authority::{Authority, seconds};
use crate::certificate::draft::{Content, Draft, iso8601};
use crate::certificate::profile::{Profile, Subject};
use crate::certificate::{CertificateError, Issuer, Serial};
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::keys::{KeyLabel, Keys};

/// A responder of one issuing CA.
pub(in crate::certificate) struct Responder {
    /// Key label of the CA it answers for.
    pub issuer: KeyLabel,
    /// Its own HSM key.
    pub key: KeyLabel,
    spki: Vec<u8>,
    /// SHA-1 of its key bits: ResponderID.
    pub key_id: Vec<u8>,
    /// Hashes of the CA's name and key bits, by SHA-1 and by SHA-256.
    sha1: [Vec<u8>; 2],
    sha256: [Vec<u8>; 2],
    /// None before the first renewal.
    pub delegate: ArcSwapOption<Delegate>,
}

/// The responder's certificate.
pub(in crate::certificate) struct Delegate {
    pub der: Vec<u8>,
    not_before: i64,
    pub not_after: i64,
}

/// The key of the responder of the CA with this label: `ocsp-test` of `ca-test`; none if it was never made.
pub(in crate::certificate) fn key_of(issuer: &KeyLabel, keys: &Keys) -> Option<KeyLabel> {
    let name = format!("ocsp-{}", issuer.as_str().strip_prefix("ca-")?);
    KeyLabel::new(&name).ok().filter(|label| keys.public_key_der(label).is_ok())
}

fn hash(algorithm: &'static Algorithm, bytes: &[u8]) -> Vec<u8> {
    digest(algorithm, bytes).as_ref().to_vec()
}

impl Responder {
    /// The responder of a CA that has one, with the newest of its `certificates` (DER) that still fits.
    pub fn of(
        authority: &Authority,
        keys: &Keys,
        certificates: impl Fn(&str) -> Result<Vec<Vec<u8>>, CertificateError>,
    ) -> Result<Option<Self>, CertificateError> {
        let Some(key) = key_of(&authority.label, keys) else { return Ok(None) };
        let spki = keys.public_key_der(&key)?;
        let name = authority.subject.to_der()?;
        let ca = Certificate::from_der(&authority.certificate)?;
        let ca_key = ca.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
        let by = |algorithm| [hash(algorithm, &name), hash(algorithm, ca_key)];
        let own = SubjectPublicKeyInfo::from_der(&spki)?;
        let responder = Self {
            issuer: authority.label.clone(),
            key_id: hash(&SHA1_FOR_LEGACY_USE_ONLY, own.subject_public_key.raw_bytes()),
            sha1: by(&SHA1_FOR_LEGACY_USE_ONLY),
            sha256: by(&SHA256),
            delegate: ArcSwapOption::empty(),
            spki,
            key,
        };
        for der in certificates(responder.key.as_str())? {
            responder.take_over(der)?;
        }
        Ok(Some(responder))
    }

    /// Answers under this certificate from now on, if it is newer and of this responder's key.
    fn take_over(&self, der: Vec<u8>) -> Result<(), CertificateError> {
        let certificate = Certificate::from_der(&der)?;
        let tbs = certificate.tbs_certificate();
        let not_before = seconds(&tbs.validity().not_before);
        let newer = self.delegate.load().as_ref().is_none_or(|d| d.not_before < not_before);
        if newer && tbs.subject_public_key_info().to_der()? == self.spki {
            let not_after = seconds(&tbs.validity().not_after);
            self.delegate.store(Some(Arc::new(Delegate { der, not_before, not_after })));
        }
        Ok(())
    }

    /// Whether the question is about a certificate of this CA.
    pub fn serves(&self, id: &CertId<'_>) -> bool {
        let [name, key] = match id.hash {
            Some(IdHash::Sha1) => &self.sha1,
            Some(IdHash::Sha256) => &self.sha256,
            None => return false,
        };
        id.name_hash == name && id.key_hash == key
    }

    /// The CertID that almost every client will send for this serial.
    pub fn usual_id(&self, serial: &Serial) -> Vec<u8> {
        super::response::sha1_id(&self.sha1[0], &self.sha1[1], serial.as_bytes())
    }

    fn due(&self, now: i64) -> bool {
        let fresh = |d: &Delegate| d.not_before <= now && now < d.not_before.midpoint(d.not_after);
        !self.delegate.load().as_deref().is_some_and(fresh)
    }
}

impl Issuer {
    /// Gives every responder whose certificate is missing or past half of its life a new one; says how
    /// many. All are tried; the first error is returned. The CA's key is used without an officer: what it
    /// signs here can answer for its own certificates and nothing else.
    pub async fn renew_responders(&self, now: UtcMicros) -> Result<usize, CertificateError> {
        let _turn = self.0.renewing.lock().await;
        let now = self.at(now);
        let (mut renewed, mut first_error) = (0, None);
        for responder in self.0.responders.iter().filter(|r| r.due(now)) {
            match self.renew(responder, now).await {
                Ok(()) => renewed += 1,
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        first_error.map_or(Ok(renewed), Err)
    }

    async fn renew(&self, responder: &Responder, now: i64) -> Result<(), CertificateError> {
        let unknown = || CertificateError::UnknownCa(responder.issuer.to_string());
        let issuer = self.authorities().find(|a| a.label == responder.issuer).ok_or_else(unknown)?;
        let name = responder.key.as_str();
        // 1. Prepare.
        let subject = Subject::beside(&issuer.subject, format!("Pechat OCSP responder {name}"));
        let profile = Profile::OcspResponder;
        let content = Content {
            profile: &profile,
            subject: &subject,
            spki: &responder.spki,
            now,
            public_url: &self.0.public_url,
        };
        let draft = Draft::new(&content, Some(issuer))?;
        // 2. Record. 3. Sign. 4. Record.
        let intent = json!({
            "event": "responder-intent", "issuer": issuer.label, "name": name,
            "serial": draft.serial()?.to_string(), "tbs_sha256": draft.hash(), "time": iso8601(now),
        });
        self.note(intent).await?;
        let signature = self.0.keys.sign(&issuer.label, draft.tbs()).await?;
        let der = draft.finish(signature.as_der(), Some(&profile), Some(issuer))?;
        let outcome = json!({
            "event": "responder-issued", "issuer": issuer.label, "name": name,
            "certificate_sha256": Digest::of(&der), "time": iso8601(now),
        });
        self.note(outcome).await?;
        self.adopt(&der, name).await?;
        // 5. Release.
        responder.take_over(der)
    }
}
