//! No request can do harm: whatever comes over the wire is answered or cut off, nothing hangs, nothing is written where it doesn't belong,
//! and the next request is served.

use crate::support::Fortress;

/// What can't be a name or a version, as it stands in a URL.
fn impossible_segments() -> Vec<String> {
    let mut segments: Vec<String> = [
        "..",
        ".",
        "%2e%2e",
        "%2E%2E",
        ".%2e",
        "..%2f..%2fetc",
        "a%2Fb",
        "a%2fb",
        "%2F",
        "a%5cb",
        "..%5c..",
        "a\\b",
        "%00",
        "a%00",
        "a%0ab",
        "a%0d%0ab",
        "%FF",
        "%C3%28",
        "%ED%A0%80",
        "%F0%9F%A6%80",
        "\u{1f980}",
        "%",
        "%2",
        "%zz",
        "a%20b",
        "a+b",
        "-a",
        "_a",
        "1a",
        "a.b",
        "~",
        "a:b",
        "con%3a",
        "%e2%80%ae",
        "",
    ]
    .map(String::from)
    .to_vec();
    segments.extend([65, 256, 5_000].map(|length| "a".repeat(length)));
    segments.push("%2e%2e%2f".repeat(500));
    segments
}

/// The store's paths are made of names, and upstream's URLs too: what isn't one must end here.
#[tokio::test]
async fn a_name_that_cannot_be_is_refused_and_goes_nowhere() {
    let fortress = Fortress::new().await;
    for segment in impossible_segments() {
        let path = format!("/api/v1/crates/{segment}/1.0.0/download");
        let status = fortress.get(&path).await;
        assert!(matches!(status, 400 | 404), "{status} for {path}");
        let path = format!("/registries/{segment}/index/config.json");
        let status = fortress.get(&path).await;
        assert!(matches!(status, 400 | 404), "{status} for {path}");
        for path in [
            format!("/index/{segment}"),
            format!("/index/3/a/{segment}"),
            format!("/index/{segment}/{segment}/{segment}"),
            format!("/index/se/rd/{segment}/serde"),
            format!("/{segment}/index/se/rd/serde"),
        ] {
            // Percent-encoding a name is not canonical either.
            let status = fortress.get(&path).await;
            let expected = if path.len() > 8 << 10 { 414 } else { 404 };
            assert_eq!(status, expected, "{path}");
        }
    }
    fortress.stands().await;
}

#[tokio::test]
async fn a_version_that_cannot_be_is_refused_and_goes_nowhere() {
    let fortress = Fortress::new().await;
    let mut versions = impossible_segments();
    let others = [
        "1",
        "1.0",
        "v1.0.0",
        "=1.0.0",
        "1.0.0-",
        "01.0.0",
        "*",
        "1.0.0%20",
        "1.0.0%2F..",
    ];
    versions.extend(others.map(String::from));
    versions.push(format!("1.0.0-{}", "a".repeat(145)));
    versions.push(format!("1.0.0+{}", "a".repeat(5_000)));
    for version in versions {
        let path = format!("/api/v1/crates/serde/{version}/download");
        let status = fortress.get(&path).await;
        assert!(matches!(status, 400 | 404), "{status} for {path}");
    }
    fortress.stands().await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_a_431() {
    let fortress = Fortress::new().await;
    let long = "a".repeat(40_000);
    let many = |count| "x: y\r\n".repeat(count);
    for (head, expected) in [
        (format!("host: h\r\nx: {long}\r\n"), 431),
        (format!("host: h\r\n{long}: x\r\n"), 431),
        (format!("host: h\r\n{}", many(101)), 431),
        (format!("host: h\r\n{}", many(5_000)), 431),
        (format!("host: h\r\n{}", many(99)), 200),
        (format!("host: h\r\nx: {}\r\n", "a".repeat(20_000)), 431),
        (format!("host: h\r\nx: {}\r\n", "a".repeat(16_000)), 200),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\n{head}\r\n");
        let status = fortress.status(request.as_bytes()).await;
        assert_eq!(status, Some(expected), "{} bytes", request.len());
    }
    for length in [10_000, 30_000, 40_000, 70_000, 200_000] {
        let request = format!("GET /{} HTTP/1.1\r\nhost: h\r\n\r\n", "a".repeat(length));
        let status = fortress.status(request.as_bytes()).await;
        assert!(
            matches!(status, Some(404 | 414 | 431)),
            "{status:?}: {length}"
        );
    }
    fortress.stands().await;
}

/// Without a limit, a head that never ends would be read for as long as some of it comes.
#[tokio::test]
async fn a_head_without_an_end_is_cut_off_at_its_limit() {
    let fortress = Fortress::new().await;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nhost: h\r\nx: {}",
        "a".repeat(70_000)
    );
    assert_eq!(fortress.status(request.as_bytes()).await, Some(431));
    let request = format!("GET /{}", "a".repeat(70_000));
    let status = fortress.status(request.as_bytes()).await;
    assert!(matches!(status, Some(414 | 431)), "{status:?}");
    fortress.stands().await;
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let fortress = Fortress::new().await;
    for bytes in [
        &b"\r\n\r\n\r\nnonsense\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello \r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"\0\0\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"GET  /healthz HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /healthz HTTP/1.1 \r\nhost: h\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nhost: h\r\n\r\n",
        b"GET /healthz HTTP/2.0\r\nhost: h\r\n\r\n",
        b"GET /healthz http/1.1\r\nhost: h\r\n\r\n",
        b"G\x01T /healthz HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /health\x00z HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /health\x7fz HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /health z HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET healthz HTTP/1.1\r\nhost: h\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : h\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: h\r\n folded: x\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: h\r\nx\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: h\r\nx: a\x00b\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: h\r\n: x\r\n\r\n",
    ] {
        let status = fortress.status(bytes).await;
        let shown = String::from_utf8_lossy(bytes);
        // What isn't HTTP may also be answered by closing.
        assert!(
            matches!(status, None | Some(400 | 404 | 505)),
            "{status:?}: {shown:?}"
        );
    }
    fortress.stands().await;
}

