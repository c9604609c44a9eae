//! Any file may lie among the receipts handed in after a loss; known heads may hold anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::evidence::Evidence;
use pechat::journal::known::Known;
use pechat::journal::verify::Trust;

fuzz_target!(|data: &[u8]| {
    let _ = Evidence::default().add(data, &Trust::default());
    let mut known = Known::default();
    let text = String::from_utf8(data.to_vec()).map_err(|e| e.to_string());
    known.add("anywhere", text, "seal.example.gov", &[]);
    assert_eq!(known.heads.len() + known.doubts.len(), 1);
});
