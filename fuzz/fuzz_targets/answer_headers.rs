//! `cargo fuzz run answer_headers`: see `checks::answer_headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::answer_headers(input));
