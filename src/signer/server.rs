//! The signer's socket: who may connect, what is read, what is written.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, flock};

use super::SignerError;
use super::pin::PinSource;
use super::pkcs11::{CallClass, HsmError, Module, ModuleFile, Token};
use super::pool::{Answers, Data, Pool, WantedKey, Work};
use super::process::{end, harden, say};
use super::watchdog::Watchdog;
use crate::digest::Digest;
use crate::keys::wire::{
    self, EXIT_TOKEN_LOST, Failure, FailureClass, Generated, Hello, HelloKey, Request, Response, Signed,
    Status,
};
use crate::keys::{KeyLabel, PinnedKeys};

/// How long a front may leave its answers unread before it is hung up on.
const UNREAD: Duration = Duration::from_secs(4);
/// The start-up calls (load, login, find) may take so many times the limit of one call.
pub(super) const START_CALLS: u32 = 8;

/// What the signer was told at its start.
#[derive(Debug)]
pub struct Setup {
    /// Where to listen.
    pub socket: PathBuf,
    /// PKCS#11 module (a shared library).
    pub module: PathBuf,
    /// CKA label of the HSM token.
    pub token: String,
    /// Its serial number, where labels are not enough.
    pub serial: Option<String>,
    /// Where the PIN is.
    pub pin: PinSource,
    /// `keys.json`; a ceremony may go without.
    pub keys: Option<PathBuf>,
    /// Threads, each with a session: 1 to 64.
    pub workers: usize,
    /// Whether to sign with copies of the keys in the session, where the module looks for token objects in files.
    pub session_copies: bool,
    /// Longest time for one PKCS#11 call.
    pub call_limit: Duration,
    /// Whether new keys may be made.
    pub ceremony: bool,
    /// Whether to end with the one who started it: when stdin or the first connection closes.
    pub child: bool,
    /// Who may connect, besides the own user: another user id; the socket's group then may, too.
    pub peer_uid: Option<u32>,
}

/// Runs until the process ends itself: it returns only when it cannot start or listen.
pub fn run(setup: Setup) -> Result<(), SignerError> {
    if setup.keys.is_none() && !setup.ceremony {
        return Err(SignerError::Options("--keys is needed except in a ceremony"));
    }
    if !(1..=64).contains(&setup.workers) {
        return Err(SignerError::Options("--workers must be 1 to 64"));
    }
    // 1. Everything about this process and its files, before the module is loaded.
    let pin = setup.pin.open()?;
    harden()?;
    let pinned = setup.keys.as_deref().map(PinnedKeys::load).transpose()?;
    let _lock = lock(&setup.socket)?;
    if setup.child {
        std::thread::spawn(end_with_stdin);
    }
    let pin = pin.read()?;
    // 2. The HSM token: found, logged in to, every key checked in every session.
    let module_file = ModuleFile::of(&setup.module)?;
    let watchdog = Watchdog::start(setup.workers + 2);
    let keeper = setup.workers;
    let token = watchdog.guard(keeper, setup.call_limit * START_CALLS, || {
        Module::load(&setup.module)?.token(&setup.token, setup.serial.as_deref())?.login(&pin, setup.ceremony)
    })?;
    drop(pin);
    let token = Arc::new(token);
    let keys = wanted(pinned.as_ref())?;
    let hello = hello(pinned.as_ref(), &keys, setup.ceremony);
    let (limit, workers, copies) = (setup.call_limit, setup.workers, setup.session_copies);
    let pool = Pool::start(token.clone(), keys, watchdog.clone(), limit, workers, copies, setup.pin.clone())?;
    // 3. Only now is there somebody to talk to.
    let listener = listen(&setup.socket, setup.peer_uid.is_some())?;
    let desk = Arc::new(Desk { hello, pool, token, watchdog, module_file, setup });
    for stream in listener.incoming() {
        let stream = stream.map_err(|e| SignerError::setup("a connection", e))?;
        if desk.may_connect(&stream) {
            let desk = desk.clone();
            std::thread::spawn(move || desk.attend(stream));
        }
    }
    Ok(())
}

/// Nothing but the close of stdin is waited for: the front holds the other end and writes nothing.
fn end_with_stdin() {
    // A failed read is a closed stdin, too.
    let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
    end(0, "the front is gone");
}

