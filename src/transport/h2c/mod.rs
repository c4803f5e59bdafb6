//! The upgrade from HTTP/1.1 to HTTP/2 on a plain connection (RFC 7540, section 3.2). Some clients ask for it, cargo among them, and hyper doesn't
//! speak it.
//!
//! After our 101 the connection is handed to hyper's HTTP/2 server as if it had been HTTP/2 from the start. The server reads the magic, a
//! SETTINGS frame made from `HTTP2-Settings`, a HEADERS frame that repeats the request as stream 1, and then what the client really sends.

mod block;
mod offer;
mod preface;
mod upgraded;

pub use offer::Offer;
pub use upgraded::Upgraded;
