//! `kill -9` of either process at any moment while a register seals: the client finishes, no record
//! is sealed twice, none is lost, the chain verifies.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
#[path = "crash/history.rs"]
mod history;
mod token_copy;

use std::time::Duration;

use appliance::{Appliance, kill, run, wait_for, write_records};
use history::History;
use rustix::process::Signal;
use token_copy::TokenCopy;

/// Records a file: several kills fall into one file.
const RECORDS: usize = 60_000;

/// Rounds: `PECHAT_CRASH_ROUNDS`, else 60.
fn rounds() -> usize {
    std::env::var("PECHAT_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// A pause that falls anywhere within sending, syncing, signing and restarting.
fn pause(seed: &mut u64) -> Duration {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    Duration::from_millis(20 + *seed % 400)
}

#[test]
fn no_kill_loses_or_doubles_a_sealed_record() {
    let mut appliance = Appliance::start();
    let journal = appliance.env("PECHAT_JOURNAL").to_owned();
    let history = History::start(&appliance, &journal);
    let token = TokenCopy::take(&appliance.path("demo/hsm/tokens"));
    let (mut kills, mut torn, mut files, mut seed) = (0, 0, 0, 0x9e37_79b9_7f4a_7c15);
    while kills < rounds() {
        let file = appliance.path(&format!("records-{files}.jsonl"));
        write_records(&file, RECORDS);
        let name = file.to_str().expect("a path").to_owned();
        let mut sealing = appliance
            .client(&["seal", "--journal", &journal, &name, "--timeout", "300"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("pechat client");
        while sealing.try_wait().expect("the client's state").is_none() {
            std::thread::sleep(pause(&mut seed));
            torn += usize::from(token.heal());
            if kills < rounds() && sealing.try_wait().expect("the client's state").is_none() {
                let start = history.now();
                torn += usize::from(strike(&mut appliance, &token, kills));
                history.fault("kill", start);
                kills += 1;
            }
        }
        assert!(sealing.wait().expect("the client's end").success(), "the client finishes");
        files += 1;
        run(&mut appliance.client(&["verify", &name]));
    }
    appliance.wait_until_ready();
    let written = history.path.clone();
    let sealed = (files * RECORDS) as u64 + 1 + history.finish();
    let url = format!("{}/v1/journals/{journal}", appliance.env("PECHAT_URL"));
    let (status, body) = appliance.curl("PECHAT_CERT", "PECHAT_KEY", &[&url]);
    assert_eq!(status, 200);
    let info: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(info["size"], sealed, "the charter and every record once: {info}");

    let export = appliance.path("export.bin");
    let (status, body) =
        appliance.curl("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &[&format!("{url}/export")]);
    assert_eq!(status, 200);
    std::fs::write(&export, body).expect("export");
    let said = run(std::process::Command::new(appliance.env("PECHAT_BIN"))
        .args(["verify", "--ca", appliance.env("PECHAT_CA"), "--head-key"])
        .arg(appliance.path("demo/journal-head.pem"))
        .arg(&export));
    assert!(said.contains("PASSED"), "{said}");
    let segments = std::path::Path::new(appliance.env("PECHAT_DATA")).join("journal/segments");
    let checker = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/checker/check.py");
    let said =
        run(std::process::Command::new("python3").arg(checker).arg(&written).arg(&export).arg(&segments));
    assert!(said.starts_with("CONSISTENT") && !said.contains(" 0 records"), "{said}");
    println!("{said}{kills} kills ({torn} tore the token file), {files} files, {sealed} entries");
}

/// Kills the signer or the front, in turn; a killed front is started again.
/// True if that tore the token file, which is whole again on return.
fn strike(appliance: &mut Appliance, token: &TokenCopy, round: usize) -> bool {
    if round.is_multiple_of(2) {
        wait_for("a signer", || appliance.signer_pid().is_some());
        kill(appliance.signer_pid().expect("a signer"), Signal::KILL);
        token.heal()
    } else {
        appliance.kill_serve();
        let torn = token.heal();
        appliance.start_serve();
        torn
    }
}
