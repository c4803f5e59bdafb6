//! No unverified byte: whatever upstream sends instead of an index file, no client gets it and nothing of it is stored.
//!
//! An HTML page read as an index file becomes "no versions" in cargo's cache, and nginx keeps such a page for good.

use std::io::Write;

use crate::support::{Mirror, MirrorBuilder, Package, Rule, Upstream, When};

const SERDE: &str = "/index/se/rd/serde";
const HTML: &str = "<!DOCTYPE html>\n<html><body>Please sign in</body></html>\n";

/// Something that upstream sends in place of the index file of serde, whose true body comes along.
type Lie = (&'static str, fn(When<'_>, &str) -> Rule);

const LIES: &[Lie] = &[
    ("an HTML page", |on, _| {
        on.fail_with(200, &[("content-type", "text/html")], HTML)
    }),
    ("JSON that is no index", |on, _| {
        let json = [("content-type", "application/json")];
        on.fail_with(200, &json, "{\"errors\":[{\"detail\":\"no\"}]}\n")
    }),
    ("another crate's index file", |on, _| {
        on.body_of("/index/to/ki/tokio")
    }),
    ("a line of another crate among its own", |on, body| {
        let other = Package::new("serde_json", "1.0.0").index_line();
        on.fail_with(200, &[], format!("{body}{other}\n"))
    }),
    ("nothing", |on, _| on.fail_with(200, &[], "")),
    ("blank lines", |on, _| on.fail_with(200, &[], "\n\n")),
    ("a body cut in its first line", |on, _| on.truncate(50)),
    ("a body cut in its last line", |on, body| {
        on.truncate(body.len() - 30)
    }),
    ("a body without its last byte", |on, _| {
        on.truncate(usize::MAX)
    }),
    ("a body cut in its first line, unseen", |on, _| {
        on.truncate_unframed(50)
    }),
    ("a body cut in its last line, unseen", |on, body| {
        on.truncate_unframed(body.len() - 30)
    }),
    ("a body that breaks off with a reset", |on, _| {
        on.reset_after(50)
    }),
    ("a body with a flipped byte", |on, _| on.corrupt()),
    ("plain text labelled gzip", |on, body| {
        on.fail_with(200, &[("content-encoding", "gzip")], body.to_owned())
    }),
    ("half a gzip file", |on, body| {
        let half = gzip(body.as_bytes(), 2);
        on.fail_with(200, &[("content-encoding", "gzip")], half)
    }),
    ("gzip without saying so", |on, body| {
        on.fail_with(200, &[], gzip(body.as_bytes(), 1))
    }),
    ("an encoding that nobody offered", |on, body| {
        on.fail_with(200, &[("content-encoding", "br")], body.to_owned())
    }),
    ("a part of it", |on, body| {
        on.fail_with(206, &[], body.to_owned())
    }),
    ("204", |on, _| on.fail_with(204, &[], "")),
    ("201", |on, body| on.fail_with(201, &[], body.to_owned())),
    ("403", |on, _| on.fail_with(403, &[], HTML)),
    ("500 with the right body", |on, body| {
        on.fail_with(500, &[], body.to_owned())
    }),
    ("a redirect to nowhere", |on, _| on.fail_with(302, &[], "")),
    ("no HTTP", |on, _| on.garbage()),
];

/// The first of `parts` parts of these bytes' gzip file.
fn gzip(bytes: &[u8], parts: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("gzip into memory");
    let mut whole = encoder.finish().expect("gzip into memory");
    whole.truncate(whole.len() / parts);
    whole
}

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("serde", "1.0.1"))
        .publish(Package::new("tokio", "1.0.0"))
        .start()
        .await
}

fn mirror_of(upstream: &Upstream) -> MirrorBuilder {
    let settings = "[upstream]\nretries = 0";
    Mirror::of(upstream).always_asks().settings(settings)
}

#[tokio::test]
async fn what_is_no_index_file_is_neither_served_nor_stored() {
    let upstream = upstream().await;
    for (lie, told) in LIES {
        let mirror = mirror_of(&upstream).start().await;
        let rule = told(upstream.on(SERDE), &upstream.index_file("serde"));
        let reply = mirror.get(SERDE).await;
        match *lie {
            // How some repository managers say that there is no such crate.
            "nothing" | "204" => assert_eq!(reply.status, 404, "{lie}"),
            "403" => reply.assert_refused("403"),
            _ => reply.assert_unavailable(lie),
        }
        assert_eq!(rule.hits(), 1, "{lie}");
        let mirror = mirror.restart().await;
        assert_eq!(mirror.stored(), [""; 0], "{lie}");

        rule.lift();
        let reply = mirror.get(SERDE).await;
        assert_eq!(
            (reply.status, reply.header("x-cache")),
            (200, Some("miss")),
            "{lie}"
        );
        assert_eq!(reply.text(), upstream.index_file("serde"), "{lie}");
    }
}

#[tokio::test]
async fn what_is_no_index_file_replaces_no_copy() {
    let upstream = upstream().await;
    for (lie, told) in LIES {
        let mirror = mirror_of(&upstream).start().await;
        mirror.get(SERDE).await;
        let mirror = mirror.restart().await;
        let stored = std::fs::read(mirror.index_record("serde")).expect("a record");
        // Published meanwhile, so that the lie isn't met by a 304.
        upstream.yank("serde", "1.0.0");
        let rule = told(upstream.on(SERDE), &upstream.index_file("serde"));
        let reply = mirror.get(SERDE).await;
        assert_eq!(
            (reply.status, reply.header("x-cache")),
            (200, Some("stale")),
            "{lie}"
        );
        upstream.unyank("serde", "1.0.0");
        assert_eq!(reply.text(), upstream.index_file("serde"), "{lie}");
        assert_eq!(rule.hits(), 1, "{lie}");
        let mirror = mirror.restart().await;
        let kept = std::fs::read(mirror.index_record("serde")).expect("a record");
        assert!(kept == stored, "{lie}");

        rule.lift();
        upstream.publish(Package::new("serde", "1.0.2"));
        let healed = mirror.get(SERDE).await;
        assert_eq!(healed.text(), upstream.index_file("serde"), "{lie}");
        upstream.delete_version("serde", "1.0.2");
    }
}

/// A 304 says "as you have it", and the mirror has nothing.
#[tokio::test]
async fn a_304_that_nobody_asked_for_is_no_answer() {
    let upstream = upstream().await;
    let mirror = mirror_of(&upstream).start().await;
    let rule = upstream.on(SERDE).fail_with(304, &[], "");
    mirror.get(SERDE).await.assert_unavailable("304");
    rule.lift();
    let reply = mirror.get(SERDE).await;
    assert_eq!(reply.text(), upstream.index_file("serde"));
}
