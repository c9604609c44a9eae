//! What the two officers do in the demonstration: institutions, identities, journals.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::DemoError;
use super::place::Place;
use crate::commands::client::http::Connection;
use crate::commands::client::init::key_and_request;
use crate::commands::client::settings::Settings;

/// Files of one identity.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Certificate and its issuing CA, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// Both officers, connected.
pub struct Office {
    first: Connection,
    second: Connection,
}

impl Identity {
    /// A fresh key and its request in `identities/`; the certificate's place is still empty.
    pub fn with_key(place: &Place, name: &str) -> Result<Identity, DemoError> {
        let (key, request) = key_and_request(name)?;
        place.write(&format!("identities/{name}.csr"), request)?;
        let key = place.write(&format!("identities/{name}.key"), key.as_bytes())?;
        Ok(Identity { cert: place.path(&format!("identities/{name}.pem")), key })
    }

    /// Settings for this identity at the appliance.
    pub fn settings(&self, url: &str, place: &Place) -> Settings {
        Settings {
            url: url.to_owned(),
            ca: place.path("root.pem"),
            cert: self.cert.clone(),
            key: self.key.clone(),
            head_key: Some(place.path("journal-head.pem")),
        }
    }
}

impl Office {
    /// Connects as both officers.
    pub fn open(first: &Settings, second: &Settings) -> Result<Office, DemoError> {
        Ok(Office { first: Connection::open(first)?, second: Connection::open(second)? })
    }

    /// Registers an institution.
    pub fn institution(&self, id: &str, name: &str) -> Result<(), DemoError> {
        let body =
            json!({"id": id, "organisation": name, "country": "BG", "domain": format!("{id}.example.gov")});
        self.first.post_json::<Value>("/v1/institutions", &body)?;
        Ok(())
    }

    /// Opens a journal for an institution.
    pub fn journal(&self, name: &str, institution: &str) -> Result<(), DemoError> {
        let body = json!({"name": name, "institution": institution});
        self.first.post_json::<Value>("/v1/journals", &body)?;
        Ok(())
    }

    /// A production identity: requested by the first officer, agreed to by both over the hash of
    /// exactly the bytes that are then signed.
    pub fn identity(
        &self,
        place: &Place,
        institution: &str,
        role: &str,
        name: &str,
    ) -> Result<Identity, DemoError> {
        let identity = Identity::with_key(place, name)?;
        let csr = std::fs::read_to_string(place.path(&format!("identities/{name}.csr")))
            .map_err(|e| DemoError::file(&identity.cert, e))?;
        let body = json!({"institution": institution, "environment": "production", "role": role, "name": name, "csr": csr});
        let pending: Value = self.first.post_json("/v1/certificates", &body)?;
        let issued = self.agree(&pending)?;
        place.write(&format!("identities/{name}.pem"), chain(&issued).ok_or_else(|| unexpected(&issued))?)?;
        Ok(identity)
    }

    fn agree(&self, pending: &Value) -> Result<Value, DemoError> {
        if pending.get("certificate").is_some() {
            return Err(DemoError::Shown("a production certificate was issued without two officers".into()));
        }
        let request = match &pending["request"] {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return Err(unexpected(pending)),
        };
        let path = format!("/v1/certificate-requests/{request}/decision");
        let body =
            json!({"clause": "agree", "tbs_sha256": pending["tbs_sha256"], "reason": "identity checked"});
        self.first.post_json::<Value>(&path, &body)?;
        Ok(self.second.post_json(&path, &body)?)
    }
}

/// The PEM a TLS client presents: leaf first, then its issuers.
fn chain(issued: &Value) -> Option<String> {
    let leaf = issued["certificate"].as_str()?.trim();
    let chain = issued["chain"].as_str().unwrap_or_default().trim();
    let text = if chain.starts_with(leaf) { chain.to_owned() } else { format!("{leaf}\n{chain}") };
    Some(text + "\n")
}

fn unexpected(answer: &Value) -> DemoError {
    DemoError::Shown(format!("an answer that was not expected: {answer}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_comes_first_and_only_once() {
        let both = json!({"certificate": "LEAF\n", "chain": "LEAF\nCA\n"});
        let apart = json!({"certificate": "LEAF\n", "chain": "CA\n"});
        assert_eq!(chain(&both).unwrap(), "LEAF\nCA\n");
        assert_eq!(chain(&apart).unwrap(), "LEAF\nCA\n");
        assert_eq!(chain(&json!({})), None);
    }
}
