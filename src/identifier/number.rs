//! The 16 digits `YYXXXXDDDNNNNNNC` of Annex 3. Pure.

use std::fmt;

use crate::identifier::Day;
use crate::journal::RequestId;

/// One number whose check digit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number([u8; 16]);

/// Four digits of the budget classifier: the owner of the numbering system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerCode([u8; 4]);

/// Why a text is no number of Annex 3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not 16 digits.
    #[error("a register number has 16 decimal digits")]
    Form,
    /// The last digit is not that of the others.
    #[error(
        "register number {number} ends in {found}, but the check digit of its other digits is {expected}"
    )]
    Check {
        /// As given.
        number: String,
        /// Its last digit.
        found: u8,
        /// What it should be.
        expected: u8,
    },
    /// Digits 7 to 9.
    #[error("register number {0} names no day of a year: digits 7 to 9 are 001 to 366")]
    Day(String),
    /// Not four digits.
    #[error("{0:?} is not an owner code: four decimal digits of the budget classifier")]
    Code(String),
}

impl TryFrom<&str> for OwnerCode {
    type Error = NumberError;
    fn try_from(text: &str) -> Result<Self, NumberError> {
        let code = <[u8; 4]>::try_from(text.as_bytes()).ok().filter(|c| c.iter().all(u8::is_ascii_digit));
        code.map(Self).ok_or_else(|| NumberError::Code(text.to_owned()))
    }
}

impl fmt::Display for OwnerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", *digit as char))
    }
}

impl Number {
    /// Of an owner, a day and the day's increment (the last six digits of it).
    pub fn new(code: OwnerCode, day: Day, increment: u32) -> Number {
        let text = format!("{:02}{code}{:03}{:06}0", day.year % 100, day.of_year, increment % 1_000_000);
        let mut digits = [b'0'; 16];
        for (digit, byte) in digits.iter_mut().zip(text.bytes()) {
            *digit = byte;
        }
        digits[15] = b'0' + check_digit(&digits);
        Number(digits)
    }

    /// Reads 16 digits; whatever is accepted displays as the same text.
    pub fn parse(text: &str) -> Result<Number, NumberError> {
        let digits = <[u8; 16]>::try_from(text.as_bytes()).map_err(|_| NumberError::Form)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(NumberError::Form);
        }
        let (found, expected) = (digits[15] - b'0', check_digit(&digits));
        if found != expected {
            return Err(NumberError::Check { number: text.to_owned(), found, expected });
        }
        let day = value(&digits[6..9]);
        if (1..=366).contains(&day) { Ok(Number(digits)) } else { Err(NumberError::Day(text.to_owned())) }
    }

    /// The request id of the record with this number: its 16 ASCII digits. No RFC 9562 UUID has such
    /// bytes, since the variant bits of octet 8 differ.
    pub fn request_id(self) -> RequestId {
        RequestId(self.0)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| write!(f, "{}", *digit as char))
    }
}

/// Annex 3: the sum of the five groups of three digits, modulo 10.
fn check_digit(digits: &[u8; 16]) -> u8 {
    let sum: u32 = digits[..15].chunks_exact(3).map(value).sum();
    (sum % 10) as u8
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "2475001150024593";

    fn changed(at: usize, digit: u8) -> String {
        let mut text = EXAMPLE.as_bytes().to_vec();
        text[at] = digit;
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_example_of_annex_3_is_made_and_read() {
        let code = OwnerCode::try_from("7500").unwrap();
        let number = Number::new(code, Day { year: 2024, of_year: 115 }, 2459);
        assert_eq!(number.to_string(), EXAMPLE);
        assert_eq!(Number::parse(EXAMPLE), Ok(number));
        assert_eq!(&number.request_id().0, EXAMPLE.as_bytes());
    }

    /// Annex 3 adds groups, and modulo 10 only the last digit of each group counts: it promises no more.
    #[test]
    fn the_check_digit_finds_every_single_error_where_it_looks_and_none_elsewhere() {
        for at in 0..16 {
            for digit in (b'0'..=b'9').filter(|d| *d != EXAMPLE.as_bytes()[at]) {
                let found = matches!(Number::parse(&changed(at, digit)), Err(NumberError::Check { .. }));
                assert_eq!(found, at % 3 == 2 || at == 15, "digit {at} to {}", digit as char);
            }
        }
    }

    /// A swap of neighbours is found if it crosses into or out of a group's last digit with a change.
    #[test]
    fn the_check_digit_finds_swapped_neighbours_that_move_a_last_digit() {
        for increment in 0..1000 {
            let code = OwnerCode::try_from("4750").unwrap();
            let text = Number::new(code, Day { year: 2026, of_year: 123 }, increment).to_string();
            for at in (0..14).filter(|at| text.as_bytes()[*at] != text.as_bytes()[at + 1]) {
                let mut swapped = text.clone().into_bytes();
                swapped.swap(at, at + 1);
                let outcome = Number::parse(std::str::from_utf8(&swapped).unwrap());
                let found = matches!(outcome, Err(NumberError::Check { .. }));
                assert_eq!(found, at % 3 != 0, "{text} at {at}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in ["", "247500115002459", "24750011500245933", "247500115002459x", "２475001150024"] {
            assert_eq!(Number::parse(bad), Err(NumberError::Form), "{bad}");
        }
        // 247 + 500 + 000 + 000 + 000 = 747
        assert_eq!(Number::parse("2475000000000007"), Err(NumberError::Day("2475000000000007".into())));
        assert!(matches!(
            Number::parse("2475003670000000"),
            Err(NumberError::Check { .. } | NumberError::Day(_))
        ));
        for bad in ["", "123", "12345", "12a4"] {
            assert!(OwnerCode::try_from(bad).is_err(), "{bad}");
        }
    }
}
