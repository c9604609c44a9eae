//! A clock set by hand, so that tests of other nouns need no time servers.

use std::sync::Arc;
use std::time::Duration;

use super::judge::Reason;
use super::state::{Evidence, Standing, State};
use super::system::{Machine, System};
use super::{Clock, ClockConfig, ClockState, Inner};

/// The writing end, for tests: a clock set by hand, real REALTIME underneath unless told otherwise.
pub struct HandSet(Arc<Inner>);

impl HandSet {
    /// A clock that is Synchronised with the given bound.
    pub fn synchronised(bound: Duration) -> (HandSet, Clock) {
        Self::on(Arc::new(System), bound)
    }

    /// The same with another machine's time underneath.
    pub fn on(machine: Arc<dyn Machine>, bound: Duration) -> (HandSet, Clock) {
        let config = ClockConfig::of(Vec::<String>::new());
        let inner = Arc::new(Inner::new(machine, &config, Vec::new(), None, None));
        let hand = HandSet(Arc::clone(&inner));
        hand.set(ClockState::Synchronised, bound);
        (hand, Clock(inner))
    }

    /// Puts the clock into a state; permits given before fail their confirm.
    pub fn set(&self, state: ClockState, bound: Duration) {
        let seen = self.0.glance();
        let mut next = State::clone(&self.0.state.load());
        next.standing = standing_of(state, seen.time.raw);
        next.evidence = Evidence::ByHand(i64::try_from(bound.as_nanos()).unwrap_or(i64::MAX));
        next.generation += 1;
        next.since = seen.utc();
        self.0.state.store(Arc::new(next));
    }
}

fn standing_of(state: ClockState, raw: i64) -> Standing {
    match state {
        ClockState::Synchronised => Standing::Synchronised,
        ClockState::Holdover => Standing::Holdover { since_raw: raw },
        ClockState::Untrusted { reason, detail } => {
            let known = [
                Reason::Startup,
                Reason::Bound,
                Reason::Expired,
                Reason::Step,
                Reason::Contradiction,
                Reason::Disruption,
                Reason::Leap,
                Reason::Regress,
                Reason::Operator,
            ];
            let found = known.into_iter().find(|r| r.word() == reason);
            Standing::Untrusted { reason: found.unwrap_or(Reason::Operator), detail }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UtcMicros;

    #[test]
    fn a_hand_set_clock_gives_exactly_the_bound_it_was_given() {
        let (_hand, clock) = HandSet::synchronised(Duration::from_millis(12));
        let permit = clock.permit().unwrap();
        assert_eq!((permit.reading.bound, permit.reading.holdover), (Duration::from_millis(12), false));
        assert_eq!(permit.confirm(&clock), Ok(()));
        assert_eq!(clock.status().bound_us, Some(12_000));
    }

    #[test]
    fn a_permit_does_not_outlive_a_change_made_by_hand() {
        let (hand, clock) = HandSet::synchronised(Duration::from_millis(1));
        let permit = clock.permit().unwrap();
        hand.set(ClockState::Holdover, Duration::from_millis(2));
        assert_eq!(permit.confirm(&clock).unwrap_err().reason, "changed");
        assert!(clock.permit().unwrap().reading.holdover);
        let step = ClockState::Untrusted { reason: "step".into(), detail: "set by 1 s".into() };
        hand.set(step.clone(), Duration::ZERO);
        let refusal = clock.permit().unwrap_err();
        assert_eq!(refusal.to_string(), "the clock is not trusted (step): set by 1 s");
        assert_eq!(clock.status().state, step);
    }

    #[test]
    fn times_of_permits_never_decrease_across_threads() {
        let (_hand, clock) = HandSet::synchronised(Duration::from_millis(1));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut last = UtcMicros(0);
                    for _ in 0..10_000 {
                        let at = clock.permit().unwrap().reading.utc;
                        assert!(at >= last);
                        last = at;
                    }
                });
            }
        });
        assert!(clock.permit().unwrap().reading.utc <= clock.high_water());
    }
}
