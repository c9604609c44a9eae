//! `--from` and `--to`: which part of a journal, by entry numbers or by times.

use std::str::FromStr;

use jiff::Timestamp;

/// One end of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// An entry's sequence number.
    Number(u64),
    /// A moment.
    Time(Timestamp),
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Bound, String> {
        if let Ok(number) = text.parse() {
            return Ok(Bound::Number(number));
        }
        text.parse().map(Bound::Time).map_err(|_| {
            format!("{text:?} is neither an entry number nor a time such as 2026-01-01T00:00:00Z")
        })
    }
}

/// Query of the export endpoint for a part, without `?`; empty for the whole journal.
pub fn query(from: Option<Bound>, to: Option<Bound>) -> Result<String, String> {
    use Bound::{Number, Time};
    let wrong = || Err("--to is before --from".to_owned());
    match (from, to) {
        (None, None) => Ok(String::new()),
        (Some(Number(from)), Some(Number(to))) if to < from => wrong(),
        (Some(Time(from)), Some(Time(to))) if to < from => wrong(),
        (Some(Number(from)), None) => Ok(format!("first={from}")),
        (Some(Number(from)), Some(Number(to))) => {
            Ok(format!("first={from}&count={}", (to - from).saturating_add(1)))
        }
        (None, Some(Number(to))) => Ok(format!("first=0&count={}", to.saturating_add(1))),
        (Some(Time(from)), None) => Ok(format!("since={from}")),
        (Some(Time(from)), Some(Time(to))) => Ok(format!("since={from}&until={to}")),
        (None, Some(Time(to))) => Ok(format!("until={to}")),
        _ => Err("--from and --to are both entry numbers or both times".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(from: &str, to: &str) -> Result<String, String> {
        let bound = |text: &str| (!text.is_empty()).then(|| text.parse()).transpose();
        query(bound(from)?, bound(to)?)
    }

    #[test]
    fn bounds_become_the_query_of_the_export() {
        let (january, february) = ("2026-01-01T00:00:00Z", "2026-02-01T01:00:00+01:00");
        for (from, to, query) in [
            ("", "", ""),
            ("7", "", "first=7"),
            ("7", "7", "first=7&count=1"),
            ("", "9", "first=0&count=10"),
            (january, "", "since=2026-01-01T00:00:00Z"),
            (january, february, "since=2026-01-01T00:00:00Z&until=2026-02-01T00:00:00Z"),
            ("", february, "until=2026-02-01T00:00:00Z"),
        ] {
            assert_eq!(asked(from, to), Ok(query.to_owned()));
        }
        for (from, to) in [("9", "7"), (february, january), ("7", january), ("January", ""), ("-1", "")] {
            assert!(asked(from, to).is_err(), "{from} {to}");
        }
    }
}
