//! The trusted clock against real and misbehaving time servers, on a machine that can be made to step or stop.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::time::{Duration, Instant};

use pechat::clock::system::{Machine, MachineTime, System};
use pechat::clock::{
    self, Clock, ClockConfig, ClockState, ClockStatus, SourceVerdict, Transition, UtcMicros,
};
use tokio::sync::mpsc::UnboundedReceiver;

mod ntp;
use ntp::{FakeServer, Mode};

const MS: i64 = 1_000_000;
/// Long enough for a busy machine; nothing here asserts how fast something is.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real machine with a hand on it.
#[derive(Default)]
struct Bent {
    /// Added to REALTIME: a step.
    stepped: AtomicI64,
    /// Added to BOOTTIME: a suspend.
    asleep: AtomicI64,
    /// 1: the polling thread panics at its next look at the clock; 2: it never returns.
    poller: AtomicU8,
}

impl Machine for Bent {
    fn read(&self) -> MachineTime {
        if std::thread::current().name() == Some("clock-poll") {
            match self.poller.load(Ordering::SeqCst) {
                1 => panic!("the polling thread dies (wanted by the test)"),
                2 => loop {
                    std::thread::park();
                },
                _ => {}
            }
        }
        let mut time = System.read();
        time.realtime += self.stepped.load(Ordering::SeqCst);
        time
    }

    fn asleep(&self) -> i64 {
        System.asleep() + self.asleep.load(Ordering::SeqCst)
    }

    fn kernel_unsynchronised(&self) -> Option<bool> {
        None
    }
}

struct Bench {
    clock: Clock,
    machine: Arc<Bent>,
    transitions: UnboundedReceiver<Transition>,
    journal: Vec<Transition>,
}

fn quick(sources: impl IntoIterator<Item = String>) -> ClockConfig {
    let mut config = ClockConfig::of(sources);
    config.poll = Duration::from_millis(500);
    config.fresh = Some(Duration::from_secs(3));
    config.startup_span = Duration::from_millis(800);
    config.timeout = Duration::from_millis(500);
    config
}

fn sources(servers: &[FakeServer]) -> Vec<String> {
    servers.iter().map(FakeServer::source).collect()
}

impl Bench {
    fn start(config: ClockConfig) -> Bench {
        let machine = Arc::new(Bent::default());
        let (clock, transitions) = clock::start_on(machine.clone(), config, None).unwrap();
        Bench { clock, machine, transitions, journal: Vec::new() }
    }

    fn synchronised(config: ClockConfig) -> Bench {
        let bench = Bench::start(config);
        bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
        bench
    }

