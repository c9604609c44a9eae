//! Whatever is read as a tile's name is written as the same text, and stays within what trees can have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::tile_name::TileName;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Some(name) = TileName::parse(text) else { return };
    assert_eq!(name.to_string(), text);
    assert!((1..=256).contains(&name.width));
    assert!(!text.contains("..") && !text.contains('%'));
    if let Some(leaves) = name.needs() {
        assert!(name.is_of(leaves));
        assert!(!name.is_of(leaves - 1));
    }
});
