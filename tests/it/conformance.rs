//! What the RFCs of HTTP/1.1 (9110, 9112) and HTTP/2 (9113) require of a server, case by case, with the section each comes from.
//!
//! HTTP/2 is tried both ways in: known beforehand, and after an upgrade. What the server must survive rather than answer is in `bad_frames`,
//! `bad_framing` and `bad_requests`.

use std::time::Duration;

use crate::support::{Connection, Fortress, Frame, Frames, Reply, frames};
use frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PRIORITY,
    PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, WITH_PRIORITY, block, frame, response_in,
};

const INDEX: &str = "/index/se/rd/serde";
const CRATE: &str = "/api/v1/crates/serde/1.0.0/download";

// RFC 9113, section 7.
const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const REFUSED_STREAM: u32 = 7;
const COMPRESSION_ERROR: u32 = 9;

/// The fields of a lawful request.
const REQUEST: [(&str, &str); 4] = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "h"),
    (":path", "/healthz"),
];

/// HEADERS of one request with these fields, which ends with it.
fn asks(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(fields))
}

/// The same for a request whose body is still to come.
fn begins(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(fields))
}

fn lawful(stream: u32) -> Vec<u8> {
    asks(stream, &REQUEST)
}

fn with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [&REQUEST[..], more].concat()
}

/// The lawful request without that field.
fn without(name: &str) -> Vec<(&'static str, &'static str)> {
    let mut fields = REQUEST.to_vec();
    fields.retain(|(n, _)| *n != name);
    fields
}

fn setting(id: u8, value: u32) -> Vec<u8> {
    let payload = [&[0, id], &value.to_be_bytes()[..]].concat();
    frame(SETTINGS, 0, 0, &payload)
}

/// Both ways in, each with the first stream that is free.
async fn ways_in(fortress: &Fortress) -> [(Frames, u32); 2] {
    let addr = fortress.mirror.addr();
    let mut upgraded = Frames::upgrade(addr, INDEX).await;
    assert_eq!(upgraded.response(1).await.status, 200);
    [(Frames::begin(addr).await, 1), (upgraded, 3)]
}

/// How far an error goes (section 5.4).
#[derive(Clone, Copy, Debug)]
enum Error {
    /// The connection ends.
    Connection,
    /// A stream ends, or the connection: a server may always take an error for the graver one.
    Stream,
}

/// The error code that ends `stream` or the connection; none when it ends without one.
async fn error(client: &mut Frames, stream: u32) -> Option<(Error, u32)> {
    let ends = |f: &Frame| f.kind == GOAWAY || f.kind == RST_STREAM && f.stream == stream;
    let seen = client.until(ends).await;
    let last = seen.last().filter(|f| ends(f))?;
    let (error, at) = match last.kind {
        GOAWAY => (Error::Connection, 4),
        _ => (Error::Stream, 0),
    };
    let code = last.payload[at..].first_chunk().expect("a code");
    Some((error, u32::from_be_bytes(*code)))
}

type Case = (&'static str, fn(u32) -> Vec<u8>, Error, &'static [u32]);

/// The code that the RFC asks for, or PROTOCOL_ERROR, which h2 sends for everything that its frame reader refuses.
fn is_right(code: u32, codes: &[u32]) -> bool {
    codes.contains(&code) || code == PROTOCOL_ERROR
}

