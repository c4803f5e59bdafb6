//! Resumed: a download that breaks off goes on where it was, where upstream can do that, and never becomes a mix of two files.

use crate::support::{
    Connection, Mirror, MirrorBuilder, Package, Rule, Seen, Upstream, UpstreamBuilder, When,
};

const LARGE: &str = "/api/v1/crates/large/1.0.0/download";
const SIZE: usize = 1_000_000;
/// Where a download is while it arrives: in memory, in a file.
const PLACES: [&str; 2] = ["", "[memory]\nbudget = \"1MiB\""];

async fn start(kind: UpstreamBuilder) -> Upstream {
    let large = Package::new("large", "1.0.0").payload(SIZE);
    kind.publish(large).start().await
}

/// A mirror that notices soon when upstream falls silent.
fn mirror_of(upstream: &Upstream, place: &str) -> MirrorBuilder {
    mirror_that_waits(upstream, place, "300ms")
}

/// A mirror that notices within that time when upstream falls silent.
fn mirror_that_waits(upstream: &Upstream, place: &str, stall_timeout: &str) -> MirrorBuilder {
    let stall_timeout = format!("[upstream]\nstall_timeout = \"{stall_timeout}\"");
    Mirror::of(upstream)
        .always_asks()
        .settings(&stall_timeout)
        .settings(place)
}

/// From where a request wants the rest: N of `Range: bytes=N-`.
#[track_caller]
fn start_of(seen: &Seen) -> usize {
    let range = seen.header("range").expect("a Range");
    let start = range
        .strip_prefix("bytes=")
        .and_then(|r| r.strip_suffix('-'));
    let start = start.unwrap_or_else(|| panic!("not the rest: {range}"));
    start.parse().expect("a number")
}

/// The strong ETag that upstream gives the file.
async fn etag_of(upstream: &Upstream) -> String {
    let path = upstream.crate_path("large", "1.0.0");
    let reply = crate::support::client::head(upstream.addr(), &path, &[]).await;
    let etag = reply.header("etag").expect("an etag").to_owned();
    upstream.clear_log();
    etag
}

/// A way to break off.
type Break = (&'static str, fn(When<'_>) -> Rule);

const BREAKS: &[Break] = &[
    ("closed", |on| on.truncate(400_000)),
    ("reset", |on| on.reset_after(400_000)),
    ("silent", |on| on.hang_after(400_000)),
];

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_where_it_was() {
    let upstream = start(Upstream::new().ranges()).await;
    let file = upstream.crate_file("large", "1.0.0");
    let etag = etag_of(&upstream).await;
    for place in PLACES {
        for (what, happens) in BREAKS {
            let mirror = mirror_of(&upstream, place).start().await;
            upstream.clear_log();
            happens(upstream.on_crate_files().times(1));
            let reply = mirror.get(LARGE).await;
            assert!(reply.complete && reply.body == file, "{what}");
            let asked = upstream.crate_requests();
            assert_eq!(asked.len(), 2, "{what}");
            assert_eq!(asked[0].header("range"), None, "{what}");
            assert!((1..=400_000).contains(&start_of(&asked[1])), "{what}");
            assert_eq!(asked[1].header("if-range"), Some(&*etag), "{what}");
            assert_eq!(asked[1].status, Some(206), "{what}");

            let mirror = mirror.restart().await;
            let again = mirror.get(LARGE).await;
            assert_eq!(again.header("x-cache"), Some("hit"), "{what}");
            assert!(
                again.complete && again.body == file,
                "{what}: stored otherwise"
            );
        }
    }
}

/// A bad line: it breaks off again and again, but gets on.
#[tokio::test]
async fn a_download_may_break_off_more_often_than_requests_are_tried_again() {
    let upstream = start(Upstream::new().ranges()).await;
    let file = upstream.crate_file("large", "1.0.0");
    for place in PLACES {
        let mirror = mirror_of(&upstream, place).start().await;
        upstream.clear_log();
        upstream.on_crate_files().times(6).truncate(150_000);
        let reply = mirror.get(LARGE).await;
        assert!(reply.complete && reply.body == file);
        let asked = upstream.crate_requests();
        assert_eq!(asked.len(), 7);
        let starts: Vec<_> = asked[1..].iter().map(start_of).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        assert!(starts[5] > 5 * 150_000, "no step back: {starts:?}");
        let fetched = mirror.metric("crate_mirror_fetched_bytes_total").await;
        assert!(fetched < file.len() as f64 * 1.05, "{fetched} fetched");
    }
}

/// Upstream has no ranges, or no strong validator, without which two files could be mixed.
#[tokio::test]
async fn where_upstream_cannot_go_on_the_download_starts_again() {
    for (what, kind) in [
        ("no ranges", Upstream::new()),
        ("no validators", Upstream::new().ranges().no_validators()),
        ("chunked", Upstream::new().chunked()),
    ] {
        let upstream = start(kind).await;
        let file = upstream.crate_file("large", "1.0.0");
        for place in PLACES {
            let mirror = mirror_of(&upstream, place).start().await;
            upstream.clear_log();
            upstream.on_crate_files().times(1).hang_after(400_000);
            upstream.on_crate_files().times(1).truncate(600_000);
            let mut client = Connection::open(mirror.addr()).await;
            client.ask("GET", LARGE, &[]).await.expect("a request sent");
            assert!(!client.body_so_far(1).await.is_empty());
            assert_eq!(upstream.crate_requests().len(), 1, "not reading yet");
            let reply = client.reply().await;
            assert!(reply.complete && reply.body == file, "{what}");
            let asked = upstream.crate_requests();
            let statuses: Vec<_> = asked.iter().map(|seen| seen.status).collect();
            assert_eq!(statuses, [Some(200); 3], "{what}");
            if what == "no validators" {
                assert!(asked.iter().all(|seen| seen.header("range").is_none()));
            }
        }
    }
}

