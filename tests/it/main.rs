//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod layers;
mod one_fetch;
mod refresh;
mod stale;
mod support;
mod unverified_bytes;
mod unverified_crates;
