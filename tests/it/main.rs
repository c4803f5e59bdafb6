//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod crate_files;
mod index_lines;
mod layers;
mod like_crates_io;
mod one_fetch;
mod other_commands;
mod over_http2;
mod real_crates_io;
mod registries;
mod registry_changes;
mod status_page;
mod support;
