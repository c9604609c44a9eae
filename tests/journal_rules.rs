//! Evidence of every form is accepted as made and refused when anything in it is changed.

mod evidence;

use evidence::{Evidence, ORIGIN, START, read, spki};
use pechat::digest::Digest;
use pechat::journal::checkpoint::{Head, open_note};
use pechat::journal::entry::{ENTRY_BYTES, Entry, EntryError};
use pechat::journal::export::ExportError;
use pechat::journal::receipt::{parse_range, parse_ranges};
use pechat::journal::tree::{ProofError, consistency_path};
use pechat::journal::verify::*;

const TOKEN_TIME: TokenTime = TokenTime { gen_time_us: START + 1_000_000, accuracy_us: Some(1000) };

fn evidence(size: u64) -> Evidence {
    Evidence::new(size, |body| Digest::of(body.as_bytes()).as_bytes().to_vec())
}

/// The "token" of these tests is the imprint itself; real ones are judged in `documents_journal.rs`.
fn token(token: &[u8], imprint: &Digest) -> Result<TokenTime, String> {
    if token == imprint.as_bytes() { Ok(TOKEN_TIME) } else { Err("is for something else".into()) }
}

fn with_trust<T>(act: impl FnOnce(&Trust) -> T) -> T {
    act(&Trust { head_key_spki: Some(&spki()), token: Some(&token) })
}

fn single(text: &str) -> Result<ReceiptFacts, VerifyError> {
    with_trust(|trust| verify_receipt(text, trust))
}

fn export(bytes: &[u8]) -> Result<ExportFacts, ReplayError> {
    with_trust(|trust| verify_export(bytes, trust))
}

#[test]
fn every_single_receipt_of_a_journal_holds() {
    for size in [1, 2, 5, 16, 21] {
        let evidence = evidence(size);
        for seq in 0..size {
            let facts = single(&evidence.single(seq)).unwrap();
            assert_eq!(facts.entry, evidence.entries[seq as usize]);
            assert_eq!(facts.proof.head.origin, ORIGIN);
            assert_eq!(facts.proof.head.size, size);
            assert_eq!(facts.proof.checkpoint.size, 6);
            assert!(facts.proof.signed);
            assert_eq!(facts.proof.stamped, Some(TOKEN_TIME));
        }
    }
}

#[test]
fn a_receipt_with_any_byte_changed_is_refused() {
    let text = evidence(5).single(3);
    for at in 0..text.len() {
        for flip in [1, 0x20, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(single(&changed).is_err(), "byte {at} ^ {flip:#x}: {changed}");
        }
    }
    for cut in 0..text.len() {
        assert!(text.get(..cut).is_none_or(|t| single(t).is_err()), "cut to {cut}");
    }
    assert!(single(&format!("{text}\n")).is_err());
}

#[test]
fn a_receipt_of_another_key_or_without_token_is_refused() {
    let text = evidence(5).single(3);
    let other = p256::ecdsa::SigningKey::from_slice(&[8; 32]).unwrap();
    let other = p256::pkcs8::EncodePublicKey::to_public_key_der(other.verifying_key()).unwrap();
    let trust = Trust { head_key_spki: Some(other.as_bytes()), token: None };
    assert!(matches!(verify_receipt(&text, &trust), Err(VerifyError::Signature(_))));
    let without_token = &text[..text.rfind("— ").unwrap()];
    assert_eq!(single(without_token), Err(VerifyError::Token("there is none".into())));
    let facts = verify_receipt(&text, &Trust::default()).unwrap();
    assert_eq!((facts.proof.signed, facts.proof.stamped), (false, None));
}

#[test]
fn an_entry_from_after_its_token_is_refused() {
    let late = |by: i64| {
        let mut e = evidence(3);
        e.entries[2].time = TOKEN_TIME.gen_time_us + by;
        let e = Evidence::of(e.entries, e.charter, |b| Digest::of(b.as_bytes()).as_bytes().to_vec());
        single(&e.single(2))
    };
    assert!(late(1000 + 1500).is_ok(), "accuracy and bound are both allowed for");
    let refused = late(1000 + 1501).unwrap_err();
    assert!(matches!(refused, VerifyError::Time { seq: 2, bound: 1500, accuracy: 1000, .. }), "{refused}");
}

