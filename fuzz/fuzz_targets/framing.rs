//! Messages: the scanner against a naive parser, and against itself in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| weir::proxy::fuzzing::framing(data));
