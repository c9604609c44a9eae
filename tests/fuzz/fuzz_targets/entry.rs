//! Whatever is an entry encodes to the same bytes, and its leaf is theirs.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::entry::Entry;
use pechat::journal::tree::leaf_hash;

fuzz_target!(|data: &[u8]| {
    if let Ok(entry) = Entry::decode(data) {
        assert_eq!(entry.encode(), data);
        assert_eq!(entry.leaf(), leaf_hash(data));
    }
});
