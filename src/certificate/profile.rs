//! Certificate profiles: what each kind of certificate says, for how long
//! (`docs/policy/certificate-profiles.md`; RFC 5280, EN 319 412-2, EN 319 422).

use std::net::IpAddr;

use const_oid::{AssociatedOid, ObjectIdentifier};
use der::asn1::{Any, GeneralizedTime, Ia5String, Null, PrintableStringRef, SetOfVec, Utf8StringRef};
use der::{Decode, Encode};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::certpolicy::PolicyInformation;
use x509_cert::ext::pkix::name::{GeneralName, GeneralNames};
use x509_cert::ext::pkix::{
    BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage, KeyUsages, PrivateKeyUsagePeriod,
    SubjectAltName,
};
use x509_cert::name::Name;

use super::draft::extension;
use super::oid;
use crate::access::Role;
use crate::institution::{Environment, Institution, ParticipantError};

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;

/// What kind of certificate it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// The root CA: self-signed.
    Root,
    /// The issuing CA of one environment: path length 0.
    IssuingCa(Environment),
    /// A time-stamping unit.
    TimeStamping,
    /// An OCSP responder, certified by the CA it answers for (RFC 6960 section 4.2.2.2).
    OcspResponder,
    /// The appliance's own TLS listener.
    Server {
        /// DNS names and IP addresses it is reached by.
        hosts: Vec<String>,
    },
    /// A registry service's transport certificate: client and server.
    Service {
        /// Decides issuer, policy and life.
        environment: Environment,
        /// `name.domain`, the one DNS name.
        canonical_name: String,
    },
    /// A person's client certificate.
    Person {
        /// Decides issuer, policy and life.
        environment: Environment,
    },
}

impl Profile {
    /// The client profile of a role: services get a canonical name, people do not.
    pub fn of_role(
        role: Role,
        environment: Environment,
        institution: &Institution,
        name: &str,
    ) -> Result<Self, ParticipantError> {
        let canonical_name = institution.canonical_name(name)?;
        Ok(match role {
            Role::RegistryService => Self::Service { environment, canonical_name },
            _ => Self::Person { environment },
        })
    }

    /// Life of a certificate, seconds; the last second included is one less (RFC 5280 section 4.1.2.5).
    pub fn lifetime(&self) -> i64 {
        match self {
            Self::Root => 20 * YEAR,
            Self::IssuingCa(_) => 10 * YEAR,
            Self::TimeStamping => 6 * YEAR,
            Self::OcspResponder => 14 * DAY,
            Self::Server { .. } => YEAR,
            Self::Service { environment, .. } | Self::Person { environment } => match environment {
                Environment::Test => 90 * DAY,
                Environment::Integration => 180 * DAY,
                Environment::Production => 2 * YEAR,
            },
        }
    }

    /// Key usage; always critical.
    pub fn key_usage(&self) -> KeyUsage {
        match self {
            Self::Root | Self::IssuingCa(_) => KeyUsage(KeyUsages::KeyCertSign | KeyUsages::CRLSign),
            _ => KeyUsage(KeyUsages::DigitalSignature.into()),
        }
    }

    /// Extended key usages, empty for CAs.
    pub fn purposes(&self) -> &'static [ObjectIdentifier] {
        match self {
            Self::Root | Self::IssuingCa(_) => &[],
            Self::TimeStamping => &[oid::TIME_STAMPING],
            Self::OcspResponder => &[oid::OCSP_SIGNING],
            Self::Server { .. } => &[oid::SERVER_AUTH],
            Self::Service { .. } => &[oid::CLIENT_AUTH, oid::SERVER_AUTH],
            Self::Person { .. } => &[oid::CLIENT_AUTH],
        }
    }

    /// Basic constraints; always critical.
    pub fn basic_constraints(&self) -> BasicConstraints {
        match self {
            Self::Root => BasicConstraints { ca: true, path_len_constraint: None },
            Self::IssuingCa(_) => BasicConstraints { ca: true, path_len_constraint: Some(0) },
            _ => BasicConstraints { ca: false, path_len_constraint: None },
        }
    }

    /// Certificate policy: another one for each environment, so that a test certificate fails by
    /// policy, too, where real data is.
    pub fn policy(&self) -> Option<ObjectIdentifier> {
        match self {
            Self::IssuingCa(environment)
            | Self::Service { environment, .. }
            | Self::Person { environment } => Some(policy_of(*environment)),
            Self::Server { .. } => Some(policy_of(Environment::Production)),
            Self::Root | Self::TimeStamping | Self::OcspResponder => None,
        }
    }

    /// Subject alternative names.
    pub fn alternative_names(&self) -> GeneralNames {
        let dns = |name: &str| Ia5String::new(name).ok().map(GeneralName::DnsName);
        match self {
            Self::Service { canonical_name, .. } => dns(canonical_name).into_iter().collect(),
            Self::Server { hosts } => hosts
                .iter()
                .filter_map(|host| host.parse::<IpAddr>().map_or_else(|_| dns(host), |ip| Some(ip.into())))
                .collect(),
            _ => GeneralNames::new(),
        }
    }

    /// Every extension that depends on the kind alone; `not_before` (seconds since 1970) opens the
    /// private key usage period of a time-stamping unit.
    pub(super) fn extensions(&self, not_before: i64) -> der::Result<Vec<Extension>> {
        let mut list = vec![
            extension(BasicConstraints::OID, true, &self.basic_constraints())?,
            extension(KeyUsage::OID, true, &self.key_usage())?,
        ];
        if !self.purposes().is_empty() {
            // RFC 3161 section 2.3: alone and critical; critical nowhere else.
            let critical = *self == Self::TimeStamping;
            list.push(extension(
                ExtendedKeyUsage::OID,
                critical,
                &ExtendedKeyUsage(self.purposes().to_vec()),
            )?);
        }
        let names = self.alternative_names();
        if !names.is_empty() {
            list.push(extension(SubjectAltName::OID, false, &SubjectAltName(names))?);
        }
        if let Some(policy_identifier) = self.policy() {
            let policies = vec![PolicyInformation { policy_identifier, policy_qualifiers: None }];
            list.push(extension(CertificatePolicies::OID, false, &CertificatePolicies(policies))?);
        }
        if *self == Self::OcspResponder {
            list.push(extension(oid::OCSP_NOCHECK, false, &Null)?);
        }
        if *self == Self::TimeStamping {
            list.push(extension(
                PrivateKeyUsagePeriod::OID,
                false,
                &half_life(not_before, self.lifetime())?,
            )?);
        }
        Ok(list)
    }
}

