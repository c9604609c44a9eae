//! The stand-alone checker of the crash tests finds what it is there to find.

#[allow(dead_code, reason = "not all of it is used here")]
mod evidence;

use std::process::Command;

use evidence::Evidence;
use pechat::digest::Digest;
use serde_json::{Value, json};

/// What the checker says of a history and an export, and whether it is content.
fn judge(history: &[Value], export: &[u8]) -> (bool, String) {
    let dir = tempfile::tempdir().unwrap();
    let lines: String = history.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(dir.path().join("history"), lines).unwrap();
    std::fs::write(dir.path().join("export"), export).unwrap();
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checker/check.py");
    let mut asked = Command::new("python3");
    asked.arg(checker).args(["history", "export"]).current_dir(dir.path());
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
