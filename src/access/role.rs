//! Roles of `requirements.md` section C and what each may ask for.

use serde::{Deserialize, Serialize};

/// One identity has exactly one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A register's software: timestamps, seals, its own receipts.
    RegistryService,
    /// The operating authority's officer: applications, certificates, revocation, journals.
    ControlAdministrator,
    /// Installs, watches health; never uses a key.
    TechnicalAdministrator,
    /// An institution's controller: applies, opens administrators of its own institution.
    InternalController,
    /// An institution's administrator: prepares requests, edits its own data.
    InternalAdministrator,
    /// Reads everything about chains, writes nothing.
    Auditor,
}

/// What a route does, as far as access is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ask for an RFC 3161 token.
    Stamp,
    /// Append to a journal of one's own institution.
    Seal,
    /// Read receipts, proofs, heads of a journal of one's own institution.
    ReadJournal,
    /// Open a journal for an institution.
    OpenJournal,
    /// Register an institution.
    ManageInstitutions,
    /// Ask for a certificate for an institution.
    RequestCertificate,
    /// Agree to a certificate request.
    AgreeToCertificate,
    /// Revoke a certificate.
    RevokeCertificate,
    /// Read certificates and requests.
    ReadCertificates,
    /// Read clock, HSM and journal state in detail.
    ReadStatus,
}

impl Role {
    /// The authorisation matrix: everything not listed is refused.
    pub fn may(self, action: Action) -> bool {
        use Action::*;
        match self {
            Role::RegistryService => matches!(action, Stamp | Seal | ReadJournal),
            Role::ControlAdministrator => matches!(
                action,
                OpenJournal
                    | ManageInstitutions
                    | RequestCertificate
                    | AgreeToCertificate
                    | RevokeCertificate
                    | ReadCertificates
                    | ReadStatus
            ),
            Role::TechnicalAdministrator => matches!(action, ReadStatus),
            Role::InternalController | Role::InternalAdministrator => {
                matches!(action, ReadJournal | ReadCertificates)
            }
            Role::Auditor => matches!(action, ReadJournal | ReadCertificates | ReadStatus),
        }
    }

    /// Whether the role sees every institution's journals and certificates, not only its own.
    pub fn sees_all_institutions(self) -> bool {
        matches!(self, Role::Auditor | Role::ControlAdministrator)
    }
}
