#![no_main]
use libfuzzer_sys::fuzz_target;

// Whatever is taken as a DER request re-encodes to exactly the bytes that came.
fuzz_target!(|data: &[u8]| {
    if let Ok(request) = pechat::certificate::request::parse(data) {
        let der = request.to_der().expect("a request that was read can be written");
        assert!(data.starts_with(b"-----") || der == data);
        assert!(pechat::certificate::request::parse(&der).is_ok());
    }
});
