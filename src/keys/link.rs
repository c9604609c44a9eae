//! One connection to a signer: which jobs it was given, and what comes back.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use super::errand::Errand;
use super::inventory::Inventory;
use super::wire::{
    self, Failure, FailureClass, Generated, GeneratedEd25519, Hello, Request, Response, SignJob, WireError,
};
use super::{Job, KeyError, KeyLabel};

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// The signer closed it.
    #[error("the signer closed the connection")]
    Closed,
    /// The socket failed.
    #[error("the signer's socket: {0}")]
    Socket(#[from] std::io::Error),
    /// The signer speaks something else.
    #[error("the signer does not speak our protocol: {0}")]
    Protocol(String),
    /// A request was refused.
    #[error("{0}")]
    Refused(String),
}

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        Self::Protocol(error.to_string())
    }
}

/// Who waits for an answer.
enum Waiter {
    /// A caller of [`super::Keys::sign`].
    Caller(oneshot::Sender<Result<[u8; 64], KeyError>>),
    /// A caller of [`super::Keys::keep`].
    Keeper(oneshot::Sender<Result<Vec<Vec<u8>>, KeyError>>),
    /// The health probe: the answer is checked by whoever asked.
    Probe(KeyLabel, [u8; 32]),
    /// A sign of life.
    Ping,
    /// The inventory, for whoever pumps.
    Inventory,
}

/// A probe's answer.
pub(super) struct Probed {
    pub(super) key: KeyLabel,
    pub(super) digest: [u8; 32],
    pub(super) outcome: Result<[u8; 64], KeyError>,
}

/// A connection and the jobs on it. Ids count up, so the waiters stand in a queue in the order of their ids.
pub(super) struct Link {
    stream: UnixStream,
    inbox: BytesMut,
    outbox: Vec<u8>,
    written: usize,
    numbers: HashMap<KeyLabel, u16>,
    waiters: VecDeque<Option<Waiter>>,
    first_id: u64,
    waiting: usize,
    progress: Instant,
    reported: Option<Inventory>,
}

impl Link {
    pub(super) async fn open(socket: &Path) -> std::io::Result<Self> {
        Ok(Self {
            stream: UnixStream::connect(socket).await?,
            inbox: BytesMut::with_capacity(64 * 1024),
            outbox: Vec::with_capacity(64 * 1024),
            written: 0,
            numbers: HashMap::new(),
            waiters: VecDeque::new(),
            first_id: 1,
            waiting: 0,
            progress: Instant::now(),
            reported: None,
        })
    }

    /// Process id of the other end.
    pub(super) fn peer(&self) -> Option<u32> {
        self.stream.peer_cred().ok().and_then(|c| c.pid()).and_then(|pid| u32::try_from(pid).ok())
    }

    /// Speaks first; learns the numbers of the signer's keys.
    pub(super) async fn hello(&mut self) -> Result<Hello, LinkError> {
        let Response::Hello(hello) = self.call(&Request::Hello { version: wire::VERSION }).await? else {
            return Err(LinkError::Protocol("no hello".into()));
        };
        if hello.version != wire::VERSION {
            let text = format!("its version is {}, ours is {}", hello.version, wire::VERSION);
            return Err(LinkError::Protocol(text));
        }
        self.numbers = hello.keys.iter().map(|k| k.label.clone()).zip(0..).collect();
        Ok(hello)
    }

    /// One new key pair.
    pub(super) async fn generate(&mut self, label: &KeyLabel) -> Result<Generated, LinkError> {
        match self.call(&Request::Generate { id: 0, label: label.clone() }).await? {
            Response::Generated { outcome, .. } => outcome.map_err(|f| LinkError::Refused(f.text)),
            _ => Err(LinkError::Protocol("no answer to generate".into())),
        }
    }

