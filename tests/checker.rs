//! The stand-alone checker of the crash tests finds what it is there to find.

#[allow(dead_code, reason = "not all of it is used here")]
mod evidence;

use std::process::Command;

use evidence::Evidence;
use pechat::digest::Digest;
use pechat::journal::entry::{Entry, EntryKind};
use serde_json::{Value, json};

/// What the checker says of a history and an export, and whether it is content.
fn judge(history: &[Value], export: &[u8]) -> (bool, String) {
    judge_with(history, export, None)
}

/// The same with a segment of the log.
fn judge_with(history: &[Value], export: &[u8], segment: Option<&[u8]>) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = history.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.path().join("history"), lines).unwrap();
    std::fs::write(dir.path().join("export"), export).unwrap();
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checker/check.py");
    let mut asked = Command::new("python3");
    asked.arg(checker).args(["history", "export"]).current_dir(dir.path());
    if let Some(segment) = segment {
        std::fs::create_dir(dir.path().join("segments")).unwrap();
        std::fs::write(dir.path().join("segments/00000000000000000000.seg"), segment).unwrap();
        asked.arg("segments");
    }
    let out = asked.output().expect("python3 starts");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    (out.status.success(), said)
}

fn sealed(size: u64) -> Evidence {
    Evidence::new(size, |body| Digest::of(body.as_bytes()).as_bytes().to_vec())
}

/// An acknowledged call for entries 1 to 3.
fn call(of: &Evidence, number: u64, outcome: &str) -> Value {
    let range = of.range(1, 3);
    let ids: Vec<_> = range.entries.iter().map(|e| e.request_id.clone()).collect();
    let digests: Vec<_> = range.entries.iter().map(|e| e.digest).collect();
    let body = if outcome == "ok" { json!({ "receipts": [range] }).to_string() } else { String::new() };
    json!({ "call": number, "start": 10 * number, "end": 10 * number + 5, "ids": ids, "digests": digests,
        "outcome": outcome, "body": body })
}

fn sighting(of: &Evidence, at: u64) -> Value {
    json!({ "seen": true, "start": at, "end": at + 1, "body": json!(of.proof).to_string() })
}

#[test]
fn an_honest_history_is_consistent() {
    let it = sealed(6);
    let history =
        [call(&it, 1, "unknown"), call(&it, 2, "ok"), call(&it, 3, "ok"), sighting(&sealed(6), 100)];
    let (content, said) = judge(&history, &it.export());
    assert!(content, "{said}");
    assert!(said.starts_with("CONSISTENT: 6 entries"), "{said}");
}

#[test]
fn each_broken_promise_is_named() {
    let it = sealed(6);
    let ok = call(&it, 1, "ok");
    let mut forged = sealed(6);
    forged.entries[2].digest = Digest::of(b"forged");
    let mut rehashed = sealed(6).entries;
    rehashed[2].digest = Digest::of(b"forged");
    for seq in 3..6 {
        rehashed[seq].prev = rehashed[seq - 1].leaf();
    }
    let token = |body: &str| Digest::of(body.as_bytes()).as_bytes().to_vec();
    let fork = Evidence::of(rehashed, it.charter.clone(), token);
    let mut twice = ok.clone();
    twice["body"] = json!(ok["body"].as_str().unwrap().to_owned() + " ");
    let storage = json!({ "fault": "storage", "start": 5, "end": 50 });
    let unstamped = Evidence::new(6, |_| vec![1, 2, 3]);
    let short = sealed(3);
    let true_part = Evidence::within(it.entries[..5].to_vec(), it.charter.clone(), (5, 7), token);
    let false_part = Evidence::within(fork.entries[..5].to_vec(), it.charter.clone(), (5, 7), token);
    let (older, newer) = (sighting(&sealed(6), 10), sighting(&true_part, 20));
    let cases: Vec<(&str, Vec<Value>, Vec<u8>)> = vec![
        ("I1", vec![ok.clone()], short.export()),
        ("I1", vec![ok.clone()], fork.export()),
        ("I2", vec![ok.clone()], forged.export()),
        ("I2", vec![sighting(&fork, 1)], it.export()),
        ("I3", vec![sighting(&unstamped, 1)], it.export()),
        ("I10", vec![ok.clone(), twice], it.export()),
        ("I10", vec![ok.clone(), call(&it, 2, "conflict")], it.export()),
        ("I16", vec![call(&it, 1, "unknown")], it.export()),
        ("I17", vec![ok, storage], it.export()),
        ("I3", vec![older, newer], it.export()),
        ("I20", vec![sighting(&false_part, 1)], it.export()),
    ];
    for (number, (rule, history, export)) in cases.iter().enumerate() {
        let (content, said) = judge(history, export);
        assert!(!content && said.starts_with(&format!("{rule} VIOLATED")), "case {number}, {rule}: {said}");
    }
}

