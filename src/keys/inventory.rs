//! What the HSM is and what each of its keys looks like, pinned once and compared ever after.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::replace::replace;

/// Most bytes of a pinned inventory.
const MAX_FILE: u64 = 1024 * 1024;

/// Everything that is compared. Texts are the module's own, without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Path of the PKCS#11 module.
    pub module: String,
    /// SHA-256 of its file, hex, at the start of the signer.
    pub module_sha256: String,
    /// Manufacturer, description and version of the module.
    pub library: String,
    /// The token: make, model, serial number, firmware (audit requirement S14).
    pub token: TokenFacts,
    /// Mechanisms of the token, sorted.
    pub mechanisms: Vec<String>,
    /// The pinned keys by label.
    pub keys: BTreeMap<String, KeyFacts>,
}

/// What C_GetTokenInfo says that stays the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFacts {
    /// CKA label.
    pub label: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Serial number.
    pub serial: String,
    /// Hardware version.
    pub hardware: String,
    /// Firmware version.
    pub firmware: String,
}

/// One key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// CKA_ID, hex.
    pub id: String,
    /// SHA-256 of the SubjectPublicKeyInfo DER, hex.
    pub spki_sha256: String,
    /// Attributes of the private key as `Name(value)`; `Name: not told` where the token gives none.
    pub attributes: Vec<String>,
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Of module or token: these stop every key.
    pub general: Vec<String>,
    /// Of one key: these stop that key.
    pub keys: BTreeMap<String, String>,
}

impl Inventory {
    /// Reads what was pinned; `None` when nothing was.
    pub fn load(path: &Path) -> Result<Option<Self>, String> {
        let failed = |e: String| format!("the pinned inventory {}: {e}", path.display());
        match std::fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(failed(e.to_string())),
            Ok(meta) if meta.len() > MAX_FILE => return Err(failed(format!("{} bytes", meta.len()))),
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        serde_json::from_str(&text).map(Some).map_err(|e| failed(e.to_string()))
    }

    /// Pins it, mode 0600, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let failed = |e: String| format!("the pinned inventory {}: {e}", path.display());
        let text = serde_json::to_string_pretty(self).map_err(|e| failed(e.to_string()))?;
        replace(path, format!("{text}\n").as_bytes(), 0o600).map_err(|e| failed(e.to_string()))
    }

    /// What is different `now`.
    pub fn differences(&self, now: &Self) -> Differences {
        let mut general = Vec::new();
        let mut compare = |what: &str, pinned: &str, found: &str| {
            if pinned != found {
                general.push(format!("{what} is {found:?}, pinned is {pinned:?}"));
            }
        };
        compare("the module", &self.module, &now.module);
        compare("the SHA-256 of the module", &self.module_sha256, &now.module_sha256);
        compare("the module's library", &self.library, &now.library);
        let (pinned, found) = (&self.token, &now.token);
        compare("the token's label", &pinned.label, &found.label);
        compare("the token's manufacturer", &pinned.manufacturer, &found.manufacturer);
        compare("the token's model", &pinned.model, &found.model);
        compare("the token's serial number", &pinned.serial, &found.serial);
        compare("the token's hardware", &pinned.hardware, &found.hardware);
        compare("the token's firmware", &pinned.firmware, &found.firmware);
        let changed = changes(&self.mechanisms, &now.mechanisms);
        if !changed.is_empty() {
            general.push(format!("the token's mechanisms: {}", changed.join(", ")));
        }
        let keys = self.keys.iter().filter_map(|(label, pinned)| {
            let found = now.keys.get(label);
            let what = found.map_or(Some("it is missing".into()), |found| pinned.difference(found));
            what.map(|what| (label.clone(), what))
        });
        Differences { general, keys: keys.collect() }
    }
}

impl KeyFacts {
    fn difference(&self, now: &Self) -> Option<String> {
        let mut changed = changes(&self.attributes, &now.attributes);
        if self.id != now.id {
            changed.push(format!("CKA_ID {} instead of {}", now.id, self.id));
        }
        if self.spki_sha256 != now.spki_sha256 {
            changed.push(format!("public key {} instead of {}", now.spki_sha256, self.spki_sha256));
        }
        (!changed.is_empty()).then(|| changed.join(", "))
    }
}

/// `+new` and `-gone`.
fn changes(pinned: &[String], now: &[String]) -> Vec<String> {
    let gone = pinned.iter().filter(|old| !now.contains(old)).map(|old| format!("-{old}"));
    let new = now.iter().filter(|new| !pinned.contains(new)).map(|new| format!("+{new}"));
    gone.chain(new).collect()
}

