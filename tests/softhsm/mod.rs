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

    /// Moves the token directory away, or back.
    pub fn hide(&self, hide: bool) {
        let (here, away) = (self.path("tokens"), self.path("tokens.away"));
        let (from, to) = if hide { (here, away) } else { (away, here) };
        std::fs::rename(from, to).unwrap();
    }

    fn arguments(&self, more: &[&str]) -> Vec<OsString> {
        let module = MODULES.iter().find(|path| Path::new(path).exists()).expect("SoftHSM is installed");
        let mut arguments: Vec<OsString> =
            ["signer", "--module", module, "--token-label", "pechat-test", "--pin-file"]
                .map(Into::into)
                .into();
        arguments.push(self.pin().into());
        arguments.extend(more.iter().map(Into::into));
        arguments
    }

    /// A signer to be started by the front.
    pub fn command(&self, more: &[&str]) -> SignerCommand {
        let program = env!("CARGO_BIN_EXE_pechat");
        let mut command = SignerCommand::new(program, self.arguments(more), self.socket());
        command.env.push(("SOFTHSM2_CONF".into(), self.path("softhsm2.conf").into()));
        command
    }

    /// A signer as systemd would run it.
    pub fn run_alone(&self, more: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_pechat"))
            .args(self.arguments(more))
            .arg("--socket")
            .arg(self.socket())
            .env("SOFTHSM2_CONF", self.path("softhsm2.conf"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}
