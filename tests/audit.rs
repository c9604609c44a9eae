//! `pechat audit` over the real appliance: taken away, verified, compared, reconciled, and every tampering named.

#[allow(dead_code)] // an auditor uses a part of the fixture
mod appliance;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use appliance::{Appliance, refused, run, wait_for, write_records};
use pechat::digest::Digest;
use pechat::journal::entry::ENTRY_BYTES;
use pechat::journal::export::ExportHeader;

const RECORDS: usize = 300;

#[test]
fn an_auditor_takes_journals_away_and_finds_every_tampering() {
    let desk = Desk::new();
    a_folder_passes_by_the_auditors_own_keys(&desk);
    a_folder_is_checked_by_strangers(&desk);
    a_second_root_under_another_hash_is_checked(&desk);
    without_keys_nothing_is_passed(&desk);
    a_changed_export_is_named_by_entry_and_byte(&desk);
    a_changed_or_missing_file_is_named(&desk);
    a_later_export_continues_an_earlier_one(&desk);
    several_journals_are_verified_at_once(&desk);
    a_registers_list_is_reconciled(&desk);
    refusals_say_what_to_do(&desk);
}

/// An appliance with a sealed journal, and the auditor's folder of it.
struct Desk {
    appliance: Appliance,
    folder: PathBuf,
}

impl Desk {
    fn new() -> Desk {
        let mut appliance = Appliance::start();
        let config = fs::read_to_string(appliance.config()).unwrap();
        fs::write(appliance.config(), config + "\n[journal]\ntwin_interval_s = 1\n").unwrap();
        appliance.kill_serve();
        appliance.start_serve();
        appliance.wait_until_ready();
        let records = appliance.path("records.jsonl");
        write_records(&records, RECORDS);
        run(&mut appliance.client(&["seal", "--journal", "land-register", records.to_str().unwrap()]));
        let url = format!("{}/v1/journals/land-register/twin", appliance.env("PECHAT_URL"));
        let size = format!("j/land-register\\\",\\\"size\\\":{}", RECORDS + 1);
        wait_for("the SHA3-256 root", || {
            let (status, body) = appliance.curl("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &[&url]);
            status == 200 && String::from_utf8_lossy(&body).contains(&size)
        });
        let folder = appliance.path("land");
        let desk = Desk { appliance, folder };
        let said = run(desk.audit(&["export", "--journal", "land-register", "--out"]).arg(&desk.folder));
        assert!(said.starts_with("PASSED  "), "{said}");
        assert!(said.contains(&format!("{} entries from ", RECORDS + 1)), "{said}");
        assert!(said.contains("signed, stamped at ") && !said.contains("NOT CHECKED"), "{said}");
        desk
    }

    /// `pechat audit …` as the auditor, with the pinned root and head key in the environment.
    fn audit(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.env("PECHAT_CA", self.appliance.env("PECHAT_CA"));
        command.env("PECHAT_HEAD_KEY", self.appliance.path("demo/journal-head.pem"));
        command
    }

    /// The same without trusted keys.
    fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pechat"));
        command.arg("audit").args(args).env("XDG_CONFIG_HOME", self.appliance.path("nowhere"));
        command.env("PECHAT_URL", self.appliance.env("PECHAT_URL"));
        command.env("PECHAT_CERT", self.appliance.env("PECHAT_AUDITOR_CERT"));
        command.env("PECHAT_KEY", self.appliance.env("PECHAT_AUDITOR_KEY"));
        command.env_remove("PECHAT_CA").env_remove("PECHAT_HEAD_KEY");
        command
    }

    /// Verdict of one folder or file.
    fn verdict(&self, path: &Path) -> serde_json::Value {
        let (_, said) = outcome(self.audit(&["verify", "--json"]).arg(path));
        serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"))
    }

    /// A copy of the folder to be tampered with.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.appliance.path(name);
        fs::create_dir(&copy).unwrap();
        for item in fs::read_dir(&self.folder).unwrap() {
            let item = item.unwrap();
            fs::copy(item.path(), copy.join(item.file_name())).unwrap();
        }
        copy
    }

    fn export(&self) -> Vec<u8> {
        fs::read(self.folder.join("journal.export")).unwrap()
    }
}

