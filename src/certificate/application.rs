//! From a request to frozen bytes: every judgement before an officer or the HSM is asked.

use serde_json::json;

use super::draft::{Content, Draft, iso8601};
use super::issuer::Issuer;
use super::profile::{Profile, Subject};
use super::record::{CertificateRecord, RequestRecord, RequestState};
use super::request::{self, CertificationRequest};
use super::signing::{Approval, event};
use super::{CertificateError, Reason};
use crate::access::{Identity, Role};
use crate::clock::UtcMicros;
use crate::digest::{Digest, hex};
use crate::institution::{Environment, Institution, InstitutionId};
use crate::store::KeyUse;

/// What an officer asks for, for an institution.
#[derive(Debug, Clone)]
pub struct Application {
    /// PKCS #10, PEM or DER.
    pub csr: Vec<u8>,
    /// For whom.
    pub institution: InstitutionId,
    /// Where it is to be good.
    pub environment: Environment,
    /// What it may ask for here.
    pub role: Role,
    /// Name of the service or person within the institution: one DNS label.
    pub name: String,
}

impl Application {
    /// Every judgement that needs no more than the request and the institution's record.
    pub fn judge(&self, institution: &Institution) -> Result<CertificationRequest, CertificateError> {
        let csr = request::parse(&self.csr)?;
        self.named(&csr, institution)?;
        Ok(csr)
    }

    /// The names and the form that the record gives to this request's certificate.
    fn named(
        &self,
        csr: &CertificationRequest,
        institution: &Institution,
    ) -> Result<(Profile, Subject), CertificateError> {
        csr.key().must_suit(self.environment).map_err(request::RequestError::from)?;
        let profile = Profile::of_role(self.role, self.environment, institution, &self.name)?;
        let subject = Subject::of(institution, &profile, &self.name);
        csr.must_match(&subject.to_name()?, &profile)?;
        Ok((profile, subject))
    }
}

impl Issuer {
    /// Judges a request and freezes what would be signed. Test and integration certificates are issued
    /// at once; a production request awaits two officers.
    pub async fn submit(
        &self,
        application: Application,
        by: &Identity,
        now: UtcMicros,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        self.submit_as(application, (by.to_string(), Some(by.fingerprint)), now).await
    }

    /// The same for whoever asks by that name, with the certificate of that fingerprint if he has one.
    pub(super) async fn submit_as(
        &self,
        application: Application,
        (name, fingerprint): (String, Option<Digest>),
        now: UtcMicros,
    ) -> Result<(RequestRecord, Option<CertificateRecord>), CertificateError> {
        let (this, now) = (self.clone(), self.at(now));
        // A caller that hangs up must not stop the flow between signature and outcome.
        let flow = async move {
            let submitter = (name.as_str(), fingerprint);
            let request = match this.freeze(&application, submitter, now).await {
                Ok(request) => request,
                Err(refusal) => return Err(this.refuse(&application, &name, refusal, now).await),
            };
            match Approval::of(&request, &[], &this.0.directory) {
                Ok(approval) => this.issue(approval, now).await.map(|(r, c)| (r, Some(c))),
                Err(_) => Ok((request, None)),
            }
        };
        tokio::spawn(flow).await.map_err(|_| CertificateError::Stopping)?
    }

    async fn refuse(
        &self,
        a: &Application,
        by: &str,
        refusal: CertificateError,
        now: i64,
    ) -> CertificateError {
        // Both quote what was sent, which may be longer than a record may be.
        let cut = |text: &str| text.chars().take(1000).collect::<String>();
        let event = json!({
            "event": "request-refused", "institution": a.institution, "environment": a.environment, "role": a.role,
            "name": cut(&a.name), "csr_sha256": Digest::of(&a.csr), "why": cut(&refusal.to_string()), "by": by,
            "time": iso8601(now),
        });
        self.note(event).await.err().unwrap_or(refusal)
    }

    /// Makes one of the first two officers, at `pechat init`: no officer could agree yet. Recorded like
    /// every certificate; refused once two exist.
    pub async fn import_identity(
        &self,
        application: Application,
        now: UtcMicros,
    ) -> Result<CertificateRecord, CertificateError> {
        let now = self.at(now);
        let officers = self.0.store.identities().await?;
        let officers = officers.iter().filter(|i| i.identity.role == Role::ControlAdministrator).count();
        if application.role != Role::ControlAdministrator || officers >= 2 {
            return Err(CertificateError::BootstrapOver);
        }
        let application = Application { environment: Environment::Production, ..application };
        let request = self.freeze(&application, ("init", None), now).await?;
        let (_, certificate) = self.issue(Approval::at_init(request), now).await?;
        Ok(certificate)
    }

