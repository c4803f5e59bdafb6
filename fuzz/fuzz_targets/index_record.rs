//! `cargo fuzz run index_record`: see `checks::index_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::index_record(input));
