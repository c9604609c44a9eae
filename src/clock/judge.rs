//! May this instant be used? Pure: one state, one set of readings, one answer. Asked by every permit and every tick.

use std::time::Duration;

use super::config::ClockConfig;
use super::interval::{Interval, drift};
use super::state::{Evidence, Standing, State};
use super::system::MachineTime;
use super::utc::UtcMicros;

const MILLI: i64 = 1_000_000;
/// A clock behind its own past by no more than this is waited out; more is *regress*.
const REGRESS_NS: i64 = 250 * MILLI;
/// BOOTTIME against MONOTONIC: more than this is a suspended machine.
const ASLEEP_NS: i64 = 100 * MILLI;
/// No permit this close to a leap second, on either side.
const LEAP_GUARD_US: i64 = 2_000_000;

/// Why the clock is not trusted; the word goes into answers, journal and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not yet enough good rounds.
    Startup,
    /// The bound is above the limit.
    Bound,
    /// No good round, or no sign of life of the clock's threads, for too long.
    Expired,
    /// CLOCK_REALTIME was set, or the kernel withdrew its synchronised state.
    Step,
    /// The sources contradict what they said before, or the system clock.
    Contradiction,
    /// The machine or the poller stood still.
    Disruption,
    /// A leap second is near.
    Leap,
    /// The clock is behind a time already used.
    Regress,
    /// Stopped by hand.
    Operator,
}

impl Reason {
    /// The machine word.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Startup => "startup",
            Reason::Bound => "bound",
            Reason::Expired => "expired",
            Reason::Step => "step",
            Reason::Contradiction => "contradiction",
            Reason::Disruption => "disruption",
            Reason::Leap => "leap",
            Reason::Regress => "regress",
            Reason::Operator => "operator",
        }
    }
}

/// The configuration as the rules need it, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Good sources needed.
    pub quorum: usize,
    /// Operating limit of the bound.
    pub limit: i64,
    /// Age of the last good round at which Holdover begins.
    pub fresh: i64,
    /// Age of the last good round at which Holdover ends.
    pub holdover_max: i64,
    /// Holdover longer than this needs as many good rounds as a start.
    pub long_holdover: i64,
    /// Good rounds for trust.
    pub startup_rounds: u32,
    /// Time they must span.
    pub startup_span: i64,
    /// Largest shift of REALTIME − MONOTONIC that is not a step.
    pub step_tol: i64,
    /// Largest shift of REALTIME − RAW, beyond 600 ppm of the age, that needs no extra round.
    pub rate_tol: i64,
    /// Drift allowance of RAW.
    pub rho_ppm: u32,
    /// A silent clock thread is dead after this.
    pub beat_max: i64,
    /// A longer pause between rounds is a disruption.
    pub gap_max: i64,
    /// Truncation of genTime to milliseconds and drift during the HSM call, added to every bound.
    pub reserve: i64,
    /// Longest time between permit and confirmation.
    pub max_sign_latency: i64,
}

impl Rules {
    /// From a checked configuration.
    pub fn of(config: &ClockConfig) -> Rules {
        let (poll, timeout) = (nanos(config.poll), nanos(config.timeout));
        let max_sign_latency = nanos(config.max_sign_latency);
        Rules {
            quorum: super::interval::quorum(config.sources.len()),
            limit: nanos(config.limit),
            fresh: nanos(config.fresh()),
            holdover_max: nanos(config.holdover_max),
            long_holdover: 300_000 * MILLI,
            startup_rounds: config.startup_rounds,
            startup_span: nanos(config.startup_span),
            step_tol: nanos(config.step_tol),
            rate_tol: nanos(config.rate_tol),
            rho_ppm: config.rho_ppm,
            // One round may last a timeout longer than the pause before it.
            beat_max: 2 * poll + timeout,
            gap_max: 3 * poll + timeout,
            reserve: MILLI + drift(max_sign_latency, config.rho_ppm),
            max_sign_latency,
        }
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX / 8).min(i64::MAX / 8)
}

/// Everything one look at the machine shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The three clocks.
    pub time: MachineTime,
    /// BOOTTIME − MONOTONIC; not read on the request path.
    pub asleep: Option<i64>,
    /// The kernel's opinion; not read on the request path.
    pub kernel_unsynchronised: Option<bool>,
    /// Latest time ever permitted.
    pub mark: UtcMicros,
    /// Age of the oldest sign of life of the clock's threads, nanoseconds.
    pub beat_age: i64,
}

impl Seen {
    pub(super) fn utc(&self) -> UtcMicros {
        UtcMicros(self.time.realtime.div_euclid(1000))
    }

    pub(super) fn system_offset(&self) -> i64 {
        self.time.realtime - self.time.raw
    }

    /// How far the clock is behind a time already used, nanoseconds; zero or less when it is not.
    pub(super) fn behind(&self) -> i64 {
        self.mark.0.saturating_mul(1000).saturating_sub(self.time.realtime)
    }
}

/// A usable instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Live {
    /// The time to use: REALTIME, or the latest time already used if REALTIME is a little behind it.
    pub utc: UtcMicros,
    /// Its largest error, nanoseconds.
    pub bound: i64,
    /// The last good round is no longer fresh.
    pub holdover: bool,
}

/// Why the instant cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Class.
    pub reason: Reason,
    /// In words.
    pub detail: String,
}

impl Lost {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Lost {
        Lost { reason, detail: detail.into() }
    }
}

