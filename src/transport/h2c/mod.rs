//! The upgrade from HTTP/1.1 to HTTP/2 on a plain connection.

pub(crate) mod offer;
pub(crate) mod upgraded;
