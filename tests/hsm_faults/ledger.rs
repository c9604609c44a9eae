//! What the HSM was asked to sign, by the fault module's own log: nothing twice.

use std::collections::HashMap;
use std::path::Path;

use pechat::keys::{KeyPurpose, PinnedKeys};

/// CKA_ID of the key and digest, hex; how often the module behind was given them.
pub fn signed(log: &Path) -> HashMap<(String, String), usize> {
    let text = std::fs::read_to_string(log).expect("the module's log");
    let (mut keys, mut signed) = (HashMap::new(), HashMap::new());
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        // Whatever the caller was told afterwards: with the data in its hands the HSM signed, or may have.
        match &words[..] {
            [_, process, "C_SignInit", session, key] if key.starts_with("key=") => {
                keys.insert((*process, *session), key.trim_start_matches("key=").to_owned());
            }
            [_, process, "C_Sign", session, data] if data.starts_with("data=") => {
                let key = keys.get(&(*process, *session)).expect("a key before the data").clone();
                *signed.entry((key, data.trim_start_matches("data=").to_owned())).or_default() += 1;
            }
            _ => {}
        }
    }
    signed
}

/// Certificates, revocation lists and tokens that reached the HSM more than once. A head may: signed again it says
/// the same again; so may the text of the readiness check.
pub fn twice(log: &Path, keys: &Path) -> Vec<String> {
    let pinned = PinnedKeys::load(keys).expect("the pinned keys");
    let may = |id: &str| {
        let key = pinned.keys.iter().find(|key| key.id == id).expect("a pinned key");
        matches!(key.purpose, KeyPurpose::JournalHead | KeyPurpose::Canary)
    };
    let twice = signed(log).into_iter().filter(|((key, _), count)| *count > 1 && !may(key));
    twice.map(|((key, digest), count)| format!("{digest} by {key}, {count} times")).collect()
}
