//! `cargo fuzz run bundle`: see `checks::bundle`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::bundle(input));
