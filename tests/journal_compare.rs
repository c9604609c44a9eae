//! Two exports of one journal: one history, or the first entry at which they part.

mod evidence;

use evidence::{Evidence, ORIGIN, spki};
use pechat::digest::Digest;
use pechat::journal::compare::*;
use pechat::journal::entry::ENTRY_BYTES;
use pechat::journal::export::ExportHeader;
use pechat::journal::verify::*;

const TIME: TokenTime = TokenTime { gen_time_us: evidence::START + 1_000_000, accuracy_us: Some(1000) };

fn stamp(body: &str) -> Vec<u8> {
    Digest::of(body.as_bytes()).as_bytes().to_vec()
}

/// The "token" of these tests is the imprint itself.
fn token(token: &[u8], imprint: &Digest) -> Result<TokenTime, String> {
    if token == imprint.as_bytes() { Ok(TIME) } else { Err("is for something else".into()) }
}

fn compared(a: &[u8], b: &[u8]) -> Result<Comparison, CompareError> {
    compare(a, b, &Trust { head_key_spki: Some(&spki()), token: Some(&token) })
}

/// The journal's first `size` entries, under a leaf of the root log that goes with the size.
fn evidence(size: u64) -> Evidence {
    let e = Evidence::new(size, stamp);
    Evidence::within(e.entries, e.charter, (size % 200, 201), stamp)
}

/// The same with one entry's digest altered and everything after it sealed anew: a fork.
fn forked(size: u64, at: u64, place: (u64, u8)) -> Evidence {
    let mut e = Evidence::new(size, stamp);
    e.entries[at as usize].digest = Digest::of(b"forged");
    for seq in at as usize + 1..e.entries.len() {
        e.entries[seq].prev = e.entries[seq - 1].leaf();
    }
    Evidence::within(e.entries, e.charter, place, stamp)
}

/// A root log of its own for every size, so that only the journals speak.
fn of(size: u64) -> Vec<u8> {
    let e = Evidence::new(size, stamp);
    Evidence::within(e.entries, e.charter, (size % 100, 100 + (size % 100) as u8), stamp).export()
}

fn entries_begin(export: &[u8]) -> u64 {
    ExportHeader::read(&mut &export[..]).unwrap().1
}

#[test]
fn an_export_and_itself_are_one_history() {
    let export = of(5);
    let same = compared(&export, &export).unwrap();
    assert_eq!((same.common, &same.outcome, same.agrees()), (5, &Outcome::Same, true));
    assert_eq!(same.a, same.b);
    assert!(same.a.signed && same.a.stamped == Some(TIME));
}

#[test]
fn an_earlier_export_is_the_beginning_of_a_later_one_whichever_comes_first() {
    for (short, long) in [(1, 2), (5, 7), (16, 21), (1024, 1025), (1025, 2100)] {
        let (earlier, later) = (of(short), of(long));
        for (a, b, side) in [(&earlier, &later, Side::A), (&later, &earlier, Side::B)] {
            let found = compared(a, b).unwrap();
            let conflicts: Vec<_> = found.conflicts.iter().filter(|c| !is_order(c)).collect();
            assert_eq!((found.common, &found.outcome), (short, &Outcome::Beginning(side)), "{short} {long}");
            assert_eq!(conflicts, Vec::<&HeadConflict>::new(), "{short} {long}");
        }
    }
}

/// Sizes from 100 on begin again at leaf 0 in these tests.
fn is_order(conflict: &HeadConflict) -> bool {
    matches!(conflict, HeadConflict::Order { .. } | HeadConflict::Leaf { .. })
}

#[test]
fn a_fork_is_named_by_its_first_entry_and_its_byte_in_either_file() {
    for (size, at) in [(5, 1), (5, 4), (21, 16), (1100, 1023), (1100, 1024)] {
        let (a, b) = (of(size), forked(size + 3, at, (103, 105)).export());
        let found = compared(&a, &b).unwrap();
        let offset = |export: &[u8]| entries_begin(export) + at * ENTRY_BYTES as u64;
        let (offset_a, offset_b) = (offset(&a), offset(&b));
        let parting = Parting { seq: at, offset_a, offset_b, fields: vec!["digest"] };
        assert_eq!((found.common, found.outcome.clone()), (at, Outcome::Parted(parting)), "{size} {at}");
        assert!(!found.agrees());
    }
}

