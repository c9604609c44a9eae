#![no_main]
use libfuzzer_sys::fuzz_target;
use pechat::identifier::Number;

// Whatever is accepted is written back as it came.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(number) = Number::parse(text) {
        assert_eq!(number.to_string(), text);
    }
});