#[test]
fn an_entry_against_the_rules_of_its_kind_is_refused() {
    let rewritten = |seq: u64, change: fn(&mut pechat::journal::entry::Entry)| {
        let mut e = evidence(3);
        change(&mut e.entries[seq as usize]);
        let e = Evidence::of(e.entries, e.charter, |b| Digest::of(b.as_bytes()).as_bytes().to_vec());
        single(&e.single(seq)).unwrap_err()
    };
    assert!(matches!(rewritten(0, |e| e.kind = 2), VerifyError::Entry { seq: 0, .. }));
    assert!(matches!(rewritten(0, |e| e.digest = Digest::default()), VerifyError::Entry { seq: 0, .. }));
    assert!(matches!(rewritten(1, |e| e.kind = 1), VerifyError::Entry { seq: 1, .. }));
    assert!(matches!(rewritten(1, |e| e.journal = Digest::default()), VerifyError::Journal { seq: 1, .. }));
}

#[test]
fn a_head_of_another_appliance_is_refused() {
    let e = evidence(2);
    let mut proof = e.proof.clone();
    proof.head = proof.head.replace("seal.example.gov/j/", "seal.example.com/j/");
    let refused = with_trust(|trust| verify_head(&proof, trust));
    assert!(matches!(refused, Err(VerifyError::Site { .. })), "{refused:?}");
    for bent in ["seal.example.gov/root", "seal.example.gov/j/", "seal.example.gov"] {
        proof.head = e.proof.head.replace(ORIGIN, bent);
        assert!(matches!(with_trust(|t| verify_head(&proof, t)), Err(VerifyError::Site { .. })), "{bent}");
    }
}

#[test]
fn every_range_receipt_of_a_journal_holds() {
    let size = 13;
    let evidence = evidence(size);
    for first in 0..size {
        for count in 1..=size - first {
            let json = serde_json::to_vec(&evidence.range(first, count)).unwrap();
            let receipt = parse_range(&json).unwrap();
            let facts = with_trust(|trust| verify_range(&receipt, trust)).unwrap();
            assert_eq!(facts.entries, evidence.entries[first as usize..(first + count) as usize]);
            assert_eq!(facts.proof.head.size, size);
        }
    }
}

#[test]
fn a_range_receipt_with_any_byte_changed_is_refused() {
    let evidence = evidence(9);
    let json = serde_json::to_string(&evidence.range(3, 4)).unwrap();
    let holds = |text: &str| {
        let receipt = parse_range(text.as_bytes()).ok()?;
        with_trust(|trust| verify_range(&receipt, trust)).ok()
    };
    let true_facts = holds(&json).unwrap();
    for at in 0..json.len() {
        for flip in [1, 0x20] {
            let mut bytes = json.clone().into_bytes();
            bytes[at] ^= flip;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            // Hex digits of paths may change case; what is proved may not change.
            assert!(holds(&changed).is_none_or(|facts| facts == true_facts), "byte {at}: {changed}");
        }
    }
}

#[test]
fn the_apis_answer_is_read_as_range_receipts() {
    let e = evidence(9);
    let mut one = serde_json::to_value(e.range(3, 2)).unwrap();
    one["count"] = 2.into();
    one["offset"] = 0.into();
    one["bound"] = 1500.into();
    let answer = serde_json::json!({ "receipts": [one.clone(), e.range(5, 1)] });
    let read = parse_ranges(answer.to_string().as_bytes()).unwrap();
    assert_eq!(read, [e.range(3, 2), e.range(5, 1)]);
    one["count"] = 3.into();
    assert!(parse_ranges(one.to_string().as_bytes()).is_err());
}

#[test]
fn an_export_replays() {
    for size in [1, 2, 1023, 1024, 1025, 2048, 2500] {
        let evidence = evidence(size);
        let facts = export(&evidence.export()).unwrap();
        assert_eq!(facts.count, size);
        assert_eq!(facts.charter.text(), evidence.charter);
        assert_eq!(facts.first_time, START);
        assert_eq!(facts.last_time, evidence.entries.last().unwrap().time);
        assert_eq!(facts.proof.stamped, Some(TOKEN_TIME));
    }
}

