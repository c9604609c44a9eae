//! Make, model, mechanisms and keys of the token, as it tells them.

use super::*;
use crate::digest::{Digest, hex};
use crate::keys::inventory::{Inventory, KeyFacts, TokenFacts};

/// What is told of every private key.
const TOLD: [AttributeType; 14] = [
    AttributeType::Token,
    AttributeType::Private,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::Local,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Modifiable,
    AttributeType::Sign,
    AttributeType::SignRecover,
    AttributeType::Decrypt,
    AttributeType::Unwrap,
    AttributeType::Derive,
    AttributeType::Label,
];

/// Path and hash of the module's file, taken when it is loaded.
#[derive(Debug, Clone)]
pub struct ModuleFile {
    /// Path.
    pub path: String,
    /// SHA-256, hex.
    pub sha256: String,
}

impl ModuleFile {
    /// Reads the whole file.
    pub fn of(path: &Path) -> Result<Self, HsmError> {
        let bytes =
            std::fs::read(path).map_err(|e| HsmError::Load { path: path.into(), cause: e.to_string() })?;
        Ok(Self { path: path.display().to_string(), sha256: Digest::of(&bytes).to_string() })
    }
}

impl Token {
    /// Reads everything anew, in a session of its own. A key that is not there exactly once is an error: then the
    /// token is not what it was at the start.
    pub fn inventory(
        &self,
        file: &ModuleFile,
        keys: impl Iterator<Item = (String, Vec<u8>)>,
    ) -> Result<Inventory, HsmError> {
        let session = open(&self.module, self.slot, false)?;
        let mut mechanisms: Vec<_> =
            self.module.get_mechanism_list(self.slot)?.iter().map(ToString::to_string).collect();
        mechanisms.sort();
        let facts =
            |(label, id): (String, Vec<u8>)| key_facts(&session, &label, &id).map(|facts| (label, facts));
        let info = self.module.get_library_info()?;
        Ok(Inventory {
            module: file.path.clone(),
            module_sha256: file.sha256.clone(),
            library: format!(
                "{} {} {}",
                trimmed(info.manufacturer_id()),
                trimmed(info.library_description()),
                info.library_version()
            ),
            token: token_facts(&self.module, self.slot)?,
            mechanisms,
            keys: keys.map(facts).collect::<Result<_, _>>()?,
        })
    }
}

/// What C_GetTokenInfo says.
pub(super) fn token_facts(module: &Pkcs11, slot: Slot) -> Result<TokenFacts, HsmError> {
    let info = module.get_token_info(slot)?;
    Ok(TokenFacts {
        label: trimmed(info.label()),
        manufacturer: trimmed(info.manufacturer_id()),
        model: trimmed(info.model()),
        serial: trimmed(info.serial_number()),
        hardware: info.hardware_version().to_string(),
        firmware: info.firmware_version().to_string(),
    })
}

/// Without the blanks, or NULs, that fill the field.
pub(super) fn trimmed(text: &str) -> String {
    text.trim_matches([' ', '\0']).to_owned()
}

fn key_facts(session: &Session, label: &str, id: &[u8]) -> Result<KeyFacts, HsmError> {
    let public = one(session, label, id, "public key")?;
    let private = one(session, label, id, "private key")?;
    let found = session.get_attributes(private, &TOLD)?;
    let told = |wanted: &AttributeType| {
        let value = found.iter().find(|value| value.attribute_type() == *wanted);
        value.map_or_else(|| format!("{wanted:?}: not told"), |value| format!("{value:?}"))
    };
    let spki = match public_key(session, label, public) {
        Err(HsmError::NotP256(_)) => spki_of_ed25519(&edwards_key(session, label, public)?).to_vec(),
        other => other?.to_vec(),
    };
    Ok(KeyFacts {
        id: hex(id),
        spki_sha256: Digest::of(&spki).to_string(),
        attributes: TOLD.iter().map(told).collect(),
    })
}
