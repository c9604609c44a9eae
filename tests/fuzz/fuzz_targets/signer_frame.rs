#![no_main]
//! Frames of the signer socket, from either end: whatever decodes must encode to the same bytes.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    assert!(pechat::keys::wire::reads_back(data));
});
