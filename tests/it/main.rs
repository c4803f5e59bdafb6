//! Integration tests: the real server over real sockets, with real cargo where cargo is the judge. One file per promise.

mod any_input;
mod bad_frames;
mod bad_framing;
mod bad_requests;
mod downloads;
mod gzip;
mod h2c;
mod http2;
mod layers;
mod one_connection;
mod one_fetch;
mod sparse_index;
mod support;
mod validators;
