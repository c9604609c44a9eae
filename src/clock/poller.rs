//! The clock's two threads: one asks the sources, one waits for steps and lets time pass.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use super::Inner;
use super::config::{ClockConfig, ClockError};
use super::event::{Event, Finding, Heard, Unheard};
use super::interval::History;
use super::ntp::{self, Answer};
use super::reply::Fault;
use super::system::{Machine, StepWatch, Wake};

/// A source that asks for less is asked at most this rarely.
const SLOWEST: Duration = Duration::from_secs(1024);
/// Good answers after which a slowed source is asked faster again.
const RECOVERED: u32 = 10;
/// How often time itself is looked at, with or without a round.
const TICK: Duration = Duration::from_millis(250);

/// Starts both threads. They end when the last [`super::Clock`] is dropped.
pub(super) fn start(inner: &Arc<Inner>, config: &ClockConfig) -> Result<(), ClockError> {
    let watch = StepWatch::new().map_err(ClockError::StepWatch)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ClockError::Thread)?;
    let (for_watch, for_poll) = (Arc::downgrade(inner), Arc::downgrade(inner));
    let poller = Poller::new(config, Arc::clone(&inner.machine));
    std::thread::Builder::new()
        .name("clock-watch".to_owned())
        .spawn(move || watch_steps(&for_watch, &watch))
        .map_err(ClockError::Thread)?;
    std::thread::Builder::new()
        .name("clock-poll".to_owned())
        .spawn(move || runtime.block_on(poller.run(for_poll)))
        .map_err(ClockError::Thread)?;
    Ok(())
}

fn watch_steps(inner: &Weak<Inner>, watch: &StepWatch) {
    loop {
        let wake = match watch.wait(TICK) {
            Ok(wake) => wake,
            Err(error) => {
                // Without this net the thread falls silent, and silence becomes Untrusted(expired).
                tracing::error!(%error, "cannot watch for steps of the system clock any more");
                return;
            }
        };
        let Some(inner) = inner.upgrade() else { return };
        inner.watch_alive();
        inner.happened(if wake == Wake::ClockSet { Event::ClockSet } else { Event::Tick });
        inner.ask_early_if_odd();
    }
}

struct Poller {
    sources: Vec<Source>,
    machine: Arc<dyn Machine>,
    poll: Duration,
    timeout: Duration,
    rho_ppm: u32,
}

struct Source {
    name: String,
    address: Option<SocketAddr>,
    history: History,
    /// Asked every `stride` rounds.
    stride: u32,
    rounds_to_wait: u32,
    good_in_a_row: u32,
    off: Option<Fault>,
}

impl Source {
    fn new(name: &str) -> Source {
        Source {
            name: name.to_owned(),
            address: name.parse().ok(),
            history: History::default(),
            stride: 1,
            rounds_to_wait: 0,
            good_in_a_row: 0,
            off: None,
        }
    }

    /// Whether this round asks it.
    fn due(&mut self) -> bool {
        if self.off.is_some() {
            return false;
        }
        if self.rounds_to_wait > 0 {
            self.rounds_to_wait -= 1;
            return false;
        }
        self.rounds_to_wait = self.stride - 1;
        true
    }

    fn good(&mut self) {
        self.good_in_a_row += 1;
        if self.stride > 1 && self.good_in_a_row >= RECOVERED {
            self.stride /= 2;
            self.good_in_a_row = 0;
        }
    }

    fn bad(&mut self, fault: &Fault, poll: Duration) {
        self.good_in_a_row = 0;
        match fault.verdict() {
            "off" => self.off = Some(fault.clone()),
            "slowed" => {
                if poll.saturating_mul(self.stride * 2) <= SLOWEST {
                    self.stride *= 2;
                }
                self.rounds_to_wait = self.stride - 1;
            }
            _ => {}
        }
    }
}

impl Poller {
    fn new(config: &ClockConfig, machine: Arc<dyn Machine>) -> Poller {
        Poller {
            sources: config.sources.iter().map(|s| Source::new(s)).collect(),
            machine,
            poll: config.poll,
            timeout: config.timeout,
            rho_ppm: config.rho_ppm,
        }
    }

    async fn run(mut self, inner: Weak<Inner>) {
        loop {
            let Some(wake) = inner.upgrade().map(|inner| {
                inner.poll_alive();
                Arc::clone(&inner.wake)
            }) else {
                return;
            };
            let round = self.round().await;
            let Some(inner) = inner.upgrade() else { return };
            inner.poll_alive();
            inner.happened(round);
            drop(inner);
            tokio::select! {
                () = tokio::time::sleep(jittered(self.poll)) => {}
                () = wake.notified() => {}
            }
        }
    }

