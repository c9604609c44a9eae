//! Evidence records: no input panics, what is read is written as the same bytes, and without a root nothing verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::clock::UtcMicros;
use pechat::evidence::policy::{BUILT_IN, Policy};
use pechat::evidence::record::EvidenceRecord;
use pechat::evidence::verify::Verifier;

fuzz_target!(|data: &[u8]| {
    if let Ok(record) = EvidenceRecord::from_der(data) {
        assert_eq!(record.to_der(), data);
        let policy = Policy::parse(BUILT_IN).expect("the built-in table");
        let verifier = Verifier { roots: &[], lists: &[], policy: &policy, at: UtcMicros(i64::MAX) };
        assert!(
            verifier
                .verify(&record, &mut |hash| Ok(record.chains[0][0].tree[0]
                    .first()
                    .cloned()
                    .unwrap_or(hash.of(&[]))))
                .is_err()
        );
    }
});
