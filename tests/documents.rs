//! Documents are tested: commands, flags, links, make targets and units that they name must exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// README, CONTRIBUTING, CHANGELOG and everything in docs/ that is Markdown.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<_> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).to_vec();
    let mut dirs = vec![PathBuf::from("docs")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root().join(&dir)).unwrap() {
            let path = dir.join(entry.unwrap().file_name());
            if root().join(&path).is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_link_of_every_document_leads_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let base = document.parent().unwrap().to_owned();
        for piece in read(&document).split("](").skip(1) {
            let target = piece.split([')', '#']).next().unwrap();
            let outside = target.is_empty() || target.contains("://");
            if !outside && !root().join(&base).join(target).exists() {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_named_in_code_marks_exists() {
    let mut missing = Vec::new();
    for document in documents() {
        for word in read(&document).split('`').skip(1).step_by(2) {
            let ours = ["src/", "docs/", "tests/", "deploy/", "hsm-test/", "firmware-config/"];
            let path = ours.iter().any(|o| word.starts_with(o)) && !word.contains(['{', '…', '*', ' ']);
            if path && !root().join(word).exists() {
                missing.push(format!("{}: {word}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// `pechat …` commands in code blocks and code marks, `$PECHAT_BIN` counting as `pechat`.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("$PECHAT_BIN", "pechat").replace("\\\n", " ");
    let found = text.split("pechat ").skip(1).map(|rest| rest.split(['\n', '`', ';', '|']).next().unwrap());
    found.map(str::to_owned).collect()
}

fn help(words: &[&str]) -> Option<String> {
    let out = Command::new(env!("CARGO_BIN_EXE_pechat")).args(words).arg("--help").output().unwrap();
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

#[test]
fn every_command_and_flag_in_the_documents_exists() {
    let top = help(&[]).unwrap();
    let known: BTreeSet<&str> = top.lines().filter_map(|l| l.strip_prefix("  ")?.split(' ').next()).collect();
    let mut wrong = Vec::new();
    for document in documents() {
        for command in commands(&read(&document)) {
            let words: Vec<&str> = command.split_whitespace().collect();
            let Some(first) = words.first().filter(|w| known.contains(**w)) else { continue };
            let second = words.get(1).filter(|w| {
                matches!(*first, "audit" | "client" | "evidence" | "journal" | "witness")
                    && !w.starts_with('-')
            });
            let path: Vec<&str> = [Some(first), second].into_iter().flatten().copied().collect();
            let Some(help) = help(&path) else {
                wrong.push(format!("{}: pechat {}", document.display(), path.join(" ")));
                continue;
            };
            for flag in words.iter().filter(|w| w.starts_with("--")) {
                let flag = flag.trim_end_matches([',', '.', ')']);
                if !help.contains(flag) {
                    wrong.push(format!("{}: pechat {} {flag}", document.display(), path.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_make_target_in_the_documents_exists() {
    let makefile = read("Makefile");
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter_map(|l| l.split_once(':').map(|(t, _)| t))
        .filter(|t| !t.is_empty() && t.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        .collect();
    for document in documents() {
        let text = read(&document);
        let named = text.split("make ").skip(1).filter_map(|rest| {
            let word: String = rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            // "make room": only what stands in code marks or begins a line of a block is a target.
            let marked = text.contains(&format!("`make {word}")) || text.contains(&format!("\nmake {word}"));
            marked.then_some(word)
        });
        for word in named {
            assert!(targets.contains(word.as_str()), "{}: make {word}", document.display());
        }
    }
}

#[test]
fn manual_pages_name_every_flag_of_their_command() {
    for (page, path) in [
        ("docs/man/pechat-audit.1", &["audit", "export"][..]),
        ("docs/man/pechat-audit.1", &["audit", "archive"]),
        ("docs/man/pechat-audit.1", &["audit", "verify"]),
        ("docs/man/pechat-audit.1", &["audit", "compare"]),
        ("docs/man/pechat-audit.1", &["audit", "life"]),
        ("docs/man/pechat-audit.1", &["audit", "reconcile"]),
        ("docs/man/pechat-evidence.1", &["evidence", "export"]),
        ("docs/man/pechat-evidence.1", &["evidence", "renew"]),
        ("docs/man/pechat-evidence.1", &["evidence", "record"]),
        ("docs/man/pechat-evidence.1", &["evidence", "verify"]),
        ("docs/man/pechat-journal.1", &["journal", "second-key"]),
        ("docs/man/pechat-client.1", &["client", "init"]),
        ("docs/man/pechat-journal.1", &["journal", "resurrect"]),
        ("docs/man/pechat-client.1", &["client", "stamp"]),
        ("docs/man/pechat-client.1", &["client", "seal"]),
        ("docs/man/pechat-client.1", &["client", "identifier"]),
        ("docs/man/pechat-client.1", &["client", "freeze"]),
        ("docs/man/pechat-client.1", &["client", "hand-over"]),
        ("docs/man/pechat-client.1", &["client", "verify"]),
        ("docs/man/pechat-conformance.1", &["conformance"]),
        ("docs/man/pechat-demo.1", &["demo"]),
        ("docs/man/pechat-witness.1", &["witness", "key"]),
        ("docs/man/pechat-witness.1", &["witness", "run"]),
        ("docs/man/pechat-witness.1", &["witness", "log-key"]),
    ] {
        let page = read(page).replace("\\-", "-");
        let help = help(path).unwrap();
        let flags = help.split_whitespace().filter(|w| w.starts_with("--") && w.len() > 2);
        for flag in flags.map(|f| f.trim_end_matches([',', '.', ';', ']', ')'])).filter(|f| *f != "--help") {
            assert!(page.contains(flag), "{path:?} {flag}");
        }
    }
}

#[test]
fn units_are_hardened() {
    let exists = Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !exists {
        println!("skipped: needs systemd-analyze");
        return;
    }
    for unit in ["pechat-serve.service", "pechat-signer.service"] {
        let path = root().join("deploy/systemd").join(unit);
        let out = Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true", "--threshold=20"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(out.status.success(), "{unit}: {said}{}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn units_use_flags_that_exist() {
    for (unit, command) in [("pechat-serve.service", "serve"), ("pechat-signer.service", "signer")] {
        let text = read(Path::new("deploy/systemd").join(unit)).replace("\\\n", " ");
        let help = help(&[command]).unwrap();
        let start = text.lines().find_map(|l| l.strip_prefix("ExecStart=")).unwrap();
        for flag in start.split_whitespace().filter(|w| w.starts_with("--")) {
            assert!(help.contains(flag), "{unit}: {flag}");
        }
    }
}

#[test]
fn compliance_has_every_row() {
    let text = read("docs/compliance.md");
    let rows = (1..=14).map(|n| format!("| S{n} |")).chain((1..=20).map(|n| format!("| R{n} |")));
    for row in rows {
        assert_eq!(text.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn every_decision_has_a_date_and_a_state() {
    for entry in fs::read_dir(root().join("docs/decisions")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let second = text.lines().nth(2).unwrap_or_default();
        let (date, state) = second.split_once(" · ").unwrap_or_default();
        assert!(date.len() == 10 && date.starts_with("20"), "{}: {second}", path.display());
        assert!(["proposed", "accepted", "superseded"].contains(&state), "{}: {second}", path.display());
    }
}