    async fn freeze(
        &self,
        application: &Application,
        (submitter, submitter_fingerprint): (&str, Option<Digest>),
        now: i64,
    ) -> Result<RequestRecord, CertificateError> {
        let csr = application.csr.clone();
        // Judging an RSA key takes milliseconds of arithmetic.
        let judged = tokio::task::spawn_blocking(move || request::parse(&csr)).await;
        let csr = judged.map_err(|_| CertificateError::Stopping)??;
        let draft = self.draft(application, &csr, now).await?;
        let _turn = self.0.submitting.lock().await;
        self.judge_key(application, &csr).await?;
        self.judge_name(application, now).await?;
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| CertificateError::Entropy)?;
        let request = RequestRecord {
            id: hex(&id),
            institution: application.institution.clone(),
            environment: application.environment,
            role: application.role,
            name: application.name.clone(),
            submitter: submitter.to_owned(),
            submitter_fingerprint,
            submitted: now,
            serial: draft.serial()?,
            tbs: draft.tbs().to_vec(),
            key_hash: csr.key_hash(),
            state: RequestState::Awaiting,
            reason: None,
        };
        self.note(event("request", &request, json!({ "by": submitter, "time": iso8601(now) }))).await?;
        self.0.store.add_request(request.clone()).await?;
        Ok(request)
    }

    async fn draft(
        &self,
        application: &Application,
        csr: &CertificationRequest,
        now: i64,
    ) -> Result<Draft, CertificateError> {
        let Application { environment, role, .. } = application;
        if *role != Role::RegistryService && *environment != Environment::Production {
            let role = role.as_str().to_owned();
            return Err(CertificateError::RoleNeedsProduction { role, environment: environment.as_str() });
        }
        let institution = self.institution(&application.institution).await?;
        let (profile, subject) = application.named(csr, &institution)?;
        let content = Content {
            profile: &profile,
            subject: &subject,
            spki: csr.spki_der(),
            now,
            public_url: &self.0.public_url,
        };
        Draft::new(&content, Some(self.authority(*environment)?))
    }

    /// One key, one identity, one environment; and a compromised key is dead everywhere.
    async fn judge_key(&self, a: &Application, csr: &CertificationRequest) -> Result<(), CertificateError> {
        let own =
            self.0.keys.pinned().keys.iter().find(|key| key.spki.eq_ignore_ascii_case(&hex(csr.spki_der())));
        if let Some(key) = own {
            return Err(CertificateError::KeyInUse(format!("the appliance's {}", key.label.as_str())));
        }
        let same = |used: &KeyUse| {
            used.institution.as_deref() == Some(a.institution.as_str())
                && used.environment.as_deref() == Some(a.environment.as_str())
                && used.role.as_deref() == Some(a.role.as_str())
                && used.name == a.name
        };
        for used in self.0.store.key_uses(csr.key_hash()).await? {
            if used.revoked_for.as_deref() == Some(Reason::KeyCompromise.as_str()) {
                return Err(CertificateError::KeyCompromised(used.serial));
            }
            if !same(&used) {
                let whose = used.institution.as_deref().unwrap_or("the appliance");
                let place = used.environment.as_deref().unwrap_or("itself");
                return Err(CertificateError::KeyInUse(format!("{:?} of {whose} in {place}", used.name)));
            }
        }
        Ok(())
    }

    async fn judge_name(&self, a: &Application, now: i64) -> Result<(), CertificateError> {
        let identities = self.0.store.identities().await?;
        let in_force = identities.iter().map(|i| &i.identity).filter(|i| !i.revoked && i.not_after >= now);
        let other = in_force
            .filter(|i| i.institution == a.institution && i.name == a.name)
            .find(|i| i.role != a.role);
        match other {
            None => Ok(()),
            Some(identity) => Err(CertificateError::NameTaken {
                institution: a.institution.clone(),
                name: a.name.clone(),
                role: identity.role.as_str().to_owned(),
            }),
        }
    }
}
