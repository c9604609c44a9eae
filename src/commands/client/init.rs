//! `pechat client init`: a key that never leaves this machine, a request for it, a configuration file.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use const_oid::db::rfc5912;
use der::asn1::BitString;
use der::pem::LineEnding;
use der::{Encode, EncodePem};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePrivateKey;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use zeroize::Zeroizing;

use super::settings::{self, Settings};
use super::{ClientError, at, random};

/// Arguments of `pechat client init`. What is not given is asked for at the terminal.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// Address of the appliance, e.g. `https://seal.example.gov:8443`
    #[arg(long)]
    pub url: Option<String>,
    /// The appliance's root certificate (PEM), handed over by its operator
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Common name in the request, exactly as the officers have it on record, e.g.
    /// land-register.land-agency.example.gov [default: none; the record's names are used]
    #[arg(long)]
    pub name: Option<String>,
}

/// Makes key, request and configuration; gives the text for the person at the terminal.
pub fn init(args: &InitArgs, config: Option<&Path>) -> Result<String, ClientError> {
    let config = settings::config_path(config)?;
    let dir = config.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let url = answer("--url", "Address of the appliance (https://…)", args.url.as_deref())?;
    let ca = answer("--ca", "Its root certificate (PEM file)", args.ca.as_ref().and_then(|p| p.to_str()))?;
    let ca = fs::canonicalize(&ca).map_err(|e| at(Path::new(&ca), e))?;
    let settings = Settings { url, ca, cert: "client.pem".into(), key: "client.key".into(), head_key: None };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|e| at(&dir, e))?;
    let (key, request) = key_and_request(args.name.as_deref().unwrap_or_default())?;
    let toml = toml::to_string(&settings).map_err(|e| ClientError::KeyMaking(e.to_string()))?;
    create(&dir.join("client.key"), key.as_bytes())?;
    create(&dir.join("client.csr"), request.as_bytes())?;
    create(&config, toml.as_bytes())?;
    Ok(next_step(&dir, &config))
}

/// A fresh P-256 key (PKCS#8 PEM) and a PKCS#10 request (PEM) for it, signed with it. With an empty
/// name the subject is empty, and the officers' record gives every name.
pub fn key_and_request(name: &str) -> Result<(Zeroizing<String>, String), ClientError> {
    let bad = |e: &dyn std::fmt::Display| ClientError::KeyMaking(e.to_string());
    let key = fresh_key()?;
    let pem = key.to_pkcs8_pem(LineEnding::LF).map_err(|e| bad(&e))?;
    let subject = match name {
        "" => Name::default(),
        name => Name::from_str(&format!("CN={}", escaped(name))).map_err(|e| bad(&e))?,
    };
    let request = signed_request(subject, &SigningKey::from(&key)).map_err(|e| bad(&e))?;
    Ok((pem, request.to_pem(LineEnding::LF).map_err(|e| bad(&e))?))
}

/// RFC 2986 section 4: the request information, then ecdsa-with-SHA256 over its DER.
fn signed_request(subject: Name, key: &SigningKey) -> Result<CertReq, der::Error> {
    let info = CertReqInfo {
        version: Default::default(),
        subject,
        public_key: SubjectPublicKeyInfoOwned::from_key(key.verifying_key())
            .map_err(|_| der::ErrorKind::Failed)?,
        attributes: Default::default(),
    };
    let signature: DerSignature = key.sign(&info.to_der()?);
    let algorithm = AlgorithmIdentifierOwned { oid: rfc5912::ECDSA_WITH_SHA_256, parameters: None };
    Ok(CertReq { info, algorithm, signature: BitString::from_bytes(signature.as_bytes())? })
}

/// A scalar out of range (chance 2^-32) is simply drawn again.
fn fresh_key() -> Result<p256::SecretKey, ClientError> {
    let mut scalar = Zeroizing::new([0; 32]);
    loop {
        random(scalar.as_mut())?;
        if let Ok(key) = p256::SecretKey::from_slice(scalar.as_ref()) {
            return Ok(key);
        }
    }
}

/// RFC 4514 section 2.4: characters that would end the value.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' | '#') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

fn answer(flag: &'static str, question: &str, given: Option<&str>) -> Result<String, ClientError> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(ClientError::NobodyToAsk(flag));
    }
    print!("{question}: ");
    let terminal = Path::new("terminal");
    io::stdout().flush().map_err(|e| at(terminal, e))?;
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(|e| at(terminal, e))?;
    let line = line.trim();
    if line.is_empty() { Err(ClientError::NobodyToAsk(flag)) } else { Ok(line.to_owned()) }
}

/// Never overwrites: a key in use must not be lost by a second `init`.
fn create(path: &Path, bytes: &[u8]) -> Result<(), ClientError> {
    let mut file =
        OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(|e| at(path, e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| at(path, e))
}

fn next_step(dir: &Path, config: &Path) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "made {} (keep it here, mode 0600)", dir.join("client.key").display());
    let _ = writeln!(text, "made {}", dir.join("client.csr").display());
    let _ = writeln!(text, "made {}", config.display());
    let _ =
        writeln!(text, "next: send client.csr to your officers; put the certificate and chain they return");
    let _ = writeln!(text, "      into {}, then: pechat client stamp FILE", dir.join("client.pem").display());
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    fn args(ca: &Path) -> InitArgs {
        InitArgs {
            url: Some("https://h:1".into()),
            ca: Some(ca.into()),
            name: Some("land, 1 = \"x\"".into()),
        }
    }

    #[test]
    fn openssl_accepts_the_request_and_the_configuration_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, "x").unwrap();
        let config = dir.path().join("c/client.toml");
        let said = init(&args(&ca), Some(&config)).unwrap();
        assert!(said.contains("client.csr"), "{said}");
        let csr = dir.path().join("c/client.csr");
        let out =
            Command::new("openssl").args(["req", "-verify", "-noout", "-subject", "-in"]).arg(&csr).output();
        let out = out.unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert!(String::from_utf8_lossy(&out.stdout).contains("land, 1 ="));
        let key = dir.path().join("c/client.key");
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let settings = settings::load(Some(&config)).unwrap();
        assert_eq!((settings.url.as_str(), settings.key), ("https://h:1", key));
    }

    #[test]
    fn second_init_overwrites_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, "x").unwrap();
        let config = dir.path().join("client.toml");
        init(&args(&ca), Some(&config)).unwrap();
        let key = fs::read(dir.path().join("client.key")).unwrap();
        assert!(init(&args(&ca), Some(&config)).is_err());
        assert_eq!(fs::read(dir.path().join("client.key")).unwrap(), key);
    }
}
