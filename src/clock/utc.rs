//! UTC as the product writes it: microseconds inside, ISO 8601 and GeneralizedTime outside.

use serde::{Deserialize, Serialize};

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// UTC, microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct UtcMicros(pub i64);

impl UtcMicros {
    /// `2026-11-24T10:00:00.123Z`, milliseconds, truncated.
    pub fn iso8601(self) -> String {
        let c = self.civil();
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.milli
        )
    }

    /// DER GeneralizedTime, `20261124100000.12Z`: milliseconds, truncated, no trailing zeros
    /// and no fraction when it is zero (RFC 3161 section 2.4.2, X.690 section 11.7).
    pub fn generalized_time(&self) -> String {
        let c = self.civil();
        let whole =
            format!("{:04}{:02}{:02}{:02}{:02}{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second);
        if c.milli == 0 {
            return format!("{whole}Z");
        }
        let fraction = format!("{:03}", c.milli);
        format!("{whole}.{}Z", fraction.trim_end_matches('0'))
    }

    /// Whole milliseconds since 1970, truncated towards the past.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// 00:00:00 UTC of the first day of the next month: where a leap second may be put (RFC 5905 section 7.3).
    pub fn end_of_month(self) -> UtcMicros {
        let c = self.civil();
        let (year, month) = if c.month == 12 { (c.year + 1, 1) } else { (c.year, c.month + 1) };
        UtcMicros(days_from_civil(year, month, 1) * SECONDS_PER_DAY * MICROS_PER_SECOND)
    }

    fn civil(self) -> Civil {
        let seconds = self.0.div_euclid(MICROS_PER_SECOND);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
        Civil {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            milli: self.0.rem_euclid(MICROS_PER_SECOND) / 1000,
        }
    }
}

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    milli: i64,
}

/// Proleptic Gregorian date of a day number; years are counted from 1 March so that the leap day comes last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    year.div_euclid(400) * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24T10:00:00Z.
    const TEN_OCLOCK: i64 = 1_795_514_400_000_000;

    #[test]
    fn iso_8601_has_three_digits_and_truncates() {
        assert_eq!(UtcMicros(TEN_OCLOCK).iso8601(), "2026-11-24T10:00:00.000Z");
        assert_eq!(UtcMicros(TEN_OCLOCK + 123_999).iso8601(), "2026-11-24T10:00:00.123Z");
        assert_eq!(UtcMicros(-1).iso8601(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn generalized_time_drops_trailing_zeros_and_an_empty_fraction() {
        assert_eq!(UtcMicros(TEN_OCLOCK).generalized_time(), "20261124100000Z");
        assert_eq!(UtcMicros(TEN_OCLOCK + 999).generalized_time(), "20261124100000Z");
        assert_eq!(UtcMicros(TEN_OCLOCK + 120_000).generalized_time(), "20261124100000.12Z");
        assert_eq!(UtcMicros(TEN_OCLOCK + 100_000).generalized_time(), "20261124100000.1Z");
        assert_eq!(UtcMicros(TEN_OCLOCK + 7_900).generalized_time(), "20261124100000.007Z");
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        let mut expected = (1970, 1, 1);
        for day in 0..146_097 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!((y, m, d), expected);
            assert_eq!(days_from_civil(y, m, d), day);
            let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
            let last = match m {
                2 => 28 + i64::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (d == last, m == 12) {
                (false, _) => (y, m, d + 1),
                (true, false) => (y, m + 1, 1),
                (true, true) => (y + 1, 1, 1),
            };
        }
    }

    #[test]
    fn a_month_ends_where_the_next_begins() {
        assert_eq!(UtcMicros(TEN_OCLOCK).end_of_month().iso8601(), "2026-12-01T00:00:00.000Z");
        let december = UtcMicros(TEN_OCLOCK).end_of_month();
        assert_eq!(december.end_of_month().iso8601(), "2027-01-01T00:00:00.000Z");
    }
}