#[test]
fn a_changed_entry_is_named_with_the_fields_that_differ() {
    let export = of(9);
    let begin = entries_begin(&export) as usize + 6 * ENTRY_BYTES;
    let fields = [
        (3, "form"),
        (20, "journal"),
        (55, "sequence"),
        (60, "prev"),
        (95, "time"),
        (99, "bound"),
        (101, "kind"),
        (110, "request id"),
        (130, "digest"),
    ];
    for (byte, field) in fields {
        let mut bent = export.clone();
        bent[begin + byte] ^= 1;
        let found = compared(&export, &bent).unwrap();
        let Outcome::Parted(parting) = found.outcome else { panic!("{field}: {:?}", found.outcome) };
        assert_eq!((parting.seq, parting.fields), (6, vec![field]));
        assert_eq!((parting.offset_a, parting.offset_b), (begin as u64, begin as u64));
    }
}

#[test]
fn two_heads_that_cannot_both_be_true_are_reported() {
    let honest = evidence(5);
    let fork = forked(5, 3, (5, 201));
    let found = compared(&honest.export(), &fork.export()).unwrap();
    let (a, b) = (found.a.clone(), found.b.clone());
    let expected = [
        HeadConflict::SameSize { size: 5, a: a.head.root, b: b.head.root },
        HeadConflict::RootLog { size: 201, a: a.checkpoint.root, b: b.checkpoint.root },
        HeadConflict::Leaf { index: 5, a: 5, b: 5 },
    ];
    assert_eq!(found.conflicts, expected);

    let late = {
        let e = Evidence::new(7, stamp);
        Evidence::within(e.entries, e.charter, (2, 90), stamp)
    };
    let found = compared(&honest.export(), &late.export()).unwrap();
    let order = HeadConflict::Order { longer: Side::B, index: 2, other: 5 };
    assert_eq!((found.outcome.clone(), found.conflicts.clone()), (Outcome::Beginning(Side::A), vec![order]));
    assert!(!found.agrees());
}

#[test]
fn a_head_over_other_entries_is_reported_though_the_entries_agree() {
    let (true_one, fork) = (evidence(5), forked(5, 3, (6, 90)));
    let header = ExportHeader {
        origin: ORIGIN.into(),
        charter: fork.charter.clone(),
        count: 5,
        proof: fork.proof.clone(),
    };
    let mut lying = header.text().unwrap();
    lying.extend(true_one.entries.iter().flat_map(|e| e.encode()));
    let found = compared(&true_one.export(), &lying).unwrap();
    assert_eq!(found.outcome, Outcome::Same);
    let (head, entries) = (found.b.head.root, found.a.head.root);
    let root = HeadConflict::Root { side: Side::B, size: 5, head, entries };
    let same_size = HeadConflict::SameSize { size: 5, a: entries, b: head };
    assert_eq!(found.conflicts, [root, same_size]);
}

#[test]
fn what_cannot_be_compared_is_refused_by_side() {
    let (five, nine) = (of(5), of(9));
    let cut = &nine[..nine.len() - 3 * ENTRY_BYTES - 1];
    let short = CompareError::Short { side: Side::B, seq: 5, count: 9 };
    assert_eq!(compared(&five, cut).unwrap_err(), short);
    let refused = compared(b"something else", &nine).unwrap_err();
    assert!(matches!(refused, CompareError::Export(Side::A, _)), "{refused}");
    let mut bent = nine.clone();
    let root = bent.windows(7).position(|w| w == b"after 5").unwrap();
    bent[root + 7] ^= 1;
    let refused = compared(&nine, &bent).unwrap_err();
    assert!(matches!(refused, CompareError::Head(Side::B, _)), "{refused}");
}
