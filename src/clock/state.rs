//! Pure: the trusted clock's judgement as one value, published whole to the request path.

use super::interval::Interval;
use super::judge::{Reason, Seen};
use super::utc::UtcMicros;
use super::{ClockState, SourceVerdict};

/// What the clock is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Fresh quorum.
    Synchronised,
    /// Living on the last good round.
    Holdover {
        /// RAW nanoseconds when it began.
        since_raw: i64,
    },
    /// No tokens.
    Untrusted {
        /// Class.
        reason: Reason,
        /// In words.
        detail: String,
    },
}

/// What the bound rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Nothing.
    None,
    /// The last good round.
    Measured {
        /// UTC − RAW, as a quorum saw it.
        interval: Interval,
        /// RAW nanoseconds of that round.
        at_raw: i64,
    },
    /// A bound set by hand, nanoseconds; the machine is not questioned.
    ByHand(i64),
}

/// Clock differences that only a step or a suspended machine changes, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    /// REALTIME − MONOTONIC.
    pub realtime_ahead: i64,
    /// BOOTTIME − MONOTONIC.
    pub asleep: i64,
}

/// Good rounds in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Streak {
    pub(super) rounds: u32,
    pub(super) first_raw: i64,
    pub(super) last: Option<(Interval, i64)>,
}

/// The whole judgement; published to the request path as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What the clock is worth.
    pub standing: Standing,
    /// Permits of another generation cannot be confirmed.
    pub generation: u64,
    /// UTC when the standing began, as the system clock showed it.
    pub since: UtcMicros,
    /// What the bound rests on.
    pub evidence: Evidence,
    /// Reference for steps and suspends.
    pub anchor: Anchor,
    /// Progress towards trust.
    pub streak: Streak,
    /// Announced leap second: the midnight it belongs to.
    pub leap: Option<UtcMicros>,
    /// The kernel called itself synchronised at the last look.
    pub kernel_was_synchronised: bool,
    /// REALTIME − RAW and RAW at the last round.
    pub last_round: Option<(i64, i64)>,
    /// There was trust since the start.
    pub was_trusted: bool,
    /// Trust comes back only after an operator has looked.
    pub needs_acknowledgement: bool,
    /// The last round, source by source.
    pub sources: Vec<SourceVerdict>,
}

impl State {
    /// Before the first round.
    pub fn initial(seen: &Seen, sources: &[String]) -> State {
        State {
            standing: Standing::Untrusted { reason: Reason::Startup, detail: "no round yet".to_owned() },
            generation: 0,
            since: seen.utc(),
            evidence: Evidence::None,
            anchor: anchor(seen, 0),
            streak: Streak::default(),
            leap: None,
            kernel_was_synchronised: seen.kernel_unsynchronised == Some(false),
            last_round: None,
            was_trusted: false,
            needs_acknowledgement: false,
            sources: sources.iter().map(|s| not_asked(s)).collect(),
        }
    }

    /// The standing as others see it.
    pub fn public(&self) -> ClockState {
        match &self.standing {
            Standing::Synchronised => ClockState::Synchronised,
            Standing::Holdover { .. } => ClockState::Holdover,
            Standing::Untrusted { reason, detail } => {
                ClockState::Untrusted { reason: reason.word().to_owned(), detail: detail.clone() }
            }
        }
    }

    /// Not Untrusted.
    pub fn is_good(&self) -> bool {
        !matches!(self.standing, Standing::Untrusted { .. })
    }
}

fn not_asked(source: &str) -> SourceVerdict {
    SourceVerdict {
        source: source.to_owned(),
        verdict: "not-asked".to_owned(),
        detail: "no round yet".to_owned(),
        offset_us: None,
        delay_us: None,
    }
}

pub(super) fn anchor(seen: &Seen, asleep: i64) -> Anchor {
    Anchor { realtime_ahead: seen.time.realtime - seen.time.monotonic, asleep: seen.asleep.unwrap_or(asleep) }
}