/// The entries with one changed and all links right again.
fn relinked(mut entries: Vec<Entry>, change: impl FnOnce(&mut Vec<Entry>)) -> Evidence {
    change(&mut entries);
    for seq in 1..entries.len() {
        entries[seq].prev = entries[seq - 1].leaf();
    }
    Evidence::of(entries, sealed(1).charter, |body| Digest::of(body.as_bytes()).as_bytes().to_vec())
}

#[test]
fn time_that_runs_back_is_named() {
    let back = relinked(sealed(6).entries, |entries| entries[3].time = entries[0].time);
    let (content, said) = judge(&[], &back.export());
    assert!(!content && said.starts_with("I14 VIOLATED: entry 3 is older"), "{said}");

    // What stands in a token: imprint, serial number, genTime.
    let token = |time: &'static str| {
        move |body: &str| {
            let imprint = Digest::of(body.as_bytes());
            [&imprint.as_bytes()[..], &[2, 1, 7, 0x18, time.len() as u8], time.as_bytes()].concat()
        }
    };
    let entries = sealed(6).entries;
    let charter = || sealed(1).charter;
    let at = |place, time| Evidence::within(entries[..4].to_vec(), charter(), place, token(time));
    let export = Evidence::of(entries.clone(), charter(), token("20261124120000.5Z")).export();
    let later = at((5, 7), "20261124120000.25Z");
    let (content, said) = judge(&[sighting(&later, 1)], &export);
    assert!(!content && said.starts_with("I14 VIOLATED: the token over 7 heads is older"), "{said}");
    let (content, said) = judge(&[sighting(&at((5, 7), "20261124120000.75Z"), 1)], &export);
    assert!(content, "{said}");
}

#[test]
fn what_an_old_state_seals_is_named_unless_a_gap_is_on_record() {
    let it = sealed(6);
    let witnessed = json!({ "witnessed": 9, "start": 1, "end": 2 });
    let (content, said) = judge(&[witnessed.clone(), call(&it, 1, "ok")], &it.export());
    assert!(!content && said.starts_with("I15 VIOLATED: call 1 was sealed as head 4, but 9 heads"), "{said}");
    let known = json!({ "witnessed": 4, "start": 1, "end": 2 });
    assert!(judge(&[known, call(&it, 1, "ok")], &it.export()).0);
    // Witnessed only while the call ran, or sealed by an earlier call: nothing is wrong.
    let late = json!({ "witnessed": 9, "start": 1, "end": 11 });
    assert!(judge(&[late, call(&it, 1, "ok")], &it.export()).0);
    let between = json!({ "witnessed": 9, "start": 16, "end": 17 });
    let (content, said) = judge(&[call(&it, 1, "unknown"), between, call(&it, 2, "ok")], &it.export());
    assert!(content, "{said}");
    let gap = relinked(it.entries.clone(), |entries| entries[1].kind = EntryKind::EpochChange as u16);
    let (content, said) = judge(&[witnessed, call(&gap, 1, "ok")], &gap.export());
    assert!(content, "{said}");
}

/// Records as the log writes them, with the writers' epochs.
fn segment(epochs: &[u64]) -> Vec<u8> {
    let (mut segment, mut before) = (Vec::new(), [0; 32]);
    for (number, epoch) in (0u64..).zip(epochs) {
        let mut record = b"PWAL\0\x01\0\x01".to_vec();
        record.extend([9; 16]);
        record.extend([epoch.to_be_bytes(), number.to_be_bytes()].concat());
        record.extend([5u32.to_be_bytes(), [0; 4]].concat());
        record.extend(before);
        record.extend(&Digest::of(&record).as_bytes()[..8]);
        record.extend(b"batch");
        record.resize(512 - 32, 0);
        before = *Digest::of(&record).as_bytes();
        record.extend(before);
        segment.extend(record);
    }
    segment.resize(segment.len() + 1024, 0);
    segment
}

#[test]
fn a_writer_of_an_older_epoch_after_a_newer_one_is_named() {
    let export = sealed(6).export();
    let with = |segment: &[u8]| judge_with(&[], &export, Some(segment));
    let (content, said) = with(&segment(&[1, 1, 2, 2]));
    assert!(content && said.contains("4 records"), "{said}");
    let (content, said) = with(&segment(&[1, 2, 2, 1]));
    assert!(!content && said.starts_with("I14 VIOLATED: record 3 at byte 1536"), "{said}");
    let spliced = [segment(&[1])[..512].to_vec(), segment(&[1, 1])[..512].to_vec()].concat();
    let (content, said) = with(&spliced);
    assert!(!content && said.contains("is of another log or place"), "{said}");
}