/// The key stamps for the first half of its certificate's life, so that every token can be verified
/// against a valid certificate for years (EN 319 422 section 6, RFC 5280 appendix).
fn half_life(not_before: i64, lifetime: i64) -> der::Result<PrivateKeyUsagePeriod> {
    let at = |s: i64| GeneralizedTime::from_unix_duration(super::draft::since_1970(s)?);
    Ok(PrivateKeyUsagePeriod {
        not_before: Some(at(not_before)?),
        not_after: Some(at(not_before + lifetime / 2 - 1)?),
    })
}

/// Production: NCP of EN 319 411-1; integration: LCP; test: the number RFC 5612 reserves for examples,
/// which no relying party can take for real.
fn policy_of(environment: Environment) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(match environment {
        Environment::Test => "1.3.6.1.4.1.32473.1",
        Environment::Integration => "0.4.0.2042.1.3",
        Environment::Production => "0.4.0.2042.1.1",
    })
}

/// The names of a certificate's subject, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `C`, two upper-case letters.
    pub country: String,
    /// `O`.
    pub organisation: String,
    /// organizationIdentifier 2.5.4.97.
    pub organisation_identifier: Option<String>,
    /// `CN`.
    pub common_name: String,
}

impl Subject {
    /// From the register: a service is called by its canonical name, a person by the name officers gave.
    pub fn of(institution: &Institution, profile: &Profile, name: &str) -> Self {
        let common_name = match profile {
            Profile::Service { canonical_name, .. } => canonical_name.clone(),
            _ => name.to_owned(),
        };
        Self {
            country: institution.country.clone(),
            organisation: institution.organisation.clone(),
            organisation_identifier: institution.organisation_identifier.clone(),
            common_name,
        }
    }

    /// Another part of the same organisation: the attributes of `name`, under another common name.
    pub(super) fn beside(name: &Name, common_name: String) -> Self {
        let of = |oid| name.iter().find(|a| a.oid == oid).map(|a| super::request::text(&a.value));
        Self {
            country: of(oid::COUNTRY).unwrap_or_default(),
            organisation: of(oid::ORGANISATION).unwrap_or_default(),
            organisation_identifier: of(oid::ORGANISATION_IDENTIFIER),
            common_name,
        }
    }

    /// As an X.501 Name: one attribute per RDN; UTF8String but for the country.
    pub fn to_name(&self) -> der::Result<Name> {
        let utf8 = |s: &str| Any::encode_from(&Utf8StringRef::new(s)?);
        let mut parts = vec![
            (oid::COUNTRY, Any::encode_from(&PrintableStringRef::new(&self.country)?)?),
            (oid::ORGANISATION, utf8(&self.organisation)?),
        ];
        if let Some(identifier) = &self.organisation_identifier {
            parts.push((oid::ORGANISATION_IDENTIFIER, utf8(identifier)?));
        }
        parts.push((oid::COMMON_NAME, utf8(&self.common_name)?));
        let rdns = parts
            .into_iter()
            .map(|(oid, value)| SetOfVec::try_from(vec![AttributeTypeAndValue { oid, value }]));
        let rdns: Vec<SetOfVec<AttributeTypeAndValue>> = rdns.collect::<der::Result<_>>()?;
        Name::from_der(&rdns.to_der()?)
    }
}