#[tokio::test]
async fn clients_in_the_middle_of_a_download_do_not_notice_that_it_was_resumed() {
    let upstream = start(Upstream::new().ranges()).await;
    let file = upstream.crate_file("large", "1.0.0");
    for place in PLACES {
        // Longer than what follows takes while the second part is held.
        let mirror = mirror_that_waits(&upstream, place, "3s").start().await;
        upstream.clear_log();
        upstream.on_crate_files().times(1).hang_after(500_000);
        let gate = upstream.on_crate_files().gate_after(200_000);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = Connection::open(mirror.addr()).await;
            client.ask("GET", LARGE, &[]).await.expect("a request sent");
            assert!(!client.body_so_far(1).await.is_empty());
            clients.push(client);
        }
        // The second part has begun; one more client comes, and one goes.
        gate.await_waiting(1).await;
        assert!(clients[0].body_so_far(550_000).await.len() >= 550_000);
        drop(clients.remove(1));
        let mut late = Connection::open(mirror.addr()).await;
        late.ask("GET", LARGE, &[]).await.expect("a request sent");
        assert!(late.body_so_far(550_000).await.len() >= 550_000);
        clients.push(late);
        gate.open();
        for mut client in clients {
            let reply = client.reply().await;
            assert!(reply.complete && reply.body == file, "{place}");
            let length = reply.header("content-length").expect("a length");
            assert_eq!(length, file.len().to_string());
        }
        assert_eq!(upstream.crate_requests().len(), 2);
    }
}

/// A version that was deleted and published again with other content.
#[tokio::test]
async fn a_file_that_changed_in_between_is_never_a_complete_mix() {
    for place in PLACES {
        let upstream = start(Upstream::new().ranges()).await;
        let etag = etag_of(&upstream).await;
        let mirror = mirror_of(&upstream, place).start().await;
        upstream.on_crate_files().times(1).hang_after(400_000);
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", LARGE, &[]).await.expect("a request sent");
        assert!(!client.body_so_far(1).await.is_empty());
        let other = Package::new("large", "1.0.0").payload(SIZE);
        upstream.publish(other.file("src/lib.rs", "// Another."));
        assert!(!client.reply().await.complete, "a complete mix");
        let asked = upstream.crate_requests();
        assert_eq!(asked[1].header("if-range"), Some(&*etag));
        assert_eq!(
            asked[1].status,
            Some(200),
            "upstream says that it is another"
        );

        // Content that came back changed is refused until a rule names it.
        assert_eq!(mirror.get(LARGE).await.status, 403);
        let mirror = mirror.restart().await;
        let stored = mirror.stored();
        let crates = stored.iter().filter(|path| path.ends_with(".crate"));
        assert_eq!(crates.count(), 0, "{stored:?}");
    }
}

/// Servers that answer ranges wrongly.
#[tokio::test]
async fn a_wrong_rest_is_never_passed_on_as_complete() {
    let upstream = start(Upstream::new().ranges()).await;
    let file = upstream.crate_file("large", "1.0.0");
    let rest = file.slice(400_000..);
    let same = format!("bytes 400000-{}/{}", file.len() - 1, file.len());
    let zeros = bytes::Bytes::from(vec![0; rest.len()]);
    let longer = bytes::Bytes::from([&rest[..], b"more"].concat());
    let answers = [
        ("other bytes", 206, &*same, zeros),
        ("too little", 206, &same, rest.slice(..1000)),
        ("too much", 206, &same, longer),
        (
            "another part",
            206,
            "bytes 0-999/1000000",
            file.slice(..1000),
        ),
        ("no range", 206, "", rest.clone()),
        ("no bytes", 206, "bytes */*", rest.clone()),
        ("not satisfiable", 416, "bytes */1000", rest.slice(..0)),
    ];
    for place in PLACES {
        for (what, status, range, body) in &answers {
            let mirror = mirror_of(&upstream, place).start().await;
            upstream.clear_log();
            upstream.on_crate_files().times(1).truncate(400_000);
            let header = [("content-range", *range)];
            let wrong = upstream.on_crate_files().times(1);
            let wrong = wrong.fail_with(*status, &header, body.clone());
            let mut client = Connection::open(mirror.addr()).await;
            client.ask("GET", LARGE, &[]).await.expect("a request sent");
            let reply = client.reply().await;
            assert!(
                !reply.complete || reply.body == file,
                "{what}: a wrong file"
            );
            assert_eq!(wrong.hits(), 1, "{what}");
            let reply = mirror.get(LARGE).await;
            assert!(reply.complete && reply.body == file, "{what}");
            upstream.heal();
        }
    }
}

/// The mirror used to ask for a rest that isn't there, and to fail because of the 416.
#[tokio::test]
async fn a_download_that_only_lost_its_end_is_whole() {
    let upstream = start(Upstream::new().ranges().chunked()).await;
    let file = upstream.crate_file("large", "1.0.0");
    for place in PLACES {
        let mirror = mirror_of(&upstream, place).start().await;
        upstream.clear_log();
        upstream.on_crate_files().lose_end();
        let reply = mirror.get(LARGE).await;
        assert!(reply.complete && reply.body == file, "{}", reply.status);
        assert_eq!(upstream.crate_requests().len(), 1);
        upstream.heal();
        let mirror = mirror.restart().await;
        let again = mirror.get(LARGE).await;
        assert_eq!(again.header("x-cache"), Some("hit"));
        assert!(again.complete && again.body == file, "stored otherwise");
    }
}
