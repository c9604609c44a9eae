//! Trusted time: a value with evidence, or the reason why there is none.
//!
//! chronyd *disciplines* the system clock; this module *verifies* it against several servers and decides for every
//! permit. [`interval`], [`judge`] and [`transition`] are pure; [`ntp`] and [`system`] are the edges; two threads of its own feed
//! the request path, which reads one atomically swapped state and three clocks.

pub mod config;
pub mod event;
mod hand;
pub mod interval;
pub mod judge;
pub mod ntp;
mod poller;
pub mod reply;
pub mod state;
pub mod system;
pub mod transition;
mod utc;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use self::config::{ClockConfig, ClockError};
use self::event::Event;
pub use self::event::Transition;
pub use self::hand::HandSet;
use self::judge::{Live, Lost, Rules, Seen};
use self::state::{Evidence, State};
use self::system::{Machine, System};
pub use self::utc::UtcMicros;

/// The trusted clock's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ClockState {
    /// A quorum of sources agrees and the bound is within the limit.
    Synchronised,
    /// No fresh quorum, but the aged bound is still within the limit.
    Holdover,
    /// No tokens, no seals.
    Untrusted {
        /// Machine word: startup, bound, expired, step, contradiction, disruption, leap, regress, operator.
        reason: String,
        /// What happened, in words.
        detail: String,
    },
}

/// One judged reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_REALTIME at the reading; never before a time already permitted.
    pub utc: UtcMicros,
    /// `|utc - true UTC|` is at most this; covers truncation of `utc` to milliseconds and drift until confirmed.
    pub bound: Duration,
    /// Whether the state was Holdover.
    pub holdover: bool,
}

/// Why there is no time now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the clock is not trusted ({reason}): {detail}")]
pub struct Untrusted {
    /// The machine word of [`ClockState::Untrusted`]; `changed` or `late` when a permit cannot be confirmed.
    pub reason: String,
    /// In words, for the caller and the officer.
    pub detail: String,
    /// When asking again makes sense.
    pub retry_after: Duration,
}

/// Leave to use one reading; must be confirmed after the HSM call.
#[derive(Debug, Clone)]
pub struct Permit {
    /// The reading.
    pub reading: Reading,
    generation: u64,
    /// RAW nanoseconds when it was given.
    given: i64,
}

impl Permit {
    /// Nothing happened to the clock since the permit and the HSM call was short enough
    /// (`max_sign_latency`); otherwise the token must be withheld.
    pub fn confirm(&self, clock: &Clock) -> Result<(), Untrusted> {
        let inner = &clock.0;
        let (state, seen) = (inner.state.load(), inner.glance());
        let live = state.judge(&inner.rules, &seen);
        if let Err(lost) = live {
            return Err(inner.lost(&state, lost));
        }
        if state.generation != self.generation {
            return Err(inner.refusal("changed", "trust was lost and regained since the permit".to_owned()));
        }
        let elapsed = seen.time.raw - self.given;
        if elapsed > inner.rules.max_sign_latency {
            let (took, most) = (judge::words(elapsed), judge::words(inner.rules.max_sign_latency));
            return Err(inner.refusal("late", format!("signing took {took}, at most {most} is allowed")));
        }
        Ok(())
    }
}

/// What one source was found to be in the last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceVerdict {
    /// Address as configured.
    pub source: String,
    /// `agrees`, `falseticker`, `no-quorum`, `unsynchronised`, `silent`, `rejected`, `slowed`, `off` or `not-asked`.
    pub verdict: String,
    /// Detail in words; for a refused answer it begins with the label of the check that failed.
    pub detail: String,
    /// Offset of the source against our clock, microseconds, when measured.
    pub offset_us: Option<i64>,
    /// Round trip, microseconds, when measured.
    pub delay_us: Option<i64>,
}

