//! Whatever is read as the header of a part of a journal is written as the same bytes, replay never panics,
//! and several cores say what one says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::range_export::Preamble;
use pechat::journal::verify::{Pace, Trust, verify_export, verify_parallel};

fuzz_target!(|data: &[u8]| {
    if let Ok((header, length)) = Preamble::read(&mut &data[..]) {
        assert_eq!(header.text().unwrap(), &data[..length as usize]);
    }
    let alone = verify_export(data, &Trust::default());
    let pace = Pace { cores: 2, chunk: 2 };
    let together = verify_parallel(data, &Trust::default(), pace, &|_| false, &|_| {});
    assert_eq!(together.map(|checked| checked.facts), alone);
});
