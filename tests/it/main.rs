//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod bad_days;
mod circuit;
mod corrupt_store;
mod crate_files;
mod download_urls;
mod evict_and_verify;
mod failing_disk;
mod index_lines;
mod keeps_within;
mod layers;
mod like_crates_io;
mod one_fetch;
mod other_commands;
mod over_http2;
mod real_crates_io;
mod refresh;
mod registries;
mod registry_changes;
mod retries;
mod served_again;
mod stale;
mod status_page;
mod support;
mod unread_output;
mod unverified_bytes;
mod unverified_crates;
