//! Whatever is read as head, checkpoint, charter or note is written as the same text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::journal::checkpoint::{Checkpoint, Head, open_note};
use pechat::journal::entry::Charter;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(head) = Head::parse(text) {
        assert_eq!(head.text(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.body(), text);
    }
    if let Ok(charter) = Charter::parse(text) {
        assert_eq!(charter.text(), text);
    }
    if let Ok(note) = open_note(text) {
        assert_eq!(note.checkpoint.body(), note.body);
        assert_eq!(note.text(), text);
    }
});
