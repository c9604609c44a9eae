//! `pechat audit` over the real appliance: parts of journals, several journals in one export, lives of reference numbers,
//! and the replay in Python of all of it.

#[allow(dead_code)] // an auditor uses a part of the fixture
mod appliance;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use appliance::{Appliance, run, write_records};
use pechat::digest::{Digest, hex};
use pechat::journal::life::step_id;
use serde_json::{Value, json};

const RECORDS: usize = 300;
const RNU: &str = "RNU-2026-000017";
const NUMBER: &[u8; 16] = b"2475001150024593";

#[test]
fn an_auditor_takes_parts_sets_and_lives_away() {
    let desk = Desk::new();
    a_part_by_numbers_or_times_verifies_by_itself(&desk);
    every_journal_in_one_export_stands_in_one_root_log(&desk);
    a_set_with_anything_changed_or_left_out_says_so(&desk);
    an_export_that_was_stopped_never_looks_whole_and_goes_on(&desk);
    a_life_is_followed_through_journals_in_order_of_time(&desk);
    python_replays_the_whole_export(&desk);
    what_cannot_be_asked_is_refused_with_what_to_do(&desk);
}

struct Desk {
    appliance: Appliance,
    all: PathBuf,
    journals: usize,
}

impl Desk {
    fn new() -> Desk {
        let appliance = Appliance::start();
        let records = appliance.path("records.jsonl");
        write_records(&records, RECORDS);
        run(&mut appliance.client(&["seal", "--journal", "land-register", records.to_str().unwrap()]));
        let all = appliance.path("everything");
        let desk = Desk { appliance, all, journals: 0 };
        // A life: two steps in one register, then one in the other, then one more in the first.
        desk.seal("", "land-register", &hex(&step_id(RNU, 1).0));
        desk.seal("", "land-register", &hex(&step_id(RNU, 2).0));
        desk.seal("2", "birth-register", &hex(&step_id(RNU, 1).0));
        desk.seal("", "land-register", &hex(&step_id(RNU, 3).0));
        desk.seal("2", "birth-register", &hex(NUMBER));
        desk.seal("2", "birth-register", &hex(&step_id("RNU-B", 1).0));
        desk.seal("2", "birth-register", &hex(&step_id("RNU-B", 3).0));
        let said = run(desk.audit(&["export", "--all", "--out"]).arg(&desk.all));
        assert!(said.starts_with("PASSED  ") && !said.contains("FAILED"), "{said}");
        let journals = said.lines().filter(|line| line.starts_with("PASSED  ")).count() - 1;
        assert!(journals >= 6, "{said}");
        Desk { journals, ..desk }
    }

    fn seal(&self, whose: &str, journal: &str, id: &str) {
        let url = format!("{}/v1/journals/{journal}/entries", self.appliance.env("PECHAT_URL"));
        let body = json!({ "request_id": id, "digest": Digest::of(id.as_bytes()) }).to_string();
        let (cert, key) = (format!("PECHAT_CERT{whose}"), format!("PECHAT_KEY{whose}"));
        let asked = ["-H", "content-type: application/json", "-d", &body, &url];
        let (status, said) = self.appliance.curl(&cert, &key, &asked);
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&said));
    }

    fn audit(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pechat"));
        command.arg("audit").args(args).env("XDG_CONFIG_HOME", self.appliance.path("nowhere"));
        command.env("PECHAT_URL", self.appliance.env("PECHAT_URL"));
        command.env("PECHAT_CERT", self.appliance.env("PECHAT_AUDITOR_CERT"));
        command.env("PECHAT_KEY", self.appliance.env("PECHAT_AUDITOR_KEY"));
        command.env("PECHAT_CA", self.appliance.env("PECHAT_CA"));
        command.env("PECHAT_HEAD_KEY", self.appliance.path("demo/journal-head.pem"));
        command
    }

    fn verdicts(&self, path: &Path) -> Vec<Value> {
        let (_, said) = outcome(self.audit(&["verify", "--json"]).arg(path));
        said.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {said}")))
            .collect()
    }

    /// A copy of the export of everything, to be bent.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.appliance.path(name);
        run(Command::new("cp").arg("-r").arg(&self.all).arg(&copy));
        copy
    }

    fn python(&self, path: &Path) -> (Option<i32>, String) {
        let mut python = Command::new("python3");
        python.arg(self.all.join("land-register/verify.py")).arg(path);
        python.args(["--ca", self.appliance.env("PECHAT_CA"), "--head-key"]);
        outcome(python.arg(self.appliance.path("demo/journal-head.pem")))
    }
}

