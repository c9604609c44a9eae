//! Whatever is read as an export's header is written as the same bytes, and replay never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::export::ExportHeader;
use pechat::journal::verify::{Trust, verify_export};

fuzz_target!(|data: &[u8]| {
    if let Ok((header, length)) = ExportHeader::read(&mut &data[..]) {
        assert_eq!(header.text().unwrap(), &data[..length as usize]);
    }
    let _ = verify_export(data, &Trust::default());
});