#[test]
fn replay_names_the_altered_entry_and_its_byte_offset() {
    let size = 1100;
    let good = evidence(size).export();
    let start = good.len() - size as usize * ENTRY_BYTES;
    // Across the edge of what is read at once, at both ends, and in every field.
    for broken in [0, 1, 2, 1021, 1022, 1023, 1024, 1025, 1098, 1099] {
        for field in [0, 16, 55, 56, 87, 88, 95, 99, 101, 102, 119, 120, 151] {
            let mut bytes = good.clone();
            let offset = start + broken * ENTRY_BYTES;
            bytes[offset + field] ^= 1;
            let (seq, at) = match export(&bytes).unwrap_err() {
                ReplayError::Entry { seq, offset, .. } | ReplayError::Root { seq, offset, .. } => {
                    (seq, offset)
                }
                other => panic!("entry {broken}, byte {field}: {other}"),
            };
            assert_eq!((seq, at), (broken as u64, offset as u64), "entry {broken}, byte {field}");
        }
    }
}

#[test]
fn replay_says_what_is_wrong() {
    let good = evidence(10).export();
    let start = good.len() - 10 * ENTRY_BYTES;
    let changed = |entry: usize, byte: usize, flip: u8| {
        let mut bytes = good.clone();
        bytes[start + entry * ENTRY_BYTES + byte] ^= flip;
        match export(&bytes).unwrap_err() {
            ReplayError::Entry { fault, .. } => fault,
            other => panic!("{other}"),
        }
    };
    assert_eq!(changed(4, 0, 1), Fault::Form(EntryError::Label));
    assert_eq!(changed(4, 16, 1), Fault::Journal);
    assert_eq!(changed(4, 55, 1), Fault::Sequence(5));
    assert!(matches!(changed(4, 56, 1), Fault::Prev { .. }));
    assert!(matches!(changed(4, 120, 1), Fault::Altered { .. }));
    assert!(matches!(changed(4, 91, 1), Fault::Altered { .. } | Fault::Time { .. }));
}

#[test]
fn an_export_that_is_rewritten_from_some_entry_on_is_refused() {
    let true_one = evidence(20);
    let mut entries = true_one.entries.clone();
    entries[7].digest = Digest::of(b"forged");
    for i in 8..20 {
        entries[i].prev = entries[i - 1].leaf();
    }
    let forged: Vec<u8> = entries.iter().flat_map(|e| e.encode()).collect();
    let mut bytes = true_one.export();
    let start = bytes.len() - forged.len();
    bytes[start..].copy_from_slice(&forged);
    assert!(matches!(export(&bytes), Err(ReplayError::Root { seq: 19, .. })));
}

#[test]
fn time_that_runs_backwards_is_refused_even_if_sealed() {
    let mut e = evidence(6);
    e.entries[3].time = START - 1;
    for i in 4..6 {
        e.entries[i].prev = e.entries[i - 1].leaf();
    }
    let e = Evidence::of(e.entries, e.charter, |b| Digest::of(b.as_bytes()).as_bytes().to_vec());
    let refused = export(&e.export()).unwrap_err();
    assert!(matches!(refused, ReplayError::Entry { seq: 3, fault: Fault::Time { .. }, .. }), "{refused}");
}

#[test]
fn nothing_sealed_after_the_final_record_is_accepted() {
    let ended = |at: usize| {
        let mut e = evidence(6);
        e.entries[at].kind = 9;
        for i in at + 1..6 {
            e.entries[i].prev = e.entries[i - 1].leaf();
        }
        Evidence::of(e.entries, e.charter, |b| Digest::of(b.as_bytes()).as_bytes().to_vec())
    };
    let refused = export(&ended(3).export()).unwrap_err();
    assert!(matches!(refused, ReplayError::Entry { seq: 4, fault: Fault::AfterFreeze(3), .. }), "{refused}");
    let refused = with_trust(|trust| verify_range(&ended(3).range(2, 3), trust)).unwrap_err();
    assert!(matches!(refused, VerifyError::Entry { seq: 4, .. }), "{refused}");
    let facts = export(&ended(5).export()).unwrap();
    let frozen = facts.frozen.unwrap();
    assert_eq!((frozen.seq, frozen.statement), (5, ended(5).entries[5].digest));
}

