//! Ten thousand changed exports: no change of any kind is accepted.

#[allow(dead_code)] // not all of it is used here
mod evidence;

use evidence::{Evidence, spki};
use pechat::digest::Digest;
use pechat::journal::entry::ENTRY_BYTES;
use pechat::journal::export::ExportHeader;
use pechat::journal::verify::*;

const ROUNDS: u64 = 10_000;
const SIZE: u64 = 21;

fn evidence(size: u64) -> Evidence {
    Evidence::new(size, |body| Digest::of(body.as_bytes()).as_bytes().to_vec())
}

/// The "token" of these tests is the imprint itself.
fn token(token: &[u8], imprint: &Digest) -> Result<TokenTime, String> {
    let time = TokenTime { gen_time_us: evidence::START + 1_000_000, accuracy_us: Some(1000) };
    if token == imprint.as_bytes() { Ok(time) } else { Err("is for something else".into()) }
}

/// Numbers that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit) as usize
    }
}

/// The parts of an export.
#[derive(Clone)]
struct Parts {
    header: Vec<u8>,
    entries: Vec<Vec<u8>>,
}

impl Parts {
    fn of(export: &[u8]) -> Parts {
        let start = ExportHeader::read(&mut &export[..]).unwrap().1 as usize;
        let entries = export[start..].chunks(ENTRY_BYTES).map(<[u8]>::to_vec).collect();
        Parts { header: export[..start].to_vec(), entries }
    }

    fn export(&self) -> Vec<u8> {
        [self.header.clone(), self.entries.concat()].concat()
    }
}

/// One change, and its name.
fn changed(honest: &Parts, older: &Parts, fork: &Parts, dice: &mut Dice) -> (&'static str, Vec<u8>) {
    let mut parts = honest.clone();
    let (at, other) = (dice.below(SIZE), dice.below(SIZE));
    let what = match dice.below(9) {
        0 => {
            let mut export = honest.export();
            let byte = dice.below(export.len() as u64);
            export[byte] ^= 1 << dice.below(8);
            return ("flip", export);
        }
        1 => {
            let mut export = honest.export();
            export.truncate(dice.below(export.len() as u64));
            return ("truncate", export);
        }
        2 => {
            let mut export = honest.export();
            let from = dice.below(export.len() as u64 - 1);
            let to = (from + 1 + dice.below(400)).min(export.len());
            export.drain(from..to);
            return ("cut out", export);
        }
        3 => {
            parts.entries.remove(at);
            "drop"
        }
        4 => {
            parts.entries.swap(at, other);
            "swap"
        }
        5 => {
            parts.entries.insert(other, honest.entries[at].clone());
            "duplicate"
        }
        6 => {
            let to = (at + 1 + dice.below(4)).min(fork.entries.len());
            parts.entries.splice(at..to, fork.entries[at..to].iter().cloned());
            "splice"
        }
        7 => {
            parts.entries.truncate(at);
            parts.entries.extend(fork.entries[at..].iter().cloned());
            "replace the end"
        }
        _ if at % 2 == 0 => {
            parts.header = older.header.clone();
            "roll the head back"
        }
        _ => {
            parts.entries = older.entries.clone();
            "roll the entries back"
        }
    };
    (what, parts.export())
}

#[test]
fn ten_thousand_changed_exports_are_all_found() {
    let honest = evidence(SIZE);
    let mut forged = evidence(SIZE);
    forged.entries[1].digest = Digest::of(b"forged");
    for seq in 2..forged.entries.len() {
        forged.entries[seq].prev = forged.entries[seq - 1].leaf();
    }
    let (fork, older) = (Parts::of(&forged.export()), Parts::of(&evidence(SIZE - 3).export()));
    let (export, honest) = (honest.export(), Parts::of(&honest.export()));
    let key = spki();
    let trust = Trust { head_key_spki: Some(&key), token: Some(&token) };
    verify_export(&export[..], &trust).unwrap();
    let mut dice = Dice(2026);
    let (mut tried, mut kinds) = (0, std::collections::BTreeMap::new());
    while tried < ROUNDS {
        let (what, changed) = changed(&honest, &older, &fork, &mut dice);
        if changed == export {
            continue; // an entry swapped with itself, or a splice of the common charter
        }
        let outcome = verify_export(&changed[..], &trust);
        assert!(outcome.is_err(), "change {tried}, {what}: {outcome:?}");
        *kinds.entry(what).or_insert(0) += 1;
        tried += 1;
    }
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert!(kinds.values().all(|count| *count > 200), "{kinds:?}");
}
