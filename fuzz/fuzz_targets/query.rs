//! `cargo fuzz run query`: see `checks::query`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::query(input));
