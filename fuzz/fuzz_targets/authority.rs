//! Hosts and ports.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::proxy::fuzzing::authority(data));
