//! One test per transition, on a machine and sources made of numbers.

use super::*;
use crate::clock::UtcMicros;
use crate::clock::config::ClockConfig;
use crate::clock::event::{Heard, Unheard};
use crate::clock::judge::Live;
use crate::clock::system::MachineTime;

const MS: i64 = 1_000_000;
/// 2026-12-31T12:00:00Z: a day at whose end a leap second can be.
const NOON: i64 = 1_798_718_400 * SECOND;

/// A machine with four sources; UTC − RAW is `NOON`.
struct Bench {
    state: State,
    rules: Rules,
    raw: i64,
    /// REALTIME − UTC by steps (also in MONOTONIC's difference) and by slew (not there).
    stepped: i64,
    slewed: i64,
    asleep: i64,
    kernel: Option<bool>,
    mark: UtcMicros,
    beat_age: i64,
    leap: bool,
    journal: Vec<Transition>,
}

impl Bench {
    fn new() -> Bench {
        let config = ClockConfig::of(["a:123", "b:123", "c:123", "d:123"]);
        let mut bench = Bench {
            state: State::initial(&blank(), &config.sources),
            rules: Rules::of(&config),
            raw: 100 * SECOND,
            stepped: 0,
            slewed: 0,
            asleep: 0,
            kernel: None,
            mark: UtcMicros(0),
            beat_age: 0,
            leap: false,
            journal: Vec::new(),
        };
        bench.state = State::initial(&bench.seen(), &config.sources);
        bench
    }

    /// Already trusted.
    fn synchronised() -> Bench {
        let mut bench = Bench::new();
        for _ in 0..3 {
            bench.honest_round();
        }
        assert_eq!(bench.state.standing, Standing::Synchronised, "{:?}", bench.journal);
        bench.journal.clear();
        bench
    }

    fn seen(&self) -> Seen {
        let monotonic = self.raw + self.slewed;
        let realtime = NOON + self.raw + self.stepped + self.slewed;
        Seen {
            time: MachineTime { realtime, monotonic, raw: self.raw, window: 0 },
            asleep: Some(self.asleep),
            kernel_unsynchronised: self.kernel,
            mark: self.mark,
            beat_age: self.beat_age,
        }
    }

    fn happened(&mut self, event: Event) {
        let (state, journal) = apply(self.state.clone(), event, &self.seen(), &self.rules);
        self.state = state;
        self.journal.extend(journal);
    }

    /// Sixteen seconds, then a round in which each source is off by this much, or silent.
    fn round(&mut self, offsets: [Option<i64>; 4]) {
        self.raw += 16 * SECOND;
        self.round_now(offsets);
    }

    fn round_now(&mut self, offsets: [Option<i64>; 4]) {
        let findings = ["a", "b", "c", "d"].into_iter().zip(offsets).map(|(name, off)| Finding {
            source: format!("{name}:123"),
            heard: off
                .map(|off| self.heard(off))
                .ok_or(Unheard { verdict: "silent", detail: "silent".into() }),
        });
        let findings: Vec<Finding> = findings.collect();
        self.happened(Event::Round { findings, at_raw: self.raw });
    }

    fn heard(&self, off: i64) -> Heard {
        let interval = Interval::around(NOON + off, MS);
        Heard { interval, offset_us: off / 1000, delay_us: 20, leap: self.leap, detail: String::new() }
    }

    fn honest_round(&mut self) {
        self.round([Some(0); 4]);
    }

    fn tick(&mut self) {
        self.happened(Event::Tick);
    }

    fn permit(&self) -> Result<Live, Lost> {
        self.state.judge(&self.rules, &self.seen())
    }

    fn reason(&self) -> &'static str {
        match &self.state.standing {
            Standing::Untrusted { reason, .. } => reason.word(),
            Standing::Synchronised => "synchronised",
            Standing::Holdover { .. } => "holdover",
        }
    }

    /// Reasons of the changes of state, in order.
    fn changes(&self) -> Vec<&str> {
        self.journal.iter().filter(|t| t.from != t.to).map(|t| t.reason.as_str()).collect()
    }

    fn refused_with(&self, reason: Reason) {
        assert_eq!(self.permit().expect_err("must be refused").reason, reason);
    }
}

