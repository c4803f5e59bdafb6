//! The support's own tests: a fake that lies makes every test that leans on it lie.

use std::time::Duration;

use super::client::{self, Connection};
use super::{Bucket, Cargo, Package, Relay, Upstream, bucket::READER, sha256};

/// Three crates and a transitive dependency; the newest `b` is yanked.
async fn three_crates() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").dep("b", "^1"))
        .publish(Package::new("b", "1.0.0").dep("deep_down", "1"))
        .publish(Package::new("b", "1.1.0").yanked(true))
        .publish(Package::new("deep_down", "1.2.3").feature("std", &[]))
        .start()
        .await
}

#[tokio::test]
async fn real_cargo_builds_and_then_revalidates() {
    let upstream = three_crates().await;
    let cargo = Cargo::new(&upstream.index_url()).project(&[("a", "1")]);
    cargo.write(
        "src/main.rs",
        "fn main() { println!(\"a {}\", a::version()) }",
    );
    cargo
        .run(&["run"])
        .await
        .success()
        .stdout_contains("a 1.0.0");
    assert!(
        !cargo.lockfile().contains("1.1.0"),
        "a yanked version was picked"
    );
    assert_eq!(upstream.crate_requests().len(), 3);

    upstream.clear_log();
    upstream.publish(Package::new("b", "1.2.0"));
    cargo
        .run(&["update"])
        .await
        .success()
        .stderr_contains("b v1.0.0 -> v1.2.0");
    let index = upstream.index_requests();
    let status = |path| {
        index
            .iter()
            .find(|seen| seen.path.ends_with(path))
            .map(|seen| seen.status)
    };
    assert_eq!(status("1/a"), Some(Some(304)));
    assert_eq!(status("1/b"), Some(Some(200)));
}

#[tokio::test]
async fn index_and_crate_file_agree() {
    let upstream = three_crates().await;
    let file = client::get(upstream.addr(), &upstream.crate_path("b", "1.0.0"), &[]).await;
    let index = client::get(upstream.addr(), &upstream.index_path("b"), &[]).await;
    assert!(file.complete && index.complete);
    assert!(
        index
            .text()
            .contains(&format!("\"cksum\":\"{}\"", sha256(&file.body)))
    );
    let again = Package::new("b", "1.0.0").dep("deep_down", "1");
    assert_eq!(file.body, again.crate_file(), "packing is deterministic");
}

#[tokio::test]
async fn a_conditional_request_follows_its_etag_first() {
    let upstream = three_crates().await;
    let (addr, path) = (upstream.addr(), upstream.index_path("a"));
    let fresh = client::get(addr, &path, &[]).await;
    let etag = fresh.header("etag").expect("an etag").to_owned();
    let date = fresh.header("last-modified").expect("a date").to_owned();
    let strong = etag.trim_start_matches("W/");
    for same in [
        &[("if-none-match", strong)][..],
        &[("if-modified-since", &date)],
        &[
            ("if-none-match", &etag),
            ("if-modified-since", "Mon, 01 Jan 2001 00:00:00 GMT"),
        ],
    ] {
        let reply = client::get(addr, &path, same).await;
        assert_eq!(
            (reply.status, reply.header("etag")),
            (304, Some(&*etag)),
            "{same:?}"
        );
    }
    let other = [("if-none-match", "\"other\""), ("if-modified-since", &date)];
    assert_eq!(client::get(addr, &path, &other).await.status, 200);

    upstream.yank("a", "1.0.0");
    let changed = client::get(addr, &path, &[("if-modified-since", &date)]).await;
    assert_eq!(changed.status, 200);
    assert!(changed.text().contains("\"yanked\":true"));
}

