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
    /// Take register numbers of one's own institution.
    TakeIdentifiers,
    /// Read receipts, proofs, heads of a journal of one's own institution.
    ReadJournal,
    /// Open a journal for an institution.
    OpenJournal,
    /// Freeze a journal or hand it over, together with a second officer.
    CloseJournal,
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
    /// Read why the journals are in quarantine, and record with a second officer what is lost.
    SettleJournals,
    /// Read clock, HSM and journal state in detail.
    ReadStatus,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 6] = [
        Self::RegistryService,
        Self::ControlAdministrator,
        Self::TechnicalAdministrator,
        Self::InternalController,
        Self::InternalAdministrator,
        Self::Auditor,
    ];

    /// The word in JSON and in the store, e.g. `registry-service`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RegistryService => "registry-service",
            Self::ControlAdministrator => "control-administrator",
            Self::TechnicalAdministrator => "technical-administrator",
            Self::InternalController => "internal-controller",
            Self::InternalAdministrator => "internal-administrator",
            Self::Auditor => "auditor",
        }
    }

    /// The role of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == word)
    }

    /// The authorisation matrix: everything not listed is refused.
    pub fn may(self, action: Action) -> bool {
        use Action::*;
        match self {
            Role::RegistryService => matches!(action, Stamp | Seal | TakeIdentifiers | ReadJournal),
            Role::ControlAdministrator => matches!(
                action,
                OpenJournal
                    | CloseJournal
                    | ManageInstitutions
                    | RequestCertificate
                    | AgreeToCertificate
                    | RevokeCertificate
                    | SettleJournals
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_has_one_word_in_json_and_in_the_store() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(Role::from_word(role.as_str()), Some(role));
        }
        assert_eq!(Role::from_word("root"), None);
    }

    #[test]
    fn only_control_administrators_touch_certificates_and_auditors_write_nothing() {
        use Action::*;
        for action in
            [RequestCertificate, AgreeToCertificate, RevokeCertificate, ManageInstitutions, OpenJournal]
        {
            for role in Role::ALL {
                assert_eq!(role.may(action), role == Role::ControlAdministrator, "{role:?} {action:?}");
            }
        }
        assert!(!Role::ControlAdministrator.may(Stamp) && !Role::ControlAdministrator.may(Seal));
        assert!(!Role::TechnicalAdministrator.may(ReadJournal));
    }
}