fn blank() -> Seen {
    Seen {
        time: MachineTime { realtime: 0, monotonic: 0, raw: 0, window: 0 },
        asleep: None,
        kernel_unsynchronised: None,
        mark: UtcMicros(0),
        beat_age: 0,
    }
}

#[test]
fn t1_three_good_rounds_spanning_thirty_seconds_earn_trust_and_nothing_less() {
    let mut bench = Bench::new();
    bench.refused_with(Reason::Startup);
    bench.honest_round();
    bench.honest_round();
    bench.refused_with(Reason::Startup);
    bench.honest_round();
    let live = bench.permit().unwrap();
    assert!(!live.holdover && live.bound < 5 * MS, "{live:?}");
    assert_eq!(bench.changes(), ["agreed"]);
}

#[test]
fn t1_rounds_in_quick_succession_are_not_enough() {
    let mut bench = Bench::new();
    for _ in 0..10 {
        bench.raw += SECOND;
        bench.round_now([Some(0); 4]);
    }
    bench.refused_with(Reason::Startup);
}

#[test]
fn t1_a_bad_round_starts_the_count_again() {
    let mut bench = Bench::new();
    bench.honest_round();
    bench.honest_round();
    bench.round([Some(0), Some(0), None, None]);
    bench.honest_round();
    bench.honest_round();
    bench.refused_with(Reason::Startup);
    bench.honest_round();
    assert!(bench.permit().is_ok());
}

#[test]
fn t1_rounds_that_contradict_each_other_start_the_count_again() {
    let mut bench = Bench::new();
    bench.honest_round();
    bench.honest_round();
    bench.round([Some(100 * MS); 4]);
    bench.round([Some(100 * MS); 4]);
    bench.refused_with(Reason::Startup);
    bench.round([Some(100 * MS); 4]);
    assert_eq!(bench.reason(), "synchronised");
}

#[test]
fn t1_no_trust_before_the_stored_high_water_mark() {
    let mut bench = Bench::new();
    bench.mark = UtcMicros((NOON + bench.raw + 40 * SECOND) / 1000);
    for _ in 0..2 {
        bench.honest_round();
    }
    assert_eq!(bench.reason(), "regress");
    bench.happened(Event::Acknowledge { by: "officer 1".into() });
    for _ in 0..4 {
        bench.honest_round();
    }
    assert_eq!(bench.reason(), "synchronised");
}

#[test]
fn one_liar_of_four_is_named_and_changes_nothing() {
    let mut bench = Bench::synchronised();
    bench.round([Some(0), Some(400 * MS), Some(0), Some(0)]);
    assert_eq!(bench.reason(), "synchronised");
    assert_eq!(bench.state.sources[1].verdict, "falseticker");
    assert_eq!(bench.journal.len(), 1);
    assert_eq!(bench.journal[0].reason, "sources");
    assert!(
        bench.journal[0].detail.starts_with("b:123: agrees → falseticker"),
        "{}",
        bench.journal[0].detail
    );
    assert!(bench.permit().unwrap().bound < 5 * MS);
}

#[test]
fn t2_a_round_without_quorum_is_holdover_at_once() {
    let mut bench = Bench::synchronised();
    bench.round([Some(0), Some(0), Some(400 * MS), Some(400 * MS)]);
    assert_eq!(bench.changes(), ["holdover"]);
    assert!(bench.permit().unwrap().holdover);
}

#[test]
fn t2_a_majority_of_the_reachable_is_no_majority_of_the_configured() {
    let mut bench = Bench::synchronised();
    bench.round([Some(0), Some(0), None, None]);
    assert_eq!(bench.reason(), "holdover");
}

#[test]
fn t2_a_last_good_round_no_longer_fresh_is_holdover() {
    let mut bench = Bench::synchronised();
    bench.raw += 48 * SECOND;
    bench.tick();
    assert_eq!(bench.reason(), "synchronised");
    bench.raw += MS;
    assert!(bench.permit().unwrap().holdover, "the permit knows before the next tick");
    bench.tick();
    assert_eq!(bench.changes(), ["holdover"]);
}

