//! From frozen bytes to a released certificate: agreements, intent, signature, outcome.

use serde_json::{Value, json};

use super::CertificateError;
use super::authority::Authority;
use super::draft::{Draft, iso8601};
use super::issuer::Issuer;
use super::profile::Profile;
use super::record::{CertificateRecord, RequestRecord, RequestState};
use crate::access::{Directory, Identity, Role};
use crate::clock::UtcMicros;
use crate::digest::Digest;
use crate::institution::approval::standing;
use crate::institution::{Agreement, Clause, Standing};
use crate::keys::{KeyError, SignerState};
use crate::store::{Decided, IdentityRecord};

/// Frozen dates are signed within this many seconds, else the request lapses: five working days and a weekend.
const AGREEMENT_SECONDS: i64 = 7 * 86_400;

/// Leave to sign one request's frozen bytes once; made by [`Approval::of`] or at init only.
pub(super) struct Approval {
    request: RequestRecord,
    basis: Value,
}

impl Approval {
    pub(super) fn of(
        request: &RequestRecord,
        decisions: &[Agreement],
        directory: &Directory,
    ) -> Result<Self, Standing> {
        let in_force = |officer: &Digest| directory.in_force(officer, Role::ControlAdministrator);
        match standing(decisions, &request.tbs_sha256(), request.agreements_needed(), in_force) {
            Standing::Agreed => {
                let names =
                    decisions.iter().map(|d| format!("{}/{}", d.person.0, d.person.1)).collect::<Vec<_>>();
                let basis = if names.is_empty() { json!([request.submitter]) } else { json!(names) };
                Ok(Self { request: request.clone(), basis })
            }
            other => Err(other),
        }
    }

    /// For the first two officers, whom nobody could approve.
    pub(super) fn at_init(request: RequestRecord) -> Self {
        Self { request, basis: json!("init") }
    }
}

