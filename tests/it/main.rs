//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod downloads;
mod gzip;
mod layers;
mod one_connection;
mod one_fetch;
mod sparse_index;
mod support;
mod validators;
