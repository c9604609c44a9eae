//! Metric names and log set-up, listed once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::clock::{ClockState, ClockStatus};
use crate::journal::JournalStats;
use crate::keys::SignerState;
use crate::witness::WitnessView;

/// Every metric's name without the `pechat_` prefix and, for counters, without the `_total` suffix.
pub mod name {
    /// Counter by route and status.
    pub const REQUESTS: &str = "http_requests";
    /// Histogram by route.
    pub const REQUEST_SECONDS: &str = "http_request_duration_seconds";
    /// Gauge.
    pub const IN_FLIGHT: &str = "http_requests_in_flight";
    /// Counter by outcome.
    pub const TOKENS: &str = "timestamp_answers";
    /// Counter.
    pub const DIGESTS: &str = "journal_digests_answered";
    /// Counter.
    pub const ENTRIES: &str = "journal_entries";
    /// Counter.
    pub const BATCHES: &str = "journal_batches";
    /// Counter.
    pub const SEALS: &str = "journal_seals";
    /// Counter.
    pub const FSYNCS: &str = "journal_fsyncs";
    /// Gauge.
    pub const LAST_FSYNC_SECONDS: &str = "journal_last_fsync_seconds";
    /// Gauge.
    pub const TORN_TAIL_BYTES: &str = "journal_torn_tail_bytes";
    /// Gauge.
    pub const JOURNALS: &str = "journals";
    /// Gauge, 1 when a storage error stopped the journal.
    pub const JOURNAL_FAILED: &str = "journal_failed";
    /// Gauge by state, 1 for the one in force.
    pub const CLOCK_STATE: &str = "clock_state";
    /// Gauge; absent while the bound is unknown.
    pub const CLOCK_BOUND_SECONDS: &str = "clock_bound_seconds";
    /// Gauge: sources that agree.
    pub const CLOCK_SOURCES: &str = "clock_sources_agreeing";
    /// Gauge, 1 when signing works.
    pub const SIGNER_READY: &str = "signer_ready";
    /// Counter.
    pub const SIGNER_RESTARTS: &str = "signer_restarts";
    /// Gauge by witness: root log size it cosigned last.
    pub const WITNESS_SIZE: &str = "witness_size";
    /// Gauge by witness: sealed root log leaves it has not cosigned.
    pub const WITNESS_LAG: &str = "witness_lag";
    /// Counter by witness: rounds without a cosignature.
    pub const WITNESS_ERRORS: &str = "witness_errors";
    /// Gauge: keys that gave a wrong signature.
    pub const KEYS_FROZEN: &str = "keys_frozen";
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWitness {
    witness: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

/// What the listeners count themselves. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Answered, Counter>,
    seconds: Family<ByRoute, Histogram, fn() -> Histogram>,
    tokens: Family<ByOutcome, Counter>,
    digests: Counter,
}

/// What the nouns say at the moment of a scrape.
pub struct Snapshot {
    /// The journal's counters.
    pub journal: JournalStats,
    /// How many journals there are, own ones included.
    pub journals: usize,
    /// Whether a storage error stopped the journal.
    pub journal_failed: bool,
    /// The clock.
    pub clock: ClockStatus,
    /// The signer.
    pub signer: SignerState,
    /// How often the signer was started again.
    pub signer_restarts: u64,
    /// Keys that gave a wrong signature.
    pub keys_frozen: usize,
    /// Requests being answered.
    pub in_flight: u32,
    /// The witnesses of the root log.
    pub witnesses: Vec<WitnessView>,
}

/// 100 µs to 26 s.
fn histogram() -> Histogram {
    Histogram::new((0..10).map(|step| 1e-4 * 4f64.powi(step)))
}

impl Default for Metrics {
    fn default() -> Self {
        let (requests, tokens, digests) = (Family::default(), Family::default(), Counter::default());
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        let mut registry = Registry::with_prefix("pechat");
        registry.register(name::REQUESTS, "Requests answered", requests.clone());
        registry.register(name::REQUEST_SECONDS, "Time from header to answer", seconds.clone());
        registry.register(name::TOKENS, "Timestamp queries answered", tokens.clone());
        registry.register(name::DIGESTS, "Digests answered with a receipt", digests.clone());
        Self { registry: Arc::new(registry), requests, seconds, tokens, digests }
    }
}

impl Metrics {
    /// One request answered.
    pub fn request(&self, route: &'static str, status: u16, took: Duration) {
        self.requests.get_or_create(&Answered { route, status }).inc();
        self.seconds.get_or_create(&ByRoute { route }).observe(took.as_secs_f64());
    }

    /// One timestamp query answered: `granted` or the failInfo word.
    pub fn token(&self, outcome: &'static str) {
        self.tokens.get_or_create(&ByOutcome { outcome }).inc();
    }

    /// Digests answered with a receipt.
    pub fn sealed(&self, digests: u64) {
        self.digests.inc_by(digests);
    }

