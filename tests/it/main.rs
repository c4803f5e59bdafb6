//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod layers;
mod like_crates_io;
mod one_fetch;
mod support;
