//! Trusted time: a value with evidence, or the reason why there is none (`time-design.md` section 3).

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

/// UTC, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Default)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    /// `2026-11-24T10:00:00.123Z`, milliseconds, truncated.
    pub fn iso8601(self) -> String {
        todo!()
    }
}

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
    /// CLOCK_REALTIME at the reading.
    pub utc: UtcMicros,
    /// `|utc - true UTC|` is at most this.
    pub bound: Duration,
    /// Whether the state was Holdover.
    pub holdover: bool,
}

/// Why there is no time now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the clock is not trusted ({reason}): {detail}")]
pub struct Untrusted {
    /// The machine word of [`ClockState::Untrusted`].
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
}

impl Permit {
    /// Nothing happened to the clock since the permit and the HSM call was short enough
    /// (`max_sign_latency`); otherwise the token must be withheld.
    pub fn confirm(&self, _clock: &Clock) -> Result<(), Untrusted> {
        todo!()
    }
}

/// What one source was found to be in the last round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceVerdict {
    /// Address as configured.
    pub source: String,
    /// `agrees`, `falseticker`, `unsynchronised`, `silent`, `rejected` …
    pub verdict: String,
    /// Detail in words.
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
}

/// Handle read by the request path. Cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);
struct Inner {}

impl Clock {
    /// A reading that may be used, or why not.
    pub fn permit(&self) -> Result<Permit, Untrusted> {
        todo!()
    }
    /// For people and metrics.
    pub fn status(&self) -> ClockStatus {
        todo!()
    }
}

/// The writing end, for tests: a clock set by hand, real REALTIME underneath.
pub struct HandSet {}

impl HandSet {
    /// A clock that is Synchronised with the given bound.
    pub fn synchronised(_bound: Duration) -> (HandSet, Clock) {
        todo!()
    }
    /// Puts the clock into a state; permits given before fail their confirm.
    pub fn set(&self, _state: ClockState, _bound: Duration) {
        todo!()
    }
}