impl Issuer {
    /// Keeps an officer's clause over exactly the frozen bytes; the second agreement has them signed.
    /// An officer who agreed may repeat it to have an agreed request signed that the HSM could not sign then.
    pub async fn decide(
        &self,
        id: &str,
        officer: &Identity,
        clause: Clause,
        tbs_sha256: Digest,
        reason: Option<String>,
        now: UtcMicros,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        let now = self.at(now);
        let request = self.decidable(id, officer, clause, &tbs_sha256, reason.as_deref(), now).await?;
        let person = (officer.institution.clone(), officer.name.clone());
        let time = now;
        let decision = Agreement { officer: officer.fingerprint, person, clause, tbs_sha256, reason, time };
        let this = self.clone();
        let flow = async move { this.keep_decision(&request, decision, now).await };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn decidable(
        &self,
        id: &str,
        officer: &Identity,
        clause: Clause,
        tbs_sha256: &Digest,
        reason: Option<&str>,
        now: i64,
    ) -> Result<RequestRecord, CertificateError> {
        let request = self.0.store.request(id).await?;
        let request = request.ok_or_else(|| CertificateError::UnknownRequest(id.to_owned()))?;
        let lasting = reason.is_some_and(|r| (1..=1000).contains(&r.trim().chars().count()));
        if !self.0.directory.in_force(&officer.fingerprint, Role::ControlAdministrator) {
            return Err(CertificateError::NotAnOfficer(officer.to_string()));
        }
        if clause == Clause::DoNotAgree && !lasting {
            return Err(CertificateError::ReasonNeeded);
        }
        if request.state != RequestState::Awaiting {
            return Err(CertificateError::NotAwaiting { id: request.id, state: request.state.as_str() });
        }
        if request.tbs_sha256() != *tbs_sha256 {
            let (given, frozen) = (tbs_sha256.to_string(), request.tbs_sha256().to_string());
            return Err(CertificateError::OtherBytes { given, frozen });
        }
        if request.institution == officer.institution && request.name == officer.name {
            return Err(CertificateError::OwnRequest(officer.to_string()));
        }
        if now - request.submitted > AGREEMENT_SECONDS {
            return Err(self.lapse(request).await?);
        }
        Ok(request)
    }

    async fn lapse(&self, request: RequestRecord) -> Result<CertificateError, CertificateError> {
        let why = "not agreed within seven days: enter it again".to_owned();
        self.note(event("lapsed", &request, json!({}))).await?;
        self.0
            .store
            .move_request(&request.id, RequestState::Awaiting, RequestState::Lapsed, Some(why))
            .await?;
        Ok(CertificateError::NotAwaiting { id: request.id, state: RequestState::Lapsed.as_str() })
    }

    async fn keep_decision(
        &self,
        request: &RequestRecord,
        decision: Agreement,
        now: i64,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        let name = format!("{}/{}", decision.person.0, decision.person.1);
        let kept = self.0.store.agreements(&request.id).await?;
        let mut repeated = kept.iter().any(|k| k.person == decision.person);
        if !repeated || decision.clause == Clause::DoNotAgree {
            self.note(event(
                decision.clause.as_str(),
                request,
                json!({
                    "by": name, "officer": decision.officer, "reason": decision.reason, "time": iso8601(now),
                }),
            ))
            .await?;
            match self.0.store.decide(&request.id, decision).await? {
                Decided::Kept => repeated = false,
                Decided::Before => repeated = true,
                Decided::Closed => return Err(self.closed(&request.id).await),
            }
        }
        let decisions = self.0.store.agreements(&request.id).await?;
        match Approval::of(request, &decisions, &self.0.directory) {
            Ok(approval) => self.issue(approval, now).await.map(|(r, c)| (r, Some(c))),
            Err(_) if repeated => Err(CertificateError::DecidedAlready(name)),
            Err(_) => Ok((self.request(&request.id).await?.0, None)),
        }
    }

    async fn closed(&self, id: &str) -> CertificateError {
        match self.request(id).await {
            Ok((request, _)) => {
                CertificateError::NotAwaiting { id: request.id, state: request.state.as_str() }
            }
            Err(error) => error,
        }
    }

    /// Spends an approval. The five steps of every key use, in this order, each durable before the next.
    pub(super) async fn issue(
        &self,
        Approval { request, basis }: Approval,
        now: i64,
    ) -> Result<(RequestRecord, CertificateRecord), CertificateError> {
        // Asked before the approval is spent: an HSM that is known to be down costs nobody his agreement.
        if let SignerState::Down { reason } = self.0.keys.state() {
            return Err(KeyError::Down(reason).into());
        }
        let institution = self.institution(&request.institution).await?;
        let profile = Profile::of_role(request.role, request.environment, &institution, &request.name)?;
        let authority = self.authority(request.environment)?;
        if !self
            .0
            .store
            .move_request(&request.id, RequestState::Awaiting, RequestState::Signing, None)
            .await?
        {
            return Err(self.closed(&request.id).await);
        }
        match self.sign(&request, basis, &profile, authority, now).await {
            Ok(certificate) => Ok((RequestRecord { state: RequestState::Issued, ..request }, certificate)),
            Err(error) => Err(self.failed(&request, error, now).await),
        }
    }

    async fn sign(
        &self,
        request: &RequestRecord,
        basis: Value,
        profile: &Profile,
        authority: &Authority,
        now: i64,
    ) -> Result<CertificateRecord, CertificateError> {
        // 1. Prepare: the frozen bytes, as they were agreed to.
        let draft = Draft::thaw(request.tbs.clone())?;
        let (not_before, not_after) = draft.validity()?;
        // 2. Record the intent.
        let intent = json!({ "issuer": authority.label, "approved_by": basis, "time": iso8601(now) });
        self.note(event("intent", request, intent)).await?;
        // 3. Sign; the result is the frozen bytes and a signature, or nothing.
        let signature = self.0.keys.sign(&authority.label, draft.tbs()).await?;
        let der = draft.finish(signature.as_der(), Some(profile), Some(authority))?;
        // 4. Record the outcome: in the journal, then in the store with the identity it makes.
        let fingerprint = Digest::of(&der);
        let outcome =
            json!({ "issuer": authority.label, "certificate_sha256": fingerprint, "time": iso8601(now) });
        self.note(event("issued", request, outcome)).await?;
        let certificate = CertificateRecord {
            serial: request.serial,
            issuer: authority.label.as_str().to_owned(),
            der,
            institution: Some(request.institution.clone()),
            environment: Some(request.environment),
            role: Some(request.role),
            name: request.name.clone(),
            key_hash: request.key_hash,
            not_before,
            not_after,
            revocation: None,
        };
        let identity = Identity {
            fingerprint,
            institution: request.institution.clone(),
            name: request.name.clone(),
            role: request.role,
            not_after,
            revoked: false,
        };
        let identity = IdentityRecord { identity, environment: request.environment };
        self.0.store.release(&request.id, certificate.clone(), identity).await?;
        // 5. Release.
        self.refresh_directory().await?;
        Ok(certificate)
    }

    /// Leaves the request where officers see it. Whether the HSM signed may be unknown, so its serial
    /// can be revoked, and nothing tries again by itself.
    async fn failed(&self, request: &RequestRecord, error: CertificateError, now: i64) -> CertificateError {
        let why = error.to_string();
        // Both writes are attempts: the first error is the one that matters to the caller.
        let noted =
            self.note(event("failed-signing", request, json!({ "why": why, "time": iso8601(now) }))).await;
        let moved = self
            .0
            .store
            .move_request(&request.id, RequestState::Signing, RequestState::FailedSigning, Some(why))
            .await;
        if noted.is_err() || moved.is_err() {
            tracing::error!(request = request.id, "a failed signing could not be recorded");
        }
        error
    }
}

/// A journal event about a request.
pub(super) fn event(what: &str, request: &RequestRecord, more: Value) -> Value {
    let mut event = json!({
        "event": what, "request": request.id, "serial": request.serial.to_string(),
        "tbs_sha256": request.tbs_sha256(), "institution": request.institution,
        "environment": request.environment, "role": request.role, "name": request.name,
    });
    if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
        event.extend(more);
    }
    event
}
