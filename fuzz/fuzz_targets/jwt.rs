//! `cargo fuzz run jwt`: see `checks::jwt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::jwt(input));