/// Exit status and everything said.
fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let out = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), text)
}

fn start_of_entries(export: &[u8]) -> usize {
    ExportHeader::read(&mut &export[..]).unwrap().1 as usize
}

/// Makes the MANIFEST fit the files, as whoever tampers would.
fn sign_off(folder: &Path) {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|i| i.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let line = |name: &String| format!("{}  {name}\n", Digest::of(&fs::read(folder.join(name)).unwrap()));
    let text: String = names.iter().filter(|name| *name != "MANIFEST").map(line).collect();
    fs::write(folder.join("MANIFEST"), text).unwrap();
}

fn a_folder_passes_by_the_auditors_own_keys(desk: &Desk) {
    let mut names: Vec<_> =
        fs::read_dir(&desk.folder).unwrap().map(|i| i.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    for name in ["FORMAT.md", "MANIFEST", "README.txt", "checkpoint.txt", "head.json", "journal-head.pem"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    assert!(names.iter().filter(|n| n.ends_with(".crl")).count() >= 1, "{names:?}");
    assert!(names.iter().filter(|n| n.ends_with(".cer")).count() >= 1, "{names:?}");
    let verdict = desk.verdict(&desk.folder);
    assert_eq!(verdict["verdict"], "PASSED", "{verdict}");
    assert_eq!(verdict["facts"]["count"], RECORDS as u64 + 1);
    assert_eq!(verdict["facts"]["signature_checked"], true);
    assert!(verdict["notes"].to_string().contains("no certificate of its token was revoked"), "{verdict}");
    let file = desk.verdict(&desk.folder.join("journal.export"));
    assert_eq!((&file["verdict"], &file["entry"]), (&"PASSED".into(), &serde_json::Value::Null), "{file}");
}

fn a_folder_is_checked_by_strangers(desk: &Desk) {
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "MANIFEST"])
        .current_dir(&desk.folder));
    let mut python = Command::new("python3");
    python.args(["verify.py", "receipt.txt", "--ca", "root.pem", "--head-key", "journal-head.pem"]);
    let said = run(python.current_dir(&desk.folder));
    assert!(
        said.starts_with(&format!("PASSED: entry {RECORDS} of seal.example.gov/j/land-register")),
        "{said}"
    );
}