#[tokio::test]
async fn a_cut_body_is_never_taken_for_a_whole_one() {
    let upstream = three_crates().await;
    let (addr, path) = (upstream.addr(), upstream.crate_path("a", "1.0.0"));
    upstream.on_crate_files().times(1).truncate(10);
    upstream.on_crate_files().times(1).truncate(usize::MAX);
    upstream.on_crate_files().times(1).reset_after(10);
    upstream.on_crate_files().times(1).truncate_unframed(10);
    for cut in ["ten", "one short", "reset"] {
        let reply = client::get(addr, &path, &[]).await;
        assert!(reply.status == 200 && !reply.complete, "{cut}");
    }
    let unframed = client::get(addr, &path, &[]).await;
    assert!(unframed.complete, "an unframed cut can't be seen");
    assert_eq!(unframed.body.len(), 10);
    let healthy = client::get(addr, &path, &[]).await;
    assert!(healthy.complete && healthy.body == upstream.crate_file("a", "1.0.0"));
}

#[tokio::test]
async fn faults_come_in_the_order_they_were_written() {
    let upstream = three_crates().await;
    let (addr, path) = (upstream.addr(), upstream.index_path("a"));
    upstream.on(&path).times(2).fail(503);
    upstream.on(&path).after(1).times(1).reset();
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let reply = client::try_request(addr, "GET", &path, &[]).await;
        statuses.push(reply.map_or(0, |reply| reply.status));
    }
    assert_eq!(statuses, [503, 503, 200, 0, 200]);
    assert_eq!(
        client::get(addr, &upstream.index_path("b"), &[])
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_gate_holds_until_it_opens_and_forgets_who_left() {
    let upstream = three_crates().await;
    let path = upstream.crate_path("a", "1.0.0");
    let gate = upstream.gate_after(&path, 100);
    let mut stays = Connection::open(upstream.addr()).await;
    let mut leaves = Connection::open(upstream.addr()).await;
    stays.ask("GET", &path, &[]).await.expect("ask");
    leaves.ask("GET", &path, &[]).await.expect("ask");
    gate.await_waiting(2).await;
    drop(leaves);
    assert_eq!(stays.body_so_far(100).await.len(), 100);
    assert_eq!(
        stays
            .body_until_quiet(Duration::from_millis(20))
            .await
            .len(),
        100
    );
    gate.open();
    gate.await_empty().await;
    let whole = stays.reply().await;
    assert!(whole.complete && whole.body == upstream.crate_file("a", "1.0.0"));
    assert_eq!(
        client::get(upstream.addr(), &path, &[]).await.body,
        whole.body
    );
}

#[tokio::test]
async fn a_stopped_upstream_refuses_and_comes_back_on_its_port() {
    let upstream = three_crates().await;
    let mut open = Connection::open(upstream.addr()).await;
    open.ask("GET", "/index/config.json", &[])
        .await
        .expect("ask");
    assert_eq!(open.reply().await.status, 200);
    upstream.stop().await;
    assert!(open.closes_within(Duration::from_secs(5)).await);
    let refused = Connection::try_open(upstream.addr())
        .await
        .err()
        .expect("no connection");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    upstream.restart().await;
    let reply = client::get(upstream.addr(), &upstream.index_path("a"), &[]).await;
    assert!(reply.complete && reply.text() == upstream.index_file("a"));
}

#[tokio::test]
async fn every_encoding_carries_the_same_bytes() {
    let package = Package::new("Some_Crate", "1.0.0+build").payload(300_000);
    let dl = "{base}/files/{prefix}/{lowerprefix}/{crate}-{version}-{sha256-checksum}.crate";
    let upstream = Upstream::new()
        .publish(package)
        .gzip()
        .chunked()
        .ranges()
        .dl(dl)
        .start()
        .await;
    let (addr, path) = (upstream.addr(), upstream.index_path("Some_Crate"));
    let plain = client::get(addr, &path, &[]).await;
    let gzip = client::get(addr, &path, &[("accept-encoding", "deflate, gzip")]).await;
    assert_eq!(plain.text(), upstream.index_file("some_crate"));
    assert_eq!(gzip.decoded(), plain.body);
    assert!(gzip.complete && gzip.header("content-length").is_none() && gzip.body != plain.body);

    let path = upstream.crate_path("Some_Crate", "1.0.0+build");
    assert!(
        path.starts_with("/files/So/me/so/me/Some_Crate-1.0.0+build-"),
        "{path}"
    );
    let whole = client::get(addr, &path.replace('+', "%2B"), &[]).await;
    assert_eq!(whole.body, upstream.crate_file("some_crate", "1.0.0+build"));
    let etag = whole.header("etag").expect("an etag");
    let resume = [("range", "bytes=1000-"), ("if-range", etag)];
    let rest = client::get(addr, &path, &resume).await;
    assert_eq!((rest.status, &rest.body[..]), (206, &whole.body[1000..]));
    let changed = [("range", "bytes=1000-"), ("if-range", "\"other\"")];
    assert_eq!(client::get(addr, &path, &changed).await.status, 200);
}

#[tokio::test]
async fn a_bucket_has_what_was_put_into_it_for_who_has_the_keys() {
    let bucket = Bucket::new().await;
    for n in 0..120 {
        bucket.put(&format!("a/{n:03}"), vec![n; 10]).await;
    }
    bucket.put("b/1.0.0+2", "plus").await;
    // Many pages of a list, and some objects gone from it.
    bucket.remove("a/007").await;
    assert_eq!(bucket.stored().await.len(), 120);
    assert_eq!(bucket.get("a/119").await, vec![119; 10]);
    assert_eq!(bucket.get("b/1.0.0+2").await, "plus");
    let signed = bucket.signed(http::Method::GET, "a/001").await;
    let range = [("range", "bytes=2-4")];
    let part = client::get(bucket.addr(), &signed, &range).await;
    assert_eq!((part.status, &part.body[..]), (206, &[1; 3][..]));
    // A signature is for one method and one key.
    let head = client::head(bucket.addr(), &signed, &[]).await;
    let other = client::get(bucket.addr(), &signed.replace("a/001", "a/002"), &[]).await;
    let unsigned = format!("/{}/a/001", bucket.name());
    let unsigned = client::get(bucket.addr(), &unsigned, &[]).await;
    assert_eq!([head.status, other.status, unsigned.status], [403; 3]);
    // By default only the server in this process knows who may only read.
    assert_ne!(bucket.keys(), READER);
}

#[tokio::test]
async fn a_relay_passes_on_what_it_is_not_told_to_break() {
    let upstream = Upstream::with_one_crate().await;
    let relay = Relay::to(upstream.addr()).await;
    let path = upstream.crate_path("a", "1.0.0");
    let file = upstream.crate_file("a", "1.0.0");
    let ask = async || client::try_request(relay.addr(), "GET", &path, &[]).await;
    let right = ask().await.expect("an answer");
    assert!(right.complete && right.body == file);
    assert_eq!(right.header("etag").map(str::len), Some(34));
    let head = client::head(relay.addr(), &path, &[]).await;
    assert_eq!(
        head.header("content-length"),
        Some(&*file.len().to_string())
    );

    relay.on_writes("").hang();
    relay.on_reads("").times(1).corrupt();
    relay.on("/dl/").times(1).truncate(5);
    relay.on("/dl/").times(1).fail(503);
    let wrong = ask().await.expect("an answer");
    assert!(wrong.complete && wrong.body != file && wrong.body.len() == file.len());
    let cut = ask().await.expect("a part of it");
    assert_eq!((cut.complete, &*cut.body), (false, &file[..5]));
    assert_eq!(ask().await.expect("an answer").status, 503);
    assert_eq!(ask().await.expect("an answer").body, file);
    upstream.clear_log();
    relay.on("/dl/").times(1).lose_answer();
    assert!(ask().await.is_err());
    assert_eq!(upstream.count("/dl/"), 1, "it was heeded");

    relay.stop().await;
    assert!(ask().await.is_err());
    relay.restart().await;
    assert_eq!(ask().await.expect("an answer").body, file);
    assert_eq!(relay.count("/dl/"), 8);
}
