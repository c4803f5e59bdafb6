//! The `crate-mirror` program; all of it is in the library.

fn main() -> std::process::ExitCode {
    give_memory_back();
    crate_mirror::cli::run()
}

/// Has glibc return what large bodies took. Left alone it keeps a heap for every few threads and raises, with each body that is freed, the size up
/// to which it keeps memory for later: under load the process stood 150 MB above its memory budget; so it stays below 100 MB in all.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "measured, see above; the C function takes two numbers, and no other thread runs yet"
)]
fn give_memory_back() {
    const HEAPS: libc::c_int = 2;
    const KEPT_BELOW: libc::c_int = 128 << 10;
    const KEPT_FREE: libc::c_int = 4 << 20;
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, KEPT_BELOW);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_FREE);
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_memory_back() {}