#[tokio::test]
async fn methods_nobody_knows_are_not_allowed() {
    let fortress = Fortress::new().await;
    for method in [
        "BREW",
        "get",
        "Get",
        "PRI",
        "TRACE",
        "PROPFIND",
        "M-SEARCH",
        "GETT",
        "!#$%&'*+-.^_`|~",
    ] {
        let head = format!("{method} /healthz HTTP/1.1\r\nhost: h\r\n\r\n");
        let status = fortress.status(head.as_bytes()).await;
        assert_eq!(status, Some(405), "{method}");
    }
    let long = format!(
        "{} /healthz HTTP/1.1\r\nhost: h\r\n\r\n",
        "A".repeat(10_000)
    );
    let status = fortress.status(long.as_bytes()).await;
    assert!(matches!(status, None | Some(400 | 405)), "{status:?}");
    for target in ["h:80", "serde:443", "/index/se/rd/serde", "/"] {
        let head = format!("CONNECT {target} HTTP/1.1\r\nhost: h\r\n\r\n");
        let status = fortress.status(head.as_bytes()).await;
        assert!(
            matches!(status, Some(400 | 404 | 405)),
            "{target}: {status:?}"
        );
    }
    let head = b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n";
    let status = fortress.status(head).await;
    assert!(matches!(status, Some(404 | 405)), "{status:?}");
    fortress.stands().await;
}

/// RFC 9112, section 3.2: of two `Host` headers neither can be believed, and config.json would repeat one of them.
#[tokio::test]
async fn two_hosts_are_a_bad_request() {
    let fortress = Fortress::new().await;
    for hosts in [
        "host: a\r\nhost: b",
        "host: a\r\nhost: a",
        "host: a\r\nHOST: evil",
    ] {
        let head = format!("GET /index/config.json HTTP/1.1\r\n{hosts}\r\n\r\n");
        assert_eq!(
            fortress.status(head.as_bytes()).await,
            Some(400),
            "{hosts:?}"
        );
    }
    fortress.stands().await;
}

/// RFC 9112, section 3.2.2: the target's host counts, and the `Host` header doesn't.
#[tokio::test]
async fn an_absolute_target_is_understood() {
    let fortress = Fortress::new().await;
    let head = b"GET http://other:1/index/config.json HTTP/1.1\r\nhost: h\r\n\r\n";
    let reply = fortress.send(head).await.expect("an answer");
    assert!(
        reply.text().contains("\"http://other:1/api/v1/crates\""),
        "{}",
        reply.text()
    );
    let head = b"GET http://other:1 HTTP/1.1\r\nhost: h\r\n\r\n";
    assert_eq!(fortress.status(head).await, Some(200), "the status page");
    for target in [
        "http://",
        "http:///index/config.json",
        "http://user@evil/index/config.json",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: h\r\n\r\n");
        let status = fortress.status(head.as_bytes()).await;
        assert!(
            matches!(status, None | Some(400 | 404)),
            "{target}: {status:?}"
        );
    }
    fortress.stands().await;
}
