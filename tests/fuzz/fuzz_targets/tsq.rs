//! Timestamp queries: whatever is accepted is DER and encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::timestamp::TimestampRequest;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = TimestampRequest::parse(data) {
        assert_eq!(request.to_der(), data);
        assert_eq!(request.imprint.len(), request.hash.bytes());
    }
});