    /// One new Ed25519 key pair.
    pub(super) async fn generate_ed25519(&mut self, label: &KeyLabel) -> Result<GeneratedEd25519, LinkError> {
        match self.call(&Request::GenerateEd25519 { id: 0, label: label.clone() }).await? {
            Response::GeneratedEd25519 { outcome, .. } => outcome.map_err(|f| LinkError::Refused(f.text)),
            _ => Err(LinkError::Protocol("no answer to generate".into())),
        }
    }

    /// Request and answer, nothing else on the way.
    async fn call(&mut self, request: &Request) -> Result<Response, LinkError> {
        request.encode(&mut self.outbox);
        self.stream.write_all(&self.outbox).await?;
        self.outbox.clear();
        loop {
            if let Some((payload, used)) = wire::split(&self.inbox)? {
                let response = Response::decode(payload)?;
                self.inbox.advance(used);
                return Ok(response);
            }
            if self.stream.read_buf(&mut self.inbox).await? == 0 {
                return Err(LinkError::Closed);
            }
        }
    }

    /// Puts jobs on the way, all in one frame. Callers that gave up are left out.
    pub(super) fn give(&mut self, jobs: &mut Vec<Job>) {
        let mut batch = Vec::with_capacity(jobs.len());
        for Job { key, digest, reply } in jobs.drain(..).filter(|job| !job.reply.is_closed()) {
            match self.numbers.get(&key).copied() {
                Some(key) => batch.push(SignJob { id: self.expect(Waiter::Caller(reply)), key, digest }),
                None => drop(reply.send(Err(KeyError::Unknown(key.into())))),
            }
        }
        if !batch.is_empty() {
            Request::Sign(batch).encode(&mut self.outbox);
        }
    }

    /// Puts a rare request on the way.
    pub(super) fn run(&mut self, errand: Errand) {
        let request = match errand {
            Errand::Keep { head, reply } => Request::Keep { id: self.expect(Waiter::Keeper(reply)), head },
            Errand::SignMessage { key, message, reply } => match self.numbers.get(&key).copied() {
                Some(key) => Request::SignMessage { id: self.expect(Waiter::Caller(reply)), key, message },
                None => return drop(reply.send(Err(KeyError::Unknown(key.into())))),
            },
        };
        request.encode(&mut self.outbox);
    }

    /// Puts a probe of `key` on the way, or a sign of life where there is no such key.
    pub(super) fn probe(&mut self, key: Option<(&KeyLabel, [u8; 32])>) {
        let numbered = key.and_then(|(label, digest)| Some((label, *self.numbers.get(label)?, digest)));
        let request = match numbered {
            Some((label, key, digest)) => {
                let id = self.expect(Waiter::Probe(label.clone(), digest));
                Request::Sign(vec![SignJob { id, key, digest }])
            }
            None => Request::Status { id: self.expect(Waiter::Ping) },
        };
        request.encode(&mut self.outbox);
    }

    fn expect(&mut self, waiter: Waiter) -> u64 {
        if self.waiting == 0 {
            self.progress = Instant::now();
        }
        self.waiting += 1;
        self.waiters.push_back(Some(waiter));
        self.first_id + self.waiters.len() as u64 - 1
    }

    /// Asks for the inventory; [`Link::reported`] has it some time after a pump.
    pub(super) fn ask_inventory(&mut self) {
        Request::Inventory { id: self.expect(Waiter::Inventory) }.encode(&mut self.outbox);
    }

    /// The newest inventory, once.
    pub(super) fn reported(&mut self) -> Option<Inventory> {
        self.reported.take()
    }

    /// How many answers are due.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// For how long answers are due and none came; zero when none is due.
    pub(super) fn silence(&self) -> Duration {
        if self.waiting == 0 { Duration::ZERO } else { self.progress.elapsed() }
    }

    /// Since the last answer or the start of waiting.
    pub(super) fn idle(&self) -> Duration {
        if self.waiting == 0 { self.progress.elapsed() } else { Duration::ZERO }
    }

