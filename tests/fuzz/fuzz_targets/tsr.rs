//! Answers of any authority as `pechat conformance` reads them, DER and HTTP: no input panics, and what is
//! read of a connection is the same whether or not more may come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::conformance::answer::Answer;
use pechat::conformance::take_apart;

fuzz_target!(|data: &[u8]| {
    let _ = take_apart(data);
    for head in [false, true] {
        if let Ok(Some((answer, used))) = Answer::read(data, head, false) {
            assert!(used <= data.len());
            let _ = take_apart(&answer.body);
            assert_eq!(Answer::read(data, head, true), Ok(Some((answer, used))));
        }
        let _ = Answer::all(data, head);
    }
});
