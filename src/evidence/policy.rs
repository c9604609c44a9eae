//! The table of algorithms: until when each is trusted. It is published anew when an algorithm ages, and the
//! verifier brings the one of his own day.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::clock::UtcMicros;

/// The table as it was when this program was built.
pub const BUILT_IN: &str = include_str!("../../docs/policy/algorithms.toml");

/// Until when each algorithm is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(BTreeMap<String, UtcMicros>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    version: u32,
    valid_until: BTreeMap<String, String>,
}

impl Policy {
    /// Reads the TOML: `version = 1` and a table `valid_until` of `name = "YYYY-MM-DD"`, the day after the last.
    pub fn parse(text: &str) -> Result<Policy, String> {
        let table: Table = toml::from_str(text).map_err(|e| format!("is no table of algorithms: {e}"))?;
        if table.version != 1 {
            return Err(format!("is of version {}; 1 is read here", table.version));
        }
        let read = |(name, day): (String, String)| Ok((name, day_start(&day)?));
        table.valid_until.into_iter().map(read).collect::<Result<_, String>>().map(Policy)
    }

    /// Whether `algorithm` is trusted at `at`; else why not.
    pub fn trusts(&self, algorithm: &str, at: UtcMicros) -> Result<(), String> {
        match self.0.get(algorithm) {
            None => Err(format!("the policy does not know {algorithm}")),
            Some(until) if at < *until => Ok(()),
            Some(until) => Err(format!("{algorithm} is trusted until {} only", until.iso8601())),
        }
    }
}

/// Midnight UTC at which a day begins.
pub fn day_start(day: &str) -> Result<UtcMicros, String> {
    let date: jiff::civil::Date = day.parse().map_err(|e| format!("{day:?} is no day: {e}"))?;
    let instant = jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0));
    instant.map(|t| UtcMicros(t.as_microsecond())).map_err(|e| format!("{day:?} is no day: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_knows_what_the_appliance_uses_itself() {
        let policy = Policy::parse(BUILT_IN).unwrap();
        let today = day_start("2026-11-24").unwrap();
        for name in ["sha256", "sha384", "sha512", "sha3-256", "sha3-512", "ecdsa-p256", "ecdsa-p384", "rsa"]
        {
            assert_eq!(policy.trusts(name, today), Ok(()), "{name}");
        }
        let unknown = policy.trusts("md5", today).unwrap_err();
        assert_eq!(unknown, "the policy does not know md5");
    }

    #[test]
    fn an_algorithm_ends_with_the_day_named() {
        let policy = Policy::parse("version = 1\n[valid_until]\nsha256 = \"2040-01-01\"\n").unwrap();
        let end = day_start("2040-01-01").unwrap();
        assert_eq!(policy.trusts("sha256", UtcMicros(end.0 - 1)), Ok(()));
        let why = policy.trusts("sha256", end).unwrap_err();
        assert_eq!(why, "sha256 is trusted until 2040-01-01T00:00:00.000Z only");
        for bad in ["version = 2\n[valid_until]\n", "version = 1\n", "version = 1\nx = 1\n[valid_until]\n"] {
            assert!(Policy::parse(bad).is_err(), "{bad}");
        }
        assert!(Policy::parse("version = 1\n[valid_until]\nsha256 = \"soon\"\n").is_err());
    }
}