    /// Everything as OpenMetrics text.
    pub fn text(&self, now: &Snapshot) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &now.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

impl Snapshot {
    fn registry(&self) -> Registry {
        let mut r = Registry::with_prefix("pechat");
        let j = &self.journal;
        r.register(name::ENTRIES, "Entries made durable since start", ConstCounter::new(j.entries));
        r.register(name::BATCHES, "Batches written since start", ConstCounter::new(j.batches));
        r.register(
            name::SEALS,
            "Root checkpoints signed and stamped since start",
            ConstCounter::new(j.seals),
        );
        r.register(name::FSYNCS, "fdatasync calls since start", ConstCounter::new(j.fsyncs));
        let seconds = j.last_fsync_us as f64 / 1e6;
        r.register(name::LAST_FSYNC_SECONDS, "Duration of the last fdatasync", ConstGauge::new(seconds));
        const TORN: &str = "Bytes of a never acknowledged record found at start";
        r.register(name::TORN_TAIL_BYTES, TORN, gauge(j.torn_tail_bytes as i64));
        r.register(name::JOURNALS, "Journals, own ones included", gauge(self.journals as i64));
        r.register(
            name::JOURNAL_FAILED,
            "1: a storage error stopped the journal",
            gauge(self.journal_failed.into()),
        );
        r.register(name::IN_FLIGHT, "Requests being answered", gauge(self.in_flight.into()));
        let ready = i64::from(self.signer == SignerState::Ready);
        r.register(name::SIGNER_READY, "1: the HSM signs", gauge(ready));
        const RESTARTS: &str = "Starts of the signer after its first";
        r.register(name::SIGNER_RESTARTS, RESTARTS, ConstCounter::new(self.signer_restarts));
        const FROZEN: &str = "Keys that gave a wrong signature and are refused until restart";
        r.register(name::KEYS_FROZEN, FROZEN, gauge(self.keys_frozen as i64));
        self.register_clock(&mut r);
        if !self.witnesses.is_empty() {
            self.register_witnesses(&mut r);
        }
        r
    }

    fn register_witnesses(&self, r: &mut Registry) {
        let (sizes, lags) = (Family::<ByWitness, Gauge>::default(), Family::<ByWitness, Gauge>::default());
        let errors = Family::<ByWitness, Counter>::default();
        for view in &self.witnesses {
            let by = ByWitness { witness: view.name.clone() };
            sizes.get_or_create(&by).set(view.size.cast_signed());
            lags.get_or_create(&by).set(view.lag.cast_signed());
            errors.get_or_create(&by).inc_by(view.errors);
        }
        r.register(name::WITNESS_SIZE, "Root log size it cosigned last", sizes);
        r.register(name::WITNESS_LAG, "Sealed root log leaves it has not cosigned", lags);
        r.register(name::WITNESS_ERRORS, "Rounds without a cosignature", errors);
    }

    fn register_clock(&self, r: &mut Registry) {
        let states = Family::<ByState, Gauge>::default();
        for state in ["synchronised", "holdover", "untrusted"] {
            let in_force = i64::from(state == word(&self.clock.state));
            states.get_or_create(&ByState { state }).set(in_force);
        }
        r.register(name::CLOCK_STATE, "1 for the state in force", states);
        if let Some(bound) = self.clock.bound_us {
            let seconds = bound as f64 / 1e6;
            r.register(name::CLOCK_BOUND_SECONDS, "Live error bound of the clock", ConstGauge::new(seconds));
        }
        let agreeing = self.clock.sources.iter().filter(|s| s.verdict == "agrees").count();
        r.register(name::CLOCK_SOURCES, "Sources that agree", gauge(agreeing as i64));
    }
}

fn gauge(value: i64) -> ConstGauge<i64> {
    ConstGauge::new(value)
}

/// The state's word, as in JSON.
fn word(state: &ClockState) -> &'static str {
    match state {
        ClockState::Synchronised => "synchronised",
        ClockState::Holdover => "holdover",
        ClockState::Untrusted { .. } => "untrusted",
    }
}

/// Sends log lines to stderr, as JSON if asked; `PECHAT_LOG` (default `info`) says which. Does nothing
/// when logging is set up already.
pub fn log_to_stderr(json: bool) {
    let filter = EnvFilter::try_from_env("PECHAT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let _ = if json { log.json().try_init() } else { log.try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::UtcMicros;

    fn snapshot() -> Snapshot {
        let state = ClockState::Untrusted { reason: "step".into(), detail: "the clock jumped".into() };
        let clock = ClockStatus {
            state,
            since: UtcMicros(0),
            bound_us: None,
            quorum: 3,
            sources: Vec::new(),
            age_ms: None,
            leap: None,
            warnings: Vec::new(),
        };
        Snapshot {
            journal: JournalStats { entries: 7, ..JournalStats::default() },
            journals: 5,
            journal_failed: false,
            clock,
            signer: SignerState::Ready,
            signer_restarts: 0,
            keys_frozen: 0,
            in_flight: 2,
            witnesses: vec![WitnessView {
                name: "one".into(),
                url: "http://127.0.0.1:1".into(),
                size: 5,
                lag: 2,
                cosigned_at: None,
                errors: 3,
                last_error: None,
                alarm: None,
            }],
        }
    }

    #[test]
    fn text_holds_counters_and_the_state_of_the_nouns() {
        let metrics = Metrics::default();
        metrics.request("/tsa", 200, Duration::from_millis(1));
        metrics.token("granted");
        let text = metrics.text(&snapshot()).unwrap();
        for line in [
            "pechat_http_requests_total{route=\"/tsa\",status=\"200\"} 1",
            "pechat_http_request_duration_seconds_count{route=\"/tsa\"} 1",
            "pechat_timestamp_answers_total{outcome=\"granted\"} 1",
            "pechat_journal_entries_total 7",
            "pechat_journals 5",
            "pechat_clock_state{state=\"untrusted\"} 1",
            "pechat_clock_state{state=\"holdover\"} 0",
            "pechat_signer_ready 1",
            "pechat_witness_size{witness=\"one\"} 5",
            "pechat_witness_lag{witness=\"one\"} 2",
            "pechat_witness_errors_total{witness=\"one\"} 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(!text.contains(name::CLOCK_BOUND_SECONDS));
    }
}
