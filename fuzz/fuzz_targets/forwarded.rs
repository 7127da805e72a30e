//! Fields of one hop.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::proxy::fuzzing::forwarded(data));
