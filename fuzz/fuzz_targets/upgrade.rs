//! `cargo fuzz run upgrade`: see `checks::upgrade`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::upgrade(input));
