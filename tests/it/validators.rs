//! What cargo has it needn't fetch again: index files carry validators, and whoever repeats them gets a 304. HEAD tells what GET would.

use std::time::{Duration, SystemTime};

use crate::support::{Connection, Headers, Mirror, Package, Reply, Upstream, client};

const INDEX: &str = "/index/se/rd/serde";
const CRATE: &str = "/api/v1/crates/serde/1.0.0/download";

async fn serde() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .start()
        .await
}

fn etag(reply: &Reply) -> &str {
    reply.header("etag").expect("an ETag")
}

fn last_modified(reply: &Reply) -> SystemTime {
    let date = reply.header("last-modified").expect("a Last-Modified");
    httpdate::parse_http_date(date).expect("an HTTP date")
}

/// Without either header cargo never asks conditionally, and downloads the file each time.
#[tokio::test]
async fn every_index_answer_has_a_weak_etag_and_a_date_whatever_upstream_sends() {
    for upstream in [
        Upstream::new(),
        Upstream::new().weak_etag(),
        Upstream::new().strong_etag(),
        Upstream::new().last_modified(),
        Upstream::new().no_validators(),
        Upstream::new().no_validators().chunked(),
    ] {
        let upstream = upstream.publish(Package::new("serde", "1.0.0"));
        let upstream = upstream.start().await;
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        let first = mirror.get(INDEX).await;
        let tag = etag(&first).to_owned();
        assert!(tag.starts_with("W/\"") && tag.ends_with('"') && tag.is_ascii());
        let date = last_modified(&first);
        assert!(date <= SystemTime::now());
        let again = mirror.get(INDEX).await;
        assert_eq!((etag(&again), last_modified(&again)), (&*tag, date));
        let mirror = mirror.restart().await;
        let later = mirror.get(INDEX).await;
        assert_eq!((etag(&later), last_modified(&later)), (&*tag, date));
        upstream.on_everything().fail(500);
        let stale = mirror.get(INDEX).await;
        assert_eq!(stale.header("x-cache"), Some("stale"));
        assert_eq!((etag(&stale), last_modified(&stale)), (&*tag, date));
    }
}

#[tokio::test]
async fn a_repeated_etag_gets_a_304_in_every_spelling() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).start().await;
    let whole = mirror.get(INDEX).await;
    let tag = etag(&whole);
    let strong = tag.strip_prefix("W/").expect("a weak tag");
    for value in [
        tag,
        strong,
        "*",
        &format!("\"other\", {tag}"),
        &format!("{strong},W/\"x,y\""),
        &format!("\"a\" , \"b,c\" ,  {tag} "),
    ] {
        let reply = mirror.get_with(INDEX, &[("if-none-match", value)]).await;
        assert_eq!(reply.status, 304, "{value}");
        assert_eq!(reply.header("etag"), Some(tag), "{value}");
        let date = whole.header("last-modified");
        assert_eq!(reply.header("last-modified"), date, "{value}");
        assert_eq!(reply.header("vary"), whole.header("vary"), "{value}");
        assert_eq!(reply.header("x-cache"), Some("hit"), "{value}");
        assert!(reply.body.is_empty(), "{value}");
        // A length would be that of a body that doesn't come.
        assert_ne!(reply.header("content-length"), Some("0"), "{value}");
        assert_eq!(reply.header("transfer-encoding"), None, "{value}");
    }
    for value in ["\"other\"", "W/\"other\"", "", "nonsense", &tag[2..8]] {
        let reply = mirror.get_with(INDEX, &[("if-none-match", value)]).await;
        assert_eq!((reply.status, reply.body), (200, whole.body.clone()));
    }
    let tags = [("if-none-match", "\"other\""), ("if-none-match", tag)];
    assert_eq!(mirror.get_with(INDEX, &tags).await.status, 304, "two lines");
}

#[tokio::test]
async fn a_repeated_date_gets_a_304() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).start().await;
    let whole = mirror.get(INDEX).await;
    let date = last_modified(&whole);
    let at = |date| httpdate::fmt_http_date(date);
    let second = Duration::from_secs(1);
    for (since, status) in [
        (at(date), 304),
        (at(date + second), 304),
        (at(date - second), 200),
        ("yesterday".to_owned(), 200),
        (String::new(), 200),
    ] {
        let headers = [("if-modified-since", &*since)];
        let reply = mirror.get_with(INDEX, &headers).await;
        assert_eq!(reply.status, status, "{since}");
        assert_eq!(reply.header("etag"), whole.header("etag"), "{since}");
        assert_eq!(reply.body.is_empty(), status == 304, "{since}");
    }
    let other = [
        ("if-none-match", "\"other\""),
        ("if-modified-since", &*at(date)),
    ];
    assert_eq!(mirror.get_with(INDEX, &other).await.status, 200, "tags win");
}