async fn all_are_errors(cases: &[Case]) {
    let fortress = Fortress::new().await;
    let mut wrong = Vec::new();
    for (what, bytes, expected, codes) in cases {
        for (mut client, stream) in ways_in(&fortress).await {
            client.send_bytes(&bytes(stream)).await;
            let found = error(&mut client, stream).await;
            let right = match (found, expected) {
                (Some((Error::Connection, code)), _)
                | (Some((Error::Stream, code)), Error::Stream) => is_right(code, codes),
                (Some((Error::Stream, _)), Error::Connection) | (None, _) => false,
            };
            if !right {
                wrong.push(format!(
                    "{what}, from stream {stream}: {found:?}, expected {expected:?} {codes:?}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    fortress.stands().await;
}

#[tokio::test]
async fn frames_that_break_the_rules_of_http2_are_errors() {
    use Error::{Connection, Stream};
    all_are_errors(&[
        (
            "4.2: DATA larger than agreed",
            |s| [begins(s, &with(&[])), frame(DATA, 0, s, &[0; 16_385])].concat(),
            Stream,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "4.2: HEADERS larger than agreed",
            |s| frame(HEADERS, 5, s, &[0; 16_385]),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "4.3: no HPACK",
            |s| frame(HEADERS, 5, s, &[0xff; 5]),
            Connection,
            &[COMPRESSION_ERROR],
        ),
        (
            "4.3: an index that nobody set",
            |s| frame(HEADERS, 5, s, &[0xfe]),
            Connection,
            &[COMPRESSION_ERROR],
        ),
        (
            "4.3: another frame within a header block",
            |s| {
                [
                    frame(HEADERS, END_STREAM, s, &block(&REQUEST)),
                    frame(PRIORITY, 0, s, &[0; 5]),
                ]
                .concat()
            },
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "4.3: another stream within a header block",
            |s| {
                [
                    frame(HEADERS, END_STREAM, s, &block(&REQUEST)),
                    lawful(s + 2),
                ]
                .concat()
            },
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1: DATA on an idle stream",
            |s| frame(DATA, END_STREAM, s, b"x"),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1: RST_STREAM on an idle stream",
            |s| frame(RST_STREAM, 0, s, &[0; 4]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1: WINDOW_UPDATE on an idle stream",
            |s| frame(WINDOW_UPDATE, 0, s, &[0, 0, 0, 1]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1: CONTINUATION of nothing",
            |s| frame(CONTINUATION, END_HEADERS, s, &block(&REQUEST)),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1: DATA after the end of a stream",
            |s| [lawful(s), frame(DATA, END_STREAM, s, b"x")].concat(),
            Stream,
            &[STREAM_CLOSED],
        ),
        (
            "5.1: HEADERS after the end of a stream",
            |s| [lawful(s), lawful(s)].concat(),
            Stream,
            &[STREAM_CLOSED, PROTOCOL_ERROR],
        ),
        (
            "5.1.1: a stream of the server's",
            |_| lawful(2),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "5.1.1: a stream behind one that was passed over",
            |s| [lawful(s + 4), lawful(s + 2)].concat(),
            Connection,
            &[PROTOCOL_ERROR, STREAM_CLOSED],
        ),
        (
            "6.1: DATA on no stream",
            |_| frame(DATA, END_STREAM, 0, b"x"),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.1: more padding than payload",
            |s| {
                [
                    begins(s, &with(&[])),
                    frame(DATA, END_STREAM | PADDED, s, &[5, 0, 0]),
                ]
                .concat()
            },
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.2: HEADERS on no stream",
            |_| lawful(0),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.2: more padding than payload",
            |s| frame(HEADERS, 5 | PADDED, s, &[9, 0x82]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.3: PRIORITY on no stream",
            |_| frame(PRIORITY, 0, 0, &[0; 5]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.4: RST_STREAM on no stream",
            |_| frame(RST_STREAM, 0, 0, &[0; 4]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.4: RST_STREAM of three bytes",
            |s| [begins(s, &with(&[])), frame(RST_STREAM, 0, s, &[0; 3])].concat(),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "6.5: an acknowledgement with settings",
            |_| frame(SETTINGS, ACK, 0, &[0; 6]),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "6.5: SETTINGS on a stream",
            |s| frame(SETTINGS, 0, s, &[]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.5: five bytes of SETTINGS",
            |_| frame(SETTINGS, 0, 0, &[0; 5]),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "6.5.2: ENABLE_PUSH of 2",
            |_| setting(2, 2),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.5.2: a window beyond its limit",
            |_| setting(4, 1 << 31),
            Connection,
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "6.5.2: frames below their limit",
            |_| setting(5, 16_383),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.5.2: frames beyond their limit",
            |_| setting(5, 1 << 24),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.6: a push to the server",
            |s| frame(PUSH_PROMISE, END_HEADERS, s, &[0, 0, 0, 2, 0x82]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.7: PING on a stream",
            |s| frame(PING, 0, s, &[0; 8]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.7: PING of six bytes",
            |_| frame(PING, 0, 0, &[0; 6]),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "6.8: GOAWAY on a stream",
            |s| frame(GOAWAY, 0, s, &[0; 8]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.9: a window of three bytes",
            |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
            Connection,
            &[FRAME_SIZE_ERROR],
        ),
        (
            "6.9: a window of nothing",
            |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
            Connection,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.9: a stream's window of nothing",
            |s| [begins(s, &with(&[])), frame(WINDOW_UPDATE, 0, s, &[0; 4])].concat(),
            Stream,
            &[PROTOCOL_ERROR],
        ),
        (
            "6.9.1: a window beyond its limit",
            |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
            Connection,
            &[FLOW_CONTROL_ERROR],
        ),
        (
            "6.9.1: a stream's window beyond its limit",
            |s| {
                [
                    begins(s, &with(&[])),
                    frame(WINDOW_UPDATE, 0, s, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
                ]
                .concat()
            },
            Stream,
            &[FLOW_CONTROL_ERROR],
        ),
    ])
    .await;
}

#[tokio::test]
async fn requests_that_http2_calls_malformed_are_reset() {
    use Error::Stream;
    const MALFORMED: &[u32] = &[PROTOCOL_ERROR];
    all_are_errors(&[
        (
            "8.2.1: a name in upper case",
            |s| asks(s, &with(&[("X-Test", "a")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.2.2: what is about connections",
            |s| asks(s, &with(&[("connection", "keep-alive")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.2.2: chunks",
            |s| asks(s, &with(&[("transfer-encoding", "chunked")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.2.2: TE but for trailers",
            |s| asks(s, &with(&[("te", "trailers, deflate")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.3: an unknown pseudo-header",
            |s| asks(s, &with(&[(":test", "a")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.3: one of a response",
            |s| asks(s, &with(&[(":status", "200")])),
            Stream,
            MALFORMED,
        ),
        (
            "8.3: one behind the others",
            |s| asks(s, &[&[("x-test", "a")], &REQUEST[..]].concat()),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: no method",
            |s| asks(s, &without(":method")),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: no scheme",
            |s| asks(s, &without(":scheme")),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: no path",
            |s| asks(s, &without(":path")),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: an empty path",
            |s| asks(s, &[&without(":path")[..], &[(":path", "")]].concat()),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: two methods",
            |s| asks(s, &[&[(":method", "GET")], &REQUEST[..]].concat()),
            Stream,
            MALFORMED,
        ),
        (
            "8.3.1: two paths",
            |s| asks(s, &[&REQUEST[..], &[(":path", "/")]].concat()),
            Stream,
            MALFORMED,
        ),
        (
            "8.1.1: less than its length",
            |s| {
                [
                    begins(s, &with(&[("content-length", "5")])),
                    frame(DATA, END_STREAM, s, b"x"),
                ]
                .concat()
            },
            Stream,
            MALFORMED,
        ),
    ])
    .await;
}

/// What is sent, from which stream on.
type Lawful = (&'static str, fn(u32) -> Vec<u8>);

#[tokio::test]
async fn what_http2_allows_is_answered() {
    let fortress = Fortress::new().await;
    let cases: &[Lawful] = &[
        ("a request", lawful),
        ("4.1: an unknown frame", |s| {
            [
                frame(0xbe, 0xff, s, b"?"),
                frame(0xbe, 0, 0, b""),
                lawful(s),
            ]
            .concat()
        }),
        ("4.1: unknown flags", |s| {
            frame(HEADERS, 5 | 0x40 | 0x02, s, &block(&REQUEST))
        }),
        ("4.1: the reserved bit", |s| {
            frame(HEADERS, 5, s | 1 << 31, &block(&REQUEST))
        }),
        ("4.3: a header block in pieces", |s| {
            let block = block(&REQUEST);
            let (first, rest) = block.split_at(7);
            let (second, third) = rest.split_at(1);
            [
                frame(HEADERS, END_STREAM, s, first),
                frame(CONTINUATION, 0, s, second),
                frame(CONTINUATION, 0, s, b""),
                frame(CONTINUATION, END_HEADERS, s, third),
            ]
            .concat()
        }),
        ("5.1: priorities of streams that are idle and closed", |s| {
            [
                frame(PRIORITY, 0, s + 8, &[0, 0, 0, 0, 9]),
                lawful(s),
                frame(PRIORITY, 0, s, &[0; 5]),
            ]
            .concat()
        }),
        ("6.2: padding", |s| {
            frame(
                HEADERS,
                5 | PADDED,
                s,
                &[&[3], &block(&REQUEST)[..], &[0; 3]].concat(),
            )
        }),
        ("6.2: a priority", |s| {
            frame(
                HEADERS,
                5 | WITH_PRIORITY,
                s,
                &[&[0, 0, 0, 0, 200], &block(&REQUEST)[..]].concat(),
            )
        }),
        ("6.5: settings nobody knows, and some twice", |s| {
            [
                setting(0xbe, 7),
                setting(1, 0),
                setting(1, 1 << 30),
                setting(6, 1 << 20),
                lawful(s),
            ]
            .concat()
        }),
        ("6.7: an answer to a PING that wasn't", |s| {
            [frame(PING, ACK, 0, &[7; 8]), lawful(s)].concat()
        }),
        ("8.2.2: TE of trailers", |s| {
            asks(s, &with(&[("te", "trailers")]))
        }),
        ("8.3.1: no authority", |s| asks(s, &without(":authority"))),
        ("8.3.1: a host and no authority", |s| {
            asks(s, &[&without(":authority")[..], &[("host", "h")]].concat())
        }),
        ("HPACK: compressed, and indexed for later", |s| {
            // RFC 7541, appendix C.4.1: a GET of http://www.example.com/, with its authority kept; and again with it from the table.
            let first = b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
            [
                frame(HEADERS, 5, s, first),
                frame(HEADERS, 5, s + 2, b"\x82\x86\x84\xbe"),
            ]
            .concat()
        }),
        ("HPACK: a smaller table", |s| {
            frame(HEADERS, 5, s, &[&[0x20], &block(&REQUEST)[..]].concat())
        }),
    ];
    for (what, bytes) in cases {
        for (mut client, stream) in ways_in(&fortress).await {
            client.send_bytes(&bytes(stream)).await;
            let seen = client
                .until(|f| f.stream == stream && f.ends_stream() || f.kind == GOAWAY)
                .await;
            assert!(
                seen.last().is_some_and(|f| f.kind != GOAWAY),
                "{what}: {seen:?}"
            );
            assert_eq!(response_in(&seen, stream).status, 200, "{what}");
            // The connection is as good as before.
            client.ask(stream + 10, "GET", "h", INDEX).await;
            assert_eq!(client.response(stream + 10).await.status, 200, "{what}");
            let pong = client.ping().await;
            assert!(!pong.iter().any(|f| f.kind == GOAWAY), "{what}: {pong:?}");
        }
    }
    fortress.stands().await;
}

/// Section 5.1: a client may still be sending about a stream when it hears that it is closed.
#[tokio::test]
async fn late_words_about_a_closed_stream_are_passed_over() {
    let fortress = Fortress::new().await;
    for (mut client, stream) in ways_in(&fortress).await {
        client.send_bytes(&lawful(stream)).await;
        client.response(stream).await;
        client.send(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 9]).await;
        client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]).await;
        client.send(PRIORITY, 0, stream, &[0; 5]).await;
        let pong = client.ping().await;
        assert!(!pong.iter().any(|f| f.kind == GOAWAY), "{pong:?}");
    }
    fortress.stands().await;
}

/// Section 6.9: not a byte more than the client has room for, also when it changes its mind.
#[tokio::test]
async fn windows_are_kept_to_the_byte() {
    let fortress = Fortress::new().await;
    let data = |frames: &[Frame]| -> usize {
        let data = frames.iter().filter(|f| f.kind == DATA);
        data.map(|f| f.payload.len()).sum()
    };
    for (mut client, stream) in ways_in(&fortress).await {
        client.send_bytes(&setting(4, 3)).await;
        client.ask(stream, "GET", "h", CRATE).await;
        let mut seen = client.until(|f| f.kind == DATA).await;
        seen.extend(client.ping().await);
        assert_eq!(data(&seen), 3);
        // One less than it has used (section 6.9.2): two more make room for one.
        client.send_bytes(&setting(4, 2)).await;
        client.send(WINDOW_UPDATE, 0, stream, &[0, 0, 0, 2]).await;
        seen.extend(client.until(|f| f.kind == DATA).await);
        seen.extend(client.ping().await);
        assert_eq!(data(&seen), 4);
        client.send(WINDOW_UPDATE, 0, stream, &[0, 1, 0, 0]).await;
        seen.extend(
            client
                .until(|f| f.stream == stream && f.ends_stream())
                .await,
        );
        let file = fortress.upstream.crate_file("serde", "1.0.0");
        assert!(response_in(&seen, stream).body == file, "other bytes");
    }
    fortress.stands().await;
}

/// Sections 5.1.2 and 8.7: streams beyond the limit are refused with REFUSED_STREAM, which means that they may be asked for again.
#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_answered() {
    let fortress = Fortress::new().await;
    for (mut client, first) in ways_in(&fortress).await {
        // Without a window the answers can't be sent, so the streams stay open.
        client.send_bytes(&setting(4, 0)).await;
        let streams: Vec<u32> = (0..260).map(|n| first + 2 * n).collect();
        for stream in &streams {
            client.ask(*stream, "GET", "h", INDEX).await;
        }
        let seen = client.ping().await;
        let refused: Vec<_> = seen.iter().filter(|f| f.kind == RST_STREAM).collect();
        assert!((1..=10).contains(&refused.len()), "{refused:?}");
        assert!(
            refused
                .iter()
                .all(|f| f.payload == REFUSED_STREAM.to_be_bytes()),
            "{refused:?}"
        );
        assert!(!seen.iter().any(|f| f.kind == GOAWAY));
    }
    fortress.stands().await;
}

/// Section 6.8: a client that sends GOAWAY still gets the answers to what it has asked for.
#[tokio::test]
async fn a_client_that_says_goodbye_gets_its_answers() {
    let fortress = Fortress::new().await;
    for (mut client, stream) in ways_in(&fortress).await {
        client.send_bytes(&setting(4, 0)).await;
        client.ask(stream, "GET", "h", INDEX).await;
        client.send(GOAWAY, 0, 0, &[0; 8]).await;
        client.send(WINDOW_UPDATE, 0, stream, &[0, 1, 0, 0]).await;
        assert_eq!(client.response(stream).await.status, 200);
    }
    fortress.stands().await;
}

async fn answers(fortress: &Fortress, bytes: &str, count: usize) -> Vec<Reply> {
    let mut connection: Connection = fortress.open(bytes.as_bytes()).await;
    let mut replies = Vec::new();
    for _ in 0..count {
        replies.push(connection.reply().await);
    }
    replies
}

#[tokio::test]
async fn http_1_1_says_for_whom_a_request_is() {
    let fortress = Fortress::new().await;
    for (head, expected) in [
        // RFC 9112, section 3.2.
        ("GET /healthz HTTP/1.1\r\nhost: h\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nHOST:h\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nhost: \t h \t\r\n", 200),
        ("GET /healthz HTTP/1.1\r\nhost:\r\n", 200),
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /nothing HTTP/1.1\r\n", 400),
        ("PUT /healthz HTTP/1.1\r\n", 400),
        ("GET http://h/healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("GET /nothing HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        ("GET http://h/healthz HTTP/1.1\r\nhost: h\r\n", 200),
        ("GET http://h/healthz HTTP/1.1\r\nhost: other\r\n", 200),
        ("GET /healthz HTTP/1.0\r\n", 200),
        ("GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b\r\n", 400),
        // Names don't care for their case (RFC 9110, section 5.1), methods do (section 9.1).
        (
            "GET /healthz HTTP/1.1\r\nHoSt: h\r\nCONNECTION: close\r\n",
            200,
        ),
        ("Get /healthz HTTP/1.1\r\nhost: h\r\n", 405),
        ("TRACE /healthz HTTP/1.1\r\nhost: h\r\n", 405),
    ] {
        let bytes = format!("{head}\r\n");
        let status = fortress.status(bytes.as_bytes()).await;
        assert_eq!(status, Some(expected), "{head:?}");
    }
    fortress.stands().await;
}

/// RFC 9110, sections 6.6.1, 8.6, 9.3.2, 15.4.5 and 15.5.6; RFC 9112, section 9.3.
#[tokio::test]
async fn http_1_1_answers_have_the_form_they_must_have() {
    let fortress = Fortress::new().await;
    for path in [
        INDEX,
        CRATE,
        "/index/config.json",
        "/healthz",
        "/",
        "/nothing",
    ] {
        let pair =
            format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\nGET {path} HTTP/1.1\r\nhost: h\r\n\r\n");
        let replies = answers(&fortress, &pair, 2).await;
        let [_, get] = &replies[..] else {
            panic!("two answers in order");
        };
        let head = format!("HEAD {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        let (mut stream, _) = fortress.open(head.as_bytes()).await.into_parts();
        let mut head = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut head)
            .await
            .expect("an end");
        let head = String::from_utf8(head).expect("no body");
        assert!(head.ends_with("\r\n\r\n"), "{path}: a body: {head:?}");
        for (name, value) in get.headers.iter().filter(|(name, _)| *name != "date") {
            let line = format!("\r\n{name}: {value}\r\n");
            assert!(head.contains(&line), "{path}: no {line:?} in {head:?}");
        }
        assert!(get.complete, "{path}");
        let date = get.header("date").expect("a Date");
        httpdate::parse_http_date(date).expect("a date");
        let length = get.header("content-length").expect("a length");
        assert_eq!(length, get.body.len().to_string(), "{path}");
    }
    let reply = fortress.mirror.get(INDEX).await;
    let etag = ("if-none-match", reply.header("etag").expect("an ETag"));
    let unchanged = fortress.mirror.get_with(INDEX, &[etag]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), Some(etag.1));
    let refused = format!("DELETE {INDEX} HTTP/1.1\r\nhost: h\r\n\r\n");
    let refused = &answers(&fortress, &refused, 1).await[0];
    assert_eq!(
        (refused.status, refused.header("allow")),
        (405, Some("GET, HEAD"))
    );
    fortress.stands().await;
}

/// RFC 9112, sections 9.3 and 9.6.
#[tokio::test]
async fn http_1_1_keeps_and_closes_connections_as_asked() {
    let fortress = Fortress::new().await;
    for (version, connection, kept) in [
        ("1.1", "", true),
        ("1.1", "connection: keep-alive\r\n", true),
        ("1.1", "connection: close\r\n", false),
        ("1.1", "connection: keep-alive, CLOSE\r\n", false),
        ("1.0", "", false),
        ("1.0", "connection: keep-alive\r\n", true),
    ] {
        let request = format!("GET /healthz HTTP/{version}\r\nhost: h\r\n{connection}\r\n");
        let mut client = fortress.open(request.as_bytes()).await;
        assert_eq!(client.reply().await.status, 200, "{request:?}");
        if kept {
            client.send(request.as_bytes()).await;
            assert_eq!(client.reply().await.status, 200, "{request:?}");
        } else {
            assert!(
                client.closes_within(Duration::from_secs(5)).await,
                "{request:?}"
            );
        }
    }
    fortress.stands().await;
}