/// Everything `/v1/clock`, `status` and the metrics say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClockStatus {
    /// The state and its reason.
    #[serde(flatten)]
    pub state: ClockState,
    /// Since when.
    pub since: UtcMicros,
    /// Live bound, microseconds; absent when unknown.
    pub bound_us: Option<u64>,
    /// Good sources needed.
    pub quorum: usize,
    /// Every configured source.
    pub sources: Vec<SourceVerdict>,
    /// Age of the last good round, milliseconds; absent without one.
    pub age_ms: Option<u64>,
    /// Midnight of an announced leap second.
    pub leap: Option<UtcMicros>,
    /// What an operator should improve.
    pub warnings: Vec<String>,
}

/// Handle read by the request path. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

pub(crate) struct Inner {
    state: ArcSwap<State>,
    rules: Rules,
    machine: Arc<dyn Machine>,
    retry_after: Duration,
    warnings: Vec<String>,
    /// Latest time ever permitted, microseconds.
    mark: AtomicI64,
    /// RAW nanoseconds of the last sign of life of each thread.
    poll_beat: AtomicI64,
    watch_beat: AtomicI64,
    wake: Arc<Notify>,
    /// Held while an event is applied, so that transitions are journalled in the order they happened.
    journal: Mutex<Option<UnboundedSender<Transition>>>,
}

/// Starts the trusted clock: its threads, and a channel of what to journal. `high_water` is the latest time ever used
/// for a token, if known; the clock is not trusted before it has passed.
pub fn start(
    config: ClockConfig,
    high_water: Option<UtcMicros>,
) -> Result<(Clock, UnboundedReceiver<Transition>), ClockError> {
    start_on(Arc::new(System), config, high_water)
}

/// [`start`] on a given machine.
pub fn start_on(
    machine: Arc<dyn Machine>,
    config: ClockConfig,
    high_water: Option<UtcMicros>,
) -> Result<(Clock, UnboundedReceiver<Transition>), ClockError> {
    let warnings = config.check()?;
    let (journal, transitions) = unbounded_channel();
    let inner = Inner::new(machine, &config, warnings, high_water, Some(journal));
    let inner = Arc::new(inner);
    poller::start(&inner, &config)?;
    Ok((Clock(inner), transitions))
}

impl Inner {
    fn new(
        machine: Arc<dyn Machine>,
        config: &ClockConfig,
        warnings: Vec<String>,
        high_water: Option<UtcMicros>,
        journal: Option<UnboundedSender<Transition>>,
    ) -> Inner {
        let time = machine.read();
        let mark = high_water.unwrap_or(UtcMicros(0));
        let seen = Seen {
            time,
            asleep: Some(machine.asleep()),
            kernel_unsynchronised: machine.kernel_unsynchronised(),
            mark,
            beat_age: 0,
        };
        Inner {
            state: ArcSwap::from_pointee(State::initial(&seen, &config.sources)),
            rules: Rules::of(config),
            machine,
            retry_after: config.poll,
            warnings,
            mark: AtomicI64::new(mark.0),
            poll_beat: AtomicI64::new(time.raw),
            watch_beat: AtomicI64::new(time.raw),
            wake: Arc::new(Notify::new()),
            journal: Mutex::new(journal),
        }
    }

    /// What the request path can afford: three clocks and three counters.
    fn glance(&self) -> Seen {
        let beat = self.poll_beat.load(Ordering::Acquire).min(self.watch_beat.load(Ordering::Acquire));
        let mark = UtcMicros(self.mark.load(Ordering::Acquire));
        let time = self.machine.read();
        Seen { time, asleep: None, kernel_unsynchronised: None, mark, beat_age: time.raw - beat }
    }

    /// Everything the machine can tell.
    fn look(&self) -> Seen {
        let asleep = Some(self.machine.asleep());
        Seen { asleep, kernel_unsynchronised: self.machine.kernel_unsynchronised(), ..self.glance() }
    }

