//! Machines that ask for themselves: with a one-time credential that an officer gave, later with the
//! certificate they have. What they ask goes to the same officers as everything else.

use serde_json::json;

use super::draft::iso8601;
use super::issuer::Issuer;
use super::record::{CertificateRecord, RequestRecord, RequestState};
use super::request::{self, CertificationRequest};
use super::{Application, CertificateError};
use crate::access::{Identity, Role};
use crate::clock::UtcMicros;
use crate::digest::{Digest, hex};
use crate::institution::{Environment, InstitutionId};
use crate::store::EnrolmentRecord;

/// An unused credential is good for so many seconds: ten days.
pub const CREDENTIAL_SECONDS: i64 = 10 * 86_400;

/// What an officer lets a machine ask for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// For whom.
    pub institution: InstitutionId,
    /// Where it is to be good.
    pub environment: Environment,
    /// Role of the identity.
    pub role: Role,
    /// Name of the identity.
    pub name: String,
}

/// A credential, shown once; the halves go to the institution on two ways.
#[derive(Clone)]
pub struct Credential {
    /// User name.
    pub id: String,
    /// The password is the first half followed by the second.
    pub halves: [String; 2],
    /// Last second of use, since 1970.
    pub expires: i64,
}

/// Where an enrolment stands.
#[derive(Debug)]
pub enum Enrolled {
    /// Here it is.
    Issued(Box<CertificateRecord>),
    /// Officers have not all agreed yet: ask again with the same request.
    Waiting,
    /// They did not, or signing failed: why.
    Refused(String),
}

/// Why a machine may not enrol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// Unknown name or wrong secret.
    #[error("the credential is not known here")]
    BadCredential,
    /// Too old.
    #[error("the credential expired at {0}")]
    Expired(String),
    /// Of another environment.
    #[error("this is for {given}; what is asked here is for {asked}")]
    OtherEnvironment {
        /// What the credential or certificate is for.
        given: &'static str,
        /// Where it was used.
        asked: &'static str,
    },
    /// Spent on another key.
    #[error("the credential was used for a request of another key")]
    Spent,
    /// The client certificate opens nothing.
    #[error("the client certificate is {0}")]
    BadCertificate(&'static str),
}