fn a_second_root_under_another_hash_is_checked(desk: &Desk) {
    let statement = fs::read_to_string(desk.folder.join("twin.json")).unwrap();
    let said: serde_json::Value = serde_json::from_str(&statement).unwrap();
    let trees = said["trees"].as_array().unwrap();
    let twin = trees.iter().find(|t| t["origin"] == "seal.example.gov/j/land-register").unwrap();
    let notes = desk.verdict(&desk.folder)["notes"].to_string();
    let root = twin["twin"].as_str().unwrap();
    assert!(notes.contains(&format!("SHA3-256 root of its first {} entries", twin["size"])), "{notes}");
    assert!(notes.contains(root), "{notes}");

    // By Python alone: every link, both roots.
    let python = |folder: &Path| {
        let mut python = Command::new("python3");
        python.args(["verify.py", "twin-receipt.txt", "--ca", "root.pem", "--head-key", "journal-head.pem"]);
        python.args(["--statement", "twin.json", "--export", "journal.export"]).current_dir(folder);
        python
    };
    let out = run(&mut python(&desk.folder));
    let stated = format!("sha3_256 root of the first {} is {root}", twin["size"]);
    assert!(out.contains(&stated), "{out}");
    let python_folder = |folder: &Path| {
        let mut python = Command::new("python3");
        python.args(["verify.py", ".", "--ca", "root.pem", "--head-key", "journal-head.pem"]);
        python.current_dir(folder);
        python
    };
    let out = run(&mut python_folder(&desk.folder));
    assert!(out.contains(&stated) && out.contains("PASSED: the folder of"), "{out}");

    // A statement that was changed, cut off from its receipt or is about others, MANIFEST or not.
    let flipped = statement.replacen(root, &"0".repeat(64), 1);
    for (name, content, verdict, reason) in [
        (
            "twin.json",
            Some(flipped.as_str()),
            "FAILED",
            "twin-receipt.txt: its entry is not that of twin.json",
        ),
        ("twin-receipt.txt", None, "INDETERMINATE", "nothing says that twin.json was sealed"),
        (
            "twin-receipt.txt",
            Some("receipt.txt"),
            "FAILED",
            "statements are entries of seal.example.gov/j/own.twins",
        ),
    ] {
        let altered = desk.copy("twin-altered");
        match content {
            None => fs::remove_file(altered.join(name)).unwrap(),
            Some("receipt.txt") => drop(fs::copy(altered.join("receipt.txt"), altered.join(name)).unwrap()),
            Some(text) => fs::write(altered.join(name), text).unwrap(),
        }
        sign_off(&altered);
        let found = desk.verdict(&altered);
        assert_eq!(found["verdict"], verdict, "{found}");
        assert!(found["reason"].as_str().unwrap().contains(reason), "{found}");
        let (status, said) = outcome(&mut python_folder(&altered));
        assert!(status == Some(1) && said.contains("FAILED: ") && !said.contains("Traceback"), "{said}");
        if name == "twin.json" {
            let (status, said) = outcome(&mut python(&altered));
            assert!(status == Some(1) && said.contains("FAILED: the receipt is for digest"), "{said}");
        }
        fs::remove_dir_all(&altered).unwrap();
    }
}

fn without_keys_nothing_is_passed(desk: &Desk) {
    let (status, said) = outcome(desk.bare(&["verify"]).arg(&desk.folder));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.starts_with("INDETERMINATE  ") && said.contains("give --ca and --head-key"), "{said}");
    assert!(said.contains("SHA-256 of the root certificate: "), "{said}");
    let (status, said) = outcome(desk.bare(&["verify"]).arg(desk.folder.join("journal.export")));
    assert_eq!((status, said.contains("nothing says who made them")), (Some(2), true), "{said}");
    let mut half = desk.bare(&["verify", "--ca", desk.appliance.env("PECHAT_CA")]);
    let (status, said) = outcome(half.arg(&desk.folder));
    assert_eq!((status, said.contains("give --head-key")), (Some(2), true), "{said}");
    // Another head key: not the auditor's appliance.
    let other = desk.appliance.path("other.pem");
    let pkey = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
    run(Command::new("openssl").args(pkey).arg(desk.appliance.path("other.key")));
    run(Command::new("openssl")
        .args(["pkey", "-pubout", "-in"])
        .arg(desk.appliance.path("other.key"))
        .arg("-out")
        .arg(&other));
    let (status, said) = outcome(desk.audit(&["verify", "--head-key"]).arg(&other).arg(&desk.folder));
    assert_eq!((status, said.contains("trusted head key")), (Some(1), true), "{said}");
}

fn a_changed_export_is_named_by_entry_and_byte(desk: &Desk) {
    let export = desk.export();
    let start = start_of_entries(&export);
    let copy = desk.copy("tampered");
    let file = copy.join("journal.export");
    let place = move |seq: usize| start + seq * ENTRY_BYTES;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let changes: [(&str, usize, Change); 6] = [
        ("a digest", 17, Box::new(move |e| e[place(17) + 130] ^= 1)),
        ("a time", 200, Box::new(move |e| e[place(200) + 95] ^= 1)),
        ("an entry dropped", 9, Box::new(move |e| drop(e.drain(place(9)..place(10))))),
        (
            "an entry twice",
            9,
            Box::new(move |e| drop(e.splice(place(9)..place(9), e[place(8)..place(9)].to_vec()))),
        ),
        ("the end cut off", RECORDS - 1, Box::new(move |e| e.truncate(place(RECORDS - 1)))),
        ("something added", RECORDS + 1, Box::new(|e| e.extend([0; ENTRY_BYTES]))),
    ];
    for (what, seq, change) in changes {
        let mut bent = export.clone();
        change(&mut bent);
        fs::write(&file, &bent).unwrap();
        fs::copy(desk.folder.join("MANIFEST"), copy.join("MANIFEST")).unwrap();
        let offset = place(seq);
        for (by, verdict) in [("hash", desk.verdict(&copy)), ("file", desk.verdict(&file))] {
            assert_eq!(verdict["verdict"], "FAILED", "{what}, {by}: {verdict}");
            assert_eq!(
                (&verdict["entry"], &verdict["offset"]),
                (&seq.into(), &offset.into()),
                "{what}, {by}: {verdict}"
            );
        }
        sign_off(&copy);
        let verdict = desk.verdict(&copy);
        assert_eq!(
            (&verdict["verdict"], &verdict["entry"]),
            (&"FAILED".into(), &seq.into()),
            "{what}: {verdict}"
        );
    }
}

