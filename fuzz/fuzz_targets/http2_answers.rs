#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| weir::fuzzing::run("http2_answers", input));
