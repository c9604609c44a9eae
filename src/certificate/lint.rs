//! The second look at a certificate: what must be true of its bytes, whoever built them
//! (`docs/policy/certificate-profiles.md`; RFC 5280 sections 4.1 and 4.2).

use const_oid::AssociatedOid;
use x509_cert::TbsCertificate;
use x509_cert::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage,
    SubjectAltName, SubjectKeyIdentifier,
};

use super::CertificateError;
use super::authority::{Authority, find, key_identifier, seconds};
use super::profile::Profile;
use der::Encode;

/// Refuses a certificate that is not what `profile` and its issuer say.
pub(super) fn check(
    tbs: &TbsCertificate,
    profile: &Profile,
    issuer: Option<&Authority>,
) -> Result<(), CertificateError> {
    let extensions = tbs.extensions().map_or(&[][..], |e| e.as_slice());
    form(tbs, extensions)
        .and_then(|()| issuing(tbs, extensions, issuer))
        .and_then(|()| kind(extensions, profile))
        .map_err(|what| CertificateError::Lint(what.into()))
}

fn must(holds: bool, else_what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(else_what) }
}

fn form(tbs: &TbsCertificate, extensions: &[Extension]) -> Result<(), &'static str> {
    must(tbs.version() == Version::V3, "the version is not 3")?;
    let serial = tbs.serial_number().as_bytes();
    must(
        (17..=20).contains(&serial.len()) && serial[0] & 0x80 == 0,
        "the serial is not 17 to 20 octets, positive",
    )?;
    let repeated = |(i, e): (usize, &Extension)| extensions[..i].iter().any(|o| o.extn_id == e.extn_id);
    must(!extensions.iter().enumerate().any(repeated), "an extension is repeated")?;
    must(
        *tbs.signature() == super::draft::algorithm(),
        "the signature algorithm is not plain ecdsa-with-SHA256",
    )?;
    must(seconds(&tbs.validity().not_before) < seconds(&tbs.validity().not_after), "it is never valid")?;
    let spki = tbs.subject_public_key_info().to_der().map_err(|_| "the key does not encode")?;
    let identifier = key_identifier(&spki).map_err(|_| "the key does not decode")?;
    let named = find::<SubjectKeyIdentifier>(extensions).map(|(_, i)| i.0.as_bytes().to_vec());
    must(named == Some(identifier), "the subject key identifier is not the key's")
}

fn issuing(
    tbs: &TbsCertificate,
    extensions: &[Extension],
    issuer: Option<&Authority>,
) -> Result<(), &'static str> {
    let authority = find::<AuthorityKeyIdentifier>(extensions)
        .and_then(|(_, a)| a.key_identifier.map(|k| k.as_bytes().to_vec()))
        .ok_or("there is no authority key identifier")?;
    let Some(issuer) = issuer else {
        return must(tbs.issuer() == tbs.subject(), "a root's issuer is not itself");
    };
    must(authority == issuer.key_identifier, "the authority key identifier is not the issuer's")?;
    must(tbs.issuer() == &issuer.subject, "the issuer's name is not the CA's subject")?;
    let inside = seconds(&tbs.validity().not_before) >= issuer.not_before
        && seconds(&tbs.validity().not_after) <= issuer.not_after;
    must(inside, "the validity reaches beyond the issuer's")
}

fn kind(extensions: &[Extension], profile: &Profile) -> Result<(), &'static str> {
    let constraints = find::<BasicConstraints>(extensions);
    must(
        constraints == Some((true, profile.basic_constraints())),
        "the basic constraints are not the profile's",
    )?;
    must(
        find::<KeyUsage>(extensions) == Some((true, profile.key_usage())),
        "the key usage is not the profile's",
    )?;
    let purposes = find::<ExtendedKeyUsage>(extensions);
    let critical = *profile == Profile::TimeStamping;
    let wanted =
        (!profile.purposes().is_empty()).then(|| (critical, ExtendedKeyUsage(profile.purposes().to_vec())));
    must(purposes == wanted, "the extended key usage is not the profile's")?;
    let names = find::<SubjectAltName>(extensions).map(|(_, n)| n.0).unwrap_or_default();
    must(names == profile.alternative_names(), "the alternative names are not the profile's")?;
    let policy = find::<CertificatePolicies>(extensions).map(|(_, p)| p.0);
    let policy = policy.map(|p| p.iter().map(|i| i.policy_identifier).collect::<Vec<_>>());
    must(policy.unwrap_or_default() == Vec::from_iter(profile.policy()), "the policy is not the profile's")?;
    let known = |e: &Extension| {
        !e.critical || [BasicConstraints::OID, KeyUsage::OID, ExtendedKeyUsage::OID].contains(&e.extn_id)
    };
    must(extensions.iter().all(known), "an extension is critical without need")
}
