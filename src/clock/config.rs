//! What the operator may set about trusted time, with the reason beside each key.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `[clock]` of the configuration. Durations are text: `500ms`, `16s`, `15min`, `1h`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockConfig {
    /// NTP servers, `host:port`; four to nine, of at least two operators. A majority of *these* must agree.
    pub sources: Vec<String>,
    /// Time between two rounds (±10 % jitter). 16 s for own servers, 64 s for public ones.
    #[serde(with = "duration_text", default = "sixteen_seconds")]
    pub poll: Duration,
    /// A good round older than this means Holdover; three polls unless set.
    #[serde(with = "optional_duration_text", default, skip_serializing_if = "Option::is_none")]
    pub fresh: Option<Duration>,
    /// Consecutive good rounds needed before the first token, and after every loss of trust.
    #[serde(default = "three")]
    pub startup_rounds: u32,
    /// The time those rounds must span, so that one moment's luck is not enough.
    #[serde(with = "duration_text", default = "thirty_seconds")]
    pub startup_span: Duration,
    /// Operating limit: no token while the bound is above it. At most the policy accuracy of 1 s.
    #[serde(with = "duration_text", default = "half_a_second")]
    pub limit: Duration,
    /// How long tokens go on without a good round, while the bound stays within the limit.
    #[serde(with = "duration_text", default = "fifteen_minutes")]
    pub holdover_max: Duration,
    /// A jump of CLOCK_REALTIME against CLOCK_MONOTONIC larger than this is a step.
    #[serde(with = "duration_text", default = "five_millis")]
    pub step_tol: Duration,
    /// CLOCK_REALTIME against CLOCK_MONOTONIC_RAW may differ by this plus 600 ppm of the age before an extra round
    /// is asked for; needs `maxslewrate` of at most 500 in chrony.
    #[serde(with = "duration_text", default = "five_millis")]
    pub rate_tol: Duration,
    /// Drift allowance of CLOCK_MONOTONIC_RAW, parts per million; 50 if the machine was calibrated.
    #[serde(default = "hundred")]
    pub rho_ppm: u32,
    /// One exchange may take this long.
    #[serde(with = "duration_text", default = "one_second")]
    pub timeout: Duration,
    /// Longest time between a permit and its confirmation; a slower HSM call withholds the token.
    #[serde(with = "duration_text", default = "one_second")]
    pub max_sign_latency: Duration,
}

/// Why the trusted clock cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// Faults of the configuration, all of them.
    #[error("the clock's configuration cannot be used: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The kernel gave no timer that notices a set clock.
    #[error("cannot watch for steps of the system clock: {0}")]
    StepWatch(std::io::Error),
    /// A thread of the clock could not be started.
    #[error("cannot start the clock's thread: {0}")]
    Thread(std::io::Error),
}

impl ClockConfig {
    /// Defaults for these sources.
    pub fn of(sources: impl IntoIterator<Item = impl Into<String>>) -> ClockConfig {
        ClockConfig {
            sources: sources.into_iter().map(Into::into).collect(),
            poll: sixteen_seconds(),
            fresh: None,
            startup_rounds: three(),
            startup_span: thirty_seconds(),
            limit: half_a_second(),
            holdover_max: fifteen_minutes(),
            step_tol: five_millis(),
            rate_tol: five_millis(),
            rho_ppm: hundred(),
            timeout: one_second(),
            max_sign_latency: one_second(),
        }
    }

    /// Refuses what cannot work, all faults at once; otherwise the warnings an operator should see.
    pub fn check(&self) -> Result<Vec<String>, ClockError> {
        let mut faults = self.source_faults();
        faults.extend(self.range_faults());
        if !faults.is_empty() {
            return Err(ClockError::Config(faults));
        }
        Ok(self.warnings())
    }

    /// The effective `fresh`.
    pub fn fresh(&self) -> Duration {
        self.fresh.unwrap_or(self.poll * 3)
    }

