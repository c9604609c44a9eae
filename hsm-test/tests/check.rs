//! `hsm-test check` on SoftHSM, and through the fault module, where it must notice.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A token of this test's own.
struct Place {
    dir: tempfile::TempDir,
    label: &'static str,
    softhsm: &'static str,
}

impl Place {
    /// `None`, and a line that says so, where SoftHSM is not installed.
    fn new(label: &'static str) -> Option<Self> {
        let Some(softhsm) = MODULES.into_iter().find(|path| Path::new(path).exists()) else {
            assert!(std::env::var_os("CI").is_none(), "SoftHSM is needed");
            println!("skipped: needs softhsm2");
            return None;
        };
        let place = Self { dir: tempfile::tempdir().expect("a directory"), label, softhsm };
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(place.path("pin")).expect("a PIN file");
        std::io::Write::write_all(&mut file, b"test-pin\n").expect("a PIN file");
        let dir = place.path("softhsm");
        let pin = place.path("pin");
        let made = place.hsm_test(&["token", "--label", label], &[("--dir", &dir), ("--pin-file", &pin)]);
        assert!(made.0, "{}", made.1);
        Some(place)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn hsm_test(&self, words: &[&str], paths: &[(&str, &Path)]) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hsm-test"));
        command.args(words).env("FAULT_MODULE", self.path("plan.toml"));
        if words[0] != "token" {
            command.env("SOFTHSM2_CONF", self.path("softhsm/softhsm2.conf"));
        }
        for (option, path) in paths {
            command.arg(option).arg(path);
        }
        let out = command.output().expect("hsm-test");
        let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
        (out.status.success(), text.into_owned())
    }

    fn check(&self, module: &Path, more: &[&str]) -> (bool, String) {
        let words = [&["check", "--token", self.label][..], more].concat();
        let pin = self.path("pin");
        self.hsm_test(&words, &[("--module", module), ("--pin-file", &pin)])
    }

    /// The same through the fault module.
    fn check_with(&self, fault: &str, numbers: &str, deadline: &str) -> (bool, String) {
        let library = std::env::current_exe().expect("this test").with_file_name("libfault_module.so");
        assert!(library.exists(), "{} is built with the tests", library.display());
        let plan = format!("module = {:?}\n{fault}", self.softhsm);
        std::fs::write(self.path("plan.toml"), plan).expect("a plan");
        self.check(&library, &["--only", numbers, "--deadline", deadline])
    }
}

/// The line of a number: its word, and the rest.
fn line(text: &str, number: u8) -> (&str, &str) {
    let start = format!("{number:2} ");
    let line =
        text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("{number}: {text}"));
    line.split_once(' ').expect("a word and a text")
}

#[test]
fn softhsm_passes_what_blocks() {
    let Some(place) = Place::new("scratch-one") else { return };
    let (good, text) = place.check(Path::new(place.softhsm), &["--deadline", "120"]);
    assert!(good, "{text}");
    for number in 1..=50 {
        let (word, _) = line(&text, number);
        assert!(matches!(word, "pass" | "warn" | "skip"), "{number} {word}: {text}");
    }
    for number in [1, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 17, 18, 19, 21, 24, 28, 33, 35, 36, 39, 41, 44] {
        assert_eq!(line(&text, number).0, "pass", "{number}: {text}");
    }
}

#[test]
fn a_token_that_is_not_for_scratch_is_not_written_to() {
    let Some(place) = Place::new("production") else { return };
    let files = || {
        let dir = std::fs::read_dir(place.path("softhsm/tokens")).unwrap().next().unwrap().unwrap().path();
        std::fs::read_dir(dir).unwrap().count()
    };
    let before = files();
    let (good, text) = place.check(Path::new(place.softhsm), &[]);
    assert!(good, "{text}");
    for number in [7, 11, 12, 17, 18, 19, 21, 24, 28, 33, 36, 40, 41, 44] {
        let (word, rest) = line(&text, number);
        assert_eq!(word, "skip", "{text}");
        assert!(rest.contains("writes to the token, whose label does not start with \"scratch\""), "{rest}");
    }
    assert!(text.contains("not qualified"), "{text}");
    assert_eq!(files(), before);
}

#[test]
fn the_fault_modules_faults_are_noticed_where_they_matter() {
    let Some(place) = Place::new("scratch-two") else { return };
    for (fault, number, why) in [
        (
            "call = \"C_Sign\"\naction = \"signature\"\nkind = \"bit-flipped\"\nevery = 500",
            28,
            "signatures do not verify",
        ),
        ("call = \"C_Sign\"\naction = \"signature\"\nkind = \"old\"", 28, "signatures do not verify"),
        ("call = \"C_Sign\"\naction = \"signature\"\nkind = \"truncated\"", 28, "63 bytes instead of 64"),
        ("call = \"C_Sign\"\naction = \"abort\"\nskip = 100", 28, "signal: 6"),
        ("call = \"C_Sign\"\naction = \"exit\"\nstatus = 5", 28, "exit status: 5"),
        ("call = \"C_Sign\"\naction = \"hang\"", 28, "no result after 5 s: killed"),
        ("call = \"C_GetSlotList\"\naction = \"empty-list\"", 2, "no HSM token is labelled"),
        (
            "call = \"C_GetAttributeValue\"\naction = \"flip-attribute\"\nattribute = \"CKA_EXTRACTABLE\"",
            17,
            "Extractable(true) where Extractable(false) is needed",
        ),
        ("call = \"C_OpenSession\"\naction = \"limit-sessions\"\nlimit = 3", 39, "only 3 sessions"),
        (
            "call = \"C_OpenSession\"\naction = \"error\"\ncode = \"CKR_DEVICE_MEMORY\"\nskip = 9",
            39,
            "CKR_SESSION_COUNT",
        ),
        (
            "call = \"C_SignInit\"\naction = \"error\"\ncode = \"CKR_GENERAL_ERROR\"\nskip = 1",
            36,
            "ends instead of looking again",
        ),
        (
            "call = \"C_Login\"\naction = \"error\"\ncode = \"CKR_GENERAL_ERROR\"\ntimes = 1",
            12,
            "instead of CKR_PIN_INCORRECT",
        ),
        ("call = \"C_SignInit\"\naction = \"drop-sessions\"\nskip = 5", 41, "are missing or wrong"),
    ] {
        let (good, text) = place.check_with(&format!("[[fault]]\n{fault}"), &number.to_string(), "5");
        assert!(!good, "{fault}: {text}");
        let (word, rest) = line(&text, number);
        assert_eq!(word, "fail", "{fault}: {text}");
        assert!(rest.contains(why), "{fault}: {text}");
        assert!(text.contains("breaks: "), "{text}");
    }
    let (good, text) = place.check_with("", "2,17,36,39", "30");
    assert!(good, "without a fault: {text}");
}
