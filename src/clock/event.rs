//! What can happen to the trusted clock, and what is journalled about it.

use serde::Serialize;

use super::interval::Interval;
use super::utc::UtcMicros;
use super::{ClockState, SourceVerdict};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A round ended.
    Round {
        /// Every configured source, in order.
        findings: Vec<Finding>,
        /// RAW nanoseconds to which the findings' intervals are aged.
        at_raw: i64,
    },
    /// A moment passed.
    Tick,
    /// The kernel reported that CLOCK_REALTIME was set.
    ClockSet,
    /// An officer stops the clock.
    Stop {
        /// Who, and why.
        by: String,
    },
    /// An officer has looked, and lets trust be earned again.
    Acknowledge {
        /// Who.
        by: String,
    },
}

/// One source in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Address as configured.
    pub source: String,
    /// Its interval, or why there is none.
    pub heard: Result<Heard, Unheard>,
}

/// A usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// UTC − RAW now.
    pub interval: Interval,
    /// Source against our clock, microseconds.
    pub offset_us: i64,
    /// Round trip, microseconds.
    pub delay_us: i64,
    /// Announces a leap second at the end of this month (leap indicator 1 or 2).
    pub leap: bool,
    /// More in words.
    pub detail: String,
}

/// No usable answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unheard {
    /// Machine word of the verdict.
    pub verdict: &'static str,
    /// In words, beginning with the label of the check that failed.
    pub detail: String,
}

/// One line for the journal. `from` equals `to` when something worth a record changed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// System clock at the event; entries order by journal sequence, not by this.
    pub time: UtcMicros,
    /// CLOCK_MONOTONIC_RAW, nanoseconds.
    pub raw_ns: i64,
    /// Before.
    pub from: ClockState,
    /// After.
    pub to: ClockState,
    /// Machine word: a reason of Untrusted, or `agreed`, `holdover`, `sources`, `clock-set`, `leap-announced`, `acknowledged`.
    pub reason: String,
    /// In words.
    pub detail: String,
    /// Live bound, microseconds.
    pub bound_us: Option<i64>,
    /// True UTC minus the system clock is at least this, microseconds.
    pub lo_us: Option<i64>,
    /// And at most this.
    pub hi_us: Option<i64>,
    /// The last round, source by source.
    pub sources: Vec<SourceVerdict>,
}
