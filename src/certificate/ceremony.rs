//! The certificates `pechat init` makes: root, issuing CAs, time-stamping unit, TLS listener.
//! Each is drafted, linted, signed in the HSM and verified again before it is returned.

use super::authority::{Authority, Ca};
use super::draft::{Content, Draft};
use super::profile::{Profile, Subject};
use super::{CertificateError, request};
use crate::clock::UtcMicros;
use crate::institution::Environment;
use crate::keys::{KeyLabel, Keys};

/// The self-signed root certificate (DER) of HSM key `label`; 20 years.
pub async fn self_signed_root(
    keys: &Keys,
    label: &KeyLabel,
    subject: &Subject,
    now: UtcMicros,
) -> Result<Vec<u8>, CertificateError> {
    let spki = keys.public_key_der(label)?;
    certify(keys, None, label, &Profile::Root, subject, &spki, "", now).await
}

/// The certificate (DER) of the issuing CA whose HSM key is `label`; path length 0, 10 years.
/// `public_url` is where CRLs and CA certificates are served, e.g. `http://seal.example.gov`.
pub async fn issuing_ca(
    keys: &Keys,
    root: &Ca,
    label: &KeyLabel,
    environment: Environment,
    subject: &Subject,
    public_url: &str,
    now: UtcMicros,
) -> Result<Vec<u8>, CertificateError> {
    let spki = keys.public_key_der(label)?;
    certify(keys, Some(root), &root.label, &Profile::IssuingCa(environment), subject, &spki, public_url, now)
        .await
}

/// The certificate (DER) of the time-stamping unit whose HSM key is `label` (EN 319 422: extended
/// key usage alone and critical, private key usage period half of six years).
pub async fn tsu(
    keys: &Keys,
    issuer: &Ca,
    label: &KeyLabel,
    subject: &Subject,
    public_url: &str,
    now: UtcMicros,
) -> Result<Vec<u8>, CertificateError> {
    let spki = keys.public_key_der(label)?;
    certify(keys, Some(issuer), &issuer.label, &Profile::TimeStamping, subject, &spki, public_url, now).await
}

/// The certificate (DER) of the appliance's TLS listener, for the key in `csr` (PKCS #10, PEM or DER,
/// possession proven); `hosts` are DNS names and IP addresses; one year.
pub async fn server(
    keys: &Keys,
    issuer: &Ca,
    csr: &[u8],
    hosts: &[String],
    subject: &Subject,
    public_url: &str,
    now: UtcMicros,
) -> Result<Vec<u8>, CertificateError> {
    let request = request::parse(csr)?;
    let profile = Profile::Server { hosts: hosts.to_vec() };
    certify(keys, Some(issuer), &issuer.label, &profile, subject, request.spki_der(), public_url, now).await
}

#[allow(clippy::too_many_arguments)]
async fn certify(
    keys: &Keys,
    issuer: Option<&Ca>,
    signer: &KeyLabel,
    profile: &Profile,
    subject: &Subject,
    spki: &[u8],
    public_url: &str,
    now: UtcMicros,
) -> Result<Vec<u8>, CertificateError> {
    let issuer = issuer.map(|ca| Authority::new(ca, keys)).transpose()?;
    let now = now.0.div_euclid(1_000_000);
    let content = Content { profile, subject, spki, now, public_url };
    let draft = Draft::new(&content, issuer.as_ref())?;
    let signature = keys.sign(signer, draft.tbs()).await?;
    draft.finish(signature.as_der(), Some(profile), issuer.as_ref())
}