#[test]
fn t3_one_good_round_ends_a_short_holdover() {
    let mut bench = Bench::synchronised();
    bench.round([None; 4]);
    bench.honest_round();
    assert_eq!(bench.changes(), ["holdover", "agreed"]);
}

#[test]
fn t3_three_good_rounds_end_a_long_holdover() {
    let mut bench = Bench::synchronised();
    for _ in 0..20 {
        bench.round([None; 4]);
    }
    bench.honest_round();
    bench.honest_round();
    assert_eq!(bench.reason(), "holdover");
    bench.honest_round();
    assert_eq!(bench.changes(), ["holdover", "agreed"]);
}

#[test]
fn t4_a_bound_above_the_limit_ends_trust() {
    let mut bench = Bench::synchronised();
    bench.rules.limit = 20 * MS;
    bench.slewed = 19 * MS;
    bench.refused_with(Reason::Bound);
    bench.tick();
    assert_eq!(bench.changes(), ["bound"]);
}

#[test]
fn t4_a_wide_round_is_holdover_while_older_evidence_carries() {
    let mut bench = Bench::synchronised();
    bench.rules.limit = 10 * MS;
    bench.raw += 16 * SECOND;
    let wide = |bench: &Bench| Heard { interval: Interval::around(NOON, 50 * MS), ..bench.heard(0) };
    let findings =
        ["a", "b", "c", "d"].map(|n| Finding { source: format!("{n}:123"), heard: Ok(wide(&bench)) });
    bench.happened(Event::Round { findings: findings.to_vec(), at_raw: bench.raw });
    assert_eq!(bench.changes(), ["holdover"]);
    assert!(bench.permit().unwrap().bound < 10 * MS);
}

#[test]
fn t4_holdover_ends_exactly_at_its_maximum() {
    let mut bench = Bench::synchronised();
    let last_good = bench.raw;
    bench.round([None; 4]);
    bench.raw = last_good + 900 * SECOND;
    assert!(bench.permit().unwrap().holdover);
    bench.raw += 1;
    bench.refused_with(Reason::Expired);
    bench.tick();
    assert_eq!(bench.changes(), ["holdover", "expired"]);
}

#[test]
fn the_bound_grows_by_the_drift_allowance_in_holdover() {
    let mut bench = Bench::synchronised();
    let before = bench.permit().unwrap().bound;
    bench.raw += 100 * SECOND;
    let after = bench.permit().unwrap().bound;
    assert_eq!(after - before, 10 * MS, "100 ppm of 100 s");
}

#[test]
fn t4_silent_threads_end_trust() {
    let mut bench = Bench::synchronised();
    bench.beat_age = bench.rules.beat_max + 1;
    bench.refused_with(Reason::Expired);
    bench.tick();
    assert_eq!(bench.changes(), ["expired"]);
}

#[test]
fn t5_a_step_ends_trust_at_once_and_a_smaller_one_does_not() {
    for (set, trusted) in
        [(4 * MS, true), (-4 * MS, true), (6 * MS, false), (-200 * MS, false), (300 * MS, false)]
    {
        let mut bench = Bench::synchronised();
        let generation = bench.state.generation;
        bench.stepped = set;
        assert_eq!(bench.permit().is_ok(), trusted, "{set}");
        bench.happened(Event::ClockSet);
        assert_eq!(bench.journal[0].reason, if trusted { "clock-set" } else { "step" });
        assert_eq!(bench.state.generation == generation, trusted);
    }
}

#[test]
fn t5_the_kernel_withdrawing_its_synchronised_state_is_a_step() {
    let mut bench = Bench::synchronised();
    bench.kernel = Some(false);
    bench.tick();
    assert_eq!(bench.reason(), "synchronised");
    bench.kernel = Some(true);
    bench.tick();
    assert_eq!(bench.changes(), ["step"]);
}

#[test]
fn a_kernel_never_synchronised_witnesses_nothing() {
    let mut bench = Bench::synchronised();
    bench.kernel = Some(true);
    bench.tick();
    bench.tick();
    assert_eq!(bench.reason(), "synchronised");
}