fn outcome(command: &mut Command) -> (Option<i32>, String) {
    let out = command.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code(), text)
}

fn a_part_by_numbers_or_times_verifies_by_itself(desk: &Desk) {
    let january = desk.appliance.path("part");
    let journal = ["export", "--journal", "land-register", "--out"];
    let said = run(desk.audit(&journal).arg(&january).args(["--from", "100", "--to", "199"]));
    assert!(said.contains("PART: entries 100 to 199, complete for all times after "), "{said}");
    let verdict = &desk.verdicts(&january)[0];
    assert_eq!(verdict["verdict"], "PASSED", "{verdict}");
    let facts = &verdict["facts"];
    assert_eq!(
        (&facts["first"], &facts["count"], &facts["whole"]),
        (&100.into(), &100.into(), &false.into())
    );
    let (status, said) = desk.python(&january);
    assert_eq!((status, said.contains("entries 100 to 199, a part, of")), (Some(0), true), "{said}");
    // By time: between the first life's step and now there are all later entries, and the one before.
    let last = desk.verdicts(&desk.all.join("land-register"))[0]["facts"]["last_time"].as_i64().unwrap();
    let moment = jiff::Timestamp::from_microsecond(last).unwrap().to_string();
    let late = desk.appliance.path("late");
    let said = run(desk.audit(&journal).arg(&late).args(["--from", &moment]));
    let (from, to) = (RECORDS + 2, RECORDS + 3);
    assert!(
        said.contains(&format!("PART: entries {from} to {to}")) && said.contains("up to the head"),
        "{said}"
    );
    // A changed byte of a part is named by entry and byte of the file, as in a whole export.
    let file = january.join("journal.export");
    let mut bytes = fs::read(&file).unwrap();
    let place = bytes.len() - 152 * 60;
    bytes[place + 130] ^= 1;
    fs::write(&file, bytes).unwrap();
    let verdict = &desk.verdicts(&january)[0];
    assert_eq!((&verdict["entry"], &verdict["offset"]), (&140.into(), &place.into()), "{verdict}");
    let (status, said) = desk.python(&january);
    assert_eq!((status, said.contains("FAILED")), (Some(1), true), "{said}");
}

fn every_journal_in_one_export_stands_in_one_root_log(desk: &Desk) {
    run(Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "JOURNALS"])
        .current_dir(&desk.all));
    let verdicts = desk.verdicts(&desk.all);
    assert_eq!(verdicts.len(), desk.journals + 1);
    assert!(verdicts.iter().all(|verdict| verdict["verdict"] == "PASSED"), "{verdicts:?}");
    let notes = verdicts[desk.journals]["notes"].to_string();
    assert!(notes.contains("root log seal.example.gov/root of ") && !notes.contains("NOT IN"), "{notes}");
    assert!(!desk.all.join("PLAN").exists());
    let two = desk.appliance.path("two");
    let mut some =
        desk.audit(&["export", "--journal", "land-register", "--journal", "birth-register", "--out"]);
    let said = run(some.arg(&two).args(["--from", "2020-01-01T00:00:00Z"]));
    assert!(said.contains("NOT IN THIS EXPORT: seal.example.gov/j/own.events, "), "{said}");
}