impl super::Keys {
    /// Compares the HSM with the inventory pinned at `path`, now and at each later report of the signer; pins the
    /// HSM as it is where nothing was pinned yet. A difference stops the key, one of module or token all keys,
    /// until the service is started with another inventory. Without a signer process there is nothing to compare.
    pub fn pin_inventory(&self, path: &Path) -> Result<Differences, String> {
        let Some(found) = self.control().and_then(super::SignerControl::inventory) else {
            return Ok(Differences::default());
        };
        let pinned = match Inventory::load(path)? {
            Some(pinned) => pinned,
            None => {
                tracing::warn!(path = %path.display(), "no inventory of the HSM was pinned: it is pinned as it is now");
                found.save(path)?;
                found.clone()
            }
        };
        let differences = pinned.differences(&found);
        self.0
            .checks
            .pinned_inventory
            .set(pinned)
            .map_err(|_| "the inventory is pinned already".to_owned())?;
        self.0.checks.stop_what_differs(&found);
        Ok(differences)
    }
}

impl super::Checks {
    /// Stops keys whose inventory is not the pinned one, and says so.
    pub(super) fn stop_what_differs(&self, now: &Inventory) {
        let Some(pinned) = self.pinned_inventory.get() else { return };
        let differences = pinned.differences(now);
        for (label, check) in &self.keys {
            let own = differences.keys.get(label.as_str());
            let all = (!differences.general.is_empty()).then(|| differences.general.join("; "));
            if let Some(what) = own.cloned().or(all)
                && check.differs.set(what.clone()).is_ok()
            {
                tracing::error!(
                    key = label.as_str(),
                    what,
                    "the key differs from the pinned inventory: stopped"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is called, and how it comes about.
    type Change<T> = (&'static str, fn(&mut T));

    fn inventory() -> Inventory {
        let token = TokenFacts {
            label: "t".into(),
            manufacturer: "m".into(),
            model: "x".into(),
            serial: "1".into(),
            hardware: "1.0".into(),
            firmware: "2.0".into(),
        };
        let key = |id: &str| KeyFacts {
            id: id.into(),
            spki_sha256: format!("{id}{id}"),
            attributes: vec!["Sensitive(true)".into(), "Extractable(false)".into()],
        };
        Inventory {
            module: "/m.so".into(),
            module_sha256: "00".into(),
            library: "lib 1.0".into(),
            token,
            mechanisms: vec!["CKM_ECDSA".into()],
            keys: [("a".to_owned(), key("01")), ("b".to_owned(), key("02"))].into(),
        }
    }

    #[test]
    fn nothing_differs_from_itself_and_every_part_is_compared() {
        let pinned = inventory();
        assert_eq!(pinned.differences(&pinned), Differences::default());
        let changes: [Change<Inventory>; 6] = [
            ("the module is", |i| i.module = "/n.so".into()),
            ("the SHA-256 of the module", |i| i.module_sha256 = "01".into()),
            ("the module's library", |i| i.library = "lib 1.1".into()),
            ("serial number is \"2\", pinned is \"1\"", |i| i.token.serial = "2".into()),
            ("firmware", |i| i.token.firmware = "2.1".into()),
            ("mechanisms: -CKM_ECDSA, +CKM_X", |i| i.mechanisms = vec!["CKM_X".into()]),
        ];
        for (what, change) in changes {
            let mut now = inventory();
            change(&mut now);
            let differences = pinned.differences(&now);
            assert_eq!(differences.general.len(), 1, "{differences:?}");
            assert!(differences.general[0].contains(what), "{differences:?}");
            assert!(differences.keys.is_empty());
        }
    }

    #[test]
    fn a_changed_key_is_named_alone() {
        let pinned = inventory();
        let changes: [Change<KeyFacts>; 3] = [
            ("-Sensitive(true), +Sensitive(false)", |k| k.attributes[0] = "Sensitive(false)".into()),
            ("CKA_ID 09 instead of 02", |k| k.id = "09".into()),
            ("public key 99 instead of 0202", |k| k.spki_sha256 = "99".into()),
        ];
        for (what, change) in changes {
            let mut now = inventory();
            change(now.keys.get_mut("b").unwrap());
            let expected = Differences { general: vec![], keys: [("b".to_owned(), what.to_owned())].into() };
            assert_eq!(pinned.differences(&now), expected);
        }
        let mut now = inventory();
        now.keys.remove("a");
        assert_eq!(pinned.differences(&now).keys["a"], "it is missing");
    }

    #[test]
    fn a_pinned_inventory_reads_back_and_none_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hsm-inventory.json");
        assert_eq!(Inventory::load(&path), Ok(None));
        inventory().save(&path).unwrap();
        assert_eq!(Inventory::load(&path), Ok(Some(inventory())));
        std::fs::write(&path, "{}").unwrap();
        assert!(Inventory::load(&path).unwrap_err().contains("missing field"));
    }
}
