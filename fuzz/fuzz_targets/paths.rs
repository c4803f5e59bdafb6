//! `cargo fuzz run paths`: see `checks::paths`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::paths(input));
