//! Whatever is read as the statement of a freeze or a hand-over is written as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::tenure::Statement;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.text(), data);
    }
});
