//! `cargo fuzz run gunzip`: see `checks::gunzip`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::gunzip(input));
