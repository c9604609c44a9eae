//! The front's side of the signer socket: starts the signer, restarts it when it dies or hangs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::inventory::Inventory;
use super::link::Link;
use super::process::SignerProcess;
use super::supervisor::{Supervisor, reach};
use super::{KeyError, KeyLabel, KeyPurpose, Keys, PinnedKey, PinnedKeys, PublicKey, SignerState, wire};

/// How to run `pechat signer` as a child of this process.
#[derive(Debug, Clone)]
pub struct SignerCommand {
    /// The program, as a rule this very executable.
    pub program: PathBuf,
    /// Its arguments, starting with `signer`; `--socket`, `--child` and, in a ceremony, `--ceremony` are added.
    pub args: Vec<OsString>,
    /// Added to the environment of this process, e.g. `SOFTHSM2_CONF`. Never a PIN.
    pub env: Vec<(OsString, OsString)>,
    /// Where the signer listens.
    pub socket: PathBuf,
    /// Longest silence while jobs wait; then the signer is killed. Above the signer's own limit for one call.
    pub call_limit: Duration,
    /// Longest time from start to the first signature.
    pub start_limit: Duration,
    /// How often the HSM is compared with its pinned inventory, besides at each start.
    pub inventory_every: Duration,
}

/// See [`SignerCommand::inventory_every`].
const INVENTORY: Duration = Duration::from_secs(60);

impl SignerCommand {
    /// With the default limits: 5 s of silence (the signer ends itself after 4 s), 15 s to start.
    pub fn new(program: impl Into<PathBuf>, args: Vec<OsString>, socket: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args,
            env: Vec::new(),
            socket: socket.into(),
            call_limit: Duration::from_secs(5),
            start_limit: Duration::from_secs(15),
            inventory_every: INVENTORY,
        }
    }
}

/// Where the signer process comes from.
#[derive(Debug, Clone)]
pub enum How {
    /// Started, killed and restarted by this process.
    Child(SignerCommand),
    /// Run by somebody else, e.g. systemd: this process only connects, again and again.
    Attach {
        /// Where the signer listens.
        socket: PathBuf,
        /// Longest silence while jobs wait; then the connection is dropped.
        call_limit: Duration,
        /// Longest time until the first signature.
        start_limit: Duration,
    },
}

impl How {
    pub(super) fn socket(&self) -> &PathBuf {
        match self {
            Self::Child(command) => &command.socket,
            Self::Attach { socket, .. } => socket,
        }
    }

    pub(super) fn call_limit(&self) -> Duration {
        match self {
            Self::Child(command) => command.call_limit,
            Self::Attach { call_limit, .. } => *call_limit,
        }
    }

    pub(super) fn inventory_every(&self) -> Duration {
        match self {
            Self::Child(command) => command.inventory_every,
            Self::Attach { .. } => INVENTORY,
        }
    }

    pub(super) fn start_limit(&self) -> Duration {
        match self {
            Self::Child(command) => command.start_limit,
            Self::Attach { start_limit, .. } => *start_limit,
        }
    }
}

/// What is known about the signer process, and the way to stop it. Cheap to clone.
#[derive(Clone)]
pub struct SignerControl(pub(super) Arc<Shared>);

/// Written by the supervisor, read by everybody.
pub(super) struct Shared {
    state: watch::Sender<SignerState>,
    pub(super) given_up: AtomicBool,
    pub(super) pid: AtomicU32,
    pub(super) restarts: AtomicU64,
    last_error: Mutex<Option<String>>,
    pub(super) stop: Notify,
    pub(super) ended: watch::Sender<bool>,
    pub(super) inventory: watch::Sender<Option<Inventory>>,
}

impl Shared {
    fn new() -> Self {
        Self {
            state: watch::Sender::new(SignerState::Down { reason: "the signer is starting".into() }),
            given_up: AtomicBool::new(false),
            pid: AtomicU32::new(0),
            restarts: AtomicU64::new(0),
            last_error: Mutex::new(None),
            stop: Notify::new(),
            ended: watch::Sender::new(false),
            inventory: watch::Sender::new(None),
        }
    }

    pub(super) fn ready(&self) {
        self.state.send_replace(SignerState::Ready);
    }

    pub(super) fn down(&self, reason: &str) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        self.state.send_replace(SignerState::Down { reason: reason.to_owned() });
    }

    pub(super) fn state(&self) -> SignerState {
        self.state.borrow().clone()
    }
}

impl SignerControl {
    /// Whether signing works.
    pub fn state(&self) -> SignerState {
        self.0.state()
    }