impl Issuer {
    /// Makes a credential for exactly one certificate. Only its hash is kept.
    pub async fn grant_enrolment(
        &self,
        grant: Grant,
        by: &Identity,
        now: UtcMicros,
    ) -> Result<Credential, CertificateError> {
        let now = self.at(now);
        self.institution(&grant.institution).await?;
        let (mut id, mut secret) = ([0; 8], [0; 24]);
        aws_lc_rs::rand::fill(&mut id).map_err(|_| CertificateError::Entropy)?;
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| CertificateError::Entropy)?;
        let (id, secret) = (hex(&id), hex(&secret));
        let expires = now + CREDENTIAL_SECONDS;
        self.note(json!({
            "event": "enrolment", "id": id, "institution": grant.institution, "environment": grant.environment,
            "role": grant.role, "name": grant.name, "by": by.to_string(), "expires": iso8601(expires),
            "time": iso8601(now),
        }))
        .await?;
        let record = EnrolmentRecord {
            id: id.clone(),
            secret_sha256: Digest::of(secret.as_bytes()),
            institution: grant.institution,
            environment: grant.environment,
            role: grant.role,
            name: grant.name,
            made_by: by.to_string(),
            expires,
            key_hash: None,
        };
        self.0.store.add_enrolment(record).await?;
        let (first, second) = secret.split_at(secret.len() / 2);
        Ok(Credential { id, halves: [first.to_owned(), second.to_owned()], expires })
    }

    /// Whose this credential is; asked before the request is looked at.
    pub async fn credential(
        &self,
        id: &str,
        secret: &str,
        environment: Environment,
        now: UtcMicros,
    ) -> Result<EnrolmentRecord, CertificateError> {
        let record = self.0.store.enrolment(id).await?.ok_or(EnrolmentError::BadCredential)?;
        // Hashes are compared, so the time tells nothing of the secret.
        if Digest::of(secret.as_bytes()) != record.secret_sha256 {
            return Err(EnrolmentError::BadCredential.into());
        }
        if self.at(now) > record.expires {
            return Err(EnrolmentError::Expired(iso8601(record.expires)).into());
        }
        same_environment(record.environment, environment)?;
        Ok(record)
    }

    /// Enrols with a credential; the same request again says where the first one stands.
    pub async fn enrol(
        &self,
        credential: EnrolmentRecord,
        csr: Vec<u8>,
        now: UtcMicros,
    ) -> Result<Enrolled, CertificateError> {
        let parsed = parse(&csr).await?;
        let by = format!("enrolment {} given by {}", credential.id, credential.made_by);
        let EnrolmentRecord { id, institution, environment, role, name, .. } = credential;
        let application = Application { csr, institution, environment, role, name };
        let _turn = self.0.enrolling.lock().await;
        // Another request may have spent it since it was looked at.
        let spent = self.0.store.enrolment(&id).await?.and_then(|e| e.key_hash);
        if spent.is_some_and(|key| key != parsed.key_hash()) {
            return Err(EnrolmentError::Spent.into());
        }
        let outcome = self.ask(application, &parsed, (by, None), None, now).await?;
        self.0.store.spend_enrolment(&id, parsed.key_hash()).await?;
        Ok(outcome)
    }

    /// Whose certificate this is (SHA-256 fingerprint), if it may be renewed.
    pub async fn renewable(
        &self,
        fingerprint: Digest,
        environment: Environment,
        now: UtcMicros,
    ) -> Result<CertificateRecord, CertificateError> {
        let bad = |what| CertificateError::Enrolment(EnrolmentError::BadCertificate(what));
        let record = self.0.store.certificate_of(fingerprint).await?.ok_or_else(|| bad("not known here"))?;
        if record.revocation.is_some() {
            return Err(bad("revoked"));
        }
        if self.at(now) > record.not_after {
            return Err(bad("expired"));
        }
        same_environment(record.environment.ok_or_else(|| bad("not an identity's"))?, environment)?;
        Ok(record)
    }

    /// Asks for the successor of a certificate: same institution, names, role and environment.
    pub async fn reenrol(
        &self,
        current: CertificateRecord,
        csr: Vec<u8>,
        now: UtcMicros,
    ) -> Result<Enrolled, CertificateError> {
        let foreign = || CertificateError::Enrolment(EnrolmentError::BadCertificate("not an identity's"));
        let parsed = parse(&csr).await?;
        let institution = current.institution.clone().ok_or_else(foreign)?;
        let (environment, role) = current.environment.zip(current.role).ok_or_else(foreign)?;
        let by = (format!("{institution}/{}", current.name), Some(Digest::of(&current.der)));
        let application = Application { csr, institution, environment, role, name: current.name.clone() };
        let _turn = self.0.enrolling.lock().await;
        self.ask(application, &parsed, by, Some(&current), now).await
    }

    /// Where the request of this key stands; enters it when there is none, or only the `current` one's.
    async fn ask(
        &self,
        a: Application,
        csr: &CertificationRequest,
        by: (String, Option<Digest>),
        current: Option<&CertificateRecord>,
        now: UtcMicros,
    ) -> Result<Enrolled, CertificateError> {
        let found =
            self.0.store.request_of_key(csr.key_hash(), &a.institution, a.environment, &a.name).await?;
        let found = found.filter(|r| current.is_none_or(|c| c.serial != r.serial));
        let request = match found.filter(|r| r.state != RequestState::Lapsed) {
            Some(request) => request,
            None => self.submit_as(a, by, now).await?.0,
        };
        self.standing(request).await
    }

    async fn standing(&self, request: RequestRecord) -> Result<Enrolled, CertificateError> {
        Ok(match request.state {
            RequestState::Issued => Enrolled::Issued(Box::new(self.certificate(request.serial).await?)),
            RequestState::Awaiting | RequestState::Signing => Enrolled::Waiting,
            state => {
                let why = request.reason.unwrap_or_else(|| "no reason is recorded".into());
                Enrolled::Refused(format!("request {} is {}: {why}", request.id, state.as_str()))
            }
        })
    }
}

fn same_environment(given: Environment, asked: Environment) -> Result<(), EnrolmentError> {
    if given == asked {
        return Ok(());
    }
    Err(EnrolmentError::OtherEnvironment { given: given.as_str(), asked: asked.as_str() })
}

/// Judging an RSA key takes milliseconds of arithmetic.
async fn parse(csr: &[u8]) -> Result<CertificationRequest, CertificateError> {
    let csr = csr.to_vec();
    let judged = tokio::task::spawn_blocking(move || request::parse(&csr)).await;
    Ok(judged.map_err(|_| CertificateError::Stopping)??)
}
