//! No unverified byte: whatever upstream sends instead of a .crate file, no client gets a complete wrong file and nothing of it is stored.

use std::time::Duration;

use crate::support::{
    Connection, Mirror, MirrorBuilder, Package, Reply, Rule, Upstream, UpstreamBuilder, When,
    client, sha256,
};

const SMALL: &str = "/api/v1/crates/small/1.0.0/download";
const LARGE: &str = "/api/v1/crates/large/1.0.0/download";
const HTML: &str = "<!DOCTYPE html>\n<html><body>Please sign in</body></html>\n";

/// Something that upstream sends in place of a .crate file, whose true bytes come along.
type Lie = (&'static str, fn(When<'_>, Vec<u8>) -> Rule);

const LIES: &[Lie] = &[
    ("an HTML page", |on, _| {
        on.fail_with(200, &[("content-type", "text/html")], HTML)
    }),
    ("another crate's file", |on, _| {
        on.body_of("/dl/other/1.0.0/download")
    }),
    ("nothing", |on, _| on.fail_with(200, &[], "")),
    ("a flipped byte", |on, _| on.corrupt()),
    ("a flipped last byte", |on, mut file| {
        *file.last_mut().expect("a byte") ^= 1;
        on.fail_with(200, &[], file)
    }),
    ("one byte too many", |on, mut file| {
        file.push(0);
        on.fail_with(200, &[], file)
    }),
    ("one byte too few", |on, mut file| {
        file.pop();
        on.fail_with(200, &[], file)
    }),
    ("a file cut at its start", |on, _| on.truncate(10)),
    ("a file cut before its last byte", |on, _| {
        on.truncate(usize::MAX)
    }),
    ("a file cut before its last byte, unseen", |on, _| {
        on.truncate_unframed(usize::MAX)
    }),
    ("a file cut at its start, unseen", |on, _| {
        on.truncate_unframed(10)
    }),
    ("a file that breaks off with a reset", |on, file| {
        on.reset_after(file.len() / 2)
    }),
    ("204", |on, _| on.fail_with(204, &[], "")),
    ("206 with the whole file", |on, file| {
        on.fail_with(206, &[], file)
    }),
    ("304", |on, _| on.fail_with(304, &[], "")),
    ("500 with the whole file", |on, file| {
        on.fail_with(500, &[], file)
    }),
    ("no HTTP", |on, _| on.garbage()),
];

async fn upstream(kind: UpstreamBuilder) -> Upstream {
    kind.publish(Package::new("small", "1.0.0"))
        .publish(Package::new("large", "1.0.0").payload(1_200_000))
        .publish(Package::new("other", "1.0.0"))
        .start()
        .await
}

fn mirror_of(upstream: &Upstream) -> MirrorBuilder {
    Mirror::of(upstream).settings("[upstream]\nretries = 0")
}

/// The stored .crate files.
fn stored_crates(mirror: &Mirror) -> Vec<String> {
    let mut stored = mirror.stored();
    stored.retain(|path| path.ends_with(".crate"));
    stored
}

/// The client can't take what it got for the file: it is told so, or it sees that it was cut off.
#[track_caller]
fn assert_not_a_file(reply: &Reply, whole: usize, lie: &str) {
    if reply.status == 200 {
        assert!(!reply.complete, "{lie}: {} bytes", reply.body.len());
        assert!(reply.body.len() < whole, "{lie}: {}", reply.body.len());
    } else {
        reply.assert_unavailable(lie);
    }
}

async fn never_served_nor_stored(upstream: &Upstream, name: &str, path: &str, settings: &str) {
    let file = upstream.crate_file(name, "1.0.0");
    for (lie, told) in LIES {
        let mirror = mirror_of(upstream).settings(settings).start().await;
        let rule = told(upstream.on_crate_files(), file.to_vec());
        // Closed without an answer is no file either.
        if let Ok(reply) = client::try_request(mirror.addr(), "GET", path, &[]).await {
            assert_not_a_file(&reply, file.len(), lie);
        }
        assert_eq!(rule.hits(), 1, "{lie}");
        let mirror = mirror.restart().await;
        assert_eq!(stored_crates(&mirror), [""; 0], "{lie}");

        rule.lift();
        let healed = mirror.get(path).await;
        let outcome = (healed.status, healed.header("x-cache"), healed.complete);
        assert_eq!(outcome, (200, Some("miss"), true), "{lie}");
        assert!(healed.body == file, "{lie}: other bytes");
    }
}

