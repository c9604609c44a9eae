//! Statements of compromised keys: whatever is accepted reads back as the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::certificate::Statement;

fuzz_target!(|data: &[u8]| {
    if let Some((text, statement)) = std::str::from_utf8(data).ok().and_then(|t| Some((t, Statement::parse(t)?))) {
        assert_eq!(statement.to_string(), text);
    }
});