    /// Applies an event and publishes the next state before anything is journalled.
    fn happened(&self, event: Event) {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.look();
        let (next, transitions) =
            transition::apply(State::clone(&self.state.load()), event, &seen, &self.rules);
        self.state.store(Arc::new(next));
        for transition in transitions {
            tracing::info!(reason = transition.reason, detail = transition.detail, to = ?transition.to, "clock");
            if let Some(journal) = journal.as_ref() {
                // The receiver is gone only when the service is ending.
                let _ = journal.send(transition);
            }
        }
    }

    /// Trust found lost on the request path is published so that everybody sees it, and put into words.
    fn lost(&self, state: &State, lost: Lost) -> Untrusted {
        if state.is_good() {
            self.happened(Event::Tick);
        }
        self.refusal(lost.reason.word(), lost.detail)
    }

    fn refusal(&self, reason: &str, detail: String) -> Untrusted {
        Untrusted { reason: reason.to_owned(), detail, retry_after: self.retry_after }
    }

    fn poll_alive(&self) {
        self.poll_beat.store(self.machine.read().raw, Ordering::Release);
    }

    fn watch_alive(&self) {
        self.watch_beat.store(self.machine.read().raw, Ordering::Release);
    }

    fn ask_early_if_odd(&self) {
        if self.state.load().rate_is_odd(&self.rules, &self.glance()) {
            self.wake.notify_one();
        }
    }
}

impl Clock {
    /// A reading that may be used, or why not.
    pub fn permit(&self) -> Result<Permit, Untrusted> {
        let inner = &self.0;
        let (state, seen) = (inner.state.load(), inner.glance());
        match state.judge(&inner.rules, &seen) {
            Err(lost) => Err(inner.lost(&state, lost)),
            Ok(Live { utc, bound, holdover }) => {
                inner.mark.fetch_max(utc.0, Ordering::AcqRel);
                let bound = Duration::from_nanos(bound.max(0).cast_unsigned());
                let reading = Reading { utc, bound, holdover };
                Ok(Permit { reading, generation: state.generation, given: seen.time.raw })
            }
        }
    }

    /// For people and metrics.
    pub fn status(&self) -> ClockStatus {
        let inner = &self.0;
        let (mut state, seen) = (inner.state.load_full(), inner.glance());
        if state.is_good() && state.judge(&inner.rules, &seen).is_err() {
            inner.happened(Event::Tick);
            state = inner.state.load_full();
        }
        let age = match state.evidence {
            Evidence::Measured { at_raw, .. } => {
                Some((seen.time.raw - at_raw).max(0).cast_unsigned() / 1_000_000)
            }
            Evidence::None | Evidence::ByHand(_) => None,
        };
        ClockStatus {
            state: state.public(),
            since: state.since,
            bound_us: state.live_bound(&inner.rules, &seen).map(|b| b.max(0).cast_unsigned().div_ceil(1000)),
            quorum: inner.rules.quorum,
            sources: state.sources.clone(),
            age_ms: age,
            leap: state.leap,
            warnings: inner.warnings.clone(),
        }
    }

    /// Latest time ever permitted: what to store, so that a restart does not go behind it.
    pub fn high_water(&self) -> UtcMicros {
        UtcMicros(self.0.mark.load(Ordering::Acquire))
    }

    /// No reading below `mark` will be permitted: the latest time that a journal found at start.
    pub fn raise_high_water(&self, mark: UtcMicros) {
        self.0.mark.fetch_max(mark.0, Ordering::AcqRel);
    }

    /// No permits until [`Clock::acknowledge`]; `by` says who and why.
    pub fn stop(&self, by: &str) {
        self.0.happened(Event::Stop { by: by.to_owned() });
    }

    /// An officer has looked at a contradiction, a large step, a regress or a stop: trust may be earned again.
    pub fn acknowledge(&self, by: &str) {
        self.0.happened(Event::Acknowledge { by: by.to_owned() });
    }
}
