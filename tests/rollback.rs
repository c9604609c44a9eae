//! The bad day on a real appliance: its journal comes back from an old copy.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
use appliance::{Appliance, refused, run, wait_for};

const OFFICERS: [[&str; 2]; 2] =
    [["PECHAT_OFFICER1_CERT", "PECHAT_OFFICER1_KEY"], ["PECHAT_OFFICER2_CERT", "PECHAT_OFFICER2_KEY"]];

/// An appliance whose journal was put back to what it was before the last records were sealed.
struct Restored {
    appliance: Appliance,
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

impl Restored {
    /// The head file is kept; it stands beside the journal.
    fn start() -> Self {
        let mut appliance = Appliance::start();
        let journal = Path::new(appliance.env("PECHAT_DATA")).join("journal");
        appliance::write_records(&appliance.path("before.jsonl"), 3);
        appliance::write_records(&appliance.path("after.jsonl"), 5);
        Self::seal(&appliance, "before.jsonl");
        appliance.kill_serve();
        copy(&journal, &appliance.path("backup"));
        appliance.start_serve();
        appliance.wait_until_ready();
        Self::seal(&appliance, "after.jsonl");
        wait_for("the head of it", || published(&appliance) >= size(&appliance));
        appliance.kill_serve();
        fs::rename(&journal, appliance.path("lost")).expect("the journal goes");
        copy(&appliance.path("backup"), &journal);
        Self { appliance }
    }

    fn seal(appliance: &Appliance, file: &str) {
        let path = appliance.path(file);
        let args = ["seal", "--journal", appliance.env("PECHAT_JOURNAL"), path.to_str().expect("UTF-8")];
        run(&mut appliance.client(&args));
    }

    fn start_quarantined(&mut self) {
        self.appliance.start_serve();
        wait_for("the public listener", || readiness(&self.appliance).is_some());
    }

    fn call(&self, who: [&str; 2], method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("{}{path}", self.appliance.env("PECHAT_URL"));
        let body = body.map(Value::to_string);
        let mut args = vec!["-X", method, url.as_str()];
        if let Some(body) = &body {
            args.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        let (status, bytes) = self.appliance.curl(who[0], who[1], &args);
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }
}

/// Size of the checkpoint in a text.
fn leaves(note: &str) -> u64 {
    note.lines().nth(1).and_then(|line| line.parse().ok()).unwrap_or(0)
}

fn published(appliance: &Appliance) -> u64 {
    let head = Path::new(appliance.env("PECHAT_DATA")).join("head");
    leaves(&fs::read_to_string(head).unwrap_or_default())
}

fn size(appliance: &Appliance) -> u64 {
    leaves(&public(appliance, "/checkpoint").1)
}

fn public(appliance: &Appliance, path: &str) -> (u16, String) {
    let url = format!("{}{path}", appliance.env("PECHAT_PUBLIC_URL"));
    let out = Command::new("curl").args(["-s", "--max-time", "8", "-w", "\n%{http_code}", &url]).output();
    let text = String::from_utf8_lossy(&out.expect("curl").stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.parse().expect("a status"), body.to_owned())
}

fn readiness(appliance: &Appliance) -> Option<(u16, String)> {
    Some(public(appliance, "/readyz")).filter(|(status, _)| *status != 0)
}

#[test]
fn a_restored_backup_signs_nothing_until_two_officers_record_the_gap() {
    let mut restored = Restored::start();
    restored.start_quarantined();
    let appliance = &restored.appliance;
    let (status, why) = readiness(appliance).expect("readiness");
    assert_eq!(status, 503);
    assert!(why.contains("quarantine") && why.contains("signed head of"), "{why}");

    // Nothing is stamped, sealed or issued; the refusal says what to do.
    let path = appliance.path("more.jsonl");
    appliance::write_records(&path, 2);
    let journal = appliance.env("PECHAT_JOURNAL").to_owned();
    let entry = json!({"request_id": "0".repeat(32), "digest": "1".repeat(64)});
    let registry = ["PECHAT_CERT", "PECHAT_KEY"];
    let (status, problem) =
        restored.call(registry, "POST", &format!("/v1/journals/{journal}/entries"), Some(&entry));
    assert_eq!(
        (status, problem["type"].as_str()),
        (503, Some("https://pechat.example/problems/quarantined")),
        "{problem}"
    );
    assert!(problem["action"].as_str().unwrap_or_default().contains("pechat journal resurrect"));
    let (status, problem) = restored.call(registry, "POST", "/tsa", Some(&json!({})));
    assert_eq!(
        (status, problem["type"].as_str()),
        (503, Some("https://pechat.example/problems/quarantined")),
        "{problem}"
    );
    let (status, _) = restored.call(OFFICERS[0], "POST", "/v1/journals", Some(&json!({"name": "a"})));
    assert_eq!(status, 503);
    assert!(published(appliance) > size(appliance), "the head file is not replaced");

    // Registries may not even look; one officer alone, even twice, settles nothing.
    assert_eq!(restored.call(registry, "GET", "/v1/quarantine", None).0, 403);
    let (status, view) = restored.call(OFFICERS[0], "GET", "/v1/quarantine", None);
    assert_eq!((status, &view["quarantined"]), (200, &json!(true)));
    assert_eq!(view["doubts"][0]["doubt"], "ahead");
    let gap =
        json!({"facts_sha256": view["facts_sha256"], "description": "restored from the backup of Monday"});
    for _ in 0..2 {
        let (status, answer) = restored.call(OFFICERS[0], "POST", "/v1/quarantine/gap", Some(&gap));
        assert_eq!((status, &answer["state"]), (202, &json!("awaiting-second-officer")), "{answer}");
    }
    let mut other = gap.clone();
    other["description"] = json!("another story");
    assert_eq!(restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&other)).0, 202);
    other["facts_sha256"] = json!("0".repeat(64));
    assert_eq!(restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&other)).0, 409);
    other = gap.clone();
    other["description"] = json!(" ");
    assert_eq!(restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&other)).0, 400);
    assert_eq!(readiness(appliance).expect("readiness").0, 503);

    let (status, answer) = restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&gap));
    assert_eq!(
        (status, &answer["state"], &answer["epoch"]),
        (200, &json!("recorded"), &json!(2)),
        "{answer}"
    );
    appliance.wait_until_ready();
    Restored::seal(appliance, "more.jsonl");
    assert_eq!(restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&gap)).0, 409);

    // Whoever audits the journal sees it.
    let url = format!("{}/v1/journals/{journal}/export", appliance.env("PECHAT_URL"));
    let (status, export) = appliance.curl("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &[&url]);
    assert_eq!(status, 200);
    let file = appliance.path("after-the-gap.export");
    fs::write(&file, export).expect("the export");
    // Without trusted keys it is INDETERMINATE, which is not success.
    let said = refused(Command::new(env!("CARGO_BIN_EXE_pechat")).args(["audit", "verify"]).arg(&file));
    assert!(said.contains("GAP OR RESTORATION: another writer epoch begins with entry 4"), "{said}");

    // The newest head replaces the one that was given up, and the next start has nothing to doubt.
    restored.appliance.kill_serve();
    restored.appliance.start_serve();
    restored.appliance.wait_until_ready();
}

