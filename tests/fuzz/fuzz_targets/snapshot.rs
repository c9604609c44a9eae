//! Snapshot and index-run files: no bytes may panic, and what is read is written back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::digest::Digest;
use pechat::journal::run;
use pechat::journal::snapshot::Snapshot;

fuzz_target!(|data: &[u8]| {
    let _ = run::check(data, data.len() as u64);
    // The hash is made right, or nothing behind it would ever be reached.
    let mut bytes = b"pchtsnp\x03".to_vec();
    bytes.extend_from_slice(data);
    let hash = Digest::of(&bytes);
    bytes.extend_from_slice(hash.as_bytes());
    if let Some(snapshot) = Snapshot::decode(&bytes) {
        assert_eq!(snapshot.encode(), bytes);
    }
});