/// One signer a socket: a lock that dies with the process, next to the socket.
fn lock(socket: &Path) -> Result<File, SignerError> {
    let path = socket.with_extension("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|e| SignerError::setup(format!("the lock {}", path.display()), e))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(SignerError::SecondSigner(socket.into())),
        Err(e) => Err(SignerError::setup(format!("the lock {}", path.display()), e)),
    }
}

fn listen(socket: &Path, group: bool) -> Result<UnixListener, SignerError> {
    let failed = |e| SignerError::setup(format!("the socket {}", socket.display()), e);
    match std::fs::remove_file(socket) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
        _ => {}
    }
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(socket).map_err(failed);
    rustix::process::umask(before);
    let listener = listener?;
    if group {
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
    }
    Ok(listener)
}

fn wanted(pinned: Option<&PinnedKeys>) -> Result<Vec<WantedKey>, SignerError> {
    let keys = pinned.map_or(&[][..], |p| &p.keys);
    let one = |key: &crate::keys::PinnedKey| {
        let (id, spki) = (key.id_bytes()?, key.public_key()?.spki().to_vec());
        Ok(WantedKey { label: key.label.as_str().into(), id, spki })
    };
    keys.iter().map(one).collect()
}

fn hello(pinned: Option<&PinnedKeys>, wanted: &[WantedKey], ceremony: bool) -> Hello {
    let labels = pinned.map_or(&[][..], |p| &p.keys).iter().map(|key| key.label.clone());
    let keys = labels
        .zip(wanted)
        .map(|(label, key)| HelloKey { label, spki_sha256: *Digest::of(&key.spki).as_bytes() })
        .collect();
    Hello { version: wire::VERSION, ceremony, keys }
}

/// What every connection needs.
pub(super) struct Desk {
    hello: Hello,
    pool: Arc<Pool>,
    pub(super) token: Arc<Token>,
    pub(super) watchdog: Arc<Watchdog>,
    module_file: ModuleFile,
    pub(super) setup: Setup,
}

/// The writing half of a connection; a frame at a time, from any worker.
pub(super) struct Line(Mutex<UnixStream>);

