//! A time-stamping unit: one HSM key, its certificate, the policies it works under, and when it may sign.

use der::asn1::ObjectIdentifier;

use crate::clock::UtcMicros;
use crate::keys::KeyLabel;

use super::chain::{Certificate, ChainError, Validity, check_order};
use super::reply::{FailInfo, Rejection};
use super::request::TimestampRequest;
use super::tlv::{element, tag};
use super::token::TokenForm;
use super::{AuthorityError, UnitParts};

/// A policy offered here.
pub(super) struct Policy {
    /// Dotted decimal.
    pub text: String,
    /// Whole OID element.
    pub der: Vec<u8>,
}

impl Policy {
    fn new(text: &str) -> Result<Policy, AuthorityError> {
        let oid = ObjectIdentifier::new(text)
            .map_err(|e| AuthorityError(format!("policy {text:?} is not an object identifier: {e}")))?;
        Ok(Policy { text: text.to_owned(), der: element(tag::OID, &[oid.as_bytes()]) })
    }
}

/// A unit whose parts fit each other.
pub(super) struct Unit {
    pub key: KeyLabel,
    pub form: TokenForm,
    validity: Validity,
    /// The default first.
    policies: Vec<Policy>,
}

impl Unit {
    /// Checks the certificate (RFC 3161 section 2.3), that it names `pinned_spki`, that the chain's
    /// links hold, and the policies. Whether it is valid *now* is asked per request
    /// (EN 319 421 TIS-7.6.7-06), as the clock may not be trusted yet.
    pub fn new(parts: &UnitParts, pinned_spki: &[u8]) -> Result<Unit, AuthorityError> {
        let refuse = |e: ChainError| AuthorityError(format!("unit {:?}: {e}", parts.key.as_str()));
        let certificate = Certificate::read(&parts.certificate).map_err(refuse)?;
        let chain = parts.chain.iter().map(|der| Certificate::read(der));
        let chain = chain.collect::<Result<Vec<_>, _>>().map_err(refuse)?;
        let validity = check_order(&certificate, &chain).map_err(refuse)?;
        if certificate.spki().map_err(refuse)? != pinned_spki {
            let key = parts.key.as_str();
            return Err(AuthorityError(format!(
                "unit {key:?}: its certificate holds another key than the pinned one"
            )));
        }
        let (issuer, serial) = certificate.issuer_and_serial().map_err(refuse)?;
        let texts = std::iter::once(&parts.policy).chain(parts.accepted_policies.iter());
        Ok(Unit {
            key: parts.key.clone(),
            form: TokenForm::new(&parts.certificate, &parts.chain, &issuer, &serial),
            validity,
            policies: texts.map(|t| Policy::new(t)).collect::<Result<_, _>>()?,
        })
    }

    /// The policy of a token for `request` (RFC 3161 section 2.4.1, reqPolicy).
    pub fn policy_for(&self, request: &TimestampRequest<'_>) -> Result<&Policy, Rejection> {
        let Some(asked) = request.policy else { return Ok(self.default_policy()) };
        let offered = self.policies.iter().find(|p| p.der.get(2..) == Some(asked));
        offered.ok_or_else(|| {
            let known: Vec<&str> = self.policies.iter().map(|p| p.text.as_str()).collect();
            let text = format!("the policy is not offered here; offered: {}", known.join(", "));
            Rejection::new(FailInfo::UnacceptedPolicy, text)
        })
    }

    /// The policy of a token nobody asked a policy for.
    pub fn default_policy(&self) -> &Policy {
        &self.policies[0]
    }

    /// Whether the unit may sign at `at` (EN 319 421 TIS-7.6.7-06, TIS-7.7.1-09).
    pub fn check_valid(&self, at: UtcMicros) -> Result<(), Rejection> {
        if self.validity.holds(at) {
            return Ok(());
        }
        let (from, to) = (self.validity.from.iso8601(), self.validity.to.iso8601());
        let text = format!("the unit's certificates are valid from {from} to {to} only");
        Err(Rejection::new(FailInfo::SystemFailure, text))
    }
}
