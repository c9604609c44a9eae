#![no_main]
use libfuzzer_sys::fuzz_target;
use pechat::commands::client::plan::Plan;

// Whatever is accepted must be exactly what would be written.
fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(plan) = Plan::parse(text) {
        assert_eq!(plan.text(), text);
    }
});