impl State {
    /// Whether the instant `seen` may be used in this state.
    pub fn judge(&self, rules: &Rules, seen: &Seen) -> Result<Live, Lost> {
        if let Standing::Untrusted { reason, detail } = &self.standing {
            return Err(Lost::new(*reason, detail.clone()));
        }
        let held = matches!(self.standing, Standing::Holdover { .. });
        let (interval, at_raw) = match self.evidence {
            Evidence::ByHand(bound) => return Ok(by_hand(seen, bound, held)),
            Evidence::None => return Err(Lost::new(Reason::Expired, "no good round is known")),
            Evidence::Measured { interval, at_raw } => (interval, at_raw),
        };
        self.machine_undisturbed(rules, seen)?;
        let age = seen.time.raw - at_raw;
        if age > rules.holdover_max {
            return Err(Lost::new(Reason::Expired, format!("the last good round is {} old", words(age))));
        }
        let behind = seen.behind().max(0);
        let bound = bound(rules, seen, &interval, at_raw).saturating_add(behind);
        self.leap_is_far(seen, bound)?;
        if bound > rules.limit {
            let detail = format!("the clock may be wrong by {}, limit {}", words(bound), words(rules.limit));
            return Err(Lost::new(Reason::Bound, detail));
        }
        let utc = seen.utc().max(seen.mark);
        Ok(Live { utc, bound, holdover: held || age > rules.fresh })
    }

    fn machine_undisturbed(&self, rules: &Rules, seen: &Seen) -> Result<(), Lost> {
        if seen.beat_age > rules.beat_max {
            let detail = format!("the clock's own threads gave no sign of life for {}", words(seen.beat_age));
            return Err(Lost::new(Reason::Expired, detail));
        }
        let shift = self.shift(seen);
        if shift.abs() > rules.step_tol.saturating_add(seen.time.window) {
            return Err(Lost::new(Reason::Step, format!("the system clock was set by {}", words(shift))));
        }
        if self.kernel_was_synchronised && seen.kernel_unsynchronised == Some(true) {
            return Err(Lost::new(Reason::Step, "the kernel withdrew its synchronised state"));
        }
        let slept = seen.asleep.map_or(0, |asleep| asleep - self.anchor.asleep);
        if slept.abs() > ASLEEP_NS {
            return Err(Lost::new(
                Reason::Disruption,
                format!("the machine was suspended for {}", words(slept)),
            ));
        }
        if seen.behind() > REGRESS_NS {
            return Err(Lost::new(Reason::Regress, behind_words(seen)));
        }
        Ok(())
    }

    fn leap_is_far(&self, seen: &Seen, bound: i64) -> Result<(), Lost> {
        match self.leap {
            Some(at) if near_leap(at, seen.utc(), bound) => {
                Err(Lost::new(Reason::Leap, format!("a leap second is announced for {}", at.iso8601())))
            }
            _ => Ok(()),
        }
    }

    /// How far REALTIME was set since the anchor, nanoseconds.
    pub(super) fn shift(&self, seen: &Seen) -> i64 {
        (seen.time.realtime - seen.time.monotonic) - self.anchor.realtime_ahead
    }

    /// REALTIME moved against RAW by more than a disciplined clock may: worth asking the sources now.
    pub fn rate_is_odd(&self, rules: &Rules, seen: &Seen) -> bool {
        let Some((offset, at_raw)) = self.last_round else { return false };
        let allowed = rules.rate_tol.saturating_add(drift(seen.time.raw - at_raw, 600));
        (seen.system_offset() - offset).abs() > allowed.saturating_add(seen.time.window)
    }

    /// Live bound for people, nanoseconds, also while it is above the limit; `None` without evidence.
    pub fn live_bound(&self, rules: &Rules, seen: &Seen) -> Option<i64> {
        match self.evidence {
            Evidence::None => None,
            Evidence::ByHand(bound) => Some(bound),
            Evidence::Measured { interval, at_raw } => Some(bound(rules, seen, &interval, at_raw)),
        }
    }
}

/// |offset| + delay/2 + dispersion + drift·age, taken at the worst corner instead of guessed, and what rounding costs.
pub(super) fn bound(rules: &Rules, seen: &Seen, interval: &Interval, at_raw: i64) -> i64 {
    interval
        .farthest(seen.system_offset())
        .saturating_add(drift(seen.time.raw - at_raw, rules.rho_ppm))
        .saturating_add(seen.time.window)
        .saturating_add(rules.reserve)
}

fn by_hand(seen: &Seen, bound: i64, holdover: bool) -> Live {
    Live { utc: seen.utc().max(seen.mark), bound: bound.saturating_add(seen.behind().max(0)), holdover }
}

/// Inside the refusal window of the leap second at `at`, widened by the clock's own bound (nanoseconds).
pub(super) fn near_leap(at: UtcMicros, utc: UtcMicros, bound: i64) -> bool {
    (utc.0 - at.0).abs() <= LEAP_GUARD_US.saturating_add(bound / 1000)
}

/// Too far behind to be waited out.
pub(super) fn regressed(seen: &Seen) -> bool {
    seen.behind() > REGRESS_NS
}

pub(super) fn behind_words(seen: &Seen) -> String {
    format!("the clock is {} behind {}, which was already used", words(seen.behind()), seen.mark.iso8601())
}

/// A signed length of time for people: `-12.3 ms`, `48.0 s`.
pub(super) fn words(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let micros = nanos.unsigned_abs() / 1000;
    match micros {
        0..10_000 => format!("{sign}{micros} µs"),
        10_000..1_000_000 => format!("{sign}{}.{} ms", micros / 1000, micros / 100 % 10),
        _ => format!("{sign}{}.{:03} s", micros / 1_000_000, micros / 1000 % 1000),
    }
}
