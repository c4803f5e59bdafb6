//! `cargo fuzz run toolchain`: see `checks::toolchain`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::toolchain(input));