#[tokio::test]
async fn a_new_version_changes_the_etag_and_the_date() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let old = mirror.get(INDEX).await;
    upstream.publish(Package::new("serde", "1.0.1"));
    let headers = [("if-none-match", etag(&old))];
    let new = mirror.get_with(INDEX, &headers).await;
    assert_eq!(
        (new.status, new.text()),
        (200, upstream.index_file("serde"))
    );
    assert_ne!(etag(&new), etag(&old));
    assert!(last_modified(&new) > last_modified(&old));
}

/// A server whose files all have one date, as some deployments have it, used to keep new versions from whoever asks by date.
#[tokio::test]
async fn a_new_version_changes_the_date_although_upstreams_stands_still() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let package = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().no_validators().publish(package);
    let upstream = upstream.start().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let dated = |upstream: &Upstream| {
        let lines = upstream.index_file("serde");
        let headers = [("last-modified", DATE)];
        upstream.on(INDEX).fail_with(200, &headers, lines)
    };
    let rule = dated(&upstream);
    let mut date = mirror
        .get(INDEX)
        .await
        .header("last-modified")
        .map(str::to_owned);
    assert_eq!(date.as_deref(), Some(DATE));
    rule.lift();
    for version in ["1.0.1", "1.0.2"] {
        upstream.publish(Package::new("serde", version));
        let rule = dated(&upstream);
        let since = date.expect("a date");
        let new = mirror
            .get_with(INDEX, &[("if-modified-since", &since)])
            .await;
        assert_eq!(new.status, 200, "{version}");
        assert_eq!(new.text(), upstream.index_file("serde"));
        let now = httpdate::fmt_http_date(last_modified(&new));
        let same = mirror.get_with(INDEX, &[("if-modified-since", &now)]).await;
        assert_eq!(same.status, 304, "{version}");
        date = Some(now);
        rule.lift();
    }
}

/// The ETag is about the bytes that are served, not about what upstream calls them.
#[tokio::test]
async fn the_same_bytes_keep_their_etag_when_upstream_changes_its_own() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let old = mirror.get(INDEX).await;
    let body = upstream.index_file("serde");
    upstream
        .on_index_files()
        .fail_with(200, &[("etag", "\"quite another\"")], body);
    let headers = [("if-none-match", etag(&old))];
    assert_eq!(mirror.get_with(INDEX, &headers).await.status, 304);
}

/// config.json must reach every cargo, and the pages are about now: neither is ever a 304.
#[tokio::test]
async fn only_index_files_and_crates_are_answered_with_304() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in ["/index/config.json", "/", "/healthz"] {
        let headers = [("if-none-match", "*")];
        let reply = mirror.get_with(path, &headers).await;
        assert_eq!((reply.status, reply.complete), (200, true), "{path}");
        assert!(!reply.body.is_empty(), "{path}");
    }
    let headers = [("if-none-match", "*")];
    assert_eq!(mirror.get_with(CRATE, &headers).await.status, 304);
    let absent = mirror.get_with("/index/1/a", &headers).await;
    assert_eq!(absent.status, 404, "there is nothing that `*` could match");
}

fn sorted(headers: &Headers) -> Vec<(String, String)> {
    let own = headers.iter().filter(|(name, _)| *name != "date");
    let mut pairs: Vec<_> = own.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    pairs.sort();
    pairs
}

#[tokio::test]
async fn head_tells_what_get_would_and_sends_no_body() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).start().await;
    for path in [
        INDEX,
        CRATE,
        "/index/config.json",
        "/",
        "/healthz",
        "/readyz",
        "/index/1/a",
        "/index/nonsense",
        "/api/v1/crates/serde/9.9.9/download",
        "/api/v1/crates/serde/x/download",
        "/api/v1/crates?q=serde",
        "/nothing",
    ] {
        mirror.get(path).await;
        let whole = mirror.get(path).await;
        let mut connection = Connection::open(mirror.addr()).await;
        connection.ask("HEAD", path, &[]).await.expect("sent");
        let head = connection.reply().await;
        assert_eq!(head.status, whole.status, "{path}");
        assert_eq!(sorted(&head.headers), sorted(&whole.headers), "{path}");
        let length = whole.body.len().to_string();
        assert_eq!(head.header("content-length"), Some(&*length), "{path}");
        // A body would be read as the start of the next answer.
        connection.ask("GET", "/healthz", &[]).await.expect("sent");
        assert_eq!(connection.reply().await.text(), "ok\n", "{path}");
    }
}

#[tokio::test]
async fn head_of_what_is_not_here_yet_tells_its_length_too() {
    let upstream = serde().await;
    let mirror = Mirror::of(&upstream).start().await;
    let head = client::head(mirror.addr(), CRATE, &[]).await;
    let length = upstream.crate_file("serde", "1.0.0").len().to_string();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some(&*length));
    let head = client::head(mirror.addr(), INDEX, &[]).await;
    let length = upstream.index_file("serde").len().to_string();
    assert_eq!(head.header("content-length"), Some(&*length));
    let headers = [("if-none-match", etag(&head))];
    let unchanged = client::head(mirror.addr(), INDEX, &headers).await;
    assert_eq!(unchanged.status, 304);
}
