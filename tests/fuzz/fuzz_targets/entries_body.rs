//! A body that is read as an entries request is written and read back as the same request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::http::entries::{MOST, parse_entries};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = parse_entries(data) {
        assert!((1..=MOST).contains(&request.submissions.len()));
        assert_eq!(parse_entries(&request.to_json()), Ok(request));
    }
});
