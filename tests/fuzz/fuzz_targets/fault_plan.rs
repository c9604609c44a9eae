//! A plan that is accepted holds only what the module can do; none makes the reader panic.
#![no_main]

use fault_module::plan::Plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(plan) = Plan::parse(text) else { return };
    assert!(plan.faults.len() <= 256);
    for fault in &plan.faults {
        assert!(fault.when.every > 0 && (0.0..=1.0).contains(&fault.when.chance));
        assert!(!fault.name.is_empty() && !fault.name.contains('\n'));
        assert!(fault.calls.iter().all(|call| call.starts_with("C_")));
    }
});