fn a_set_with_anything_changed_or_left_out_says_so(desk: &Desk) {
    let copy = desk.copy("bent");
    let last = |reason: &str| {
        let verdicts = desk.verdicts(&copy);
        let set = verdicts.last().unwrap();
        assert_eq!(set["verdict"], "FAILED", "{set}");
        assert!(set["reason"].as_str().unwrap().contains(reason), "{reason}: {set}");
    };
    let put = |name: &str, bend: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = fs::read(desk.all.join(name)).unwrap();
        bend(&mut bytes);
        fs::write(copy.join(name), bytes).unwrap();
    };
    let restore = |name: &str| fs::copy(desk.all.join(name), copy.join(name)).unwrap();
    put("root.heads", &|bytes| bytes[40] ^= 1);
    last("root.heads was altered");
    restore("root.heads");
    put("JOURNALS", &|bytes| bytes[3] ^= 1);
    last("was altered");
    restore("JOURNALS");
    fs::remove_dir_all(copy.join("own.clock")).unwrap();
    last("own.clock/MANIFEST is in the MANIFEST but not in the folder");
    // Left out with an index that fits: the root log still names it.
    let index = fs::read_to_string(copy.join("JOURNALS")).unwrap();
    let without: String =
        index.lines().filter(|l| !l.contains("own.clock")).map(|l| format!("{l}\n")).collect();
    fs::write(copy.join("JOURNALS"), without).unwrap();
    let verdicts = desk.verdicts(&copy);
    let notes = verdicts.last().unwrap()["notes"].to_string();
    assert!(notes.contains("NOT IN THIS EXPORT: seal.example.gov/j/own.clock"), "{notes}");
    // Heads cut off together with the index: the checkpoint does not follow from them.
    put("root.heads", &|bytes| {
        let at = bytes.windows(22).rposition(|w| w.starts_with(b"seal.example.gov/j/")).unwrap();
        bytes.truncate(at - 2);
    });
    let digest = Digest::of(&fs::read(copy.join("root.heads")).unwrap()).to_string();
    let index: String = fs::read_to_string(copy.join("JOURNALS")).unwrap();
    let line = |l: &str| {
        if l.ends_with("root.heads") { format!("{digest}  root.heads\n") } else { format!("{l}\n") }
    };
    fs::write(copy.join("JOURNALS"), index.lines().map(line).collect::<String>()).unwrap();
    last("not that of checkpoint.txt");
}

fn an_export_that_was_stopped_never_looks_whole_and_goes_on(desk: &Desk) {
    let (out, partial) = (desk.appliance.path("again"), desk.appliance.path("again.partial"));
    // As a kill leaves it: some journals finished, one half there, no index.
    run(Command::new("cp").arg("-r").arg(&desk.all).arg(&partial));
    for name in ["JOURNALS", "root.heads"] {
        fs::remove_file(partial.join(name)).unwrap();
    }
    let url = desk.appliance.env("PECHAT_URL");
    fs::write(partial.join("PLAN"), format!("pechat-plan v1\n{url}\n--all\n\n")).unwrap();
    fs::rename(partial.join("own.clock"), partial.join("own.clock.partial")).unwrap();
    fs::remove_file(partial.join("own.clock.partial/MANIFEST")).unwrap();
    fs::write(partial.join("own.events/journal.export"), "half").unwrap();
    let (status, said) = outcome(desk.audit(&["verify"]).arg(&partial));
    assert_eq!((status, said.contains("is an export that was stopped")), (Some(2), true), "{said}");
    let mut other = desk.audit(&["export", "--all", "--from", "2020-01-01T00:00:00Z", "--out"]);
    let (status, said) = outcome(other.arg(&out));
    assert_eq!((status, said.contains("of something else that was stopped")), (Some(2), true), "{said}");
    let kept = fs::metadata(partial.join("land-register/journal.export")).unwrap().modified().unwrap();
    let said = run(desk.audit(&["export", "--all", "--out"]).arg(&out));
    assert!(!said.contains("FAILED") && !partial.exists() && !out.join("PLAN").exists(), "{said}");
    assert_eq!(fs::metadata(out.join("land-register/journal.export")).unwrap().modified().unwrap(), kept);
    assert!(desk.verdicts(&out).iter().all(|verdict| verdict["verdict"] == "PASSED"));
}

