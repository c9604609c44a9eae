//! Whatever is read as a single receipt is written as the same text; what is bent is never verified.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::receipt::{parse_single, single_text};
use pechat::journal::verify::{Trust, verify_receipt};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(r) = parse_single(text) {
        assert_eq!(single_text(&r.entry, &r.journal_path, &r.proof), text);
    }
    let _ = verify_receipt(text, &Trust::default());
});