fn a_changed_or_missing_file_is_named(desk: &Desk) {
    let copy = desk.copy("bent");
    let names: Vec<_> = fs::read_to_string(desk.folder.join("MANIFEST"))
        .unwrap()
        .lines()
        .map(|line| line.split_once("  ").unwrap().1.to_owned())
        .collect();
    for name in &names {
        let good = fs::read(copy.join(name)).unwrap();
        let mut bent = good.clone();
        let middle = bent.len() / 2;
        bent[middle] ^= 1;
        fs::write(copy.join(name), &bent).unwrap();
        let verdict = desk.verdict(&copy);
        assert_eq!((&verdict["verdict"], told(&verdict, name)), (&"FAILED".into(), true), "{verdict}");
        // With a MANIFEST that fits: whatever is evidence still fails.
        sign_off(&copy);
        let verdict = desk.verdict(&copy);
        let evidence =
            ["journal.export", "head.json", "checkpoint.txt", "receipt.txt"].contains(&name.as_str());
        assert!(!evidence || verdict["verdict"] == "FAILED", "{name}: {verdict}");
        fs::remove_file(copy.join(name)).unwrap();
        fs::copy(desk.folder.join("MANIFEST"), copy.join("MANIFEST")).unwrap();
        let verdict = desk.verdict(&copy);
        assert_eq!((&verdict["verdict"], told(&verdict, name)), (&"FAILED".into(), true), "{verdict}");
        fs::write(copy.join(name), &good).unwrap();
    }
    fs::write(copy.join("notes.txt"), "ours").unwrap();
    let verdict = desk.verdict(&copy);
    assert_eq!(verdict["verdict"], "PASSED", "{verdict}");
    assert!(verdict["notes"].to_string().contains("notes.txt is not in the MANIFEST"), "{verdict}");
    fs::remove_file(copy.join("notes.txt")).unwrap();
    for name in names.iter().filter(|name| name.ends_with(".crl")) {
        fs::remove_file(copy.join(name)).unwrap();
    }
    sign_off(&copy);
    let verdict = desk.verdict(&copy);
    assert_eq!(verdict["verdict"], "INDETERMINATE", "{verdict}");
    assert!(told(&verdict, "no revocation list of its issuer"), "{verdict}");
}

fn told(verdict: &serde_json::Value, what: &str) -> bool {
    verdict["reason"].as_str().is_some_and(|reason| reason.contains(what))
}

