//! Whatever comes in, nothing panics and nothing hangs: arbitrary paths, headers and bytes on the wire.

use crate_mirror::{
    http::parts::{Route, accepts_gzip, none_match},
    transport::parts::Offer,
};
use http::{HeaderMap, HeaderValue, Request};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{Fortress, fortress::LIMIT};

/// Paths that are nearly right, because they get further than random text does.
fn path() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("index".to_owned()),
        Just("registries".to_owned()),
        Just("api/v1/crates".to_owned()),
        Just("download".to_owned()),
        Just("config.json".to_owned()),
        Just("%".to_owned()),
        Just("%2e%2e%2f".to_owned()),
        Just("%ff".to_owned()),
        "[a-zA-Z0-9_-]{0,5}",
        "[0-9]\\.[0-9]\\.[0-9][-+.a-z0-9]{0,9}",
        ".{0,9}",
    ];
    let words = proptest::collection::vec(word, 0..8);
    (words, prop_oneof!["/", "", ".*"]).prop_map(|(words, first)| first + &words.join("/"))
}

proptest! {
    #[test]
    fn no_path_at_all_makes_the_router_panic(path in path()) {
        // What is found must be printable, too: a label and a debug form go into logs and metrics.
        if let Ok(route) = Route::parse(&path) {
            let _ = (format!("{route:?}"), route.label());
        }
    }

    #[test]
    fn no_header_value_makes_a_reader_of_headers_panic(bytes: Vec<u8>, etag: Vec<u8>) {
        none_match(&bytes, &etag);
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let mut headers = HeaderMap::new();
            headers.insert("accept-encoding", value.clone());
            accepts_gzip(&headers);
            let offer = Request::get("/")
                .header("host", "h")
                .header("connection", "upgrade, http2-settings")
                .header("upgrade", "h2c")
                .header("http2-settings", value.clone())
                .header("x", value);
            Offer::of(&offer.body(()).expect("a request").into_parts().0);
        }
    }
}

/// Noise, and requests with a few bytes changed, which get further.
fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let request = b"GET /readyz HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\nabc";
    let changes = proptest::collection::vec((0..request.len(), any::<u8>()), 1..6);
    let changed = changes.prop_map(|changes| {
        let mut bytes = request.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes
    });
    prop_oneof![any::<Vec<u8>>(), changed]
}

/// The mirror runs on the test's own thread, so that its panics fail the test.
#[test]
fn no_bytes_at_all_make_it_hang_or_fall() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    let fortress = runtime.block_on(Fortress::new());
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&nearly_a_request(), |bytes| {
        let ended = runtime.block_on(async {
            let (mut stream, mut received) = fortress.open(&bytes).await.into_parts();
            // Closed for writing, so that the mirror doesn't wait for the rest of an incomplete request.
            let _ = stream.shutdown().await;
            let closed = timeout(LIMIT, stream.read_to_end(&mut received));
            closed.await.is_ok()
        });
        prop_assert!(ended, "it hangs");
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(fortress.stands());
}
