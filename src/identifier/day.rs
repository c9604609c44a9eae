//! The national day of an instant.

use jiff::tz::TimeZone;

use crate::clock::UtcMicros;

/// A calendar day: year and day of the year, 1 to 366.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day {
    /// Four-digit year.
    pub year: i16,
    /// 1 January is 1.
    pub of_year: i16,
}

impl Day {
    /// The day in `zone` at `now`; `None` outside of the calendar.
    pub fn at(now: UtcMicros, zone: &TimeZone) -> Option<Day> {
        let local = zone.to_datetime(jiff::Timestamp::from_microsecond(now.0).ok()?);
        Some(Day { year: local.year(), of_year: local.day_of_year() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(utc: &str) -> (i16, i16) {
        let zone = TimeZone::get("Europe/Sofia").unwrap();
        let now: jiff::Timestamp = utc.parse().unwrap();
        let day = Day::at(UtcMicros(now.as_microsecond()), &zone).unwrap();
        (day.year, day.of_year)
    }

    #[test]
    fn the_day_ends_at_national_midnight_in_winter_and_in_summer() {
        assert_eq!(day("2026-11-24T21:59:59.999999Z"), (2026, 328));
        assert_eq!(day("2026-11-24T22:00:00Z"), (2026, 329));
        assert_eq!(day("2026-07-01T20:59:59.999999Z"), (2026, 182));
        assert_eq!(day("2026-07-01T21:00:00Z"), (2026, 183));
        assert_eq!(day("2026-12-31T22:00:00Z"), (2027, 1));
        assert_eq!(day("2028-12-31T12:00:00Z"), (2028, 366));
    }

    /// 29 March 2026 has 23 hours, 25 October has 25.
    #[test]
    fn days_on_which_the_clocks_change_are_one_day_each() {
        assert_eq!(day("2026-03-28T21:59:59Z"), (2026, 87));
        assert_eq!(day("2026-03-28T22:00:00Z"), (2026, 88));
        assert_eq!(day("2026-03-29T20:59:59Z"), (2026, 88));
        assert_eq!(day("2026-03-29T21:00:00Z"), (2026, 89));
        assert_eq!(day("2026-10-24T21:00:00Z"), (2026, 298));
        assert_eq!(day("2026-10-25T21:59:59Z"), (2026, 298));
        assert_eq!(day("2026-10-25T22:00:00Z"), (2026, 299));
    }
}