fn a_later_export_continues_an_earlier_one(desk: &Desk) {
    let more = desk.appliance.path("more.jsonl");
    write_records(&more, 40);
    run(&mut desk.appliance.client(&["seal", "--journal", "land-register", more.to_str().unwrap()]));
    let later = desk.appliance.path("later");
    run(desk.audit(&["export", "--journal", "land-register", "--out"]).arg(&later));
    let said = run(desk.audit(&["compare"]).arg(&desk.folder).arg(&later));
    assert!(
        said.contains(&format!("SAME HISTORY  B continues A after its {} entries", RECORDS + 1)),
        "{said}"
    );
    let said = run(desk.audit(&["compare"]).arg(&later).arg(desk.folder.join("journal.export")));
    assert!(said.contains("SAME HISTORY  A continues B after its"), "{said}");
    let said = run(desk.audit(&["compare"]).arg(&later).arg(&later));
    assert!(said.contains("SAME HISTORY  both have the same"), "{said}");

    let bent = desk.appliance.path("bent.export");
    let mut export = desk.export();
    let place = start_of_entries(&export) + 33 * ENTRY_BYTES;
    export[place + 125] ^= 1;
    fs::write(&bent, &export).unwrap();
    let (status, said) = outcome(desk.audit(&["compare", "--json"]).arg(&later).arg(&bent));
    let found: serde_json::Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(
        (status, &found["same_history"], &found["common"]),
        (Some(1), &false.into(), &33.into()),
        "{said}"
    );
    assert_eq!(found["first_difference"]["seq"], 33);
    assert_eq!(found["first_difference"]["offset_b"], place);
    assert_eq!(found["first_difference"]["fields"], serde_json::json!(["digest"]));
    assert!(
        found["broken"][0].as_str().unwrap().starts_with("B does not hold by itself: entry 33"),
        "{said}"
    );

    // A folder whose newest head is ahead of its export: the consistency proof leads there.
    for name in ["journal.export", "receipt.txt"] {
        fs::copy(desk.folder.join(name), later.join(name)).unwrap();
    }
    sign_off(&later);
    let verdict = desk.verdict(&later);
    assert_eq!(verdict["verdict"], "INDETERMINATE", "{verdict}");
    assert!(told(&verdict, "there is no consistency.json"), "{verdict}");
    let (old, new) = (RECORDS + 1, RECORDS + 41);
    let url = format!(
        "{}/v1/journals/land-register/consistency?old={old}&new={new}",
        desk.appliance.env("PECHAT_URL")
    );
    let (status, path) = desk.appliance.curl("PECHAT_AUDITOR_CERT", "PECHAT_AUDITOR_KEY", &[&url]);
    assert_eq!(status, 200);
    fs::write(later.join("consistency.json"), &path).unwrap();
    sign_off(&later);
    let verdict = desk.verdict(&later);
    assert_eq!(verdict["verdict"], "PASSED", "{verdict}");
    assert!(verdict["notes"].to_string().contains("continued since, consistently"), "{verdict}");
}

fn several_journals_are_verified_at_once(desk: &Desk) {
    let all = desk.appliance.path("all");
    fs::create_dir(&all).unwrap();
    let journals = ["own.certificates", "own.events", "birth-register"];
    for journal in journals {
        run(desk.audit(&["export", "--journal", journal, "--out"]).arg(all.join(journal)));
    }
    let said = run(desk.audit(&["verify"]).arg(&all).arg(&desk.folder));
    let passed = said.lines().filter(|line| line.starts_with("PASSED  ")).count();
    assert_eq!(passed, journals.len() + 1, "{said}");
    let (status, said) =
        outcome(desk.audit(&["verify", "--json"]).arg(&all).arg(desk.appliance.path("tampered")));
    let verdicts: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let words: Vec<_> = verdicts.iter().map(|v| v["verdict"].as_str().unwrap()).collect();
    assert_eq!((status, words), (Some(1), vec!["PASSED", "PASSED", "PASSED", "FAILED"]), "{said}");
    let (status, said) = outcome(desk.audit(&["compare"]).arg(all.join("own.events")).arg(&desk.folder));
    assert_eq!((status, said.contains("A is of journal ")), (Some(2), true), "{said}");
}

