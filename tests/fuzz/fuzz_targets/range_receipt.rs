//! Whatever is read as a range receipt survives its own JSON, and judging it never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::receipt::{parse_range, parse_ranges};
use pechat::journal::verify::{Trust, verify_range};

fuzz_target!(|data: &[u8]| {
    for receipt in parse_ranges(data).into_iter().flatten() {
        assert_eq!(parse_range(receipt.to_json().as_bytes()).as_ref(), Ok(&receipt));
        let _ = verify_range(&receipt, &Trust::default());
    }
});
