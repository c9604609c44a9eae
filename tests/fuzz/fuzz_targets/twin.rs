//! Whatever is read as a statement of twin roots, or as the state of the twin trees, is written as the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::twin::Statement;
use pechat::journal::twin::sha3;
use pechat::journal::twin::state::State;

fuzz_target!(|data: &[u8]| {
    if let Ok(statement) = Statement::parse(data) {
        assert_eq!(statement.text(), data);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = State::parse(text);
        // With the right check, so that what is behind it is reached.
        let line = format!("{}\n", text.lines().next().unwrap_or_default());
        if let Some(state) = State::parse(&format!("{line}{}\n", sha3(&[line.as_bytes()]))) {
            assert_eq!(State::parse(&state.text()), Some(state));
        }
    }
});
