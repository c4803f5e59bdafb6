//! `cargo fuzz run connection`: see `checks::connection`. Beyond that, no input may take much memory while it is dealt with.

#![no_main]

/// How much the most that this process has ever held may grow by one input of some kilobytes, in bytes.
const MOST: u64 = 64 << 20;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let before = peak();
    checks::connection(input);
    let more = peak().saturating_sub(before);
    assert!(before == 0 || more < MOST, "{more} bytes more");
});

/// The most memory that this process has held so far, in bytes; 0 where the system doesn't say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kilobytes.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) << 10
}