#[test]
fn t6_sources_that_move_together_are_a_contradiction_at_that_round() {
    let mut bench = Bench::synchronised();
    bench.round([Some(3 * SECOND), Some(3 * SECOND), Some(3 * SECOND), Some(0)]);
    assert_eq!(bench.changes(), ["contradiction"]);
    bench.refused_with(Reason::Contradiction);
    let Standing::Untrusted { detail, .. } = &bench.state.standing else { panic!("trusted") };
    assert!(detail.starts_with("the sources moved by 2.99"), "{detail}");
}

#[test]
fn a_system_clock_slewed_away_from_the_quorum_is_out_of_bound() {
    let mut bench = Bench::synchronised();
    bench.slewed = 700 * MS;
    bench.honest_round();
    assert_eq!(bench.changes(), ["bound"]);
    bench.refused_with(Reason::Bound);
}

#[test]
fn t7_a_suspended_machine_is_a_disruption() {
    let mut bench = Bench::synchronised();
    bench.asleep = 5 * SECOND;
    bench.tick();
    assert_eq!(bench.changes(), ["disruption"]);
}

#[test]
fn t7_a_gap_between_rounds_is_a_disruption() {
    let mut bench = Bench::synchronised();
    bench.raw += bench.rules.gap_max + 1;
    bench.round_now([Some(0); 4]);
    assert_eq!(bench.changes(), ["holdover", "disruption"]);
    for _ in 0..3 {
        bench.honest_round();
    }
    assert_eq!(bench.reason(), "synchronised");
}

/// Synchronised ten seconds before the end of 2026, with a leap second announced.
fn before_the_leap() -> Bench {
    let mut bench = Bench::new();
    bench.raw = 12 * 3600 * SECOND - 58 * SECOND;
    bench.leap = true;
    for _ in 0..3 {
        bench.honest_round();
    }
    assert_eq!(bench.reason(), "synchronised", "{:?}", bench.journal);
    bench.journal.clear();
    bench
}

#[test]
fn t8_a_leap_second_is_announced_by_a_quorum_and_refused_around() {
    let mut bench = before_the_leap();
    let midnight = bench.state.leap.expect("announced");
    assert_eq!(midnight.iso8601(), "2027-01-01T00:00:00.000Z");
    let at = |seconds: i64| 12 * 3600 * SECOND + seconds * SECOND;
    bench.raw = at(-3);
    assert!(bench.permit().is_ok());
    bench.raw = at(-2);
    bench.refused_with(Reason::Leap);
    bench.tick();
    assert_eq!(bench.changes(), ["leap"]);
}

#[test]
fn t8_the_leap_itself_is_no_step_and_trust_returns_after_three_rounds() {
    let mut bench = before_the_leap();
    bench.raw = 12 * 3600 * SECOND - SECOND;
    bench.tick();
    bench.raw += SECOND;
    bench.stepped = -SECOND;
    bench.happened(Event::ClockSet);
    assert_eq!(bench.reason(), "leap");
    assert!(!bench.state.needs_acknowledgement);
    bench.leap = false;
    for _ in 0..4 {
        bench.round([Some(-SECOND); 4]);
    }
    assert_eq!(bench.reason(), "synchronised", "{:?}", bench.state);
    assert_eq!(bench.state.leap, None);
}

#[test]
fn t8_one_source_alone_announces_no_leap_second() {
    let mut bench = Bench::synchronised();
    let mut findings: Vec<Finding> = ["a", "b", "c", "d"]
        .map(|n| Finding { source: format!("{n}:123"), heard: Ok(bench.heard(0)) })
        .to_vec();
    findings[0].heard = Ok(Heard { leap: true, ..bench.heard(0) });
    bench.raw += 16 * SECOND;
    bench.happened(Event::Round { findings, at_raw: bench.raw });
    assert_eq!(bench.state.leap, None);
}

