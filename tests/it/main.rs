//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod chaos;
mod found_by_chaos;
mod layers;
mod one_fetch;
mod support;
