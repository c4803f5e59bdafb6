//! `cargo fuzz run authorization`: see `checks::authorization`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::authorization(input));
