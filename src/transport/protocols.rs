//! [`Protocols`]: how hyper is to speak HTTP.

use hyper::server::conn::http2;
use hyper_util::{rt::TokioTimer, server::conn::auto};

use super::inline::Inline;

/// The largest request head over HTTP/1.1, in bytes; larger ones get 431.
const MAX_HEAD: usize = 32 << 10;
/// The largest request head over HTTP/2, decoded, in bytes.
const MAX_HEADER_LIST: u32 = 32 << 10;
/// How many requests may be under way on a connection over HTTP/2. Cargo multiplexes about 200.
const MAX_STREAMS: u32 = 256;
/// The same for a new connection when there are many: what HTTP/2 keeps ready for each request, some 400 bytes, isn't given back before the connection
/// ends.
const MAX_STREAMS_OF_MANY: u32 = 32;
/// How many connections are many.
const MANY: i64 = 1000;
/// How much a client may send of a body before anybody has looked at its request, in bytes: as little as HTTP/2 allows, because no request has one.
const WINDOW: u32 = 65_535;

/// How hyper is to speak HTTP.
pub(super) struct Protocols {
    few: Builders,
    many: Builders,
}

/// How it is to speak on one connection.
pub(super) struct Builders {
    /// HTTP/1.1, or HTTP/2 if the client begins with its magic.
    pub(super) any: auto::Builder<Inline>,
    /// HTTP/2 after an upgrade.
    pub(super) only_http2: http2::Builder<Inline>,
}

impl Protocols {
    /// With this layer's limits.
    pub(super) fn new() -> Self {
        Self {
            few: Builders::new(MAX_STREAMS),
            many: Builders::new(MAX_STREAMS_OF_MANY),
        }
    }

    /// For one more connection, with so many open.
    pub(super) fn with(&self, connections: i64) -> &Builders {
        match connections > MANY {
            true => &self.many,
            false => &self.few,
        }
    }
}

impl Builders {
    fn new(max_streams: u32) -> Self {
        let mut any = auto::Builder::new(Inline);
        // Its time limit for a request's head would set a timer with every request. The stall watch has one that doesn't.
        any.http1().header_read_timeout(None).max_buf_size(MAX_HEAD);
        any.http2()
            .timer(TokioTimer::new())
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_concurrent_streams(max_streams)
            .max_header_list_size(MAX_HEADER_LIST);
        let mut only_http2 = http2::Builder::new(Inline);
        only_http2
            .timer(TokioTimer::new())
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_concurrent_streams(max_streams)
            .max_header_list_size(MAX_HEADER_LIST);
        Self { any, only_http2 }
    }
}
