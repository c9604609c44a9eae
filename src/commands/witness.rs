//! `pechat witness`: a witness that anyone can run, for our logs and for those of others.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use clap::{Args, Subcommand};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::serve::{ServeError, during, wait_for_the_end};
use super::verify::material;
use crate::clock::system;
use crate::http::listen::{Door, listen};
use crate::http::{Limits, witness as route};
use crate::witness::cosignature::CosignerKey;
use crate::witness::heads::HeadsFile;
use crate::witness::memory::{KnownLog, Witness};
use crate::witness::{KeyKind, VerifierKey};

/// Name of the key file in the witness's directory.
const KEY_FILE: &str = "witness.key";

/// Arguments of `pechat witness`.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the directory of a new witness: key and empty memory; prints the verifier key.
    #[command(
        after_help = "Example: pechat witness key --dir /var/lib/witness --name witness.example.org/w1"
    )]
    Key(KeyArgs),
    /// Cosign checkpoints of the logs it knows, until SIGTERM.
    #[command(after_help = "Example: pechat witness run --dir /var/lib/witness --listen 127.0.0.1:8071 \
                            --log 'seal.example.gov/root+1a2b3c4d+AjBZ...'")]
    Run(RunArgs),
    /// Print the verifier key of an appliance's root log, for --log.
    #[command(after_help = "Example: pechat witness log-key --origin seal.example.gov/root \
                            --head-key journal-head.pem")]
    LogKey(LogKeyArgs),
}

#[derive(Debug, Args)]
struct KeyArgs {
    /// Directory of the witness; made if absent, mode 0700.
    #[arg(long)]
    dir: PathBuf,
    /// Name under which it cosigns: an address without scheme, such as witness.example.org/w1.
    #[arg(long)]
    name: String,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A TOML file with dir, listen and logs instead of the options.
    #[arg(long, conflicts_with_all = ["dir", "listen", "log"])]
    config: Option<PathBuf>,
    /// Directory that `pechat witness key` made.
    #[arg(long, required_unless_present = "config")]
    dir: Option<PathBuf>,
    /// Where to listen: plain HTTP; put a TLS proxy in front when it leaves the machine.
    #[arg(long, default_value = "127.0.0.1:8071")]
    listen: SocketAddr,
    /// Verifier key of a log to cosign for. May be repeated.
    #[arg(long, value_name = "VKEY", required_unless_present = "config")]
    log: Vec<String>,
    /// Write the log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

#[derive(Debug, Args)]
struct LogKeyArgs {
    /// Origin of the root log, `{site}/root`.
    #[arg(long)]
    origin: String,
    /// The journal-head public key (PEM).
    #[arg(long, value_name = "KEY.PEM")]
    head_key: PathBuf,
}

/// The TOML file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    dir: PathBuf,
    #[serde(default = "usual_address")]
    listen: SocketAddr,
    logs: Vec<LogSettings>,
}

/// One known log.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogSettings {
    vkey: String,
    /// The key's name, unless the log's checkpoints begin with another line.
    #[serde(default)]
    origin: Option<String>,
}

fn usual_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8071))
}

/// Runs the subcommand.
pub fn run(args: WitnessArgs) -> Result<(), ServeError> {
    match args.command {
        Command::Key(args) => make_key(&args),
        Command::Run(args) => cosign(args),
        Command::LogKey(args) => {
            let spki = material::public_key(&args.head_key).map_err(ServeError)?;
            let key = VerifierKey::new(&args.origin, KeyKind::Ecdsa(spki));
            println!("{}", key.map_err(during("log key"))?);
            Ok(())
        }
    }
}

fn make_key(args: &KeyArgs) -> Result<(), ServeError> {
    let dir = &args.dir;
    let what = format!("cannot make a witness in {}", dir.display());
    let mut seed = zeroize::Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut seed[..]).map_err(during("no randomness"))?;
    let key = CosignerKey::from_seed(&args.name, *seed).map_err(during(&what))?;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(during(&what))?;
    // create_new: a key that exists is never replaced.
    let path = dir.join(KEY_FILE);
    let file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path);
    let mut file = file.map_err(during(&format!("cannot make {}", path.display())))?;
    file.write_all(key.secret_text().as_bytes()).map_err(during(&what))?;
    file.sync_all().map_err(during(&what))?;
    HeadsFile::create(dir, key.public()).map_err(during(&what))?;
    println!("{}", key.public());
    Ok(())
}

fn cosign(args: RunArgs) -> Result<(), ServeError> {
    let log_json = args.log_json;
    let settings = settings(args)?;
    crate::telemetry::log_to_stderr(log_json);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let key = load_key(&settings.dir.join(KEY_FILE))?;
    let logs = known(&settings.logs)?;
    let memory = HeadsFile::open(&settings.dir, key.public()).map_err(during("memory"))?;
    let witness = Arc::new(Witness::new(key, logs, memory, system::now));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(during("cannot start the runtime"))?.block_on(serve(settings.listen, witness))
}

async fn serve(address: SocketAddr, witness: Arc<Witness>) -> Result<(), ServeError> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(during(&format!("cannot listen on {address}")))?;
    let logs: Vec<_> = witness.logs().iter().map(|log| log.origin.as_str()).collect();
    tracing::info!(%address, key = %witness.public(), ?logs, "the witness listens");
    let (stop, stopped) = watch::channel(false);
    let limits = Limits::default();
    let served = listen(listener, Door::Plain, route::router(witness), &limits, stopped);
    let ending = async {
        let ended = wait_for_the_end().await;
        stop.send_replace(true);
        ended
    };
    tokio::join!(served, ending).1
}

fn settings(args: RunArgs) -> Result<Settings, ServeError> {
    let Some(path) = args.config else {
        let logs = args.log.into_iter().map(|vkey| LogSettings { vkey, origin: None }).collect();
        return Ok(Settings { dir: args.dir.unwrap_or_default(), listen: args.listen, logs });
    };
    let what = format!("{} cannot be used", path.display());
    let text = std::fs::read_to_string(&path).map_err(during(&what))?;
    toml::from_str(&text).map_err(during(&what))
}

/// Keys by origin: a log that renews its key has two for a while.
fn known(settings: &[LogSettings]) -> Result<Vec<KnownLog>, ServeError> {
    let mut logs: Vec<KnownLog> = Vec::new();
    for log in settings {
        let key: VerifierKey = log.vkey.parse().map_err(during("log"))?;
        if matches!(key.kind(), KeyKind::Cosignature(_)) {
            return Err(ServeError(format!("log: {} is a witness's key; give the log's own", key.name())));
        }
        let origin = log.origin.clone().unwrap_or_else(|| key.name().to_owned());
        match logs.iter_mut().find(|known| known.origin == origin) {
            Some(known) => known.keys.push(key),
            None => logs.push(KnownLog { origin, keys: vec![key] }),
        }
    }
    if logs.is_empty() {
        return Err(ServeError("no log is known: give its verifier key".into()));
    }
    Ok(logs)
}

fn load_key(path: &Path) -> Result<CosignerKey, ServeError> {
    let what = format!("{} cannot be used", path.display());
    let mode = std::fs::metadata(path).map_err(during(&what))?.mode();
    if mode & 0o077 != 0 {
        return Err(ServeError(format!(
            "{what}: others may read it (mode {:o}); chmod 600 it",
            mode & 0o777
        )));
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(during(&what))?);
    CosignerKey::parse(&text).map_err(during(&path.display().to_string()))
}