impl Line {
    pub(super) fn write(&self, response: &Response) {
        let mut frame = Vec::with_capacity(128);
        response.encode(&mut frame);
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if stream.write_all(&frame).is_err() {
            // Half a frame may be out: the connection is of no more use. Its reader then sees the end.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Answers for Line {
    fn send(&self, answers: Vec<Signed>) {
        self.write(&Response::Signed(answers));
    }
}

impl Desk {
    fn may_connect(&self, stream: &UnixStream) -> bool {
        let own = rustix::process::geteuid().as_raw();
        match rustix::net::sockopt::socket_peercred(stream) {
            Ok(peer) => {
                let uid = peer.uid.as_raw();
                let known = uid == own || Some(uid) == self.setup.peer_uid;
                if !known {
                    say(&format!("refused a connection of user {uid}"));
                }
                known
            }
            Err(e) => {
                say(&format!("refused a connection of an unknown user: {e}"));
                false
            }
        }
    }

    fn attend(&self, stream: UnixStream) {
        let served = stream
            .set_write_timeout(Some(UNREAD))
            .and_then(|()| stream.try_clone())
            .map_err(|e| e.to_string())
            .and_then(|writer| self.read(&stream, &Arc::new(Line(Mutex::new(writer)))));
        if let Err(why) = &served {
            say(&format!("a connection ended: {why}"));
        }
        // Answers of jobs still in the pool go nowhere from here on.
        let _ = stream.shutdown(std::net::Shutdown::Both);
        if self.setup.child {
            end(0, "the front hung up");
        }
    }

    fn read(&self, mut stream: &UnixStream, line: &Arc<Line>) -> Result<(), String> {
        let answers: Arc<dyn Answers> = line.clone();
        let mut buffer = vec![0; 4 + wire::MAX_FRAME];
        let mut filled = 0;
        loop {
            let count = stream.read(&mut buffer[filled..]).map_err(|e| e.to_string())?;
            if count == 0 {
                return Ok(());
            }
            filled += count;
            let mut at = 0;
            while let Some((payload, used)) = wire::split(&buffer[at..filled]).map_err(|e| e.to_string())? {
                let request = Request::decode(payload).map_err(|e| e.to_string())?;
                self.handle(request, line, &answers)?;
                at += used;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }

    fn handle(&self, request: Request, line: &Arc<Line>, answers: &Arc<dyn Answers>) -> Result<(), String> {
        match request {
            Request::Sign(jobs) => {
                let left = self.pool.push(jobs, answers);
                if !left.is_empty() {
                    answers.send(left.iter().map(|job| busy(job.id)).collect());
                }
            }
            Request::Hello { version: wire::VERSION } => line.write(&Response::Hello(self.hello.clone())),
            Request::Hello { version } => {
                return Err(format!("the front speaks version {version}, this signer {}", wire::VERSION));
            }
            Request::Status { id } => {
                let (signed, failed, queued) = self.pool.counts();
                let queued = u32::try_from(queued).unwrap_or(u32::MAX);
                line.write(&Response::Status(Status { id, signed, failed, queued }));
            }
            Request::Inventory { id } => self.inventory(id, line),
            Request::Generate { id, label } => self.generate(id, &label, line),
            Request::GenerateEd25519 { id, label } => self.generate_ed25519(id, &label, line),
            Request::Keep { id, head } => self.keep(id, head, line),
            Request::SignMessage { id, key, message } => {
                if !self.pool.push_message(Work { id, key, data: Data::Message(message) }, answers) {
                    answers.send(vec![busy(id)]);
                }
            }
        }
        Ok(())
    }

    /// Read anew each time. A token that cannot be read any more is a lost one: the front starts the signer again.
    fn inventory(&self, id: u64, line: &Line) {
        let keys = self.pool.keys().map(|key| (key.label.clone(), key.id.clone()));
        let limit = self.setup.call_limit * START_CALLS;
        let read =
            self.watchdog.guard(self.setup.workers, limit, || self.token.inventory(&self.module_file, keys));
        let lost = read.as_ref().err().map(|error| format!("the HSM token cannot be read any more: {error}"));
        let outcome = match (read, &lost) {
            (Ok(inventory), _) => serde_json::to_string(&inventory).map_err(|e| e.to_string()),
            (Err(_), lost) => Err(lost.clone().unwrap_or_default()),
        };
        let outcome = outcome
            .and_then(
                |text| if text.len() < wire::MAX_FRAME - 64 { Ok(text) } else { Err("too long".into()) },
            )
            .map_err(|text| Failure::new(FailureClass::TokenLost, text));
        line.write(&Response::Inventory { id, outcome });
        if let Some(why) = lost {
            end(EXIT_TOKEN_LOST, &why);
        }
    }

    fn generate(&self, id: u64, label: &KeyLabel, line: &Line) {
        if !self.setup.ceremony {
            let text = "this signer was not started for a ceremony";
            let outcome = Err(Failure::new(FailureClass::NotAllowed, text));
            return line.write(&Response::Generated { id, outcome });
        }
        let limit = self.setup.call_limit * START_CALLS;
        let made = self
            .watchdog
            .guard(self.setup.workers, limit, || make(&self.token, label, self.setup.session_copies));
        let failure = match made {
            Ok(made) => return line.write(&Response::Generated { id, outcome: Ok(made) }),
            Err(error) => error,
        };
        let taken = matches!(failure, HsmError::LabelTaken(_));
        let class = if taken { FailureClass::NotAllowed } else { FailureClass::TokenLost };
        let text = format!("cannot make key {label}: {failure}");
        line.write(&Response::Generated { id, outcome: Err(Failure::new(class, text.clone())) });
        // After a failed generation SoftHSM shows a ghost of the pair to this process only.
        if !taken && failure.class() != CallClass::Request {
            end(EXIT_TOKEN_LOST, &text);
        }
    }
}

fn make(token: &Token, label: &KeyLabel, modifiable: bool) -> Result<Generated, HsmError> {
    let mut key_id = [0; 16];
    aws_lc_rs::rand::fill(&mut key_id).map_err(|_| HsmError::NoRandomness)?;
    let made = token.generate(label.as_str(), key_id, modifiable)?;
    let proof = token.session()?.sign(made.handle, &wire::proof_digest(&made.spki))?;
    Ok(Generated { key_id, spki: made.spki, proof })
}

fn busy(id: u64) -> Signed {
    Signed { id, outcome: Err(Failure::new(FailureClass::Busy, "the signer's queue is full")) }
}

/// Ends the process with the error's text as its last line and the error's exit status.
pub fn end_with(error: &SignerError) -> ! {
    end(error.exit_status(), &error.to_string())
}
