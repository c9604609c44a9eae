//! Certificates and requests as JSON, and their errors as problems.

use base64ct::{Base64, Encoding};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::access::Role;
use crate::certificate::draft::{Draft, iso8601};
use crate::certificate::{
    CertificateError, CertificateRecord, EnrolmentError, Reason, RequestRecord, Revoked, pem, pem_chain,
};
use crate::digest::Digest;
use crate::institution::{Agreement, Clause, Environment};
use crate::keys::KeyError;

/// A certificate.
#[derive(Serialize, ToSchema)]
pub struct CertificateView {
    /// 40 hex digits.
    serial: String,
    /// Key label of the CA; its certificate is at `/ca/{issuer}.cer` of the plain listener.
    issuer: String,
    /// The institution; absent for the appliance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    institution: Option<String>,
    /// Where it is good; absent for the appliance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    environment: Option<Environment>,
    /// The identity's role; absent for the appliance's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    /// The identity's name.
    name: String,
    /// First second of validity, ISO 8601.
    not_before: String,
    /// Last second of validity, ISO 8601.
    not_after: String,
    /// SHA-256 of the DER, hex.
    sha256: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    key_sha256: String,
    /// When and why it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<RevocationView>,
    /// The certificate, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pem: Option<String>,
    /// The certificate and its issuers, leaf first, root last, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
}

/// A revocation.
#[derive(Serialize, ToSchema)]
pub struct RevocationView {
    /// ISO 8601.
    time: String,
    /// The reason.
    reason: Reason,
    /// The officer, `institution/name`.
    by: String,
}

impl CertificateView {
    pub(super) fn new(record: &CertificateRecord) -> Self {
        Self {
            serial: record.serial.to_string(),
            issuer: record.issuer.clone(),
            institution: record.institution.as_ref().map(ToString::to_string),
            environment: record.environment,
            role: record.role,
            name: record.name.clone(),
            not_before: iso8601(record.not_before),
            not_after: iso8601(record.not_after),
            sha256: Digest::of(&record.der).to_string(),
            key_sha256: record.key_hash.to_string(),
            revoked: record.revocation.as_ref().map(|r| RevocationView {
                time: iso8601(r.time),
                reason: r.reason,
                by: r.by.clone(),
            }),
            pem: None,
            chain: None,
        }
    }

    pub(super) fn with_chain(record: &CertificateRecord, chain: &[Vec<u8>]) -> Self {
        let parts: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        Self { pem: Some(pem(&record.der)), chain: Some(pem_chain(&parts)), ..Self::new(record) }
    }
}

/// What a revocation did.
#[derive(Serialize, ToSchema)]
pub struct RevokedView {
    /// The certificate.
    certificate: CertificateView,
    /// CRLNumber of the list that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_number: Option<u32>,
    /// Why that list has to wait; the certificate is out of force here nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    crl_pending: Option<String>,
}

impl RevokedView {
    pub(super) fn new(revoked: &Revoked) -> Self {
        Self {
            certificate: CertificateView::new(&revoked.certificate),
            crl_number: revoked.list.as_ref().ok().copied(),
            crl_pending: revoked.list.as_ref().err().map(ToString::to_string),
        }
    }
}

/// A certificate request.
#[derive(Serialize, ToSchema)]
pub struct RequestView {
    /// 32 hex digits.
    id: String,
    /// `awaiting-agreement`, `signing`, `issued`, `refused`, `lapsed` or `failed-signing`.
    state: &'static str,
    /// Why it was refused, lapsed or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// The institution.
    institution: String,
    /// Where the certificate will be good.
    environment: Environment,
    /// Role of the identity.
    role: Role,
    /// Name of the identity.
    name: String,
    /// The officer who entered it, `institution/name`.
    submitter: String,
    /// ISO 8601.
    submitted: String,
    /// The serial it has or will have.
    serial: String,
    /// SHA-256, hex, of the to-be-signed bytes: what officers agree to.
    tbs_sha256: String,
    /// The to-be-signed bytes, DER, base64.
    tbs: String,
    /// The subject in them, attribute by attribute.
    subject: Vec<NameView>,
    /// First second of validity in them, ISO 8601.
    not_before: String,
    /// Last second of validity in them, ISO 8601.
    not_after: String,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    key_sha256: String,
    /// Decisions, in the order they came; not in lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    decisions: Vec<DecisionView>,
    /// Where the certificate is, once issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
}

/// One attribute of a name.
#[derive(Serialize, ToSchema)]
pub struct NameView {
    /// `C`, `O`, `organizationIdentifier`, `CN`, or the type in dotted decimal.
    r#type: String,
    /// The characters.
    value: String,
}

/// A decision on a request.
#[derive(Serialize, ToSchema)]
pub struct DecisionView {
    /// The officer, `institution/name`.
    officer: String,
    /// SHA-256 of the certificate the officer used.
    officer_sha256: String,
    /// What was decided.
    clause: Clause,
    /// Over which bytes.
    tbs_sha256: String,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// ISO 8601.
    time: String,
}

