//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod bad_days;
mod corrupt_crates;
mod corrupt_index;
mod download_urls;
mod killed;
mod layers;
mod one_fetch;
mod refresh;
mod retries;
mod served_again;
mod stale;
mod support;
mod unverified_bytes;
mod unverified_crates;
mod within_memory;
