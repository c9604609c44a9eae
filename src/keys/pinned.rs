//! The list of keys that the service may use, as `pechat init` wrote it.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::public::{ED25519_SPKI_BYTES, PublicKey, SPKI_BYTES};
use super::{KeyLabel, KeyPurpose};
use crate::digest::{hex, unhex_into};
use crate::replace::replace;

/// Most bytes of a `keys.json`: some 1000 keys.
const MAX_FILE: u64 = 512 * 1024;
/// Most keys of one signer: their numbers travel as 16 bits and all are proven at each start.
const MAX_KEYS: usize = 256;

/// A P-256 public key, pinned at `pechat init`; written to `keys.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedKey {
    /// CKA_LABEL.
    pub label: KeyLabel,
    /// What it may be used for.
    pub purpose: KeyPurpose,
    /// CKA_ID, hex: 1 to 32 bytes.
    pub id: String,
    /// SubjectPublicKeyInfo, DER, as hex.
    pub spki: String,
}

/// All keys the service may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedKeys {
    /// One entry a key; labels and ids are distinct.
    pub keys: Vec<PinnedKey>,
}

/// Why a list of pinned keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The file cannot be read or written.
    #[error("the list of pinned keys {path}: {cause}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The file is not the JSON it should be.
    #[error("the list of pinned keys {path} is not valid: {cause}")]
    Json {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        cause: serde_json::Error,
    },
    /// The list is too long or empty.
    #[error("{0} pinned keys: 1 to 256 are allowed")]
    Count(usize),
    /// Two entries would be the same key.
    #[error("pinned key {label:?} has the same {what} as an earlier one")]
    Twice {
        /// `label`, `id` or `public key`.
        what: &'static str,
        /// Label of the later entry.
        label: String,
    },
    /// The id is not hex, empty or too long.
    #[error("pinned key {0:?} has an id that is not 1 to 32 bytes in hex")]
    Id(String),
    /// The public key is not a P-256 SubjectPublicKeyInfo in hex.
    #[error(
        "pinned key {0:?} has no P-256 (or, for journal-head-ed25519, Ed25519) public key (SubjectPublicKeyInfo, hex)"
    )]
    Spki(String),
}

impl PinnedKey {
    /// CKA_ID as bytes.
    pub fn id_bytes(&self) -> Result<Vec<u8>, PinError> {
        let mut bytes = vec![0; self.id.len() / 2];
        let good = (1..=32).contains(&bytes.len()) && unhex_into(&self.id, &mut bytes).is_some();
        if good { Ok(bytes) } else { Err(PinError::Id(self.label.as_str().into())) }
    }

    /// The public key, parsed.
    pub fn public_key(&self) -> Result<PublicKey, PinError> {
        // Another length than those two is no key that is pinned.
        let mut spki =
            vec![0; if self.spki.len() == 2 * ED25519_SPKI_BYTES { ED25519_SPKI_BYTES } else { SPKI_BYTES }];
        unhex_into(&self.spki, &mut spki)
            .and_then(|()| PublicKey::from_spki(&spki))
            .filter(|key| {
                // Only what signs whole messages may be an Ed25519 key.
                let ed25519 = key.spki().len() == ED25519_SPKI_BYTES;
                ed25519 == (self.purpose == KeyPurpose::JournalHeadEd25519)
            })
            .ok_or_else(|| PinError::Spki(self.label.as_str().into()))
    }

    /// An entry from what the HSM gave.
    pub fn new(label: KeyLabel, purpose: KeyPurpose, id: &[u8], spki: &[u8]) -> Self {
        Self { label, purpose, id: hex(id), spki: hex(spki) }
    }
}

impl PinnedKeys {
    /// Reads and checks a `keys.json`: unknown fields, duplicates and other than P-256 keys are refused.
    pub fn load(path: &Path) -> Result<Self, PinError> {
        let failed = |cause| PinError::File { path: path.into(), cause };
        let mut text = String::new();
        File::open(path).and_then(|f| f.take(MAX_FILE).read_to_string(&mut text)).map_err(failed)?;
        let keys: Self =
            serde_json::from_str(&text).map_err(|cause| PinError::Json { path: path.into(), cause })?;
        keys.check().map(|()| keys)
    }

    /// Writes the list, mode 0600, so that after a crash either the old or the new list is there.
    pub fn save(&self, path: &Path) -> Result<(), PinError> {
        self.check()?;
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|cause| PinError::Json { path: path.into(), cause })?;
        text.push('\n');
        replace(path, text.as_bytes(), 0o600).map_err(|cause| PinError::File { path: path.into(), cause })
    }

    /// Labels, ids and public keys are well-formed and distinct.
    pub fn check(&self) -> Result<(), PinError> {
        if !(1..=MAX_KEYS).contains(&self.keys.len()) {
            return Err(PinError::Count(self.keys.len()));
        }
        let mut seen = HashSet::new();
        for key in &self.keys {
            let label = key.label.as_str().as_bytes().to_vec();
            let spki = key.public_key()?.spki().to_vec();
            for (what, value) in [("label", label), ("id", key.id_bytes()?), ("public key", spki)] {
                if !seen.insert((what, value)) {
                    return Err(PinError::Twice { what, label: key.label.as_str().into() });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::pinned;
    use super::*;

    #[test]
    fn a_saved_list_loads_as_it_was_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let keys = PinnedKeys { keys: vec![pinned("root-ca", 1), pinned("tsu-1", 2)] };
        keys.save(&path).unwrap();
        keys.save(&path).unwrap();
        assert_eq!(PinnedKeys::load(&path).unwrap(), keys);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn doubles_are_refused_by_name() {
        let [one, two] = [pinned("one", 1), pinned("two", 2)];
        let same_label = PinnedKey { label: one.label.clone(), ..two.clone() };
        let same_id = PinnedKey { id: one.id.to_uppercase(), ..two.clone() };
        let same_key = PinnedKey { spki: one.spki.clone(), ..two };
        for (other, what) in [(same_label, "label"), (same_id, "id"), (same_key, "public key")] {
            let error = PinnedKeys { keys: vec![one.clone(), other] }.check().unwrap_err();
            assert!(error.to_string().contains(&format!("the same {what}")), "{error}");
        }
        assert!(matches!(PinnedKeys { keys: vec![] }.check(), Err(PinError::Count(0))));
    }

    #[test]
    fn unknown_fields_and_wrong_values_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let good = serde_json::to_string(&PinnedKeys { keys: vec![pinned("one", 1)] }).unwrap();
        for (from, to) in [
            ("{\"keys\"", "{\"extra\":1,\"keys\""),
            ("\"label\"", "\"note\":\"x\",\"label\""),
            ("\"one\"", "\"ONE\""),
            ("\"id\":\"", "\"id\":\"z"),
            ("\"spki\":\"30", "\"spki\":\"31"),
            ("\"canary\"", "\"anything\""),
        ] {
            assert!(good.contains(from), "{from}");
            std::fs::write(&path, good.replacen(from, to, 1)).unwrap();
            assert!(PinnedKeys::load(&path).is_err(), "{from} -> {to}");
        }
        assert!(matches!(PinnedKeys::load(&dir.path().join("none")), Err(PinError::File { .. })));
    }
}
