//! All probes, one after the other: an ordinary token first, of which the policy is learned.

use std::time::Duration;

use serde::Serialize;

use super::exchange::{Known, Seen, Sent};
use super::judge::{only, open};
use super::lines::{Mark, Probe};
use super::query::Query;
use super::wire::{Dial, exchange};
use crate::clock::UtcMicros;

/// What became of one probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Line and letter.
    pub id: &'static str,
    /// The line of the checklist.
    pub line: u32,
    /// Where the line comes from.
    pub mark: Mark,
    /// What was sent.
    pub sent: &'static str,
    /// What should come.
    pub expected: &'static str,
    /// What came, or what is wrong with it.
    pub seen: String,
    /// Whether that is as it should be.
    pub pass: bool,
}

/// Which probes: all, lines (`12`) or single ones (`09c`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only(pub Vec<String>);

impl Only {
    /// Whether a probe is among them.
    pub fn takes(&self, probe: &Probe) -> bool {
        let names = |wanted: &String| *wanted == probe.id || wanted.parse() == Ok(probe.line());
        self.0.is_empty() || self.0.iter().any(names)
    }

    /// The first that names no probe.
    pub fn unknown(&self, probes: &[Probe]) -> Option<&String> {
        self.0.iter().find(|one| !probes.iter().any(|p| Only(vec![(*one).clone()]).takes(p)))
    }
}

/// One authority being probed.
pub struct Prober<'a> {
    /// Where connections come from.
    pub dial: &'a dyn Dial,
    /// Longest wait for an answer.
    pub patience: Duration,
    /// The prober's own time.
    pub now: fn() -> UtcMicros,
}

impl Prober<'_> {
    fn exchange(&self, sent: &Sent) -> Seen {
        exchange(self.dial, sent, self.patience, self.now)
    }

    /// Asks for an ordinary token and learns its policy.
    ///
    /// # Errors
    /// What came in place of a token: nothing can then be judged.
    pub fn learn(&self, known: &mut Known) -> Result<(), String> {
        let sent = known.ask(Query::plain(&known.seed, "00"));
        let seen = self.exchange(&sent);
        known.policy = open(&only(&sent, &seen)?, |granted| Ok(granted.info.policy.to_vec()))?;
        Ok(())
    }

    /// Sends one probe and judges what comes back.
    pub fn probe(&self, known: &Known, probe: &Probe) -> Outcome {
        let sent = probe.ask(known);
        let judgement = probe.judge(&sent, &self.exchange(&sent));
        let Probe { id, mark, sent, expected, .. } = *probe;
        let pass = judgement.is_ok();
        let seen = judgement.unwrap_or_else(|why| why);
        Outcome { id, line: probe.line(), mark, sent, expected, seen, pass }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_single_probes_are_chosen() {
        let probes = super::super::lines::all();
        let ids = |words: &[&str]| {
            let only = Only(words.iter().map(|w| (*w).to_owned()).collect());
            (
                probes.iter().filter(|p| only.takes(p)).map(|p| p.id).collect::<Vec<_>>(),
                only.unknown(&probes).cloned(),
            )
        };
        assert_eq!(ids(&["12", "3"]).0, ["03a", "03b", "03c", "03d", "12a", "12b", "12c"]);
        assert_eq!(ids(&["09c"]), (vec!["09c"], None));
        assert_eq!(ids(&["12", "29"]).1.as_deref(), Some("29"));
        assert_eq!(ids(&[]).0.len(), probes.len());
    }
}
