//! `cargo fuzz run lockfile`: see `checks::lockfile`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::lockfile(input));
