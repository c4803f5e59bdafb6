//! `cargo fuzz run certificate`: see `checks::certificate`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::certificate(input));
