//! The data directory: which file is where, and how each becomes a value.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use x509_cert::Certificate;
use x509_cert::der::{DecodePem, Encode};

use super::serve::{ServeError, during};
use crate::config::{Config, SignerMode};
use crate::http::tls::Tls;
use crate::journal::RequestId;
use crate::keys::KeyLabel;
use crate::keys::client::{How, SignerCommand};

/// The signer ends itself when a call hangs; the front waits this much longer before it kills it.
const SIGNER_GRACE: Duration = Duration::from_secs(1);
const START_LIMIT: Duration = Duration::from_secs(15);
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The pinned keys.
pub(super) fn keys(config: &Config) -> PathBuf {
    config.data("keys.json")
}

/// What the HSM looked like when it was pinned.
pub(super) fn inventory(config: &Config) -> PathBuf {
    config.data("hsm-inventory.json")
}

/// There while `pechat init` has not finished.
pub(super) fn unfinished(config: &Config) -> PathBuf {
    config.data("INIT-UNFINISHED")
}

/// A certificate's PEM file.
pub(super) fn certificate_file(config: &Config, name: &str) -> PathBuf {
    config.data(&format!("certificates/{name}.pem"))
}

/// A certificate's DER.
pub(super) fn certificate(config: &Config, name: &str) -> Result<Vec<u8>, ServeError> {
    let path = certificate_file(config, name);
    let what = path.display().to_string();
    let pem = std::fs::read(&path).map_err(during(&what))?;
    Certificate::from_pem(&pem).and_then(|c| c.to_der()).map_err(during(&what))
}

/// One of the labels this program writes itself.
pub(super) fn label(text: &str) -> Result<KeyLabel, ServeError> {
    KeyLabel::new(text).map_err(during("key label"))
}

/// 16 random bytes.
pub(super) fn fresh_id() -> RequestId {
    let mut id = [0; 16];
    // A failing random source ends the process in every later signature; here the id only has to differ.
    let _ = aws_lc_rs::rand::fill(&mut id);
    RequestId(id)
}

/// Refuses a directory that `pechat init` did not finish, or that others may read.
pub(super) fn must_be_initialised(config: &Config) -> Result<(), ServeError> {
    let dir = config.data_dir.display();
    if !keys(config).exists() {
        return Err(ServeError(format!("{dir} was not initialised: run `pechat init` first")));
    }
    if unfinished(config).exists() {
        return Err(ServeError(format!(
            "`pechat init` did not finish in {dir}: remove the directory, initialise the HSM token anew, run `pechat init` again"
        )));
    }
    private(&config.data_dir, 0o700)?;
    private(&keys(config), 0o600)?;
    private(&config.data("tls/server.key"), 0o600)
}

fn private(path: &Path, widest: u32) -> Result<(), ServeError> {
    let meta = std::fs::metadata(path).map_err(during(&path.display().to_string()))?;
    let mode = meta.mode() & 0o777;
    if mode & !widest != 0 {
        return Err(ServeError(format!(
            "{} has mode {mode:04o}; others must not reach it: chmod {widest:04o} it",
            path.display()
        )));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(ServeError(format!(
            "{} belongs to another user: chown it to the service's",
            path.display()
        )));
    }
    Ok(())
}

/// The lock that one service holds on its data directory, or the refusal of a second one. It comes before
/// the signer: a second front would take the running one's signer away before the journals refuse it.
pub(super) fn lock(config: &Config) -> Result<File, ServeError> {
    let path = config.data("serve.lock");
    let what = path.display().to_string();
    let open = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(during(&what))?;
    // A child that was being started when an earlier service died holds a copy until its exec.
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            taken => return taken.map(|()| file).map_err(during(&what)),
        }
    }
    Err(ServeError(format!(
        "{} is in use by another `pechat serve`: end that one first, or give this one a data_dir of its own",
        config.data_dir.display()
    )))
}

/// How the front reaches its signer.
pub(super) fn signer(config: &Config) -> Result<How, ServeError> {
    Ok(match config.hsm.signer {
        SignerMode::Child => How::Child(serving_signer(config)?),
        SignerMode::Attach => How::Attach {
            socket: socket(config),
            call_limit: config.call_timeout() + SIGNER_GRACE,
            start_limit: START_LIMIT,
        },
    })
}

fn socket(config: &Config) -> PathBuf {
    config.hsm.socket.clone().unwrap_or_else(|| config.data("run/signer.sock"))
}

/// The signer with the pinned keys, as a child of this program.
pub(super) fn serving_signer(config: &Config) -> Result<SignerCommand, ServeError> {
    let mut command = signer_command(config)?;
    command.args.extend(["--keys".into(), keys(config).into()]);
    Ok(command)
}

/// The signer as a child of this program, without keys yet.
pub(super) fn signer_command(config: &Config) -> Result<SignerCommand, ServeError> {
    let hsm = &config.hsm;
    let mut args: Vec<OsString> = vec!["signer".into()];
    let mut option = |name: &str, value: OsString| args.extend([OsString::from(name), value]);
    option("--module", hsm.module.clone().into());
    option("--token-label", hsm.token_label.clone().into());
    option("--pin-file", hsm.pin_file.clone().into());
    option("--workers", hsm.workers.to_string().into());
    option("--call-timeout-ms", hsm.call_timeout_ms.to_string().into());
    if hsm.session_copies {
        args.push("--session-copies".into());
    }
    let program = std::env::current_exe().map_err(during("this program's path"))?;
    let mut command = SignerCommand::new(program, args, socket(config));
    command.env = hsm.env.iter().map(|(name, value)| (name.into(), value.into())).collect();
    command.call_limit = config.call_timeout() + SIGNER_GRACE;
    command.start_limit = START_LIMIT;
    Ok(command)
}

/// The mTLS listener: its own certificate, and the CA certificates that clients' chains may end at.
pub(super) fn tls(config: &Config) -> Result<Tls, ServeError> {
    let read = |name: &str| {
        let path = config.data(name);
        std::fs::read(&path).map_err(during(&path.display().to_string()))
    };
    let anchors = [read("certificates/root.pem")?, read("certificates/ca-production.pem")?].concat();
    Tls::new(&read("tls/server.pem")?, &read("tls/server.key")?, &anchors).map_err(during("TLS"))
}

/// TLS of the enrolment listener: certificates of every environment may be renewed there.
pub(super) fn enrolment_tls(config: &Config) -> Result<Tls, ServeError> {
    let read = |name: &str| {
        let path = config.data(name);
        std::fs::read(&path).map_err(during(&path.display().to_string()))
    };
    let mut anchors = read("certificates/root.pem")?;
    for environment in crate::institution::Environment::ALL {
        anchors.extend(read(&format!("certificates/ca-{}.pem", environment.as_str()))?);
    }
    Tls::welcoming(&read("tls/server.pem")?, &read("tls/server.key")?, &anchors).map_err(during("TLS"))
}
