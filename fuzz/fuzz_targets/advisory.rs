//! `cargo fuzz run advisory`: see `checks::advisory`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::advisory(input));