    fn until(&self, what: &str, done: impl Fn(&ClockStatus) -> bool) -> ClockStatus {
        let start = Instant::now();
        loop {
            let status = self.clock.status();
            if done(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "not {what} after {PATIENCE:?}: {status:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until every source has been heard of.
    fn first_verdicts(&self) -> Vec<SourceVerdict> {
        self.until("asked", |s| s.sources.iter().all(|v| v.verdict != "not-asked")).sources
    }

    fn until_untrusted(&self, reason: &str) {
        self.until(&format!("Untrusted({reason})"), |s| reason_of(&s.state) == reason);
    }

    fn journal(&mut self) -> &[Transition] {
        while let Ok(transition) = self.transitions.try_recv() {
            self.journal.push(transition);
        }
        &self.journal
    }

    fn changes(&mut self) -> Vec<String> {
        self.journal().iter().filter(|t| t.from != t.to).map(|t| t.reason.clone()).collect()
    }
}

fn reason_of(state: &ClockState) -> &str {
    match state {
        ClockState::Untrusted { reason, .. } => reason,
        ClockState::Synchronised => "synchronised",
        ClockState::Holdover => "holdover",
    }
}

#[test]
fn r1_four_honest_chronyds_earn_trust_and_no_permit_is_given_before() {
    let folder = tempfile::tempdir().unwrap();
    let (chronyds, fakes);
    let sources: Vec<String> = if ntp::chronyd_installed() {
        chronyds = ntp::chronyd(folder.path(), &ntp::free_ports(4), true);
        chronyds.iter().map(|c| c.source.clone()).collect()
    } else {
        fakes = FakeServer::all(&[Mode::Honest; 4]);
        sources(&fakes)
    };
    let mut bench = Bench::start(quick(sources));
    assert_eq!(bench.clock.permit().unwrap_err().reason, "startup");
    let status = bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
    assert!(status.sources.iter().all(|s| s.verdict == "agrees"), "{status:#?}");
    let permit = bench.clock.permit().unwrap();
    assert!(!permit.reading.holdover);
    // Truncation to a millisecond is inside, so it can never be less.
    assert!(permit.reading.bound > Duration::from_millis(1));
    assert!(permit.reading.bound < Duration::from_millis(400), "{permit:?}");
    assert_eq!(permit.confirm(&bench.clock), Ok(()));
    assert_eq!(bench.changes(), ["agreed"]);
}

#[test]
fn r2_one_server_four_tenths_off_is_named_and_permits_go_on() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let mut bench = Bench::synchronised(quick(sources(&servers)));
    servers[1].set(Mode::Off(400));
    let liar = servers[1].source();
    let named = |s: &ClockStatus| s.sources.iter().any(|v| v.source == liar && v.verdict == "falseticker");
    let status = bench.until("naming the liar", named);
    let lying = &status.sources[1];
    assert!((390_000..410_000).contains(&lying.offset_us.unwrap()), "{lying:?}");
    assert!(bench.clock.permit().is_ok());
    assert!(bench.journal().iter().any(|t| t.reason == "sources" && t.detail.contains("falseticker")));
    assert_eq!(bench.changes(), ["agreed"]);
}

#[test]
fn r3_two_against_two_is_holdover_and_ends_at_its_maximum() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let mut config = quick(sources(&servers));
    config.holdover_max = Duration::from_secs(4);
    let mut bench = Bench::synchronised(config);
    servers[0].set(Mode::Off(400));
    servers[1].set(Mode::Off(400));
    bench.until("Holdover", |s| s.state == ClockState::Holdover);
    assert!(bench.clock.permit().unwrap().reading.holdover);
    bench.until_untrusted("expired");
    assert_eq!(bench.clock.permit().unwrap_err().reason, "expired");
    // Once the liars repent, trust is earned again from the start.
    servers[0].set(Mode::Honest);
    servers[1].set(Mode::Honest);
    bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
    assert_eq!(bench.changes(), ["agreed", "holdover", "expired", "agreed"]);
}

#[test]
fn r4_three_servers_moving_together_are_a_contradiction_until_an_operator_looked() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let bench = Bench::synchronised(quick(sources(&servers)));
    let permit = bench.clock.permit().unwrap();
    for server in &servers[..3] {
        server.set(Mode::Off(3000));
    }
    bench.until_untrusted("contradiction");
    assert_eq!(bench.clock.permit().unwrap_err().reason, "contradiction");
    assert!(permit.confirm(&bench.clock).is_err(), "a permit of before is void");
    for server in &servers[..3] {
        server.set(Mode::Honest);
    }
    bench.until("waiting for a human", |s| format!("{:?}", s.state).contains("must acknowledge"));
    bench.clock.acknowledge("officer 1");
    bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
}

#[test]
fn r5_a_server_without_reference_is_unsynchronised_and_not_a_kiss() {
    let folder = tempfile::tempdir().unwrap();
    let servers = FakeServer::all(&[Mode::Honest, Mode::Honest, Mode::Honest, Mode::NoReference]);
    let mut sources = sources(&servers);
    let chronyd;
    if ntp::chronyd_installed() {
        chronyd = ntp::chronyd(folder.path(), &ntp::free_ports(1), false);
        sources.push(chronyd[0].source.clone());
    }
    let bench = Bench::start(quick(sources));
    for verdict in &bench.first_verdicts()[3..] {
        assert_eq!(verdict.verdict, "unsynchronised", "{verdict:?}");
    }
    // Asked again and again: it is not treated as refused service.
    let asked = servers[3].requests().len();
    bench.until("asking again", |_| servers[3].requests().len() > asked + 1);
}

