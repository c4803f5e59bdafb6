//! [`Protocols`]: how hyper is to speak HTTP.

use hyper::server::conn::http2;
use hyper_util::{rt::TokioTimer, server::conn::auto};

use super::inline::Inline;

/// The largest request head over HTTP/1.1, in bytes; larger ones get 431.
const MAX_HEAD: usize = 32 << 10;
/// The largest request head over HTTP/2, decoded, in bytes.
const MAX_HEADER_LIST: u32 = 32 << 10;
/// How many requests may be under way on a connection over HTTP/2: as many as cargo multiplexes, some 200, and fewer where the memory for clients has no
/// room for that many on each connection. What isn't under way waits with the client, which costs nothing here; a request for which there is no memory
/// has to be refused. Not fewer than 100: libcurl and hyper send as many before they have been told.
const MAX_STREAMS: [u32; 3] = [256, 128, 100];
/// The same for a new connection when there are thousands: what HTTP/2 keeps ready for each request, some 400 bytes, isn't given back before the
/// connection ends.
const MAX_STREAMS_OF_MANY: u32 = 32;
/// How many connections are that many.
const MANY: i64 = 1000;
/// The part of the memory for clients that the requests of all connections may fill if each had come last. Those that came earlier were given more.
const LAST_SHARE: usize = 4;
/// How much a client may send of a body before anybody has looked at its request, in bytes: as little as HTTP/2 allows, because no request has one.
const WINDOW: u32 = 65_535;

/// How hyper is to speak HTTP.
pub(super) struct Protocols {
    /// For how many requests at once on a connection, the most first.
    levels: [(u32, Builders); MAX_STREAMS.len()],
    many: Builders,
    /// How many requests the connections may have under way, all together, if each had come last.
    requests: usize,
}

/// How it is to speak on one connection.
pub(super) struct Builders {
    /// HTTP/1.1, or HTTP/2 if the client begins with its magic.
    pub(super) any: auto::Builder<Inline>,
    /// HTTP/2 after an upgrade.
    pub(super) only_http2: http2::Builder<Inline>,
}

impl Protocols {
    /// With this layer's limits, and memory for so many requests.
    pub(super) fn new(requests: usize) -> Self {
        Self {
            levels: MAX_STREAMS.map(|streams| (streams, Builders::new(streams))),
            many: Builders::new(MAX_STREAMS_OF_MANY),
            requests: requests / LAST_SHARE,
        }
    }

    /// For one more connection, with so many open.
    pub(super) fn with(&self, connections: i64) -> &Builders {
        if connections > MANY {
            return &self.many;
        }
        let connections = usize::try_from(connections).unwrap_or(0).max(1);
        let share = self.requests / connections;
        let fits = |(streams, _): &&(u32, Builders)| *streams as usize <= share;
        let [.., (_, fewest)] = &self.levels;
        let found = self.levels.iter().find(fits);
        found.map_or(fewest, |(_, builders)| builders)
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