impl RequestView {
    pub(super) fn new(request: &RequestRecord, decisions: &[Agreement]) -> Self {
        let draft = Draft::thaw(request.tbs.clone()).ok();
        let subject = draft.as_ref().and_then(|d| d.subject().ok()).unwrap_or_default();
        let (not_before, not_after) = draft.and_then(|d| d.validity().ok()).unwrap_or_default();
        let issued = request.state == crate::certificate::RequestState::Issued;
        Self {
            id: request.id.clone(),
            state: request.state.as_str(),
            reason: request.reason.clone(),
            institution: request.institution.to_string(),
            environment: request.environment,
            role: request.role,
            name: request.name.clone(),
            submitter: request.submitter.clone(),
            submitted: iso8601(request.submitted),
            serial: request.serial.to_string(),
            tbs_sha256: request.tbs_sha256().to_string(),
            tbs: Base64::encode_string(&request.tbs),
            subject: subject.into_iter().map(|(r#type, value)| NameView { r#type, value }).collect(),
            not_before: iso8601(not_before),
            not_after: iso8601(not_after),
            key_sha256: request.key_hash.to_string(),
            decisions: decisions.iter().map(DecisionView::from).collect(),
            certificate: issued.then(|| format!("/v1/certificates/{}", request.serial)),
        }
    }
}

impl From<&Agreement> for DecisionView {
    fn from(a: &Agreement) -> Self {
        Self {
            officer: format!("{}/{}", a.person.0, a.person.1),
            officer_sha256: a.officer.to_string(),
            clause: a.clause,
            tbs_sha256: a.tbs_sha256.to_string(),
            reason: a.reason.clone(),
            time: iso8601(a.time),
        }
    }
}

impl From<CertificateError> for Problem {
    fn from(error: CertificateError) -> Self {
        use CertificateError as E;
        const LOOK: &str = "Read the request again and decide on what it says now.";
        const OPERATOR: &str = "Tell the operator; nothing was released.";
        let text = error.to_string();
        match error {
            E::Request(_) => {
                Self::new(400, "csr-refused", text, "Make a new request that avoids what the detail names.")
            }
            E::Participant(_) => {
                Self::new(400, "institution-data-refused", text, "Correct the field the detail names.")
            }
            E::UnknownInstitution(id) => Self::not_found("institution", &id),
            E::InstitutionExists { .. } => Self::new(
                409,
                "institution-exists",
                text,
                "Use the registered institution, or another id and domain.",
            ),
            E::RoleNeedsProduction { .. } => {
                Self::new(400, "role-needs-production", text, "Ask for a production certificate.")
            }
            E::NameTaken { .. } => {
                Self::new(409, "name-taken", text, "Use another name, or revoke that certificate first.")
            }
            E::KeyInUse(_) | E::KeyCompromised(_) => {
                Self::new(409, "key-in-use", text, "Make a new key pair.")
            }
            E::UnknownCertificate(serial) | E::NotASerial(serial) => Self::not_found("certificate", &serial),
            E::UnknownRequest(id) => Self::not_found("certificate request", &id),
            E::NotAwaiting { .. } => {
                Self::new(409, "request-closed", text, "Enter a new request if it is still wanted.")
            }
            E::OtherBytes { .. } => Self::new(409, "other-bytes", text, LOOK),
            E::DecidedAlready(_) => Self::new(409, "decided-already", text, "Have another officer decide."),
            E::OwnRequest(_) | E::NotAnOfficer(_) => {
                Self::new(403, "not-allowed-to-decide", text, "Have another officer decide.")
            }
            E::ReasonNeeded => {
                Self::new(400, "reason-needed", text, "Give the reason; the applicant will read it.")
            }
            E::HoldNotAllowed(_) => {
                Self::new(409, "hold-not-allowed", text, "Revoke it for another reason, which is final.")
            }
            E::Enrolment(EnrolmentError::BadCredential) => {
                const ACTION: &str = "Use the credential that an officer gave for this certificate.";
                Self::new(401, "bad-credential", text, ACTION)
            }
            E::Enrolment(_) => {
                Self::new(403, "not-allowed-to-enrol", text, "Ask an officer for a new credential.")
            }
            E::NotTheHolder(_) => {
                const ACTION: &str = "Sign exactly the text of the statement with the certificate's own key.";
                Self::new(403, "not-the-holder", text, ACTION)
            }
            E::NotOnHold(_) => Self::new(409, "not-on-hold", text, "Ask for a new certificate instead."),
            E::InvaliditySpan(_) => {
                Self::new(400, "invalidity-span", text, "Correct the moment, or leave it out.")
            }
            E::RevokedAlready { .. } => Self::new(409, "revoked-already", text, "Nothing is left to do."),
            E::Infrastructure(_) | E::BootstrapOver => {
                Self::new(409, "ceremony-needed", text, "Do it at the machine, by two officers.")
            }
            E::UnknownCa(_) | E::Issuer(_) | E::OutsideIssuer { .. } => {
                Self::new(503, "no-issuing-ca", text, OPERATOR)
            }
            E::Lint(_) | E::Der(_) | E::WrongSignature | E::Entropy => {
                Self::new(500, "certificate-stopped", text, OPERATOR)
            }
            E::Key(key) => Self::from_key(&key, text),
            E::Record(_) | E::Store(_) => Self::new(503, "storage-failed", text, OPERATOR).retry_after(60),
            E::NoTime => Self::new(503, "clock-not-trusted", text, "Ask again once the clock was trusted.")
                .retry_after(10),
            E::Stopping => Self::new(503, "stopping", text, "Ask again.").retry_after(5),
        }
    }
}

impl Problem {
    fn from_key(error: &KeyError, text: String) -> Self {
        const AGAIN: &str = "Read the request: agree again while it awaits agreement, else enter it again.";
        const FROZEN: &str = "Tell the operator: the HSM or its key is not in order.";
        match error {
            KeyError::Busy => Self::new(503, "hsm-busy", text, AGAIN).retry_after(1),
            KeyError::Deadline(_) | KeyError::Down(_) => {
                Self::new(503, "hsm-not-available", text, AGAIN).retry_after(5)
            }
            KeyError::Unknown(_)
            | KeyError::Refused(_)
            | KeyError::WrongSignature(_)
            | KeyError::Differs { .. }
            | KeyError::BadLabel(_) => Self::new(503, "hsm-refused", text, FROZEN),
        }
    }
}
