//! The `crate-mirror` program; all of it is in the library.

fn main() -> std::process::ExitCode {
    crate_mirror::cli::run()
}

/// What a stampede of clients asks for is beyond the sizes that glibc keeps at hand for each thread, and looking for such room was over a quarter of the
/// server's time; musl's allocator is slower still.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How jemalloc is to keep house, so that the process stays below `memory.budget` and 100 MB. It looks for this by name; the environment's
/// `_RJEM_MALLOC_CONF` goes before it.
///
/// It would have four heaps for each processor, and keep what large bodies took for ten seconds, and per thread as well. A thread of its own gives memory
/// back to the system: otherwise that would be left to who asks for memory next, and nobody may. On a busy machine that thread can come late, and what one
/// request has let go of and the next one has taken would be there twice. So blocks from 128 KiB on don't wait for it.
#[cfg(all(target_os = "linux", feature = "jemalloc"))]
#[expect(
    unsafe_code,
    reason = "the name is jemalloc's, and this is of the form it reads there: a pointer to text that ends in a zero"
)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_SETTINGS: &std::ffi::c_char = {
    const SETTINGS: &std::ffi::CStr = match cfg!(target_env = "musl") {
        // There it can't have a thread, and ends the process when it is told to.
        true => c"narenas:2,dirty_decay_ms:300,muzzy_decay_ms:0,lg_tcache_max:12,oversize_threshold:131072",
        false => {
            c"narenas:2,dirty_decay_ms:300,muzzy_decay_ms:0,lg_tcache_max:12,oversize_threshold:131072,background_thread:true"
        }
    };
    unsafe { &*SETTINGS.as_ptr() }
};
