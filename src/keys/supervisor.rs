//! Keeps a signer running: start, prove, serve, bury, start again.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};

use super::client::{How, Shared};
use super::errand::Errand;
use super::link::{Link, LinkError};
use super::process::{Ending, SignerProcess};
use super::wire::{EXIT_CONFIGURATION, EXIT_PIN_REFUSED};
use super::{Checks, Job, KeyError, KeyLabel, SignerState};
use crate::digest::Digest;

/// Between two attempts to connect to a signer that is starting.
const CONNECT_PAUSE: Duration = Duration::from_millis(10);
/// Quiet for so long, the signer has to show that it still works.
const IDLE: Duration = Duration::from_secs(1);
/// First and longest pause before a restart, before jitter.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(1600));
/// A signer that served for so long resets the back-off.
const STABLE: Duration = Duration::from_secs(5);

/// The task behind [`super::client::connect`].
pub(super) struct Supervisor {
    pub(super) how: How,
    pub(super) jobs: mpsc::Receiver<Job>,
    pub(super) errands: mpsc::Receiver<Errand>,
    pub(super) checks: Arc<Checks>,
    /// The key that fills idle time with verified signatures.
    pub(super) canary: Option<KeyLabel>,
    pub(super) shared: Arc<Shared>,
    /// How many jobs may be at the signer at once.
    pub(super) room: usize,
}

/// Why a signer does not serve, or no longer.
pub(super) struct Lost {
    pub(super) reason: String,
    /// Trying again would do harm or is in vain.
    pub(super) final_: bool,
}

impl Lost {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), final_: false }
    }
}

/// All handles are gone, or somebody asked to stop.
struct Stopped;

impl Supervisor {
    /// Until all handles are gone or a stop is asked for.
    pub(super) async fn run(mut self) {
        let shared = self.shared.clone();
        let mut pause = BACK_OFF.0;
        let mut ever_ready = false;
        while let Ok(lost) = self.live(&mut pause, &mut ever_ready).await {
            tracing::error!(reason = %lost.reason, "the signer is down");
            let give_up = lost.final_;
            self.shared.given_up.store(give_up, Ordering::Release);
            self.shared.down(&lost.reason);
            let wait = if give_up { Duration::MAX } else { jittered(pause) };
            pause = (pause * 2).min(BACK_OFF.1);
            if self.refuse_while(sleep(wait)).await.is_err() {
                break;
            }
            self.shared.restarts.fetch_add(1, Ordering::AcqRel);
        }
        shared.down("the signer was stopped");
        self.jobs.close();
        while let Ok(job) = self.jobs.try_recv() {
            refuse(job, &shared);
        }
        shared.ended.send_replace(true);
    }

    /// One life of a signer.
    async fn live(&mut self, pause: &mut Duration, ever_ready: &mut bool) -> Result<Lost, Stopped> {
        let (how, checks) = (self.how.clone(), self.checks.clone());
        let limit = how.start_limit();
        let shared = self.shared.clone();
        let first = !*ever_ready;
        let started = self.refuse_while(async move {
            timeout(limit, start(&how, &checks, &shared, first))
                .await
                .unwrap_or_else(|_| Err(Lost::new(format!("the signer was not ready after {limit:?}"))))
        });
        let (mut process, mut link) = match started.await? {
            Ok(started) => started,
            Err(lost) => return Ok(self.buried(lost)),
        };
        *ever_ready = true;
        self.shared.ready();
        let since = Instant::now();
        let served = self.serve(&mut link, process.as_mut()).await;
        if since.elapsed() > STABLE {
            *pause = BACK_OFF.0;
        }
        match served {
            Ok(reason) => {
                let lost = bury(process, reason).await;
                // The state goes down before any caller hears of it.
                self.shared.down(&lost.reason);
                link.fail(&lost.reason);
                Ok(self.buried(lost))
            }
            Err(Stopped) => {
                self.shared.down("the signer was stopped");
                link.fail("the signer was stopped");
                if let Some(process) = process.take() {
                    process.stop().await;
                }
                self.shared.pid.store(0, Ordering::Release);
                Err(Stopped)
            }
        }
    }

    fn buried(&self, lost: Lost) -> Lost {
        self.shared.pid.store(0, Ordering::Release);
        lost
    }

