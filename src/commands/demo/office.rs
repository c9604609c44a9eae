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
        let (key, request) = key_and_request("")?;
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
        let chain = self.agreed(&pending)?;
        place.write(&format!("identities/{name}.pem"), chain)?;
        Ok(identity)
    }

    /// Both officers agree; the certificate and its issuers, leaf first, PEM.
    fn agreed(&self, pending: &Value) -> Result<Vec<u8>, DemoError> {
        let (Some(id), "awaiting-agreement") = (pending["id"].as_str(), word(pending, "state")) else {
            return Err(DemoError::Shown(format!("a production request that awaits nobody: {pending}")));
        };
        let path = format!("/v1/certificate-requests/{id}/decision");
        let body =
            json!({"clause": "agree", "tbs_sha256": pending["tbs_sha256"], "reason": "identity checked"});
        let once: Value = self.first.post_json(&path, &body)?;
        if once.get("certificate").is_some() {
            return Err(DemoError::Shown("a certificate that one officer alone agreed to".into()));
        }
        let twice: Value = self.second.post_json(&path, &body)?;
        let chain = format!("{}?format=chain", word(&twice, "certificate"));
        Ok(self.second.get(&chain)?.success(&chain)?.body)
    }
}

fn word<'a>(answer: &'a Value, key: &str) -> &'a str {
    answer[key].as_str().unwrap_or_default()
}
