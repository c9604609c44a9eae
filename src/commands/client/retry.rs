//! How often to ask again, and when to give up. Pure: the caller sleeps.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubling pauses with a random part, so that many clients do not come back in step.
#[derive(Debug, Clone)]
pub struct BackOff {
    next: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        BackOff { next: FIRST }
    }
}

impl BackOff {
    /// The pause before the next attempt: at least what the server asked for, and between half and
    /// all of the current step; `random` is any byte.
    pub fn pause(&mut self, retry_after: Option<Duration>, random: u8) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(LONGEST);
        let jittered = step / 2 + step * u32::from(random) / 512;
        jittered.max(retry_after.unwrap_or_default().min(Duration::from_secs(60)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_seconds() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..8).map(|_| back_off.pause(None, 0).as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 2500, 2500]);
    }

    #[test]
    fn server_may_ask_for_a_longer_pause_but_not_for_an_hour() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.pause(Some(Duration::from_secs(3)), 255), Duration::from_secs(3));
        assert_eq!(back_off.pause(Some(Duration::from_secs(3600)), 0), Duration::from_secs(60));
    }
}
