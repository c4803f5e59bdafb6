//! `cargo fuzz run headers`: see `checks::headers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::headers(input));
