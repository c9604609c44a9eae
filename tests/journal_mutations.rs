//! Ten thousand changed exports, and as many changed parts of journals: no change of any kind is accepted, and
//! several cores say of each exactly what one core says.

#[allow(dead_code)] // not all of it is used here
mod evidence;

use evidence::{Evidence, spki};
use pechat::digest::Digest;
use pechat::journal::entry::{ENTRY_BYTES, EntryKind};
use pechat::journal::range_export::Preamble;
use pechat::journal::tree::verify_inclusion;
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
        let start = Preamble::read(&mut &export[..]).unwrap().1 as usize;
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
    let size = honest.entries.len() as u64;
    let (at, other) = (dice.below(size), dice.below(size));
    let what = match dice.below(10) {
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
        8 => {
            let header = String::from_utf8(parts.header).unwrap();
            let said = if header.contains("\"first\":") { "\"first\":" } else { "\"count\":" };
            let at = header.find(said).unwrap() + said.len();
            let number: u64 = header[at..].split(',').next().unwrap().parse().unwrap();
            let other = dice.below(SIZE + 2) as u64;
            parts.header = (header[..at].to_owned()
                + &header[at..].replacen(&number.to_string(), &other.to_string(), 1))
                .into();
            "move"
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

fn forged() -> Evidence {
    let mut forged = evidence(SIZE);
    forged.entries[1].digest = Digest::of(b"forged");
    for seq in 2..forged.entries.len() {
        forged.entries[seq].prev = forged.entries[seq - 1].leaf();
    }
    forged
}

/// What several cores say, with borders between chunks where the dice put them.
fn parallel(export: &[u8], trust: &Trust, chunk: u64) -> Result<ExportFacts, ReplayError> {
    let pace = Pace { cores: 2, chunk };
    verify_parallel(export, trust, pace, &|_| false, &|_| {}).map(|checked| checked.facts)
}

/// Bends an export of any kind this many times.
fn bend(export: &[u8], older: &[u8], fork: &[u8], dice: &mut Dice, rounds: u64) {
    let key = spki();
    let trust = Trust { head_key_spki: Some(&key), token: Some(&token) };
    let honest = Parts::of(export);
    let (older, fork) = (Parts::of(older), Parts::of(fork));
    let facts = verify_export(export, &trust).unwrap();
    for chunk in [1, 2, 4, 8, 16, 1024] {
        assert_eq!(parallel(export, &trust, chunk), Ok(facts.clone()), "chunks of {chunk}");
    }
    let (mut tried, mut kinds) = (0, std::collections::BTreeMap::new());
    while tried < rounds {
        let (what, changed) = changed(&honest, &older, &fork, dice);
        if changed == export {
            continue; // an entry swapped with itself, or a splice of the common charter
        }
        let outcome = verify_export(&changed[..], &trust);
        assert!(outcome.is_err(), "change {tried}, {what}: {outcome:?}");
        let chunk = 1 << dice.below(6);
        assert_eq!(parallel(&changed, &trust, chunk), outcome, "change {tried}, {what}, chunks of {chunk}");
        *kinds.entry(what).or_insert(0) += 1;
        tried += 1;
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    assert!(kinds.values().all(|count| *count > rounds / 50), "{kinds:?}");
}

#[test]
fn ten_thousand_changed_exports_are_all_found() {
    let (honest, older) = (evidence(SIZE), evidence(SIZE - 3));
    bend(&honest.export(), &older.export(), &forged().export(), &mut Dice(2026), ROUNDS);
}

#[test]
fn ten_thousand_changed_parts_of_journals_are_all_found() {
    let (honest, older, forged) = (evidence(SIZE), evidence(SIZE - 3), forged());
    let mut dice = Dice(2027);
    for (first, count) in [(5, 16), (1, 12), (0, 9), (0, SIZE), (7, 8)] {
        let part = |evidence: &Evidence, less| evidence.range_export(first, count - less);
        bend(&part(&honest, 0), &part(&older, 3), &part(&forged, 0), &mut dice, ROUNDS / 5);
    }
}

#[test]
fn every_part_of_a_journal_verifies_by_itself_and_gives_what_was_asked_for() {
    let (key, evidence) = (spki(), evidence(SIZE));
    let trust = Trust { head_key_spki: Some(&key), token: Some(&token) };
    for first in 0..SIZE {
        for count in 1..=SIZE - first {
            let part = evidence.range_export(first, count);
            let facts = verify_export(&part[..], &trust).unwrap();
            assert_eq!((facts.first, facts.count, facts.end()), (first, count, first + count));
            assert_eq!(facts.is_whole(), count == SIZE);
            let pace = Pace { cores: 2, chunk: 4 };
            let last = first + count - 1;
            let checked = verify_parallel(&part[..], &trust, pace, &|e| e.seq == last, &|_| {}).unwrap();
            assert_eq!((&checked.facts, checked.picked.len()), (&facts, 1));
            let (entry, offset) = checked.picked[0];
            assert_eq!((entry, offset as usize), (evidence.entries[last as usize], part.len() - ENTRY_BYTES));
            let path = checked.nodes.path(&part[..], last).unwrap();
            verify_inclusion(&entry.leaf(), last, SIZE, &path, &facts.proof.head.root).unwrap();
        }
    }
}

#[test]
fn a_part_with_another_charter_or_another_journals_opening_is_refused() {
    let evidence = evidence(SIZE);
    let part = String::from_utf8_lossy(&evidence.range_export(5, 3)).into_owned();
    let other = part.replace("institution land-office", "institution sea-office");
    let refused = verify_export(other.as_bytes(), &Trust::default()).unwrap_err();
    assert!(
        refused.to_string().contains("the header's opening: it does not commit to the charter"),
        "{refused}"
    );
}

#[test]
fn what_stands_after_a_freeze_is_refused_by_one_core_and_by_several() {
    let Evidence { mut entries, charter, .. } = evidence(SIZE);
    entries[10].kind = EntryKind::Freeze as u16;
    for seq in 11..entries.len() {
        entries[seq].prev = entries[seq - 1].leaf();
    }
    let stamp = |body: &str| Digest::of(body.as_bytes()).as_bytes().to_vec();
    let trust = Trust { head_key_spki: None, token: Some(&token) };
    let frozen = Evidence::of(entries[..11].to_vec(), charter.clone(), stamp).export();
    let facts = verify_export(&frozen[..], &trust).unwrap();
    assert_eq!(facts.frozen.map(|end| end.seq), Some(10));
    let thawed = Evidence::of(entries, charter, stamp).export();
    let refused = verify_export(&thawed[..], &trust);
    assert!(matches!(&refused, Err(ReplayError::Entry { seq: 11, .. })), "{refused:?}");
    for chunk in [1, 4, 16, 1024] {
        assert_eq!(parallel(&frozen, &trust, chunk), Ok(facts.clone()), "chunks of {chunk}");
        assert_eq!(parallel(&thawed, &trust, chunk), refused, "chunks of {chunk}");
    }
}
