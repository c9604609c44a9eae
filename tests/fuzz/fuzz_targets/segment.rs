#![no_main]
use libfuzzer_sys::fuzz_target;
use pechat::journal::record::{Record, encode, push_section, sections};

// Decode -> encode is the identity, for a whole record and for a payload (which needs no hash to get deep).
fuzz_target!(|data: &[u8]| {
    if let Ok(record) = Record::decode(data) {
        let header = record.header;
        let mut payload = Vec::new();
        for (_, section) in &record.sections {
            push_section(&mut payload, section);
        }
        let again = encode(header.log_id, header.epoch, header.number, header.previous, &payload);
        assert_eq!(again, data[..header.total()]);
    }
    if let Ok(found) = sections(data) {
        let mut payload = Vec::new();
        for (_, section) in &found {
            push_section(&mut payload, section);
        }
        assert_eq!(payload, data);
    }
});
