//! The record of an institution: where every name in its certificates comes from.

use super::InstitutionId;

/// One institution as registered. The fields have been checked; see [`Institution::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Institution {
    /// Short identifier.
    pub id: InstitutionId,
    /// Organisation name (`O`), 1 to 64 characters (X.520 ub-organization-name).
    pub organisation: String,
    /// ISO 3166-1 alpha-2, upper case (`C`).
    pub country: String,
    /// organizationIdentifier 2.5.4.97 (EN 319 412-1 section 5.1.4), e.g. `NTRBG-123456789`.
    pub organisation_identifier: Option<String>,
    /// The DNS domain below which its canonical server names lie, lower case.
    pub domain: String,
}

/// What is wrong with an institution's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParticipantError {
    /// Organisation name.
    #[error("organisation name {0:?} is not 1 to 64 printable characters without space at either end")]
    Organisation(String),
    /// Country.
    #[error("country {0:?} is not two upper-case letters (ISO 3166-1 alpha-2)")]
    Country(String),
    /// organizationIdentifier.
    #[error(
        "organizationIdentifier {0:?} has not the form of EN 319 412-1: VATBG-…, NTRBG-…, LEIXG-… or XX:BG-…"
    )]
    OrganisationIdentifier(String),
    /// Domain.
    #[error("domain {0:?} is not a DNS name of two or more lower-case labels and at most 190 characters")]
    Domain(String),
    /// Name of a person or service.
    #[error("name {0:?} is not a DNS label: 1 to 40 of a-z, 0-9 and -, not at either end -")]
    Name(String),
    /// The canonical name does not fit into a certificate's CN.
    #[error("canonical name {0:?} is longer than the 64 characters a common name may have")]
    CanonicalName(String),
}

impl Institution {
    /// Checks every field.
    pub fn new(
        id: InstitutionId,
        organisation: String,
        country: String,
        organisation_identifier: Option<String>,
        domain: String,
    ) -> Result<Self, ParticipantError> {
        if !is_printable(&organisation, 64) {
            return Err(ParticipantError::Organisation(organisation));
        }
        if country.len() != 2 || !country.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(ParticipantError::Country(country));
        }
        if let Some(text) = organisation_identifier.as_ref().filter(|t| !is_organisation_identifier(t)) {
            return Err(ParticipantError::OrganisationIdentifier(text.clone()));
        }
        if !is_domain(&domain) {
            return Err(ParticipantError::Domain(domain));
        }
        Ok(Self { id, organisation, country, organisation_identifier, domain })
    }

    /// `name.domain`, the one DNS name of a service called `name`.
    pub fn canonical_name(&self, name: &str) -> Result<String, ParticipantError> {
        if !is_name(name) {
            return Err(ParticipantError::Name(name.to_owned()));
        }
        let canonical = format!("{name}.{}", self.domain);
        // X.520 ub-common-name: the canonical name is also the CN.
        if canonical.len() > 64 { Err(ParticipantError::CanonicalName(canonical)) } else { Ok(canonical) }
    }
}

/// Whether `name` can name a person or a service within an institution: one DNS label.
pub fn is_name(name: &str) -> bool {
    name.len() <= 40 && is_label(name)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_domain(domain: &str) -> bool {
    // The last label holds a letter, so that no IPv4 address passes as a domain.
    let last_has_letter =
        domain.rsplit('.').next().is_some_and(|l| l.bytes().any(|b| b.is_ascii_lowercase()));
    domain.len() <= 190 && domain.contains('.') && domain.split('.').all(is_label) && last_has_letter
}

fn is_printable(text: &str, longest: usize) -> bool {
    !text.is_empty()
        && text.chars().count() <= longest
        && text.trim() == text
        && !text.chars().any(char::is_control)
}

fn is_organisation_identifier(text: &str) -> bool {
    let upper = |part: &str| part.bytes().all(|b| b.is_ascii_uppercase());
    let Some((head, reference)) = text.split_once('-') else { return false };
    let scheme_and_country = head.is_ascii()
        && match head.split_once(':') {
            Some((scheme, country)) => [scheme, country].iter().all(|p| p.len() == 2 && upper(p)),
            None => head.len() == 5 && upper(head),
        };
    scheme_and_country && is_printable(reference, 64) && text.chars().count() <= 64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(
        organisation: &str,
        country: &str,
        oid: Option<&str>,
        domain: &str,
    ) -> Result<Institution, ParticipantError> {
        let id = InstitutionId::try_from("agency".to_owned()).unwrap();
        Institution::new(id, organisation.into(), country.into(), oid.map(str::to_owned), domain.into())
    }

    #[test]
    fn a_complete_record_is_taken_and_names_its_services() {
        let agency = with("Агенция по вписванията", "BG", Some("NTRBG-123456789"), "agency.example").unwrap();
        assert_eq!(agency.canonical_name("registry-1").as_deref(), Ok("registry-1.agency.example"));
        assert!(with("A", "ME", Some("XX:ME-02"), "a.example").is_ok());
    }

    #[test]
    fn each_field_is_refused_by_its_own_error() {
        use ParticipantError as E;
        for bad in ["", " a", "a\n", &"a".repeat(65)] {
            assert_eq!(with(bad, "BG", None, "a.example"), Err(E::Organisation(bad.into())));
        }
        for bad in ["bg", "BGR", "", "Б"] {
            assert_eq!(with("A", bad, None, "a.example"), Err(E::Country(bad.into())));
        }
        for bad in ["", "123", "ntrBG-1", "NTRBG-", "NTRBG", "X:BG-1", "VATBG1-2"] {
            assert_eq!(with("A", "BG", Some(bad), "a.example"), Err(E::OrganisationIdentifier(bad.into())));
        }
        for bad in ["", "a", "a..b", "-a.b", "A.example", "a.example.", "127.0.0.1", "*.example"] {
            assert_eq!(with("A", "BG", None, bad), Err(E::Domain(bad.into())));
        }
    }

    #[test]
    fn a_name_that_is_not_one_short_label_is_refused() {
        let agency = with("A", "BG", None, "agency.example").unwrap();
        for bad in ["", "a.b", "-a", "a-", "A", "a b", "*", &"a".repeat(41)] {
            assert_eq!(agency.canonical_name(bad), Err(ParticipantError::Name(bad.into())));
        }
        let long = with("A", "BG", None, &format!("{}.example", "b".repeat(30))).unwrap();
        let name = "a".repeat(30);
        assert!(matches!(long.canonical_name(&name), Err(ParticipantError::CanonicalName(_))));
    }
}
