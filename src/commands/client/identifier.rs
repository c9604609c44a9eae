//! `pechat client identifier`: unique register numbers (Annex 3), one a line.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::http::{Connection, RequestError};
use super::retry::BackOff;
use super::settings::Settings;
use super::{ClientError, random};
use crate::identifier::{Number, NumberError};

const PATH: &str = "/v1/identifiers";

/// Arguments of `pechat client identifier`.
#[derive(Debug, Args)]
pub struct IdentifierArgs {
    /// How many numbers.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub count: u32,
    /// Seconds to go on asking while the appliance does not answer; numbers of lost answers stay unused.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
}

#[derive(Deserialize)]
struct Issued {
    identifiers: Vec<String>,
}

/// Asks until there is an answer; every number's check digit is checked before it is given on.
pub fn identifier(args: &IdentifierArgs, settings: &Settings) -> Result<Vec<String>, ClientError> {
    let connection = Connection::open(settings)?;
    let (begun, mut back_off) = (Instant::now(), BackOff::default());
    loop {
        match connection.post_json::<Issued>(PATH, &json!({ "count": args.count })) {
            Ok(issued) => return checked(issued, args.count),
            Err(error) if !error.may_pass() => return Err(error.into()),
            Err(last) => {
                let mut byte = [0];
                random(&mut byte)?;
                let pause = back_off.pause(last.retry_after(), byte[0]);
                if begun.elapsed() + pause > Duration::from_secs(args.timeout) {
                    return Err(ClientError::GaveUp { seconds: args.timeout, last });
                }
                std::thread::sleep(pause);
            }
        }
    }
}

fn checked(issued: Issued, count: u32) -> Result<Vec<String>, ClientError> {
    let unexpected = |reason: String| RequestError::Unexpected { url: PATH.into(), reason };
    if issued.identifiers.len() != count as usize {
        let reason = format!("{} numbers came, {count} were asked for", issued.identifiers.len());
        return Err(unexpected(reason).into());
    }
    let read = issued.identifiers.iter().map(|text| Number::parse(text));
    let bad: Option<NumberError> = read.filter_map(Result::err).next();
    bad.map_or(Ok(issued.identifiers), |error| Err(unexpected(error.to_string()).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(numbers: &[&str]) -> Issued {
        Issued { identifiers: numbers.iter().map(|n| (*n).to_owned()).collect() }
    }

    #[test]
    fn numbers_with_a_wrong_check_digit_or_of_another_count_are_not_given_on() {
        assert_eq!(checked(issued(&["2475001150024593"]), 1).unwrap(), ["2475001150024593"]);
        let said = checked(issued(&["2475001150024594"]), 1).unwrap_err().to_string();
        assert!(said.contains("2475001150024594"), "{said}");
        let said = checked(issued(&["2475001150024593"]), 2).unwrap_err().to_string();
        assert!(said.contains("1 numbers came, 2 were asked for"), "{said}");
    }
}