/// Each bad server beside five honest ones of nine: its verdict and the label of the check that caught it.
fn each_is_caught(bad: &[(Mode, &str, &str)]) {
    let mut modes = vec![Mode::Honest; 5];
    modes.extend(bad.iter().map(|b| b.0));
    let servers = FakeServer::all(&modes);
    let bench = Bench::synchronised(quick(sources(&servers)));
    let status = bench.clock.status();
    for ((mode, verdict, label), found) in bad.iter().zip(&status.sources[5..]) {
        assert_eq!(found.verdict, *verdict, "{mode:?}: {found:?}");
        assert!(found.detail.starts_with(&format!("{label}: ")), "{mode:?}: {found:?}");
        assert_eq!(found.offset_us, None, "{mode:?} must give no time");
    }
}

#[test]
fn r6_bad_headers_are_each_rejected_under_their_own_label() {
    each_is_caught(&[
        (Mode::Stratum(16), "rejected", "stratum"),
        (Mode::Leap(3), "unsynchronised", "unsynchronised"),
        (Mode::ZeroTransmit, "rejected", "transmit"),
        (Mode::Short, "rejected", "short"),
    ]);
    each_is_caught(&[
        (Mode::Association(5), "rejected", "mode"),
        (Mode::Version(5), "rejected", "version"),
        (Mode::Version(3), "rejected", "version"),
        (Mode::ReferenceDaysOld(3), "rejected", "reference-age"),
    ]);
    each_is_caught(&[
        (Mode::RootDispersionMs(600), "rejected", "root-distance"),
        (Mode::RootDispersionMs(5_000), "rejected", "root-distance"),
        (Mode::RootDispersionMs(20_000), "rejected", "root-distance"),
    ]);
}

#[test]
fn r7_rate_slows_the_asking_and_deny_ends_it() {
    let mut modes = vec![Mode::Honest; 5];
    modes.extend([Mode::Kiss(*b"RATE"), Mode::Kiss(*b"DENY"), Mode::Kiss(*b"RSTR")]);
    let servers = FakeServer::all(&modes);
    let bench = Bench::start(quick(sources(&servers)));
    bench.until("twelve rounds on", |_| servers[0].requests().len() >= 12);
    // Rounds 1, 3, 7: the stride doubles with each kiss.
    assert!((2..=4).contains(&servers[5].requests().len()), "{}", servers[5].requests().len());
    assert_eq!(servers[6].requests().len(), 1);
    assert_eq!(servers[7].requests().len(), 1);
    let status = bench.clock.status();
    let verdicts: Vec<&str> = status.sources[5..].iter().map(|s| s.verdict.as_str()).collect();
    assert_eq!(verdicts, ["slowed", "off", "off"], "{status:#?}");
    assert_eq!(status.sources[6].detail, "kiss-deny: the server refuses service");
    assert_eq!(status.state, ClockState::Synchronised);
}

#[test]
fn r7_a_forged_kiss_is_ignored_and_the_exchange_succeeds() {
    let servers = FakeServer::all(&[
        Mode::ForgedKissFirst(*b"DENY"),
        Mode::ForgedKissFirst(*b"RATE"),
        Mode::ForgedKissFirst(*b"RSTR"),
    ]);
    let bench = Bench::synchronised(quick(sources(&servers)));
    let verdicts = bench.clock.status().sources;
    assert!(verdicts.iter().all(|s| s.verdict == "agrees"), "{verdicts:#?}");
}

#[test]
fn r8_strays_duplicates_and_late_answers_harm_nothing() {
    let servers = FakeServer::all(&[
        Mode::WrongOriginFirst,
        Mode::ZeroOriginFirst,
        Mode::StrayPortFirst,
        Mode::Twice,
        Mode::FirstAnswerLate,
    ]);
    let bench = Bench::synchronised(quick(sources(&servers)));
    let all_agree = |s: &ClockStatus| s.sources.iter().all(|v| v.verdict == "agrees");
    bench.until("agreed by all", all_agree);
    let asked = servers[4].requests().len();
    bench.until("past the late answer", |s| servers[4].requests().len() > asked + 5 && all_agree(s));
    for source in bench.clock.status().sources {
        assert!(source.offset_us.unwrap().abs() < 250_000, "{source:?}");
    }
}

