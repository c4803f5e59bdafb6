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
mod logs;
mod names;
mod one_connection;
mod one_fetch;
mod pages;
mod precedence;
mod process;
mod settings;
mod sparse_index;
mod startup;
mod support;
mod validators;
