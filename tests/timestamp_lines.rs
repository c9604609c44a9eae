//! The lines of the checklist that only a running appliance can show, each a test by its number; lines 1 to 26
//! are in `timestamp.rs`. `docs/conformance.md` says for every line where it is tested, which is tested here.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use appliance::{Appliance, run};

/// The appliance of the tests that run at the moment; the last of them ends it.
fn shared() -> Arc<Appliance> {
    static RUNNING: Mutex<Weak<Appliance>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Appliance::start());
        *running = Arc::downgrade(&started);
        started
    })
}

/// Every probe of a line passes; `probes` of them.
fn passes(line: &str, probes: usize) {
    let appliance = shared();
    let mut command = Command::new(env!("CARGO_BIN_EXE_pechat"));
    command.arg("conformance").arg(format!("{}/tsa", appliance.env("PECHAT_URL")));
    command.args(["--ca", appliance.env("PECHAT_CA"), "--cert", appliance.env("PECHAT_CERT")]);
    command.args(["--key", appliance.env("PECHAT_KEY"), "--only", line]);
    let table = run(&mut command);
    let all = format!("{probes:>4} of {probes:<4} in all");
    assert!(table.contains(&all), "{all} in\n{table}");
}

#[test]
fn line_27_subject_info_access_is_absent_or_names_the_time_stamping_service() {
    passes("27", 1);
}

#[test]
fn line_28_the_units_name_is_complete_and_its_key_has_a_usage_period() {
    passes("28", 2);
}

#[test]
fn line_30_policy_nonce_and_certificates_are_honoured_together() {
    passes("30", 1);
}

#[test]
fn line_31_the_policy_is_a_policy() {
    passes("31", 1);
}

#[test]
fn line_32_accuracy_is_a_second_or_better_and_gen_time_is_as_fine() {
    passes("32", 2);
}

#[test]
fn line_33_tokens_promise_no_order_and_have_no_critical_extension() {
    passes("33", 2);
}

#[test]
fn line_34_no_token_claims_to_be_qualified() {
    passes("34", 1);
}

#[test]
fn line_35_timestamps_are_given_over_tls() {
    passes("35", 1);
}

#[test]
fn line_36_a_reply_is_exactly_one_message() {
    passes("36", 1);
}

#[test]
fn line_37_the_reply_has_its_media_type_and_everything_else_its_error() {
    passes("37", 8);
}

#[test]
fn line_38_replies_are_framed_as_every_client_reads_them_whatever_the_framing_of_the_query() {
    passes("38", 14);
}

#[test]
fn line_39_rejections_go_out_like_tokens() {
    passes("39", 2);
}

/// Lines, tests, what is missing.
type Row = (Vec<u32>, Vec<Test>, String);
/// File and name.
type Test = (String, String);

/// Rows `| line | file: test, test | what is missing |` of `docs/conformance.md`.
fn rows() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/conformance.md")).expect("docs/conformance.md");
    let rows = text.split("## Where each line is tested").nth(1).expect("the section");
    let cells = |row: &str| row.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let numbered =
        |cells: &Vec<String>| cells.len() == 5 && cells[1].starts_with(|c: char| c.is_ascii_digit());
    rows.lines()
        .map(cells)
        .filter(numbered)
        .map(|cells| (lines(&cells[1]), tests(&cells[2]), cells[3].clone()))
        .collect()
}

/// `7`, or `45–47`.
fn lines(cell: &str) -> Vec<u32> {
    let number = |text: &str| text.parse::<u32>().unwrap_or_else(|_| panic!("{cell:?} is no line"));
    match cell.split_once('–') {
        Some((first, last)) => (number(first)..=number(last)).collect(),
        None => vec![number(cell)],
    }
}

/// File and name (or a name's beginning, with `…`) of each test in `` `file` name, name; `file` name ``.
fn tests(cell: &str) -> Vec<Test> {
    let mut found = Vec::new();
    for group in cell.split(';').filter(|g| !g.trim().is_empty()) {
        let (file, names) =
            group.trim().trim_start_matches('`').split_once('`').expect("a file in code marks");
        found.extend(names.split(',').map(|name| (file.to_owned(), name.trim().to_owned())));
    }
    found
}

#[test]
fn the_documented_place_of_every_line_exists() {
    let mut seen = BTreeSet::new();
    for (lines, tests, missing) in rows() {
        assert!(!tests.is_empty() || !missing.is_empty(), "{lines:?} has neither a test nor a reason");
        for (file, name) in tests {
            let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
            let source = source.unwrap_or_else(|e| panic!("{file}: {e}"));
            let name = name.strip_suffix('…').map_or_else(|| format!("fn {name}("), |n| format!("fn {n}"));
            assert!(source.contains(&name), "{lines:?}: {name} is not in {file}");
        }
        for line in lines {
            assert!(seen.insert(line), "line {line} twice");
        }
    }
    assert_eq!(seen, (1..=53).collect());
}
