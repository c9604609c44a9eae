//! Pure: (state, event) → (state, what to journal). The transitions T1–T11 of the trusted clock.

use super::event::{Event, Finding, Transition};
use super::interval::{Interval, drift, hull};
use super::judge::{Lost, Reason, Rules, Seen, behind_words, bound, near_leap, regressed, words};
use super::state::{Evidence, Standing, State, Streak, anchor};
use super::{ClockState, SourceVerdict};

const SECOND: i64 = 1_000_000_000;

/// One event applied: the next state and what to journal, in order.
pub fn apply(state: State, event: Event, seen: &Seen, rules: &Rules) -> (State, Vec<Transition>) {
    let round_raw = match event {
        Event::Round { at_raw, .. } => at_raw,
        _ => seen.time.raw,
    };
    let mut step = Step { state, seen, rules, round_raw, journal: Vec::new() };
    match event {
        Event::Tick => step.tick(),
        Event::ClockSet => step.clock_set(),
        Event::Round { findings, .. } => step.round(findings),
        Event::Stop { by } => step.stop(by),
        Event::Acknowledge { by } => step.acknowledge(by),
    }
    (step.state, step.journal)
}

/// One application of one event.
struct Step<'a> {
    state: State,
    seen: &'a Seen,
    rules: &'a Rules,
    /// When the round's intervals were true.
    round_raw: i64,
    journal: Vec<Transition>,
}

