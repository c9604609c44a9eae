//! Whatever is read as the statement of an epoch change is written as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::epoch::EpochChange;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = EpochChange::parse(data) {
        assert_eq!(statement.text(), data);
    }
});
