//! Whatever is read as the statement of a renewal is written as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::evidence::renewal::Statement;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.text(), data);
        assert_eq!(statement.renewal.check(), Ok(()));
    }
});
