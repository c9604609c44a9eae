//! OCSP requests: what is accepted asks something, and repeats only what stands in the request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::certificate::ocsp::{MAX_QUESTIONS, OcspRequest};

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = OcspRequest::parse(data) {
        assert!((1..=MAX_QUESTIONS).contains(&request.questions.len()));
        for question in &request.questions {
            assert_eq!(question.der.first(), Some(&0x30));
            assert!(data.windows(question.der.len()).any(|part| part == question.der));
        }
        assert!(request.nonce.is_none_or(|nonce| (1..=32).contains(&nonce.len())));
    }
});
