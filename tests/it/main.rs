//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod layers;
mod one_fetch;
mod seeds;
mod support;
