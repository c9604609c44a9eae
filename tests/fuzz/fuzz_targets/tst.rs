//! Timestamp tokens as a relying party reads them: no input panics, and without a root nothing verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::timestamp::{token_info, verify_token};

fuzz_target!(|data: &[u8]| {
    if let Ok(info) = token_info(data) {
        let roots: [&[u8]; 0] = [];
        assert!(verify_token(data, info.hash, &info.imprint, &roots, None).is_err());
    }
});
