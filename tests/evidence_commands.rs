//! `pechat evidence` over the real appliance: a journal exported with its records, verified, renewed, tampered with.

#[allow(dead_code)] // uses a part of the fixture
mod appliance;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use appliance::{Appliance, refused, run, write_records};
use pechat::digest::Digest;
use serde_json::json;

fn evidence(appliance: &Appliance, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pechat"));
    command.arg("evidence").args(args).stdin(Stdio::null());
    for name in ["PECHAT_URL", "PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"] {
        command.env(name, appliance.env(name));
    }
    command.env("PECHAT_HEAD_KEY", appliance.path("demo/journal-head.pem"));
    command
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

#[test]
fn a_journal_is_exported_with_evidence_renewed_twice_and_every_tampering_is_named() {
    let appliance = Appliance::start();
    let records = appliance.path("records.jsonl");
    write_records(&records, 20);
    run(&mut appliance.client(&["seal", "--journal", "land-register", records.to_str().unwrap()]));
    let folder: PathBuf = appliance.path("land");
    let dir = folder.to_str().unwrap();
    let said = run(&mut evidence(&appliance, &["export", "--journal", "land-register", "--out", dir]));
    says(&said, &["PASSED  ", " evidence records in "]);
    let verify = |more: &[&str]| evidence(&appliance, &[&["verify"], more, &[dir]].concat());
    says(&run(&mut verify(&[])), &["PASSED  ", " files are what they were at "]);
    let first = fs::read(record(&folder, "journal.export")).unwrap();

    let on_record = "the renewal is an entry of the appliance's own.events";
    says(&run(&mut evidence(&appliance, &["renew", dir])), &["PASSED  ", on_record]);
    says(&run(&mut evidence(&appliance, &["renew", "--hash", "sha3-512", dir])), &["PASSED  ", on_record]);
    renewals_are_on_record(&appliance, &folder);
    let renewed = fs::read(record(&folder, "journal.export")).unwrap();
    assert!(renewed.len() > first.len() + 2000, "{} bytes, then {}", first.len(), renewed.len());
    let late = refused(&mut verify(&["--at", "2060-01-01"]));
    says(&late, &["INDETERMINATE  ", "nothing covers it before 2060-01-01T00:00:00.000Z"]);
    says(&refused(verify(&[]).env_remove("PECHAT_CA")), &["INDETERMINATE  ", "no issuer at hand leads"]);

    let spare = folder.join("added.txt");
    fs::write(&spare, "later").unwrap();
    says(&refused(&mut verify(&[])), &["INDETERMINATE  ", "added.txt: has no evidence record"]);
    fs::remove_file(&spare).unwrap();
    let list = folder.join("README.txt");
    let text = fs::read(&list).unwrap();
    fs::write(&list, [&text[..], b" "].concat()).unwrap();
    says(&refused(&mut verify(&[])), &["FAILED  ", "README.txt: time-stamp 1 of chain 1: it does not cover"]);
    let refusal = refused(&mut evidence(&appliance, &["renew", dir]));
    says(&refusal, &["nothing was renewed: only what holds can be carried on"]);
    fs::write(&list, &text).unwrap();
    says(&run(&mut verify(&["--json"])), &["\"verdict\":\"PASSED\""]);
    the_appliance_keeps_what_verifies_its_tokens(&appliance);
}

/// Each renewal names the records before and after, sealed in the appliance's own journal.
fn renewals_are_on_record(appliance: &Appliance, folder: &Path) {
    let verify = || evidence(appliance, &["verify", folder.to_str().unwrap()]);
    let said = run(&mut verify());
    says(&said, &["2 renewals on record in own.events\n"]);
    assert!(!said.contains("GAP"), "{said}");
    let path = |name: &str| folder.join("evidence").join(name);
    let statement = fs::read_to_string(path("renewal-002.json")).unwrap();
    let value: serde_json::Value = serde_json::from_str(&statement).unwrap();
    assert_eq!(value["event"], "evidence-renewal");
    let renewal = &value["renewal"];
    assert_eq!((&renewal["algorithm_before"], &renewal["algorithm"]), (&json!("sha512"), &json!("sha3-512")));
    assert_eq!(renewal["origin"], "seal.example.gov/j/land-register");

    // Changed: named. One left out: said, for the records prove themselves.
    fs::write(path("renewal-002.json"), statement.replacen("sha512", "sha384", 1)).unwrap();
    says(&refused(&mut verify()), &["FAILED  ", "renewal-002.json: "]);
    fs::write(path("renewal-002.json"), &statement).unwrap();
    let receipt = fs::read(path("renewal-001.receipt")).unwrap();
    fs::copy(path("renewal-002.receipt"), path("renewal-001.receipt")).unwrap();
    says(&refused(&mut verify()), &["FAILED  ", "renewal-001.json: its receipt is of something else"]);
    fs::write(path("renewal-001.receipt"), receipt).unwrap();
    let second = [path("renewal-002.json"), path("renewal-002.receipt")];
    second.iter().for_each(|path| fs::rename(path, path.with_extension("kept")).unwrap());
    says(
        &run(&mut verify()),
        &["PASSED  ", "GAP: the record of journal.export was renewed off the record since"],
    );

    // As a draft it can be reported later, and the same renewal is the same entry.
    fs::write(path("renewal-002.draft"), renewal.to_string()).unwrap();
    let said = run(&mut evidence(appliance, &["record", folder.to_str().unwrap()]));
    says(&said, &["1 renewals were recorded"]);
    assert_eq!(fs::read_to_string(path("renewal-002.json")).unwrap(), statement);
    says(&run(&mut verify()), &["2 renewals on record in own.events\n"]);
}

/// A bundle under its own hash, which `own.events` names.
fn the_appliance_keeps_what_verifies_its_tokens(appliance: &Appliance) {
    let kept: Vec<_> = fs::read_dir(appliance.path("demo/data/validation")).unwrap().collect();
    assert_eq!(kept.len(), 1);
    let path = kept[0].as_ref().unwrap().path();
    let text = fs::read_to_string(&path).unwrap();
    let digest = Digest::of(text.as_bytes());
    assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("{digest}.pem"));
    says(&text, &["pechat-validation v1\n", "BEGIN CERTIFICATE", "BEGIN X509 CRL"]);
    let detail = json!({ "event": "validation", "bundle": format!("{digest}.pem"), "sha256": digest });
    let out = appliance.path("events");
    let mut audit = Command::new(env!("CARGO_BIN_EXE_pechat"));
    audit.args(["audit", "export", "--journal", "own.events", "--out"]).arg(&out);
    audit.env("PECHAT_URL", appliance.env("PECHAT_URL")).env("PECHAT_CA", appliance.env("PECHAT_CA"));
    audit.env("PECHAT_CERT", appliance.env("PECHAT_AUDITOR_CERT"));
    audit.env("PECHAT_KEY", appliance.env("PECHAT_AUDITOR_KEY"));
    run(&mut audit);
    let export = fs::read(out.join("journal.export")).unwrap();
    let sealed = Digest::of(detail.to_string().as_bytes());
    assert!(export.windows(32).any(|window| window == sealed.as_bytes()), "{detail} is not in own.events");
}

fn record(folder: &Path, name: &str) -> PathBuf {
    folder.join("evidence").join(format!("{name}.er"))
}