fn a_life_is_followed_through_journals_in_order_of_time(desk: &Desk) {
    let receipts = desk.appliance.path("steps");
    let (status, said) =
        outcome(desk.audit(&["life", "--json", "--receipts"]).arg(&receipts).arg(RNU).arg(&desk.all));
    let life: Value = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!((status, &life["verdict"]), (Some(0), &"PASSED".into()), "{said}");
    let steps = life["steps"].as_array().unwrap();
    let of = |step: &Value| {
        (step["origin"].as_str().unwrap()[19..].to_owned(), step["known"].as_str().unwrap().to_owned())
    };
    let expected = [("land-register", 1), ("land-register", 2), ("birth-register", 1), ("land-register", 3)];
    let expected = expected.map(|(journal, step)| (journal.to_owned(), format!("step {step}")));
    assert_eq!(steps.iter().map(of).collect::<Vec<_>>(), expected);
    assert!(steps.windows(2).all(|two| two[0]["time"].as_i64() <= two[1]["time"].as_i64()));
    for number in 1..=4 {
        let receipt = receipts.join(format!("{number:04}.txt"));
        assert_eq!(fs::read_to_string(&receipt).unwrap(), steps[number - 1]["receipt"].as_str().unwrap());
        let said = run(Command::new(env!("CARGO_BIN_EXE_pechat"))
            .args(["verify", "--ca", desk.appliance.env("PECHAT_CA"), "--head-key"])
            .arg(desk.appliance.path("demo/journal-head.pem"))
            .args(["--digest", steps[number - 1]["digest"].as_str().unwrap()])
            .arg(&receipt));
        assert!(said.contains("PASSED"), "{said}");
        let (status, said) = desk.python(&receipt);
        assert_eq!(status, Some(0), "{said}");
    }
    let text = desk.appliance.path("life.json");
    fs::write(&text, &said).unwrap();
    let (status, said) = desk.python(&text);
    assert_eq!((status, said.contains("life of RNU-2026-000017: 4 steps")), (Some(0), true), "{said}");
    fs::write(
        &text,
        life.to_string().replacen("step 2", "step 3", 1).replacen("\"seq\":302", "\"seq\":303", 1),
    )
    .unwrap();
    assert_eq!(desk.python(&text).0, Some(1));

    // From a part and a whole journal, readable; a number that is itself a request id; a missing step; nobody.
    let mut parts = desk.audit(&["life", RNU]);
    let (status, said) = outcome(parts.arg(desk.appliance.path("late")).arg(desk.all.join("birth-register")));
    assert_eq!(
        (status, said.starts_with("INDETERMINATE  life of RNU-2026-000017: 3 steps")),
        (Some(2), true),
        "{said}"
    );
    assert!(
        said.contains("MISSING  step 1 in seal.example.gov/j/land-register is not in the parts searched"),
        "{said}"
    );
    let number = str::from_utf8(NUMBER).unwrap();
    let said = run(desk.audit(&["life", number]).arg(&desk.all));
    assert!(
        said.starts_with(&format!("PASSED  life of {number}: 1 steps")) && said.contains("by its id"),
        "{said}"
    );
    let (status, said) = outcome(desk.audit(&["life", "RNU-B"]).arg(&desk.all));
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("MISSING  step 2 in seal.example.gov/j/birth-register was never sealed"), "{said}");
    let (status, said) = outcome(desk.audit(&["life", "RNU-C"]).arg(&desk.all));
    assert_eq!((status, said.contains("life of RNU-C: 0 steps")), (Some(2), true), "{said}");
    // What the register itself lists.
    let list = desk.appliance.path("rnu.jsonl");
    let line = |rnu: &str, id: &str| format!("{}\n", json!({ "rnu": rnu, "request_id": id }));
    fs::write(
        &list,
        line("RNU-C", &hex(NUMBER)) + &line("RNU-D", &"ab".repeat(16)) + &line("RNU-C", &"cd".repeat(16)),
    )
    .unwrap();
    let (status, said) = outcome(desk.audit(&["life", "RNU-C", "--list"]).arg(&list).arg(&desk.all));
    assert_eq!(
        (status, said.contains("1 steps") && said.contains("listed on line 1")),
        (Some(1), true),
        "{said}"
    );
    assert!(
        said.contains(&format!("request {} of line 3 is in none of these journals", "cd".repeat(16))),
        "{said}"
    );
    let said = run(&mut desk.audit(&["life", "--id", "1", RNU]));
    assert_eq!(said.trim(), hex(&step_id(RNU, 1).0));
}

/// Makes an index fit its files, as whoever tampers would.
fn sign_off(index: &Path) {
    let dir = index.parent().unwrap();
    let text = fs::read_to_string(index).unwrap();
    let line = |line: &str| {
        let name = line.split_once("  ").unwrap().1;
        fs::read(dir.join(name)).map(|bytes| format!("{}  {name}\n", Digest::of(&bytes))).unwrap_or_default()
    };
    fs::write(index, text.lines().map(line).collect::<String>()).unwrap();
}

type Bend = Box<dyn Fn(&mut Vec<u8>)>;

fn flip(at: usize) -> Bend {
    Box::new(move |bytes| bytes[at] ^= 1)
}

/// Flips the last bit of the byte behind `mark` and `skip` more bytes.
fn behind(mark: &'static str, skip: usize) -> Bend {
    Box::new(move |bytes| {
        let found = bytes.windows(mark.len()).position(|w| w == mark.as_bytes());
        bytes[found.unwrap_or_else(|| panic!("{mark}")) + mark.len() + skip] ^= 1;
    })
}