    fn source_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.sources.len() < 3 {
            faults.push(format!("{} time sources are too few: 3 are needed, 4 advised", self.sources.len()));
        }
        if self.sources.len() > 9 {
            faults.push(format!("{} time sources are more than 9", self.sources.len()));
        }
        let mut seen = BTreeSet::new();
        for source in &self.sources {
            let (host, port) = source.rsplit_once(':').unwrap_or((source, ""));
            if host.is_empty() || port.parse::<u16>().map_or(true, |p| p == 0) {
                faults.push(format!("time source '{source}' is not host:port"));
            }
            if !seen.insert(source) {
                faults.push(format!("time source '{source}' is listed twice and would vote twice"));
            }
        }
        faults
    }

    fn range_faults(&self) -> Vec<String> {
        let ms = Duration::from_millis;
        let ranges = [
            ("poll", self.poll, ms(100), ms(1_024_000)),
            ("fresh", self.fresh(), self.poll, self.poll.saturating_mul(10)),
            ("startup_span", self.startup_span, ms(200), ms(600_000)),
            ("limit", self.limit, ms(10), ms(1_000)),
            ("holdover_max", self.holdover_max, self.fresh(), ms(24 * 3_600_000)),
            ("step_tol", self.step_tol, ms(1), ms(100)),
            ("rate_tol", self.rate_tol, ms(1), ms(100)),
            ("timeout", self.timeout, ms(50), ms(5_000)),
            ("max_sign_latency", self.max_sign_latency, ms(10), ms(1_000)),
        ];
        let mut faults: Vec<String> = ranges
            .into_iter()
            .filter(|(_, is, least, most)| is < least || is > most)
            .map(|(key, is, least, most)| format!("{key} = {is:?} is not between {least:?} and {most:?}"))
            .collect();
        if !(2..=10).contains(&self.startup_rounds) {
            faults.push(format!("startup_rounds = {} is not between 2 and 10", self.startup_rounds));
        }
        if !(10..=1000).contains(&self.rho_ppm) {
            faults.push(format!("rho_ppm = {} is not between 10 and 1000", self.rho_ppm));
        }
        faults
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.sources.len() == 3 {
            warnings.push("only 3 time sources: one silent source leaves no room for a wrong one".to_owned());
        }
        if self.startup_span < thirty_seconds() {
            warnings.push(format!("startup_span {:?} is shorter than 30 s", self.startup_span));
        }
        warnings
    }
}

fn sixteen_seconds() -> Duration {
    Duration::from_secs(16)
}
fn thirty_seconds() -> Duration {
    Duration::from_secs(30)
}
fn half_a_second() -> Duration {
    Duration::from_millis(500)
}
fn fifteen_minutes() -> Duration {
    Duration::from_secs(900)
}
fn five_millis() -> Duration {
    Duration::from_millis(5)
}
fn one_second() -> Duration {
    Duration::from_secs(1)
}
fn three() -> u32 {
    3
}
fn hundred() -> u32 {
    100
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let wrong = || format!("'{text}' is not a duration such as 500ms, 16s, 15min or 1h");
    let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit_ms = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    count.checked_mul(unit_ms).map(Duration::from_millis).ok_or_else(wrong)
}

mod duration_text {
    use super::{Duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", value.as_millis()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

mod optional_duration_text {
    use super::{Duration, duration_text};
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => duration_text::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration_text::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(config: &ClockConfig) -> String {
        config.check().expect_err("must be refused").to_string()
    }

    #[test]
    fn sources_alone_are_a_complete_configuration() {
        let read: ClockConfig = toml::from_str("sources = ['a:123', 'b:123', 'c:123', 'd:123']").unwrap();
        assert_eq!(read, ClockConfig::of(["a:123", "b:123", "c:123", "d:123"]));
        assert_eq!(read.check().unwrap(), Vec::<String>::new());
        assert_eq!(read.fresh(), Duration::from_secs(48));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut config = ClockConfig::of(["a:123", "b:123", "c:123"]);
        config.fresh = Some(Duration::from_secs(5));
        config.holdover_max = Duration::from_secs(20);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(toml::from_str::<ClockConfig>(&text).unwrap(), config, "{text}");
    }

    #[test]
    fn unknown_keys_and_vague_durations_are_refused() {
        let unknown = toml::from_str::<ClockConfig>("sources = []\nfail_open = true").unwrap_err();
        assert!(unknown.to_string().contains("fail_open"), "{unknown}");
        let vague = toml::from_str::<ClockConfig>("sources = []\npoll = '16'").unwrap_err();
        assert!(vague.to_string().contains("500ms"), "{vague}");
    }

    #[test]
    fn fewer_than_three_sources_refuse_and_three_warn() {
        assert!(faults(&ClockConfig::of(["a:123", "b:123"])).contains("2 time sources are too few"));
        assert_eq!(ClockConfig::of(["a:1", "b:1", "c:1"]).check().unwrap().len(), 1);
    }

    #[test]
    fn all_faults_are_listed_at_once() {
        let mut config = ClockConfig::of(["a:123", "a:123", "nowhere"]);
        config.limit = Duration::from_secs(2);
        config.startup_rounds = 1;
        let text = faults(&config);
        for part in ["listed twice", "'nowhere' is not host:port", "limit = 2s", "startup_rounds = 1"] {
            assert!(text.contains(part), "{part} missing in: {text}");
        }
    }
}
