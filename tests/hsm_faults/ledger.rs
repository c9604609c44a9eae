//! What the HSM was asked to sign, by the fault module's own log: nothing twice.

use std::collections::HashMap;
use std::path::Path;

use pechat::digest::Digest;

/// Digests and how often each was signed with an answer of CKR_OK.
pub fn signed(log: &Path) -> HashMap<String, usize> {
    let text = std::fs::read_to_string(log).expect("the module's log");
    let mut under_way = HashMap::new();
    let mut signed = HashMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let [_, process, "C_Sign", session, rest @ ..] = &words[..] else { continue };
        match rest {
            [data] if data.starts_with("data=") => {
                under_way.insert((*process, *session), data.trim_start_matches("data=").to_owned());
            }
            // Whatever the caller was told: with data before it, the module behind signed or may have.
            ["->", ..] => {
                if let Some(data) = under_way.remove(&(*process, *session)) {
                    *signed.entry(data).or_default() += 1;
                }
            }
            _ => {}
        }
    }
    signed
}

/// Digests that reached the HSM more than once, readiness checks apart: those sign one text on purpose.
pub fn twice(log: &Path) -> Vec<String> {
    let readiness = Digest::of(b"pechat readiness").to_string();
    let all = signed(log);
    let twice = all.into_iter().filter(|(digest, count)| *count > 1 && *digest != readiness);
    twice.map(|(digest, count)| format!("{digest} {count} times")).collect()
}