#[test]
fn resurrect_returns_the_entries_that_a_registry_kept_and_names_the_others() {
    let mut restored = Restored::start();
    let program = env!("CARGO_BIN_EXE_pechat");
    let config = restored.appliance.config();
    let command = |args: &[&str], folders: &[&Path]| {
        let mut command = Command::new(program);
        command.args(["journal", "resurrect", "--config"]).arg(&config).args(args).args(folders);
        command
    };
    let receipts = restored.appliance.path("after.jsonl.pechat");
    let nothing = restored.appliance.path("before.jsonl.pechat");
    let said = refused(&mut command(&["--dry-run"], &[&nothing]));
    assert!(said.contains("the last signed head is NOT reached"), "{said}");
    let said = refused(&mut command(&["--json"], &[&receipts]));
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let restored_entries = said["outcome"]["restored"].as_object().expect("journals");
    assert_eq!(restored_entries.values().map(|n| n.as_u64().unwrap()).collect::<Vec<_>>(), [5], "{said}");
    assert_eq!(said["outcome"]["missing"], json!([]));

    // Own records (the readiness probe's stamps) are lost, so officers still have to speak; then the
    // registry's receipts hold against the journal as it is.
    restored.start_quarantined();
    let said = refused(&mut command(&[], &[&receipts]));
    assert!(said.contains("in use by another"), "{said}");
    let (_, view) = restored.call(OFFICERS[0], "GET", "/v1/quarantine", None);
    let gap = json!({"facts_sha256": view["facts_sha256"], "description": "own records are lost"});
    assert_eq!(restored.call(OFFICERS[0], "POST", "/v1/quarantine/gap", Some(&gap)).0, 202);
    assert_eq!(restored.call(OFFICERS[1], "POST", "/v1/quarantine/gap", Some(&gap)).0, 200);
    restored.appliance.wait_until_ready();
    // Sealing the same file again finds every record in its place.
    Restored::seal(&restored.appliance, "after.jsonl");
}

#[test]
fn a_data_directory_restored_whole_is_told_by_the_head_in_the_hsm_token() {
    let mut appliance = Appliance::start();
    let config = fs::read_to_string(appliance.config()).expect("pechat.toml");
    let keeping = config.replacen("[hsm]\n", "[hsm]\nkeep_head_s = 1\n", 1);
    fs::write(appliance.config(), keeping).expect("pechat.toml");
    let data = Path::new(appliance.env("PECHAT_DATA")).to_owned();
    let backup = appliance.path("backup");
    appliance::write_records(&appliance.path("before.jsonl"), 3);
    appliance::write_records(&appliance.path("after.jsonl"), 5);
    stopped(&mut appliance);
    copy(&data, &backup);
    appliance.start_serve();
    appliance.wait_until_ready();
    Restored::seal(&appliance, "before.jsonl");
    Restored::seal(&appliance, "after.jsonl");
    // Ended in order, the service leaves its newest head in the token.
    stopped(&mut appliance);
    fs::rename(&data, appliance.path("lost")).expect("the data directory goes, its head file with it");
    copy(&backup, &data);

    let mut restored = Restored { appliance };
    restored.start_quarantined();
    let (status, why) = readiness(&restored.appliance).expect("readiness");
    assert_eq!(status, 503);
    assert!(why.contains("the HSM token's data object pechat-head holds a signed head of"), "{why}");
    assert!(!why.contains("data/head"), "nobody else knew better: {why}");

    // The newest state is no rollback.
    restored.appliance.kill_serve();
    fs::rename(&data, restored.appliance.path("old")).expect("the old one goes");
    copy(&restored.appliance.path("lost"), &data);
    restored.appliance.start_serve();
    restored.appliance.wait_until_ready();
}

/// Ends the service in order.
fn stopped(appliance: &mut Appliance) {
    appliance::kill(appliance.serve_pid(), rustix::process::Signal::TERM);
    appliance.wait_for_end();
}