    /// Waits for `work`; jobs that come meanwhile are refused with the reason for the wait.
    async fn refuse_while<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                job = self.jobs.recv() => refuse(job.ok_or(Stopped)?, &self.shared),
                () = self.shared.stop.notified() => return Err(Stopped),
            }
        }
    }

    /// Until the signer is of no more use: why.
    async fn serve(
        &mut self,
        link: &mut Link,
        mut process: Option<&mut SignerProcess>,
    ) -> Result<Reason, Stopped> {
        let limit = self.how.call_limit();
        let mut tick = interval((limit / 8).clamp(Duration::from_millis(10), Duration::from_millis(250)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(self.room);
        let every = self.how.inventory_every();
        let mut inventory = interval_at(Instant::now() + every, every);
        inventory.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let room = self.room.saturating_sub(link.waiting());
            tokio::select! {
                probed = link.pump() => match probed {
                    Ok(probed) => {
                        probed.into_iter().for_each(|p| self.judge(&p.key, &p.digest, p.outcome));
                        self.look_at(link);
                    }
                    Err(e) => return Ok(Reason::Link(e)),
                },
                count = self.jobs.recv_many(&mut batch, room), if room > 0 => {
                    if count == 0 {
                        return Err(Stopped);
                    }
                    link.give(&mut batch);
                }
                Some(errand) = self.errands.recv() => link.run(errand),
                _ = tick.tick() => {
                    if link.silence() > limit {
                        return Ok(Reason::Hung(limit));
                    }
                    if link.idle() > IDLE {
                        let canary = self.canary.as_ref().filter(|c| self.may_probe(c));
                        link.probe(canary.map(|c| (c, probe_digest())));
                    }
                }
                _ = inventory.tick() => link.ask_inventory(),
                ending = ended(&mut process) => return Ok(Reason::Ended(ending)),
                () = self.shared.stop.notified() => return Err(Stopped),
            }
        }
    }

    /// A new inventory is compared with the pinned one, if there is one.
    fn look_at(&self, link: &mut Link) {
        if let Some(inventory) = link.reported() {
            self.checks.stop_what_differs(&inventory);
            self.shared.inventory.send_replace(Some(inventory));
        }
    }

    fn may_probe(&self, key: &KeyLabel) -> bool {
        self.checks.of(key).is_ok_and(|check| check.refuse_frozen(key).is_ok())
    }

    // A failed canary needs no action here: a lost HSM token ends the signer, a wrong signature freezes the key.
    fn judge(&self, key: &KeyLabel, digest: &[u8; 32], outcome: Result<[u8; 64], KeyError>) {
        let judged = self.checks.of(key).and_then(|check| check.release(key, digest, outcome));
        if let Err(e) = judged {
            tracing::warn!(key = key.as_str(), error = %e, "the health probe failed");
        }
    }
}

/// What ended the service of a connection.
enum Reason {
    Link(LinkError),
    Hung(Duration),
    Ended(Ending),
}

fn refuse(job: Job, shared: &Shared) {
    let reason = match shared.state() {
        SignerState::Down { reason } => reason,
        SignerState::Ready => "the signer was just lost".into(),
    };
    // A caller that gave up meanwhile is no fault.
    drop(job.reply.send(Err(KeyError::Down(reason))));
}

/// Makes sure that the process is gone, and says why in one line.
async fn bury(process: Option<SignerProcess>, reason: Reason) -> Lost {
    match (reason, process) {
        (Reason::Ended(ending), _) => after(ending, false),
        (Reason::Hung(limit), Some(process)) => {
            process.kill().await;
            Lost::new(format!("the signer did not answer for {limit:?} and was killed"))
        }
        (Reason::Hung(limit), None) => Lost::new(format!("the signer did not answer for {limit:?}")),
        (Reason::Link(LinkError::Protocol(text)), Some(process)) => {
            process.kill().await;
            Lost::new(LinkError::Protocol(text).to_string())
        }
        // A dying signer's socket closes first: its own last words are the better reason.
        (Reason::Link(_), Some(process)) => after(process.stop().await, false),
        (Reason::Link(e), None) => Lost::new(e.to_string()),
    }
}

fn after(ending: Ending, first: bool) -> Lost {
    let final_ = match ending.code {
        Some(EXIT_PIN_REFUSED) => true,
        // Later the same status may mean an HSM token that is half there: then it may still come back.
        Some(EXIT_CONFIGURATION) => first,
        _ => false,
    };
    Lost { reason: ending.text, final_ }
}

