//! Bodies of EST requests: base64 of whatever shape, then a request that is judged.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pechat::certificate::request;
use pechat::http::est::unwrapped;

fuzz_target!(|data: &[u8]| {
    if let Some(der) = unwrapped(data) {
        assert!(!der.is_empty() && der.len() <= data.len());
        let _ = request::parse(&der);
    }
});
