//! The archive of a frozen journal, unpacked where there is nothing of ours: Python and openssl verify it,
//! and find what was altered. The journal goes from one owner to another, and ends, on the real appliance.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use appliance::{Appliance, refused, run, write_records};

const JOURNAL: &str = "land-register";
const ORDER: &str = "Order 17 of 24 November 2026";

/// The words an officer types.
fn officer(appliance: &Appliance, number: u8, words: &[&str]) -> String {
    let (cert, key) = (format!("PECHAT_OFFICER{number}_CERT"), format!("PECHAT_OFFICER{number}_KEY"));
    let mut all = vec![words[0], "--journal", JOURNAL, "--description", ORDER];
    all.extend(&words[1..]);
    run(&mut appliance.client_as(&cert, &key, &all))
}

/// Seals records of a file of its own as the registry service of either institution.
fn seal(appliance: &Appliance, cert: &str, key: &str, name: &str) -> Command {
    let file = appliance.path(name);
    if !file.exists() {
        write_records(&file, 40);
    }
    appliance.client_as(cert, key, &["seal", "--journal", JOURNAL, file.to_str().expect("a path")])
}

/// `pechat audit archive` as the auditor, into `name`.
fn archive(appliance: &Appliance, name: &str) -> (PathBuf, String) {
    let out = appliance.path(name);
    let mut command = Command::new(appliance.env("PECHAT_BIN"));
    command.args(["audit", "archive", "--journal", JOURNAL, "--out"]).arg(&out);
    command.args(["--public-url", appliance.env("PECHAT_PUBLIC_URL")]);
    command.env("PECHAT_URL", appliance.env("PECHAT_URL")).env("PECHAT_CA", appliance.env("PECHAT_CA"));
    command.env("PECHAT_CERT", appliance.env("PECHAT_AUDITOR_CERT"));
    command.env("PECHAT_KEY", appliance.env("PECHAT_AUDITOR_KEY"));
    command.env("PECHAT_HEAD_KEY", appliance.path("demo/journal-head.pem"));
    let said = run(&mut command);
    (out, said)
}

/// A directory with python3, openssl and sha256sum on its path and nothing else.
struct Bare(tempfile::TempDir);

impl Bare {
    fn unpack(folder: &Path) -> Bare {
        let bare = Bare(tempfile::tempdir().expect("a directory"));
        fs::create_dir(bare.0.path().join("bin")).expect("bin");
        for tool in ["python3", "openssl", "sha256sum"] {
            let found = ["/usr/local/bin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(tool));
            let found = found.iter().find(|path| path.exists()).unwrap_or_else(|| panic!("needs {tool}"));
            std::os::unix::fs::symlink(found, bare.0.path().join("bin").join(tool)).expect("a link");
        }
        let (to, tar) = (bare.folder(), bare.0.path().join("archive.tar"));
        fs::create_dir(&to).expect("the folder");
        run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(folder).arg("."));
        run(Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&to));
        bare
    }

    fn folder(&self) -> PathBuf {
        self.0.path().join("archive")
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(self.0.path().join("bin").join(words[0]));
        command.args(&words[1..]).current_dir(self.folder()).env_clear();
        command.env("PATH", self.0.path().join("bin")).output().expect(words[0])
    }

    /// Standard output of what must succeed.
    fn says(&self, words: &[&str]) -> String {
        let out = self.run(words);
        let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{words:?}: {said}");
        said
    }

    /// What `replay.py` says of the folder after `change`, which is undone.
    fn altered(&self, name: &str, change: impl Fn(&mut Vec<u8>)) -> String {
        let path = self.folder().join(name);
        let good = fs::read(&path).expect(name);
        let (manifest, mut bad) = (self.folder().join("MANIFEST"), good.clone());
        change(&mut bad);
        fs::write(&path, &bad).expect(name);
        let lines = fs::read_to_string(&manifest).expect("MANIFEST");
        // Whoever alters a file writes the MANIFEST anew.
        let digest = |bytes: &[u8]| pechat::digest::Digest::of(bytes).to_string();
        fs::write(&manifest, lines.replace(&digest(&good), &digest(&bad))).expect("MANIFEST");
        let out = self.run(&["python3", "replay.py", "."]);
        fs::write(&path, &good).expect(name);
        fs::write(&manifest, lines).expect("MANIFEST");
        assert!(!out.status.success(), "{name} was altered unnoticed");
        String::from_utf8_lossy(&out.stderr).into_owned()
    }
}