fn python_replays_the_whole_export(desk: &Desk) {
    let (status, said) = desk.python(&desk.all);
    assert_eq!(status, Some(0), "{said}");
    let journals = desk.journals;
    assert!(
        said.contains(&format!("PASSED: {journals} journals and the root log seal.example.gov/root of ")),
        "{said}"
    );
    assert!(said.contains(&format!(
        "{} entries of seal.example.gov/j/land-register, {} seals",
        RECORDS + 4,
        RECORDS + 3
    )));
    python_finds_what_is_changed_in_a_journal(desk);
    python_finds_what_is_changed_in_a_set(desk);
}

fn python_finds_what_is_changed_in_a_journal(desk: &Desk) {
    let copy = desk.copy("replayed").join("land-register");
    let export = fs::read(desk.all.join("land-register/journal.export")).unwrap();
    let start = export.len() - 152 * (RECORDS + 4);
    let entry = move |seq: usize| start + 152 * seq;
    let at = move |field: usize| flip(entry(150) + field);
    let bends: Vec<(&str, &str, Bend)> = vec![
        ("an entry's label", "journal.export", at(3)),
        ("journal", "journal.export", at(20)),
        ("sequence", "journal.export", at(55)),
        ("link", "journal.export", at(60)),
        ("time", "journal.export", at(95)),
        ("bound", "journal.export", at(99)),
        ("kind", "journal.export", at(101)),
        ("request id", "journal.export", at(110)),
        ("algorithm", "journal.export", at(119)),
        ("digest", "journal.export", at(151)),
        ("the last entry", "journal.export", flip(export.len() - 1)),
        ("entry 0", "journal.export", flip(start + 130)),
        ("dropped", "journal.export", Box::new(move |e| drop(e.drain(entry(9)..entry(10))))),
        (
            "twice",
            "journal.export",
            Box::new(move |e| drop(e.splice(entry(9)..entry(9), e[entry(8)..entry(9)].to_vec()))),
        ),
        ("swapped", "journal.export", Box::new(move |e| e[entry(9)..entry(11)].rotate_left(152))),
        ("cut", "journal.export", Box::new(move |e| e.truncate(entry(200)))),
        ("cut within", "journal.export", Box::new(move |e| e.truncate(entry(200) + 7))),
        ("more", "journal.export", Box::new(|e| e.extend([0; 152]))),
        ("one byte more", "journal.export", Box::new(|e| e.push(b'\n'))),
        ("charter", "journal.export", behind("institution ", 0)),
        ("opened", "journal.export", behind("opened ", 3)),
        ("origin", "journal.export", behind("\"origin\":\"", 20)),
        ("count", "journal.export", behind("\"count\":", 0)),
        ("head's root", "journal.export", behind("\"head\":\"seal.example.gov/j/land-register\\n304\\n", 9)),
        ("head's size", "journal.export", behind("\"head\":\"seal.example.gov/j/land-register\\n", 2)),
        ("head's after", "journal.export", behind("after ", 7)),
        ("root index", "journal.export", behind("\"root_index\":", 0)),
        ("root path", "journal.export", behind("\"root_path\":[\"", 11)),
        ("checkpoint's size", "journal.export", behind("\"checkpoint\":\"seal.example.gov/root\\n", 0)),
        ("signature", "journal.export", behind("seal.example.gov/root ", 30)),
        ("spaces", "journal.export", Box::new(|e| e.insert(18, b' '))),
        ("version", "journal.export", flip(15)),
        ("receipt", "receipt.txt", behind("extra ", 200)),
        ("receipt's index", "receipt.txt", behind("index ", 0)),
        ("newest head", "head.json", behind("land-register\\n", 0)),
        ("checkpoint", "checkpoint.txt", behind("seal.example.gov/root\n", 5)),
    ];
    assert!(bends.len() >= 30, "{}", bends.len());
    for (what, name, bend) in &bends {
        let mut bytes = fs::read(desk.all.join("land-register").join(name)).unwrap();
        bend(&mut bytes);
        fs::write(copy.join(name), bytes).unwrap();
        sign_off(&copy.join("MANIFEST"));
        let (status, said) = desk.python(&copy);
        assert_eq!((status, said.contains("FAILED: ")), (Some(1), true), "{what} in {name}: {said}");
        assert!(!said.contains("Traceback"), "{what}: {said}");
        if *what == "digest" {
            let place = entry(151);
            assert!(
                said.contains(&format!("entry 151, at byte {place}: it, or the one before it,")),
                "{said}"
            );
        }
        fs::copy(desk.all.join("land-register").join(name), copy.join(name)).unwrap();
    }
    // The token, as a whole: another one of the same unit is over another imprint.
    fs::write(copy.join("MANIFEST"), "0").unwrap();
    assert_eq!(desk.python(&copy).0, Some(1));
}