#[test]
fn t9_behind_a_used_time_is_waited_out_up_to_a_quarter_second_and_then_a_regress() {
    let mut bench = Bench::synchronised();
    let now = NOON + bench.raw;
    bench.mark = UtcMicros((now + 200 * MS) / 1000);
    let live = bench.permit().unwrap();
    assert_eq!(live.utc, bench.mark, "the time already used, not an earlier one");
    assert!(live.bound > 200 * MS, "and the bound says what that costs: {live:?}");
    bench.mark = UtcMicros((now + 260 * MS) / 1000);
    bench.tick();
    assert_eq!(bench.changes(), ["regress"]);
    assert!(bench.state.needs_acknowledgement);
}

#[test]
fn t10_an_operator_stops_the_clock_and_only_an_operator_lets_it_go_on() {
    let mut bench = Bench::synchronised();
    bench.happened(Event::Stop { by: "officer 1: leap second drill".into() });
    for _ in 0..5 {
        bench.honest_round();
    }
    bench.refused_with(Reason::Operator);
    bench.happened(Event::Acknowledge { by: "officer 2".into() });
    bench.honest_round();
    assert_eq!(bench.reason(), "synchronised");
    assert_eq!(bench.changes(), ["operator", "acknowledged", "agreed"]);
}

#[test]
fn t11_after_a_contradiction_good_rounds_wait_for_an_operator() {
    let mut bench = Bench::synchronised();
    bench.round([Some(3 * SECOND); 4]);
    for _ in 0..5 {
        bench.honest_round();
    }
    bench.refused_with(Reason::Contradiction);
    assert!(bench.permit().unwrap_err().detail.contains("acknowledge"));
    bench.happened(Event::Acknowledge { by: "officer 1".into() });
    bench.honest_round();
    assert_eq!(bench.reason(), "synchronised");
}

#[test]
fn t11_a_small_step_needs_only_good_rounds_and_a_large_one_an_operator() {
    for (set, alone) in [(300 * MS, true), (2 * SECOND, false)] {
        let mut bench = Bench::synchronised();
        bench.stepped = set;
        bench.tick();
        bench.slewed = -set;
        for _ in 0..4 {
            bench.honest_round();
        }
        assert_eq!(bench.reason() == "synchronised", alone, "{set}: {:?}", bench.state.standing);
    }
}

#[test]
fn a_daemon_may_set_the_clock_before_the_first_trust() {
    let mut bench = Bench::new();
    bench.stepped = -90 * SECOND;
    bench.state = State::initial(&bench.seen(), &["a:123", "b:123", "c:123", "d:123"].map(String::from));
    bench.honest_round();
    assert_eq!(bench.reason(), "bound");
    bench.stepped = 0;
    bench.happened(Event::ClockSet);
    for _ in 0..3 {
        bench.honest_round();
    }
    assert_eq!(bench.reason(), "synchronised", "{:?}", bench.state.standing);
}

#[test]
fn an_odd_rate_asks_for_a_round_and_is_no_distrust() {
    let mut bench = Bench::synchronised();
    bench.slewed = 4 * MS;
    assert!(!bench.state.rate_is_odd(&bench.rules, &bench.seen()));
    bench.slewed = 6 * MS;
    assert!(bench.state.rate_is_odd(&bench.rules, &bench.seen()));
    assert!(bench.permit().is_ok());
}

#[test]
fn the_reading_covers_truncation_to_milliseconds_and_the_hsm_call() {
    let bench = Bench::synchronised();
    // 1 ms source interval, 1 ms truncation, 100 ppm of one second.
    assert_eq!(bench.permit().unwrap().bound, MS + MS + MS / 10);
}

#[test]
fn a_transition_says_everything_an_auditor_asks() {
    let mut bench = Bench::synchronised();
    bench.round([None; 4]);
    let holdover = bench.journal.iter().find(|t| t.reason == "holdover").expect("journalled");
    assert_eq!((&holdover.from, &holdover.to), (&ClockState::Synchronised, &ClockState::Holdover));
    assert_eq!(holdover.detail, "no 3 of 4 sources agree (0 gave a usable answer)");
    assert_eq!((holdover.lo_us, holdover.hi_us), (Some(-2600), Some(2600)));
    assert_eq!(holdover.bound_us, Some(3700));
    assert_eq!(holdover.sources.len(), 4);
    let json = serde_json::to_value(holdover).unwrap();
    assert_eq!(json["to"]["state"], "holdover");
}