impl Step<'_> {
    fn tick(&mut self) {
        if self.state.is_good() {
            match self.state.judge(self.rules, self.seen) {
                Err(lost) => self.fall(lost),
                Ok(live) if live.holdover && self.state.standing == Standing::Synchronised => {
                    self.hold(format!("no good round for {}", words(self.rules.fresh)));
                }
                Ok(_) => {}
            }
        } else {
            self.tick_untrusted();
        }
        if let Some(unsynchronised) = self.seen.kernel_unsynchronised {
            self.state.kernel_was_synchronised = !unsynchronised;
        }
    }

    /// Steps go on mattering without trust: they spoil the rounds counted so far.
    fn tick_untrusted(&mut self) {
        let shift = self.state.shift(self.seen);
        let slept = self.seen.asleep.map_or(0, |asleep| asleep - self.state.anchor.asleep);
        if shift.abs() <= self.rules.step_tol.saturating_add(self.seen.time.window)
            && slept.abs() < SECOND / 10
        {
            return;
        }
        self.reanchor();
        let by_leap = self.state.leap.is_some_and(|at| near_leap(at, self.seen.utc(), SECOND))
            && (shift.abs() - SECOND).abs() <= self.rules.step_tol;
        if by_leap {
            return;
        }
        // Before the first trust a daemon may set the clock freely; afterwards a large set needs a human eye.
        if shift.abs() > SECOND && self.state.was_trusted {
            self.state.needs_acknowledgement = true;
        }
        self.note("clock-set", format!("the system clock was set by {}", words(shift)));
    }

    fn clock_set(&mut self) {
        let shift = self.state.shift(self.seen);
        self.tick();
        if self.journal.is_empty() {
            self.note("clock-set", format!("the system clock was set by {}, within tolerance", words(shift)));
        }
    }

    fn round(&mut self, findings: Vec<Finding>) {
        self.tick();
        let intervals: Vec<Interval> =
            findings.iter().filter_map(|f| f.heard.as_ref().ok().map(|h| h.interval)).collect();
        let found = hull(&intervals, self.rules.quorum);
        self.take_verdicts(&findings, found);
        self.take_leap(&findings, found);
        let gap = self.state.last_round.map_or(0, |(_, at_raw)| self.seen.time.raw - at_raw);
        self.state.last_round = Some((self.seen.system_offset(), self.seen.time.raw));
        if gap > self.rules.gap_max {
            self.fall(Lost::new(Reason::Disruption, format!("no round was made for {}", words(gap))));
            return;
        }
        match (self.state.is_good(), found) {
            (true, Some(found)) => self.good_round(found),
            (true, None) => self.no_quorum(),
            (false, Some(found)) => self.round_towards_trust(found),
            (false, None) => {
                self.state.streak = Streak::default();
                self.explain(self.count_words());
            }
        }
    }

    fn good_round(&mut self, found: Interval) {
        if let Evidence::Measured { interval, at_raw } = self.state.evidence {
            let aged = interval.widened(drift(self.round_raw - at_raw, self.rules.rho_ppm));
            if !aged.overlaps(&found) {
                let moved = if found.lo > aged.hi { found.lo - aged.hi } else { found.hi - aged.lo };
                let detail = format!("the sources moved by {} against what they said before", words(moved));
                return self.fall(Lost::new(Reason::Contradiction, detail));
            }
        }
        // A quorum that excludes the system clock by more than the limit cannot overlap evidence that passed the tick.
        let bound = self.bound_of(found);
        if bound > self.rules.limit {
            // The older evidence is still sound, so its own bound decides how long it carries.
            self.state.streak = Streak::default();
            return self.hold(format!("this round allows an error of {}", words(bound)));
        }
        self.take_evidence(found);
        self.leave_holdover();
    }

    fn leave_holdover(&mut self) {
        let Standing::Holdover { since_raw } = self.state.standing else { return };
        let long = self.seen.time.raw - since_raw > self.rules.long_holdover;
        let needed = if long { self.rules.startup_rounds } else { 1 };
        if self.state.streak.rounds >= needed {
            self.become_synchronised(format!("{} good round(s) after holdover", self.state.streak.rounds));
        }
    }

    fn no_quorum(&mut self) {
        self.state.streak = Streak::default();
        self.hold(self.count_words());
    }

    fn round_towards_trust(&mut self, found: Interval) {
        if let Some(obstacle) = self.obstacle(found) {
            self.state.streak = Streak::default();
            return self.restate(obstacle);
        }
        let raw = self.round_raw;
        let consistent = self.state.streak.last.is_none_or(|(last, at_raw)| {
            last.widened(drift(raw - at_raw, self.rules.rho_ppm)).overlaps(&found)
        });
        if !consistent {
            self.state.streak = Streak::default();
        }
        self.count_round(found);
        let Streak { rounds, first_raw, .. } = self.state.streak;
        let span = raw - first_raw;
        let enough = rounds >= self.rules.startup_rounds && span >= self.rules.startup_span;
        if self.state.needs_acknowledgement {
            self.explain("good rounds, but an operator must acknowledge what happened first".to_owned());
        } else if enough {
            self.state.evidence = Evidence::Measured { interval: found, at_raw: raw };
            self.become_synchronised(format!("{rounds} good rounds spanning {}", words(span)));
        } else {
            let (all, span_needed) = (self.rules.startup_rounds, words(self.rules.startup_span));
            self.explain(format!("{rounds} of {all} good rounds, {} of {span_needed}", words(span)));
        }
    }

    /// What keeps a round with a quorum from being a good one.
    fn obstacle(&self, found: Interval) -> Option<Lost> {
        if regressed(self.seen) {
            return Some(Lost::new(Reason::Regress, behind_words(self.seen)));
        }
        let bound = self.bound_of(found);
        if self.state.leap.is_some_and(|at| near_leap(at, self.seen.utc(), bound)) {
            return Some(Lost::new(Reason::Leap, "a leap second is near"));
        }
        if bound > self.rules.limit {
            let detail =
                format!("the clock may be wrong by {}, limit {}", words(bound), words(self.rules.limit));
            return Some(Lost::new(Reason::Bound, detail));
        }
        (self.seen.behind() > 0).then(|| Lost::new(Reason::Startup, behind_words(self.seen)))
    }

    fn stop(&mut self, by: String) {
        self.state.needs_acknowledgement = true;
        self.leave_trust(Lost::new(Reason::Operator, format!("stopped by {by}")));
    }

    fn acknowledge(&mut self, by: String) {
        self.state.needs_acknowledgement = false;
        let from = self.state.public();
        if self.is_reason(Reason::Operator) {
            let detail = "waiting for good rounds".to_owned();
            self.state.standing = Standing::Untrusted { reason: Reason::Startup, detail };
        }
        self.record(from, "acknowledged", format!("acknowledged by {by}"));
    }

    fn take_verdicts(&mut self, findings: &[Finding], found: Option<Interval>) {
        let verdicts: Vec<SourceVerdict> = findings.iter().map(|f| verdict(f, found)).collect();
        let changes: Vec<String> = verdicts
            .iter()
            .zip(&self.state.sources)
            .filter(|(new, old)| new.verdict != old.verdict)
            .map(|(new, old)| format!("{}: {} → {} ({})", new.source, old.verdict, new.verdict, new.detail))
            .collect();
        self.state.sources = verdicts;
        if !changes.is_empty() {
            self.note("sources", changes.join("; "));
        }
    }

    fn take_leap(&mut self, findings: &[Finding], found: Option<Interval>) {
        if found.is_none() {
            return;
        }
        let votes = findings.iter().filter(|f| f.heard.as_ref().is_ok_and(|h| h.leap)).count();
        let near = self.state.leap.is_some_and(|at| near_leap(at, self.seen.utc(), SECOND));
        if votes >= self.rules.quorum && self.state.leap.is_none() {
            let at = self.seen.utc().end_of_month();
            self.state.leap = Some(at);
            self.note(
                "leap-announced",
                format!("{votes} sources announce a leap second before {}", at.iso8601()),
            );
        } else if votes < self.rules.quorum && self.state.leap.is_some() && !near {
            self.state.leap = None;
            self.note("leap-announced", "no leap second is announced any more".to_owned());
        }
    }

    fn bound_of(&self, found: Interval) -> i64 {
        bound(self.rules, self.seen, &found, self.round_raw).saturating_add(self.seen.behind().max(0))
    }

    fn take_evidence(&mut self, found: Interval) {
        self.state.evidence = Evidence::Measured { interval: found, at_raw: self.round_raw };
        self.count_round(found);
    }

    fn count_round(&mut self, found: Interval) {
        let raw = self.round_raw;
        let streak = &mut self.state.streak;
        if streak.rounds == 0 {
            streak.first_raw = raw;
        }
        streak.rounds = streak.rounds.saturating_add(1);
        streak.last = Some((found, raw));
    }

    fn count_words(&self) -> String {
        let usable = self.state.sources.iter().filter(|s| s.offset_us.is_some()).count();
        let (all, quorum) = (self.state.sources.len(), self.rules.quorum);
        format!("no {quorum} of {all} sources agree ({usable} gave a usable answer)")
    }

    /// Into Untrusted because of what the clock or its sources did.
    fn fall(&mut self, lost: Lost) {
        let shift = self.state.shift(self.seen);
        self.state.needs_acknowledgement |= match lost.reason {
            Reason::Contradiction | Reason::Regress => true,
            Reason::Step => shift.abs() > SECOND,
            _ => false,
        };
        self.leave_trust(lost);
    }

    fn leave_trust(&mut self, lost: Lost) {
        let from = self.state.public();
        self.reanchor();
        self.state.evidence = Evidence::None;
        self.state.generation += 1;
        self.state.since = self.seen.utc();
        let Lost { reason, detail } = lost;
        self.state.standing = Standing::Untrusted { reason, detail: detail.clone() };
        self.record(from, reason.word(), detail);
    }

    fn reanchor(&mut self) {
        self.state.anchor = anchor(self.seen, self.state.anchor.asleep);
        self.state.streak = Streak::default();
    }

    fn hold(&mut self, detail: String) {
        if self.state.standing != Standing::Synchronised {
            return;
        }
        self.state.standing = Standing::Holdover { since_raw: self.seen.time.raw };
        self.state.streak = Streak::default();
        self.state.since = self.seen.utc();
        self.record(ClockState::Synchronised, "holdover", detail);
    }

    fn become_synchronised(&mut self, detail: String) {
        let from = self.state.public();
        self.state.standing = Standing::Synchronised;
        self.state.was_trusted = true;
        self.state.since = self.seen.utc();
        self.record(from, "agreed", detail);
    }

    /// Another reason for the same distrust; a reason that waits for an operator keeps its name.
    fn restate(&mut self, lost: Lost) {
        if self.state.needs_acknowledgement || self.is_reason(lost.reason) {
            return self.explain(lost.detail);
        }
        self.state.needs_acknowledgement |= lost.reason == Reason::Regress;
        self.leave_trust(lost);
    }

    /// Fresh words for the same reason; nothing to journal. A reason that waits for an operator keeps its words.
    fn explain(&mut self, words: String) {
        let waits = self.state.needs_acknowledgement;
        if let Standing::Untrusted { detail, .. } = &mut self.state.standing {
            match (waits, detail.contains("acknowledge")) {
                (false, _) => *detail = words,
                (true, false) => detail.push_str("; an operator must acknowledge it"),
                (true, true) => {}
            }
        }
    }

    fn is_reason(&self, wanted: Reason) -> bool {
        matches!(self.state.standing, Standing::Untrusted { reason, .. } if reason == wanted)
    }

    fn note(&mut self, reason: &str, detail: String) {
        self.record(self.state.public(), reason, detail);
    }

    fn record(&mut self, from: ClockState, reason: &str, detail: String) {
        let offset = self.seen.system_offset();
        let ends = match self.state.evidence {
            Evidence::Measured { interval, at_raw } => {
                let aged = interval.widened(drift(self.seen.time.raw - at_raw, self.rules.rho_ppm));
                Some(((aged.lo - offset) / 1000, (aged.hi - offset) / 1000))
            }
            Evidence::None | Evidence::ByHand(_) => None,
        };
        self.journal.push(Transition {
            time: self.seen.utc(),
            raw_ns: self.seen.time.raw,
            from,
            to: self.state.public(),
            reason: reason.to_owned(),
            detail,
            bound_us: self.state.live_bound(self.rules, self.seen).map(|b| b / 1000),
            lo_us: ends.map(|e| e.0),
            hi_us: ends.map(|e| e.1),
            sources: self.state.sources.clone(),
        });
    }
}

fn verdict(finding: &Finding, found: Option<Interval>) -> SourceVerdict {
    let source = finding.source.clone();
    match &finding.heard {
        Err(unheard) => SourceVerdict {
            source,
            verdict: unheard.verdict.to_owned(),
            detail: unheard.detail.clone(),
            offset_us: None,
            delay_us: None,
        },
        Ok(heard) => {
            let verdict = match found {
                None => "no-quorum",
                Some(found) if found.overlaps(&heard.interval) => "agrees",
                Some(_) => "falseticker",
            };
            SourceVerdict {
                source,
                verdict: verdict.to_owned(),
                detail: heard.detail.clone(),
                offset_us: Some(heard.offset_us),
                delay_us: Some(heard.delay_us),
            }
        }
    }
}

#[cfg(test)]
#[path = "transition_tests.rs"]
mod tests;