#[tokio::test]
async fn no_lie_about_a_small_crate_is_served_or_stored() {
    for kind in [Upstream::new(), Upstream::new().chunked()] {
        never_served_nor_stored(&upstream(kind).await, "small", SMALL, "").await;
    }
}

#[tokio::test]
async fn no_lie_about_a_large_crate_is_served_or_stored() {
    for kind in [Upstream::new(), Upstream::new().chunked()] {
        never_served_nor_stored(&upstream(kind).await, "large", LARGE, "").await;
    }
}

#[tokio::test]
async fn no_lie_about_a_crate_too_large_for_memory_is_served_or_stored() {
    let settings = "[memory]\nbudget = \"1MiB\"";
    for kind in [Upstream::new(), Upstream::new().chunked()] {
        never_served_nor_stored(&upstream(kind).await, "large", LARGE, settings).await;
    }
}

/// Small files are checked before their first byte goes out, so that cargo hears what is wrong instead of seeing a broken connection.
#[tokio::test]
async fn a_wrong_small_crate_is_a_502_that_says_why() {
    let upstream = upstream(Upstream::new()).await;
    let mirror = mirror_of(&upstream).start().await;
    upstream.on_crate_files().corrupt();
    let reply = mirror.get(SMALL).await;
    reply.assert_unavailable("a flipped byte");
    assert_eq!(reply.status, 502);
    for part in ["small", "1.0.0", "checksum"] {
        assert!(reply.text().contains(part), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_file_that_the_index_has_another_checksum_for_is_never_served() {
    let wrong = sha256(b"something else");
    for size in [0, 1_200_000] {
        let package = Package::new("wrong", "1.0.0").payload(size);
        let upstream = Upstream::new()
            .publish(package.clone().checksum(&wrong))
            .start()
            .await;
        let mirror = mirror_of(&upstream).always_asks().start().await;
        let path = "/api/v1/crates/wrong/1.0.0/download";
        for _ in 0..2 {
            let reply = mirror.get(path).await;
            assert_not_a_file(&reply, size + 1, "a wrong checksum");
        }
        let mirror = mirror.restart().await;
        assert_eq!(stored_crates(&mirror), [""; 0]);

        // An index that says something else now is a reason for an alarm, and not for trust: a rule has to name what is right.
        upstream.publish(package);
        assert_eq!(mirror.get(path).await.status, 403);
    }
}

#[tokio::test]
async fn what_is_stored_already_is_served_whatever_upstream_says_now() {
    let upstream = upstream(Upstream::new()).await;
    let mirror = mirror_of(&upstream).start().await;
    for path in [SMALL, LARGE] {
        assert!(mirror.get(path).await.complete);
    }
    let mirror = mirror.restart().await;
    for (lie, told) in LIES {
        let rule = told(upstream.on_crate_files(), Vec::from(*b"wrong"));
        for (name, path) in [("small", SMALL), ("large", LARGE)] {
            let reply = mirror.get(path).await;
            assert_eq!((reply.status, reply.header("x-cache")), (200, Some("hit")));
            assert!(reply.body == upstream.crate_file(name, "1.0.0"), "{lie}");
        }
        assert_eq!(rule.hits(), 0);
        rule.lift();
    }
}

/// While a download streams through, all its clients lack the last chunk until the checksum of the whole holds.
#[tokio::test]
async fn the_last_chunk_is_withheld_until_the_checksum_holds() {
    for settings in ["", "[memory]\nbudget = \"1MiB\""] {
        let upstream = upstream(Upstream::new()).await;
        let mirror = mirror_of(&upstream).settings(settings).start().await;
        let file = upstream.crate_file("large", "1.0.0");
        let gate = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), file.len() - 1);
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", LARGE, &[]).await.expect("a request sent");
        gate.await_waiting(1).await;
        let half = file.len() / 2;
        assert!(
            client.body_so_far(half).await.len() >= half,
            "it streams through"
        );
        // All but one byte is here; what may go out goes out.
        let fetched = async || mirror.metric("crate_mirror_fetched_bytes_total").await;
        while fetched().await < (file.len() - 1) as f64 {}
        let quiet = Duration::from_millis(300);
        let so_far = client.body_until_quiet(quiet).await;
        assert!(so_far.len() < file.len() - 1, "the last chunk is out");
        assert!(file.starts_with(&so_far), "other bytes");

        gate.open();
        let reply = client.reply().await;
        assert!(reply.complete && reply.body == file);
    }
}
