//! Generated register records, so that the demonstration has something to seal. No real data.

use std::fmt::Write as _;

/// Records the demonstration seals unless it is given a file.
pub const USUAL: usize = 10_000;

/// JSON Lines: changes in an invented land register; the same text for the same `count`.
pub fn generated(count: usize) -> String {
    const TOWNS: [&str; 6] = ["Sofia", "Plovdiv", "Varna", "Burgas", "Podgorica", "Bar"];
    const ACTS: [&str; 4] = ["entry", "change", "extract", "mortgage"];
    let mut text = String::with_capacity(count * 120);
    for i in 0..count {
        let (town, act) = (TOWNS[i % TOWNS.len()], ACTS[i / 7 % ACTS.len()]);
        let _ = writeln!(
            text,
            r#"{{"record":{number},"act":"{act}","parcel":"{a:05}.{b:03}.{c}","town":"{town}","area_m2":{area}}}"#,
            number = i + 1,
            a = 10_000 + i * 37 % 89_999,
            b = i % 997,
            c = i % 31,
            area = 120 + i * 13 % 4_000,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_generated_record_is_one_line_of_json() {
        let text = generated(1_000);
        assert_eq!(text.lines().count(), 1_000);
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}
