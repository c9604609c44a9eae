//! `pechat client compromised`: gives a key up by its own signature (`docs/formats/compromise.md`).

use std::path::{Path, PathBuf};

use clap::Args;
use rustls::SignatureScheme;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use x509_cert::Certificate;
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use super::http::Connection;
use super::{ClientError, at};
use crate::certificate::{Serial, Statement};

/// Arguments of `pechat client compromised`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example: pechat client compromised --cert service.pem --key service.key --since 2026-11-20T08:00:00Z"
)]
pub struct CompromisedArgs {
    /// The certificate whose key is compromised, PEM.
    #[arg(long)]
    pub cert: PathBuf,
    /// Its private key, PEM; whoever has it may give it up.
    #[arg(long)]
    pub key: PathBuf,
    /// Since when, ISO 8601, if it is known.
    #[arg(long, value_name = "TIME")]
    pub since: Option<jiff::Timestamp>,
    /// Origin of the appliance's plain listener [default: where the certificate says its lists are].
    #[arg(long)]
    pub url: Option<String>,
}

#[derive(Deserialize)]
struct Believed {
    serial: String,
    revoked_at: String,
}

/// Signs the statement and sends it; what was done, in a line.
pub fn compromised(args: &CompromisedArgs) -> Result<String, ClientError> {
    let bad = |what: &str| ClientError::KeyMaking(format!("{}: {what}", args.cert.display()));
    let pem = std::fs::read(&args.cert).map_err(|e| at(&args.cert, e))?;
    let certificate = Certificate::load_pem_chain(&pem).ok().and_then(|chain| chain.into_iter().next());
    let certificate = certificate.ok_or_else(|| bad("not a PEM certificate"))?;
    let serial = Serial::try_from(certificate.tbs_certificate().serial_number().as_bytes());
    let serial = serial.map_err(|e| bad(&e.to_string()))?;
    let url = args.url.clone().or_else(|| origin(&certificate));
    let url = url.ok_or_else(|| bad("it names no address; give one with --url"))?;
    let statement = Statement { serial, since: args.since.map(|t| t.as_second()) }.to_string();
    let signature = sign(&args.key, statement.as_bytes())?;
    let encoded = <base64ct::Base64 as base64ct::Encoding>::encode_string(&signature);
    let report = serde_json::json!({ "statement": statement, "signature": encoded });
    let done: Believed = Connection::plain(&url).post_json("/compromised", &report)?;
    Ok(format!("{} is revoked as compromised since {}", done.serial, done.revoked_at))
}

/// Origin of the address of the certificate's list.
fn origin(certificate: &Certificate) -> Option<String> {
    let (_, points) = certificate.tbs_certificate().get_extension::<CrlDistributionPoints>().ok()??;
    let names = match points.0.into_iter().next()?.distribution_point? {
        DistributionPointName::FullName(names) => names,
        DistributionPointName::NameRelativeToCRLIssuer(_) => return None,
    };
    names.iter().find_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => {
            uri.as_str().split_once("/crl/").map(|(origin, _)| origin.to_owned())
        }
        _ => None,
    })
}

fn sign(path: &Path, message: &[u8]) -> Result<Vec<u8>, ClientError> {
    use SignatureScheme as S;
    const SCHEMES: [S; 3] = [S::ECDSA_NISTP256_SHA256, S::ECDSA_NISTP384_SHA384, S::RSA_PKCS1_SHA256];
    let bad = |why: String| ClientError::KeyMaking(format!("{}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|e| at(path, e))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| bad(e.to_string()))?;
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|e| bad(e.to_string()))?;
    let signer = key.choose_scheme(&SCHEMES).ok_or_else(|| bad("neither ECDSA nor RSA".into()))?;
    signer.sign(message).map_err(|e| bad(e.to_string()))
}
