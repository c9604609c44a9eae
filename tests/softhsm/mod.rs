//! A SoftHSM token of one test's own.

use std::ffi::OsString;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pechat::keys::client::SignerCommand;

/// Where Debian, Fedora and a build of one's own put the module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];

/// A token directory, its configuration and a PIN file; removed when dropped.
pub struct SoftHsm {
    dir: tempfile::TempDir,
}

impl SoftHsm {
    /// A fresh token labelled `pechat-test`.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("tokens")).unwrap();
        let hsm = Self { dir };
        let conf = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            hsm.path("tokens").display()
        );
        std::fs::write(hsm.path("softhsm2.conf"), conf).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(hsm.pin()).unwrap();
        std::io::Write::write_all(&mut file, b"test-user-pin\n").unwrap();
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", "pechat-test"])
            .args(["--so-pin", "test-so-pin", "--pin", "test-user-pin"])
            .env("SOFTHSM2_CONF", hsm.path("softhsm2.conf"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        hsm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// PIN file.
    pub fn pin(&self) -> PathBuf {
        self.path("pin")
    }

    /// Where tests put the list of pinned keys.
    pub fn keys(&self) -> PathBuf {
        self.path("keys.json")
    }

    /// Where the signer listens.
    pub fn socket(&self) -> PathBuf {
        self.path("signer.sock")
    }

    /// Directory of the tokens.
    pub fn tokens(&self) -> PathBuf {
        self.path("tokens")
    }

    /// Moves the token directory away, or back.
    pub fn hide(&self, hide: bool) {
        let (here, away) = (self.path("tokens"), self.path("tokens.away"));
        let (from, to) = if hide { (here, away) } else { (away, here) };
        std::fs::rename(from, to).unwrap();
    }

    /// The same command behind a script that writes a line a start into the file returned.
    pub fn counted(&self, command: SignerCommand) -> (SignerCommand, PathBuf) {
        use std::os::unix::fs::PermissionsExt;
        let (script, starts) = (self.path("counted.sh"), self.path("starts"));
        let (program, log) = (command.program.display(), starts.display());
        std::fs::write(&script, format!("#!/bin/sh\necho start >> '{log}'\nexec '{program}' \"$@\"\n"))
            .unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
        (SignerCommand { program: script, ..command }, starts)
    }

    fn arguments(&self, pin: &[&str], more: &[&str]) -> Vec<OsString> {
        let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("SoftHSM is installed");
        let fixed = ["signer", "--module", module, "--token-label", "pechat-test"];
        fixed.iter().chain(pin).chain(more).map(Into::into).collect()
    }

    fn with_pin_file(&self, more: &[&str]) -> Vec<OsString> {
        self.arguments(&["--pin-file", self.pin().to_str().unwrap()], more)
    }

    /// A signer to be started by the front.
    pub fn command(&self, more: &[&str]) -> SignerCommand {
        let program = env!("CARGO_BIN_EXE_pechat");
        let mut command = SignerCommand::new(program, self.with_pin_file(more), self.socket());
        command.env.push(("SOFTHSM2_CONF".into(), self.path("softhsm2.conf").into()));
        command
    }

    /// A signer as systemd would run it.
    pub fn run_alone(&self, more: &[&str]) -> Child {
        self.run(self.with_pin_file(more), Stdio::null())
    }

    /// A signer that reads its PIN from descriptor 0.
    pub fn run_with_pin_on_stdin(&self, more: &[&str]) -> Child {
        let mut child = self.run(self.arguments(&["--pin-fd", "0"], more), Stdio::piped());
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"test-user-pin\n").unwrap();
        child
    }

    fn run(&self, arguments: Vec<OsString>, stdin: Stdio) -> Child {
        Command::new(env!("CARGO_BIN_EXE_pechat"))
            .args(arguments)
            .arg("--socket")
            .arg(self.socket())
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .stdin(stdin)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}