#[test]
fn an_export_of_another_length_is_refused() {
    let good = evidence(10).export();
    for cut in [1, 151, 152, 153, 1520] {
        let refused = export(&good[..good.len() - cut]).unwrap_err();
        assert!(matches!(refused, ReplayError::Length { count: 10, .. }), "{cut}: {refused}");
    }
    let mut long = good.clone();
    long.extend_from_slice(&good[good.len() - 152..]);
    assert!(matches!(export(&long), Err(ReplayError::Length { found: 10, count: 10, .. })));
    long.truncate(good.len() + 1);
    assert!(matches!(export(&long), Err(ReplayError::Length { found: 10, spare: 1, count: 10 })));
}

#[test]
fn an_export_with_another_header_is_refused() {
    let good = evidence(10).export();
    let text = String::from_utf8_lossy(&good[..good.len() - 1520]).into_owned();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let mut bytes = text.replacen(from, to, 1).into_bytes();
        bytes.extend_from_slice(&good[good.len() - 1520..]);
        export(&bytes).unwrap_err()
    };
    assert_eq!(with("export v1", "export v2"), ReplayError::Export(ExportError::Label));
    assert_eq!(with("{\"", "{ \""), ReplayError::Export(ExportError::NotCanonical));
    assert_eq!(with("{\"", "{\"x\":1,\""), ReplayError::Export(ExportError::NotCanonical));
    assert!(matches!(with("\"count\":10", "\"count\":9"), ReplayError::Header("count")));
    assert!(matches!(with("opened 2025", "opened 2024"), ReplayError::Entry { seq: 0, offset: _, .. }));
    assert!(matches!(with("charter v1", "charter v2"), ReplayError::Charter(_)));
    assert!(matches!(with("\"origin\":\"seal", "\"origin\":\"deal"), ReplayError::Charter(_)));
    assert!(matches!(with("\"root_index\":4", "\"root_index\":3"), ReplayError::Head(_)));
}

#[test]
fn heads_of_one_journal_are_consistent_and_others_are_not() {
    let new = evidence(21);
    let leaves = new.leaves();
    let new_head = Head::parse(&new.proof.head).unwrap();
    for size in 1..=21 {
        let old = Head::parse(&evidence(size).proof.head).unwrap();
        let path = consistency_path(size, 21, read(&leaves)).unwrap();
        assert_eq!(verify_continuation(&old, &new_head, &path), Ok(()), "{size}");
        let forked = Head { root: Digest::of(b"fork"), ..old.clone() };
        assert!(verify_continuation(&forked, &new_head, &path).is_err());
        let other = Head { origin: "seal.example.gov/j/sea".into(), ..old.clone() };
        assert!(matches!(verify_continuation(&other, &new_head, &path), Err(VerifyError::Origins(..))));
        if size < 21 {
            let back = verify_continuation(&new_head, &old, &path);
            let shrunk = ProofError::Shrunk { old: 21, new: size };
            assert_eq!(back, Err(VerifyError::Consistency { old: 21, new: size, reason: shrunk }));
        }
    }
}

#[test]
fn the_kept_vectors_are_read_and_hold() {
    let vector = |name: &str| {
        let path = format!("{}/tests/vectors/journal/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    };
    let key = spki();
    let trust = Trust { head_key_spki: Some(&key), token: None };
    let text = |name: &str| String::from_utf8(vector(name)).unwrap();
    let facts = verify_receipt(&text("receipt/single.tlog-proof"), &trust).unwrap();
    assert_eq!(Entry::decode(&vector("entry/seal.entry")), Ok(facts.entry));
    assert_eq!(Head::parse(&text("note/head.txt")), Ok(facts.proof.head.clone()));
    assert_eq!(open_note(&text("note/checkpoint.note")).unwrap().checkpoint, facts.proof.checkpoint);
    let run = parse_range(&vector("range_receipt/run.json")).unwrap();
    let run = verify_range(&run, &trust).unwrap();
    assert_eq!((run.entries[0], &run.proof), (facts.entry, &facts.proof));
    let export = verify_export(&vector("export/three.export")[..], &trust).unwrap();
    assert_eq!((export.charter.text(), export.proof), (text("note/charter.txt"), facts.proof));
}