fn python_finds_what_is_changed_in_a_set(desk: &Desk) {
    let copy = desk.copy("replayed-set");
    let heads = fs::read(copy.join("root.heads")).unwrap();
    let mut places = vec![16];
    while let Some(at) = places.last().copied().filter(|at| *at < heads.len()) {
        places.push(at + 2 + usize::from(u16::from_be_bytes([heads[at], heads[at + 1]])));
    }
    let (a, b, c) = (places[3], places[4], places[5]);
    let origin = "seal.example.gov/j/".len();
    let bends: Vec<(&str, &str, Bend)> = vec![
        ("a head's origin", "root.heads", flip(a + 2 + origin + 5)),
        ("a head's after", "root.heads", flip(b - 9)),
        ("a head's end", "root.heads", flip(b - 1)),
        ("a head dropped", "root.heads", Box::new(move |h| drop(h.drain(a..b)))),
        ("heads swapped", "root.heads", Box::new(move |h| h[a..c].rotate_left(b - a))),
        ("a head twice", "root.heads", Box::new(move |h| drop(h.splice(a..a, h[a..b].to_vec())))),
        (
            "the last head cut off",
            "root.heads",
            Box::new(move |h| h.truncate(*places.iter().rev().nth(1).unwrap())),
        ),
        ("cut within a head", "root.heads", Box::new(|h| h.truncate(h.len() - 3))),
        ("label", "root.heads", flip(14)),
        ("the newest checkpoint", "checkpoint.txt", behind("seal.example.gov/root\n", 0)),
    ];
    for (what, name, bend) in &bends {
        let mut bytes = fs::read(desk.all.join(name)).unwrap();
        bend(&mut bytes);
        fs::write(copy.join(name), bytes).unwrap();
        sign_off(&copy.join("JOURNALS"));
        let (status, said) = desk.python(&copy);
        assert_eq!((status, said.contains("FAILED: ")), (Some(1), true), "{what} in {name}: {said}");
        assert!(!said.contains("Traceback"), "{what}: {said}");
        fs::copy(desk.all.join(name), copy.join(name)).unwrap();
    }
    // An older checkpoint in place of the newest, and one journal in place of another.
    fs::copy(copy.join("land-register/MANIFEST"), copy.join("own.clock/MANIFEST")).unwrap();
    for item in fs::read_dir(copy.join("land-register")).unwrap() {
        let item = item.unwrap();
        fs::copy(item.path(), copy.join("own.clock").join(item.file_name())).unwrap();
    }
    sign_off(&copy.join("JOURNALS"));
    let (status, said) = desk.python(&copy);
    assert_eq!((status, said.contains("is there twice")), (Some(1), true), "{said}");
}

fn what_cannot_be_asked_is_refused_with_what_to_do(desk: &Desk) {
    let out = desk.appliance.path("none");
    let partial = desk.appliance.path("none.partial");
    let land = ["--journal", "land-register"];
    for (args, reason) in [
        (vec!["--all", "--from", "3"], "entry numbers are those of one journal"),
        (vec![land[0], land[1], "--from", "9", "--to", "3"], "--to is before --from"),
        (
            vec![land[0], land[1], "--from", "9", "--to", "2026-01-01T00:00:00Z"],
            "both entry numbers or both times",
        ),
        (vec![land[0], land[1], "--from", "January"], "neither an entry number nor a time"),
        (vec![land[0], land[1], "--from", "100000"], "404"),
        (vec![land[0], land[1], "--journal", "sea-register"], "404"),
    ] {
        let (status, said) = outcome(desk.audit(&["export"]).args(&args).arg("--out").arg(&out));
        assert_eq!((status, said.contains(reason)), (Some(2), true), "{args:?}: {said}");
        assert!(!out.exists(), "{args:?}");
        if partial.exists() {
            assert!(said.contains("the same command goes on from there"), "{said}");
            fs::remove_dir_all(&partial).unwrap();
        }
    }
}