async fn ended(process: &mut Option<&mut SignerProcess>) -> Ending {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

async fn start(
    how: &How,
    checks: &Checks,
    shared: &Shared,
    first: bool,
) -> Result<(Option<SignerProcess>, Link), Lost> {
    let mut process = match how {
        How::Child(command) => Some(SignerProcess::spawn(command, false).map_err(Lost::new)?),
        How::Attach { .. } => None,
    };
    if let Some(pid) = process.as_ref().and_then(SignerProcess::pid) {
        shared.pid.store(pid, Ordering::Release);
    }
    let ready = async {
        let mut link = reach(how, process.as_mut()).await?;
        prove(&mut link, checks, shared, first).await?;
        Ok(link)
    };
    let ready: Result<Link, Lost> = ready.await;
    match (ready, process) {
        (Ok(link), process) => {
            shared.pid.store(link.peer().unwrap_or(0), Ordering::Release);
            Ok((process, link))
        }
        (Err(lost), Some(process)) => {
            let ending = process.stop().await;
            let text = format!("{}{}", lost.reason, ending.after_text(&lost.reason));
            let end = after(ending, first);
            Err(Lost { reason: text, final_: lost.final_ || end.final_ })
        }
        (Err(lost), None) => Err(lost),
    }
}

/// Connects as soon as the signer listens, which it does when its HSM token is ready.
pub(super) async fn reach(how: &How, mut process: Option<&mut SignerProcess>) -> Result<Link, Lost> {
    let until = Instant::now() + how.start_limit();
    let socket = how.socket();
    while Instant::now() < until {
        let wanted = process.as_ref().and_then(|p| p.pid());
        match Link::open(socket).await {
            // A signer left over from before may still hold the path.
            Ok(link) if wanted.is_none() || link.peer() == wanted => return Ok(link),
            Ok(_) => {}
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                if matches!(how, How::Attach { .. }) {
                    return Err(Lost::new(format!("no signer listens at {}: {e}", socket.display())));
                }
            }
            Err(e) => return Err(Lost::new(format!("cannot connect to {}: {e}", socket.display()))),
        }
        tokio::select! {
            ending = ended(&mut process) => return Err(after(ending, false)),
            () = sleep(CONNECT_PAUSE) => {}
        }
    }
    Err(Lost::new(format!("the signer did not listen after {:?}", how.start_limit())))
}

/// Says hello and has each pinned key give one signature that verifies. Keys frozen earlier stay frozen and are
/// not asked, so that one bad key does not take the others down.
async fn prove(link: &mut Link, checks: &Checks, shared: &Shared, first: bool) -> Result<(), Lost> {
    let lost = |e: LinkError| Lost::new(e.to_string());
    let hello = link.hello().await.map_err(lost)?;
    for (label, check) in &checks.keys {
        let expected = Digest::of(check.public.spki());
        let found = hello.keys.iter().find(|key| key.label == *label);
        if found.is_none_or(|key| key.spki_sha256 != *expected.as_bytes()) {
            return Err(Lost::new(format!("the signer has no key {label} with the pinned public key")));
        }
        if check.refuse_frozen(label).is_ok() {
            link.probe(Some((label, probe_digest())));
        }
    }
    link.ask_inventory();
    while link.waiting() > 0 {
        for probed in link.pump().await.map_err(lost)? {
            let check = checks.of(&probed.key).map_err(|e| Lost::new(e.to_string()))?;
            check.release(&probed.key, &probed.digest, probed.outcome).map_err(|e| {
                let final_ = first && matches!(e, KeyError::WrongSignature(_));
                Lost { reason: e.to_string(), final_ }
            })?;
        }
    }
    if let Some(inventory) = link.reported() {
        checks.stop_what_differs(&inventory);
        shared.inventory.send_replace(Some(inventory));
    }
    Ok(())
}

/// What probes sign: never the digest of anything with a meaning.
fn probe_digest() -> [u8; 32] {
    *Digest::of_parts(&[b"pechat/probe/v1\n", &random::<32>()]).as_bytes()
}

/// Between half and one and a half of `pause`, so that many signers do not start in step.
fn jittered(pause: Duration) -> Duration {
    pause / 2 + pause * u32::from(random::<1>()[0]) / 256
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness the value is still no digest of a message, and a pause still a pause.
    let _: Result<(), _> = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}