fn a_registers_list_is_reconciled(desk: &Desk) {
    let plan = fs::read_to_string(desk.appliance.path("records.jsonl.pechat/plan")).unwrap();
    let planned = plan.lines().skip(3).filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.nth(1)?))
    });
    let line = |(id, digest)| format!("{{\"request_id\":\"{id}\",\"digest\":\"{digest}\"}}\n");
    let lines: Vec<String> = planned.map(line).collect();
    assert_eq!(lines.len(), RECORDS);
    let list = desk.appliance.path("list.jsonl");
    fs::write(&list, lines.concat()).unwrap();
    let said = run(desk.audit(&["reconcile"]).arg(&desk.folder).arg(&list));
    assert!(
        said.starts_with("COMPLETE  seal.example.gov/j/land-register: 300 listed, 300 sealed, 300 agree"),
        "{said}"
    );

    let mut bent = lines.clone();
    let removed = bent.remove(7);
    let digest = bent[9].rfind("\"}").unwrap() - 64;
    bent[9].replace_range(digest..digest + 8, "00000000");
    bent.push(format!("{{\"request_id\":\"{}\",\"digest\":\"{}\"}}\n", "ab".repeat(16), "cd".repeat(32)));
    fs::write(&list, bent.concat()).unwrap();
    let (status, said) = outcome(desk.audit(&["reconcile"]).arg(&desk.folder).arg(&list));
    assert_eq!(status, Some(1), "{said}");
    let id = removed.split('"').nth(3).unwrap();
    assert!(said.contains(&format!("request {id}, is not in the list")), "{said}");
    assert!(said.contains(&format!("request {} of line 300 was never sealed", "ab".repeat(16))), "{said}");
    assert!(said.contains("but line 10 lists 00000000"), "{said}");
    assert!(said.contains("INCOMPLETE") && said.contains("298 agree, 3 differ"), "{said}");
    let (status, said) = outcome(desk.audit(&["reconcile", "--json"]).arg(&desk.folder).arg(&list));
    let said: Vec<serde_json::Value> = said.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let kinds: Vec<_> = said[..3].iter().map(|f| f["finding"].as_str().unwrap()).collect();
    assert_eq!((status, kinds), (Some(1), vec!["not-listed", "other-digest", "not-sealed"]));
    assert_eq!((&said[3]["complete"], &said[3]["findings"]), (&false.into(), &3.into()));

    let (status, said) = outcome(desk.audit(&["reconcile"]).arg(desk.appliance.path("tampered")).arg(&list));
    assert_eq!((status, said.starts_with("FAILED  ")), (Some(1), true), "{said}");
    fs::write(&list, "{\"request_id\":\"12\"}\n").unwrap();
    let (status, said) = outcome(desk.audit(&["reconcile"]).arg(&desk.folder).arg(&list));
    assert_eq!((status, said.contains("line 1 of the list")), (Some(2), true), "{said}");
}

fn refusals_say_what_to_do(desk: &Desk) {
    let said = refused(desk.audit(&["export", "--journal", "land-register", "--out"]).arg(&desk.folder));
    assert!(said.contains("exists already"), "{said}");
    let out = desk.appliance.path("new");
    let said = refused(desk.audit(&["export", "--journal", "sea-register", "--out"]).arg(&out));
    assert!(said.contains("404") && !out.exists(), "{said}");
    let mut another = desk.audit(&["export", "--journal", "land-register", "--out"]);
    another.env("PECHAT_CERT", desk.appliance.env("PECHAT_CERT2"));
    another.env("PECHAT_KEY", desk.appliance.env("PECHAT_KEY2"));
    let said = refused(another.arg(&out));
    assert!(said.contains("404") && !out.exists(), "{said}");
    assert!(!desk.appliance.path("new.partial").exists());
    let (status, said) = outcome(desk.audit(&["verify"]).arg(&out));
    assert_eq!((status, said.contains("cannot be opened")), (Some(2), true), "{said}");
    // Without a head key of its own, the auditor takes the appliance's word, and is told so.
    let mut trusting = desk.audit(&["export", "--journal", "land-register", "--out"]);
    let said = run(trusting.env_remove("PECHAT_HEAD_KEY").arg(&out));
    assert!(said.contains("journal-head.pem is what the appliance named"), "{said}");
    let pinned = fs::read_to_string(desk.appliance.path("demo/journal-head.pem")).unwrap();
    assert_eq!(fs::read_to_string(out.join("journal-head.pem")).unwrap(), pinned);
}