#[test]
fn a_frozen_journals_archive_is_verified_where_there_is_no_program_of_ours() {
    let appliance = Appliance::start();
    run(&mut seal(&appliance, "PECHAT_CERT", "PECHAT_KEY", "first.jsonl"));
    let (_, said) = archive(&appliance, "too-early");
    assert!(said.contains("NOTICE") && said.contains("NOT FROZEN"), "{said}");

    let said = officer(&appliance, 1, &["hand-over", "--to", "civil-registry"]);
    assert!(said.contains("awaiting another officer"), "{said}");
    let said = officer(&appliance, 2, &["hand-over", "--to", "civil-registry"]);
    assert!(said.contains("from entry 41 on it is civil-registry's"), "{said}");
    let said = refused(&mut seal(&appliance, "PECHAT_CERT", "PECHAT_KEY", "late.jsonl"));
    assert!(said.contains("handed over"), "{said}");
    let held = appliance.path("first.jsonl");
    run(&mut appliance.client(&["verify", held.to_str().expect("a path")]));
    run(&mut seal(&appliance, "PECHAT_CERT2", "PECHAT_KEY2", "second.jsonl"));

    officer(&appliance, 2, &["freeze"]);
    let said = officer(&appliance, 1, &["freeze"]);
    assert!(said.contains("frozen: entry 82 is its final record"), "{said}");
    let said = refused(&mut seal(&appliance, "PECHAT_CERT2", "PECHAT_KEY2", "third.jsonl"));
    assert!(said.contains("409") && said.contains("frozen"), "{said}");

    let (folder, said) = archive(&appliance, "archive");
    assert!(said.contains("PASSED") && said.contains("FROZEN: entry 82"), "{said}");
    assert!(said.contains("handed over to civil-registry by entry 41"), "{said}");
    assert!(!said.contains("NOTICE") && !said.contains("NOT CHECKED"), "{said}");
    let bare = Bare::unpack(&folder);
    drop(appliance);
    verified(&bare);
    tampered(&bare);
}

/// As its README says, and with the keys from elsewhere.
fn verified(bare: &Bare) {
    let said = bare.says(&["python3", "replay.py", "."]);
    assert!(said.starts_with("PASSED: 83 entries"), "{said}");
    assert!(said.contains("last of civil-registry; frozen, entry 82 is its final record"), "{said}");
    assert!(said.contains("compare their SHA-256"), "{said}");
    let keys = ["--ca", "root.pem", "--head-key", "journal-head.pem"];
    let said = bare.says(&[&["python3", "replay.py", "."], &keys[..]].concat());
    assert_eq!(said.lines().count(), 1, "{said}");
    let said = bare.says(&[&["python3", "verify.py", "receipt.txt"], &keys[..]].concat());
    assert!(said.starts_with("PASSED: entry 82"), "{said}");
    bare.says(&["sha256sum", "--check", "--quiet", "MANIFEST"]);
    let (signature, body) = (["-signature", "checkpoint.sig"], "checkpoint.body");
    let by_hand = [&["openssl", "dgst", "-sha256", "-verify", "journal-head.pem"], &signature[..], &[body]];
    assert!(bare.says(&by_hand.concat()).contains("Verified OK"));
    let by_hand = ["openssl", "ts", "-verify", "-token_in", "-in", "token.der", "-data", body];
    assert!(bare.says(&[&by_hand[..], &["-CAfile", "root.pem"]].concat()).contains("Verification: OK"));
    let readme = fs::read_to_string(bare.folder().join("README.txt")).expect("README.txt");
    let state = fs::read_to_string(bare.folder().join("STATE.txt")).expect("STATE.txt");
    assert!(state.contains("frozen. Entry 82"), "{state}");
    let mode = fs::metadata(bare.folder()).expect("the folder").permissions().mode();
    assert!(mode & 0o500 == 0o500 && readme.contains("replay.py"), "{mode:o}");
}

fn tampered(bare: &Bare) {
    let start = |bytes: &[u8]| bytes.windows(16).position(|w| w == b"pechat/entry/v1\n").expect("entries");
    let at = move |seq: usize, offset: usize| {
        move |bytes: &mut Vec<u8>| {
            let place = start(bytes) + seq * 152 + offset;
            bytes[place] ^= 1;
        }
    };
    assert!(bare.altered("journal.export", at(5, 130)).contains("entry 6: does not name"));
    assert!(bare.altered("journal.export", at(82, 130)).contains("statement-82.json is not what"));
    assert!(bare.altered("journal.export", at(7, 55)).contains("entry 7: stands out of order"));
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 152);
    assert!(bare.altered("journal.export", cut).contains("82 entries, 83 were announced"));
    let longer = |bytes: &mut Vec<u8>| {
        // Correctly linked behind the final record, as an insider with the program could do it.
        let last = bytes[bytes.len() - 152..].to_vec();
        let mut entry = last.clone();
        entry[48..56].copy_from_slice(&83_u64.to_be_bytes());
        entry[56..88].copy_from_slice(pechat::digest::Digest::of_parts(&[&[0], &last]).as_bytes());
        entry[101] = 2;
        bytes.extend(entry);
    };
    assert!(bare.altered("journal.export", longer).contains("stands after the final record, entry 82"));
    let other_owner = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).expect("JSON").replace("civil-registry", "court-agency");
        *bytes = text.into_bytes();
    };
    assert!(bare.altered("statement-41.json", other_owner).contains("statement-41.json is not what"));
    let flip_end = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("bytes") ^= 1;
    for list in ["crl", "cer"] {
        let of_kind = |name: &String| name.ends_with(&format!(".{list}"));
        let names = fs::read_dir(bare.folder()).expect("the folder").flatten();
        let names = names.map(|item| item.file_name().to_string_lossy().into_owned());
        assert!(names.filter(of_kind).count() > 0, "no .{list}");
    }
    let names = fs::read_dir(bare.folder()).expect("the folder").flatten();
    let lists = names.map(|item| item.file_name().to_string_lossy().into_owned());
    for list in lists.filter(|name| name.ends_with(".crl")) {
        assert!(bare.altered(&list, flip_end).contains("certificate of the token"), "{list}");
    }
    bare.says(&["python3", "replay.py", "."]);
}
