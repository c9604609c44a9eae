//! Whatever a log sends a witness is refused or read as one thing alone: what was read is written again
//! byte for byte; and verifier keys, heads and answers in any text are judged without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::witness::VerifierKey;
use pechat::witness::cosignature::CosignerKey;
use pechat::witness::heads;
use pechat::witness::request::AddCheckpoint;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = AddCheckpoint::parse(data) {
        let text = std::str::from_utf8(data).expect("it was read as text");
        let note = text.find("\n\n").map(|at| &text[at + 2..]).expect("a blank line ends the proof");
        assert!(note.starts_with(&request.checkpoint.body));
        assert_eq!(AddCheckpoint::text(request.old, &request.proof, note), text);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
        let key = CosignerKey::from_seed("w.example", [1; 32]).expect("a seed");
        let _ = heads::parse(key.public(), text);
        let _ = CosignerKey::parse(text);
    }
});
