//! `cargo fuzz run router`: see `checks::router`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::router(input));