#[test]
fn r9_impossible_values_are_rejected_without_panic() {
    let years = 68 * 365 * 86_400_000;
    each_is_caught(&[
        (Mode::ImpossibleDwell, "rejected", "dwell"),
        (Mode::Precision(40), "rejected", "precision"),
        (Mode::Precision(64), "rejected", "precision"),
        (Mode::Precision(127), "rejected", "precision"),
    ]);
    each_is_caught(&[
        (Mode::Off(5 * 86_400_000), "rejected", "offset"),
        (Mode::Off(-5 * 86_400_000), "rejected", "offset"),
        (Mode::Off(years), "rejected", "offset"),
        (Mode::Off(years + 86_400_000 * 400), "rejected", "offset"),
    ]);
}

#[test]
fn r10_requests_carry_a_nonce_instead_of_a_clock_and_come_from_many_ports() {
    let servers = FakeServer::all(&[Mode::Honest; 3]);
    let mut config = quick(sources(&servers));
    config.poll = Duration::from_millis(100);
    config.fresh = None;
    let bench = Bench::start(config);
    bench.until("fifty rounds on", |_| servers.iter().all(|s| s.requests().len() >= 50));
    let requests: Vec<ntp::Request> = servers.iter().flat_map(FakeServer::requests).collect();
    let nonces: BTreeSet<u64> =
        requests.iter().map(|(r, _)| u64::from_be_bytes(r[40..48].try_into().unwrap())).collect();
    assert_eq!(nonces.len(), requests.len(), "no transmit field twice");
    let now = pechat::clock::reply::ntp_stamp(pechat::clock::system::now().0 * 1000);
    let day = 86_400u64 << 32;
    // By chance 1 of 25 000 random values lies within a day of now; a clock always does.
    let like_a_clock = nonces.iter().filter(|n| n.abs_diff(now) < day).count();
    assert!(like_a_clock < 3, "{like_a_clock} of {} transmit fields look like a clock", nonces.len());
    let ones: u32 = nonces.iter().map(|n| n.count_ones()).sum();
    let all = u32::try_from(nonces.len()).unwrap() * 64;
    assert!((all * 47 / 100..all * 53 / 100).contains(&ones), "{ones} of {all} bits are set");
    let ports: BTreeSet<u16> = requests.iter().map(|(_, port)| *port).collect();
    assert!(ports.len() > requests.len() / 2, "{} ports for {} requests", ports.len(), requests.len());
    for (request, _) in &requests {
        assert_eq!((request.len(), request[0]), (48, 0x23), "client mode, version 4");
        assert!(request[1..40].iter().all(|b| *b == 0), "nothing else about us");
    }
}

#[test]
fn r11_a_slow_path_widens_the_bound_and_still_holds_the_truth() {
    let servers = FakeServer::all(&[Mode::SlowAnswer(150); 4]);
    let bench = Bench::synchronised(quick(sources(&servers)));
    let bound = bench.clock.permit().unwrap().reading.bound;
    // One-way 150 ms looks like an offset of 75 ms ± 75 ms; the true offset is 0.
    assert!(bound >= Duration::from_millis(150), "{bound:?}");
    servers.iter().for_each(|s| s.set(Mode::SlowAnswer(700)));
    bench.until("without usable source", |s| s.sources.iter().all(|v| v.verdict != "agrees"));
}

#[test]
fn r13_silent_servers_lead_to_holdover_and_a_closed_port_is_noticed() {
    let mut servers = FakeServer::all(&[Mode::Honest; 4]);
    let mut config = quick(sources(&servers));
    config.holdover_max = Duration::from_secs(4);
    let mut bench = Bench::synchronised(config);
    drop(servers.remove(3));
    let status = bench.until("missing one", |s| s.sources[3].verdict == "silent");
    assert!(status.sources[3].detail.starts_with("refused: "), "{:?}", status.sources[3]);
    assert_eq!(status.state, ClockState::Synchronised);
    servers.iter().for_each(|s| s.set(Mode::Silent));
    bench.until("Holdover", |s| s.state == ClockState::Holdover);
    bench.until_untrusted("expired");
    assert_eq!(bench.changes(), ["agreed", "holdover", "expired"]);
}