    /// Process id of the signer at the moment.
    pub fn pid(&self) -> Option<u32> {
        Some(self.0.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    /// How often the signer was started, or connected to, again.
    pub fn restarts(&self) -> u64 {
        self.0.restarts.load(Ordering::Acquire)
    }

    /// What the HSM looked like at the last look, a minute ago at most.
    pub fn inventory(&self) -> Option<Inventory> {
        self.0.inventory.borrow().clone()
    }

    /// Why signing last stopped, if it ever did.
    pub fn last_error(&self) -> Option<String> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the supervision and a child signer; waiting jobs get [`KeyError::Down`]. Returns when it is gone.
    pub async fn stop(&self) {
        self.0.stop.notify_one();
        // An error means that the sender is gone, which cannot be while `self` lives.
        let _ = self.0.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

/// Starts (or finds) the signer and returns once every pinned key gave one verified signature.
///
/// `depth` jobs may wait in the queue, and as many (at most 1024) at the signer; a caller waits at most `deadline`.
/// Errors that only an operator can mend end the attempt at once, others are retried within the start limit.
pub async fn connect(
    pinned: PinnedKeys,
    how: How,
    depth: usize,
    deadline: Duration,
) -> Result<Keys, KeyError> {
    let (keys, jobs, errands) = Keys::channels(pinned, depth, deadline)?;
    let shared = Arc::new(Shared::new());
    let control = SignerControl(shared.clone());
    let start_limit = how.start_limit();
    let supervisor = Supervisor {
        how,
        jobs,
        errands,
        checks: keys.0.checks.clone(),
        canary: keys.0.pinned.keys.iter().find(|k| k.purpose == KeyPurpose::Canary).map(|k| k.label.clone()),
        shared: shared.clone(),
        room: depth.clamp(1, wire::MAX_BATCH),
    };
    tokio::spawn(supervisor.run());

    let mut state = shared.state.subscribe();
    let settled = state.wait_for(|s| *s == SignerState::Ready || shared.given_up.load(Ordering::Acquire));
    // Whether in time or not: the state itself says how far the signer came.
    let _ = tokio::time::timeout(start_limit, settled).await;
    match control.state() {
        SignerState::Ready => Ok(keys.with_control(control)),
        SignerState::Down { reason } => {
            control.stop().await;
            Err(KeyError::Down(reason))
        }
    }
}

/// The key ceremony: starts the signer with `--ceremony`, makes one P-256 key pair for each of `wanted`, has
/// each new key prove itself with one signature, and stops the signer. A label that the HSM token already has is
/// refused. Nothing is written to disk: the caller saves the list, and keys without a record are its to report.
pub async fn generate(
    command: SignerCommand,
    wanted: &[(KeyLabel, KeyPurpose)],
) -> Result<PinnedKeys, KeyError> {
    let limit = command.start_limit;
    let mut process = SignerProcess::spawn(&command, true).map_err(KeyError::Down)?;
    let made = async {
        let mut link = reach(&How::Child(command), Some(&mut process)).await.map_err(|lost| lost.reason)?;
        let hello = link.hello().await.map_err(|e| e.to_string())?;
        if !hello.ceremony {
            return Err("the signer was not started for a ceremony".to_owned());
        }
        let mut keys = Vec::with_capacity(wanted.len());
        for (label, purpose) in wanted {
            let made = tokio::time::timeout(limit, generate_one(&mut link, label, *purpose));
            keys.push(made.await.map_err(|_| format!("no key {label} after {limit:?}"))??);
        }
        Ok(PinnedKeys { keys })
    };
    let made = made.await;
    let ending = process.stop().await;
    let keys = made.map_err(|reason| KeyError::Down(format!("{reason}{}", ending.after_text(&reason))))?;
    keys.check().map(|()| keys).map_err(|e| KeyError::Down(e.to_string()))
}

async fn generate_one(link: &mut Link, label: &KeyLabel, purpose: KeyPurpose) -> Result<PinnedKey, String> {
    if purpose == KeyPurpose::JournalHeadEd25519 {
        return generate_ed25519(link, label, purpose).await;
    }
    let made = link.generate(label).await.map_err(|e| e.to_string())?;
    let proven = PublicKey::from_spki(&made.spki)
        .is_some_and(|public| public.verifies(&wire::proof_digest(&made.spki), &made.proof));
    if !proven {
        return Err(format!("the new key {label} did not prove itself: its signature does not verify"));
    }
    Ok(PinnedKey::new(label.clone(), purpose, &made.key_id, &made.spki))
}

async fn generate_ed25519(
    link: &mut Link,
    label: &KeyLabel,
    purpose: KeyPurpose,
) -> Result<PinnedKey, String> {
    let made = link.generate_ed25519(label).await.map_err(|e| e.to_string())?;
    let proven = PublicKey::from_spki(&made.spki)
        .is_some_and(|public| public.verifies_message(&wire::proof_digest(&made.spki), &made.proof));
    if !proven {
        return Err(format!("the new key {label} did not prove itself: its signature does not verify"));
    }
    Ok(PinnedKey::new(label.clone(), purpose, &made.key_id, &made.spki))
}