    /// Moves bytes in either direction, hands answers to their callers and returns those of probes.
    /// Cancelling it loses nothing.
    pub(super) async fn pump(&mut self) -> Result<Vec<Probed>, LinkError> {
        let (mut read, mut write) = self.stream.split();
        tokio::select! {
            count = read.read_buf(&mut self.inbox) => {
                if count? == 0 {
                    return Err(LinkError::Closed);
                }
            }
            count = write.write(&self.outbox[self.written..]), if self.written < self.outbox.len() => {
                self.written += count?;
                if self.written == self.outbox.len() {
                    self.outbox.clear();
                    self.written = 0;
                }
                return Ok(Vec::new());
            }
        }
        self.deliver()
    }

    fn deliver(&mut self) -> Result<Vec<Probed>, LinkError> {
        let mut probed = Vec::new();
        while let Some((payload, used)) = wire::split(&self.inbox)? {
            match Response::decode(payload)? {
                Response::Signed(answers) => {
                    for answer in answers {
                        let outcome = answer.outcome.map_err(key_error);
                        match self.take(answer.id)? {
                            // A caller that gave up meanwhile is no fault.
                            Waiter::Caller(reply) => drop(reply.send(outcome)),
                            Waiter::Probe(key, digest) => probed.push(Probed { key, digest, outcome }),
                            Waiter::Ping | Waiter::Inventory | Waiter::Keeper(_) => {
                                return Err(LinkError::Protocol("a signature for something else".into()));
                            }
                        }
                    }
                }
                Response::Kept { id, outcome } => match self.take(id)? {
                    Waiter::Keeper(reply) => drop(reply.send(outcome.map_err(key_error))),
                    _ => return Err(LinkError::Protocol("a kept head for something else".into())),
                },
                Response::Status(status) => drop(self.take(status.id)?),
                Response::Inventory { id, outcome } => {
                    drop(self.take(id)?);
                    match outcome.map_err(|f| f.text).and_then(|text| read_inventory(&text)) {
                        Ok(inventory) => self.reported = Some(inventory),
                        Err(why) => tracing::warn!(why, "the signer gave no inventory of the HSM"),
                    }
                }
                _ => return Err(LinkError::Protocol("an answer nobody asked for".into())),
            }
            self.inbox.advance(used);
        }
        Ok(probed)
    }

    fn take(&mut self, id: u64) -> Result<Waiter, LinkError> {
        let place = id.checked_sub(self.first_id).and_then(|at| usize::try_from(at).ok());
        let waiter = place.and_then(|at| self.waiters.get_mut(at)).and_then(Option::take);
        let waiter =
            waiter.ok_or_else(|| LinkError::Protocol(format!("an answer to job {id}, not waiting")))?;
        while let Some(None) = self.waiters.front() {
            self.waiters.pop_front();
            self.first_id += 1;
        }
        self.waiting -= 1;
        self.progress = Instant::now();
        Ok(waiter)
    }

    /// Tells everybody who waits that nothing will come.
    pub(super) fn fail(self, reason: &str) {
        for waiter in self.waiters.into_iter().flatten() {
            let down = KeyError::Down(reason.to_owned());
            match waiter {
                Waiter::Caller(reply) => drop(reply.send(Err(down))),
                Waiter::Keeper(reply) => drop(reply.send(Err(down))),
                Waiter::Probe(..) | Waiter::Ping | Waiter::Inventory => {}
            }
        }
    }
}

fn read_inventory(text: &str) -> Result<Inventory, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn key_error(failure: Failure) -> KeyError {
    match failure.class {
        FailureClass::Refused | FailureClass::UnknownKey | FailureClass::NotAllowed => {
            KeyError::Refused(failure.text)
        }
        FailureClass::WrongSignature => KeyError::WrongSignature(failure.text),
        FailureClass::TokenLost => KeyError::Down(failure.text),
        FailureClass::Busy => KeyError::Busy,
    }
}