    /// All due sources at once; the round lasts as long as its slowest answer, at most the timeout.
    async fn round(&mut self) -> Event {
        self.resolve().await;
        let mut asked = JoinSet::new();
        let mut answers: Vec<Option<Result<Answer, Fault>>> = self.sources.iter().map(|_| None).collect();
        for (index, source) in self.sources.iter_mut().enumerate() {
            let Some(address) = source.address else { continue };
            if !source.due() {
                continue;
            }
            // Stands if the exchange dies; a source that was asked must not be heard through an older answer.
            answers[index] = Some(Err(Fault::Network("the exchange broke off".to_owned())));
            let (machine, timeout) = (Arc::clone(&self.machine), self.timeout);
            asked.spawn(async move { (index, ntp::ask(address, machine.as_ref(), timeout).await) });
        }
        while let Some(done) = asked.join_next().await {
            if let Ok((index, answer)) = done {
                answers[index] = Some(answer);
            }
        }
        let now = self.machine.read();
        let (poll, rho_ppm) = (self.poll, self.rho_ppm);
        let heard = |(source, answer): (&mut Source, Option<Result<Answer, Fault>>)| Finding {
            source: source.name.clone(),
            heard: source.take(answer, poll, rho_ppm).and_then(|leap| source.speak(&now, rho_ppm, leap)),
        };
        let findings = self.sources.iter_mut().zip(answers).map(heard).collect();
        Event::Round { findings, at_raw: now.raw }
    }

    /// Names are looked up until they have an address and then never again: an answer that moves is an attack surface.
    async fn resolve(&mut self) {
        for at in 0..self.sources.len() {
            if self.sources[at].address.is_some() {
                continue;
            }
            let name = self.sources[at].name.clone();
            let Ok(Ok(mut found)) = tokio::time::timeout(self.timeout, tokio::net::lookup_host(name)).await
            else {
                continue;
            };
            // Two names of one server would be two votes of one liar.
            let free = found.find(|a| self.sources.iter().all(|s| s.address != Some(*a)));
            self.sources[at].address = free;
        }
    }
}

impl Source {
    /// Notes the answer; `Ok` says whether it announces a leap second.
    fn take(
        &mut self,
        answer: Option<Result<Answer, Fault>>,
        poll: Duration,
        rho_ppm: u32,
    ) -> Result<bool, Unheard> {
        match answer {
            Some(Ok(answer)) => {
                self.good();
                self.history.push(answer.exchange.sample(rho_ppm), rho_ppm);
                Ok(answer.reply.announces_leap())
            }
            Some(Err(fault)) => {
                self.bad(&fault, poll);
                Err(unheard(&fault))
            }
            None => match &self.off {
                Some(fault) => Err(unheard(fault)),
                None if self.address.is_none() => {
                    Err(unheard(&Fault::Address(format!("{} has no address of its own", self.name))))
                }
                // Asked to slow down: its last answer, aged, still counts.
                None => Ok(false),
            },
        }
    }

    fn speak(&self, now: &super::system::MachineTime, rho_ppm: u32, leap: bool) -> Result<Heard, Unheard> {
        let Some(best) = self.history.best(now.raw, rho_ppm) else {
            return Err(Unheard {
                verdict: "slowed",
                detail: "kiss-rate: asked to wait, nothing heard yet".into(),
            });
        };
        let interval = best.aged(now.raw, rho_ppm);
        let (half, delay) = ((interval.hi - interval.lo) / 2000, best.delay / 1000);
        Ok(Heard {
            interval,
            offset_us: (best.centre - (now.realtime - now.raw)) / 1000,
            delay_us: delay,
            leap,
            detail: format!("correct within {half} µs, round trip {delay} µs"),
        })
    }
}

fn unheard(fault: &Fault) -> Unheard {
    Unheard { verdict: fault.verdict(), detail: fault.to_string() }
}

/// ±10 %, so that many machines do not ask together.
fn jittered(poll: Duration) -> Duration {
    let mut random = [0u8; 1];
    // Without random numbers there is no jitter, and no exchange either.
    let _ = aws_lc_rs::rand::fill(&mut random);
    poll.mul_f64(0.9 + 0.2 * f64::from(random[0]) / 255.0)
}
