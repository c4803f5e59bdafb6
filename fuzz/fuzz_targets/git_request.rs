//! `cargo fuzz run git_request`: see `checks::git_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| checks::git_request(input));
