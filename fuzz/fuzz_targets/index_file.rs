//! `cargo fuzz run index_file`: see `checks::index_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::index_file(input));
