//! Strangers' programs against the real appliance, over mutual TLS: what they ask is answered, and what
//! we sign is accepted where they judge.

#[allow(dead_code, reason = "each test uses a part of the fixture")]
mod appliance;
#[path = "interop/openssl.rs"]
mod openssl;
mod present;
#[path = "interop/programs.rs"]
mod programs;
#[path = "interop/tlog.rs"]
mod tlog;
#[path = "interop/tls.rs"]
mod tls;
#[path = "interop/validators.rs"]
mod validators;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use appliance::Appliance;
use present::present;

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

/// One test's stage: the appliance, an empty directory, and a signer that is nothing to the appliance.
struct Stage {
    appliance: Arc<Appliance>,
    dir: tempfile::TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { appliance: shared(), dir: tempfile::tempdir().expect("a directory") }
    }

    /// A program that runs in the test's directory, with the words of `demo/env` in its environment.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).stdin(Stdio::null());
        for name in ["PECHAT_URL", "PECHAT_CA", "PECHAT_CERT", "PECHAT_KEY"] {
            command.env(name, self.appliance.env(name));
        }
        command
    }

    /// Runs it to a good end; everything it said.
    fn runs(&self, program: &str, args: &[&str]) -> String {
        runs(self.command(program).args(args))
    }

    /// Runs it to a bad end; everything it said.
    fn fails(&self, program: &str, args: &[&str]) -> String {
        fails(self.command(program).args(args))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).expect("a file of the test");
    }

    /// URL of the timestamps.
    fn tsa(&self) -> String {
        format!("{}/tsa", self.appliance.env("PECHAT_URL"))
    }

    /// The root that every relying party knows.
    fn root(&self) -> &str {
        self.appliance.env("PECHAT_CA")
    }

    /// A code signer under an authority of its own: `signer.key`, `signer.pem`, `signer-ca.pem`.
    fn signer(&self) {
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let ca = [
            "req",
            "-x509",
            "-days",
            "800",
            "-subj",
            "/CN=Signer CA",
            "-addext",
            "keyUsage=critical,keyCertSign",
        ];
        let files = ["-keyout", "signer-ca.key", "-out", "signer-ca.pem"];
        self.runs("openssl", &[&ca[..], &key, &files].concat());
        let files = ["-keyout", "signer.key", "-out", "signer.csr"];
        self.runs("openssl", &[&["req", "-new", "-subj", "/CN=Signer"], &key[..], &files].concat());
        self.write(
            "signer.ext",
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature,nonRepudiation\n\
             extendedKeyUsage=codeSigning,emailProtection\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n",
        );
        let certify =
            ["x509", "-req", "-in", "signer.csr", "-CA", "signer-ca.pem", "-CAkey", "signer-ca.key"];
        let rest = ["-CAcreateserial", "-days", "700", "-extfile", "signer.ext", "-out", "signer.pem"];
        self.runs("openssl", &[&certify[..], &rest].concat());
    }
}

fn outcome(command: &mut Command) -> (bool, String) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.success(), said)
}

fn runs(command: &mut Command) -> String {
    let (good, said) = outcome(command);
    assert!(good, "{command:?} failed:\n{said}");
    said
}

fn fails(command: &mut Command) -> String {
    let (good, said) = outcome(command);
    assert!(!good, "{command:?} succeeded:\n{said}");
    said
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not said in:\n{text}");
    }
}

/// The Python of the virtual environment that `make setup` fills.
fn python() -> String {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("the target directory");
    target.join("interop-venv/bin/python").display().to_string()
}

/// A script beside this file.
fn script(name: &str) -> String {
    format!("{}/tests/interop/{name}", env!("CARGO_MANIFEST_DIR"))
}