#[test]
fn a_step_is_seen_by_the_very_next_permit_and_published_to_all() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    for step in [300 * MS, -200 * MS] {
        let mut bench = Bench::synchronised(quick(sources(&servers)));
        let before = bench.clock.permit().unwrap();
        bench.machine.stepped.store(step, Ordering::SeqCst);
        let refusal = bench.clock.permit().expect_err("stepped");
        assert!(refusal.detail.starts_with("the system clock was set by "), "{refusal}");
        assert_eq!(refusal.reason, "step");
        assert_eq!(reason_of(&bench.clock.clone().status().state), "step");
        assert!(before.confirm(&bench.clock).is_err());
        assert_eq!(bench.changes(), ["agreed", "step"]);
        // Stepped back: the old permit stays void although the clock is right again and trusted.
        bench.machine.stepped.store(0, Ordering::SeqCst);
        bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
        assert!(before.confirm(&bench.clock).is_err());
    }
}

#[test]
fn a_suspend_is_a_disruption() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let bench = Bench::synchronised(quick(sources(&servers)));
    bench.machine.asleep.store(5000 * MS, Ordering::SeqCst);
    bench.until_untrusted("disruption");
    bench.until("Synchronised", |s| s.state == ClockState::Synchronised);
}

#[test]
fn r21_a_dead_or_wedged_poller_ends_in_untrusted_expired() {
    for (how, servers) in [(1, FakeServer::all(&[Mode::Honest; 4])), (2, FakeServer::all(&[Mode::Honest; 4]))]
    {
        let mut config = quick(sources(&servers));
        // Silence of the thread must do it, not the age of the last round.
        config.fresh = Some(Duration::from_secs(5));
        let bench = Bench::synchronised(config);
        bench.machine.poller.store(how, Ordering::SeqCst);
        bench.until_untrusted("expired");
        let refusal = bench.clock.permit().unwrap_err();
        assert!(refusal.detail.contains("threads gave no sign of life"), "{refusal}");
    }
}

#[test]
fn a_permit_used_too_late_cannot_be_confirmed() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let mut config = quick(sources(&servers));
    config.max_sign_latency = Duration::from_millis(100);
    let bench = Bench::synchronised(config);
    let permit = bench.clock.permit().unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let refusal = permit.confirm(&bench.clock).unwrap_err();
    assert_eq!(refusal.reason, "late");
}

#[test]
fn no_trust_while_the_clock_is_behind_a_time_already_used() {
    let servers = FakeServer::all(&[Mode::Honest; 4]);
    let ahead = UtcMicros(pechat::clock::system::now().0 + 3_600_000_000);
    let (clock, _transitions) = clock::start(quick(sources(&servers)), Some(ahead)).unwrap();
    let bench = Bench { clock, machine: Arc::default(), transitions: _transitions, journal: Vec::new() };
    bench.until_untrusted("regress");
    assert_eq!(bench.clock.high_water(), ahead);
}

#[test]
fn two_sources_refuse_to_start() {
    let refused = clock::start(quick(["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned()]), None);
    let text = refused.err().expect("must be refused").to_string();
    assert!(text.contains("2 time sources are too few"), "{text}");
}

#[test]
fn names_are_looked_up_and_two_names_of_one_server_are_one_vote() {
    let servers = FakeServer::all(&[Mode::Honest; 3]);
    let mut sources = sources(&servers);
    sources.push(format!("localhost:{}", servers[0].address.port()));
    let bench = Bench::start(quick(sources));
    let verdicts = bench.first_verdicts();
    // Where localhost is also ::1, that address has no server; it is never a second vote of the same one.
    assert_ne!(verdicts[3].verdict, "agrees", "{verdicts:#?}");
}

#[test]
fn the_shipped_chrony_configuration_is_accepted_by_chronyd() {
    if !ntp::chronyd_installed() {
        return;
    }
    let conf = concat!(env!("CARGO_MANIFEST_DIR"), "/firmware-config/time/chrony.conf");
    let output = std::process::Command::new("chronyd").args(["-p", "-f", conf]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}{text}", String::from_utf8_lossy(&output.stderr));
    for directive in
        ["authselectmode require", "minsources 3", "makestep 1 3", "maxslewrate 500", "cmdport 0", "rtcsync"]
    {
        assert!(text.contains(directive), "{directive} is missing in:\n{text}");
    }
    assert!(!text.contains("nocerttimecheck"));
}
