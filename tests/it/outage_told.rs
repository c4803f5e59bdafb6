//! What an outage looks like to clients: the answer says what isn't here, why, and when to try again. A library's own words are in the log only.

use crate::support::{Cargo, Mirror, Package, Process, Rule, Upstream, When, client};

const INDEX: &str = "/index/se/rd/serde";
const DOWNLOAD: &str = "/api/v1/crates/serde/1.0.0/download";
const ONCE: &str =
    "[upstream]\nretries = 0\nfirst_byte_timeout = \"200ms\"\nstall_timeout = \"200ms\"";

async fn upstream() -> Upstream {
    let serde = Package::new("serde", "1.0.0");
    Upstream::new().publish(serde).start().await
}

#[track_caller]
fn assert_told(text: &str, what: &str) {
    let start = format!("{what} isn't in this mirror yet, and ");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains("; try again in "), "{text}");
    for word in ["os error", "error sending", "hyper", "refused", "reset by"] {
        assert!(!text.contains(word), "{word} helps nobody: {text}");
    }
}

/// Something that happens, and how many seconds to wait after it, if that is known.
type Fault = (fn(When<'_>) -> Rule, Option<&'static str>);

#[tokio::test]
async fn who_cannot_be_served_is_told_what_is_missing_and_when_to_try_again() {
    let faults: [Fault; 6] = [
        (|on| on.fail(503), None),
        (
            |on| on.fail_with(429, &[("retry-after", "7")], ""),
            Some("7"),
        ),
        (|on| on.reset(), None),
        (|on| on.garbage(), None),
        (|on| on.hang(), None),
        (|on| on.hang_after(10), None),
    ];
    for (fault, wait) in faults {
        let upstream = upstream().await;
        let mirror = Mirror::of(&upstream).settings(ONCE).start().await;
        let rule = fault(upstream.on_index_files());
        let reply = mirror.get(INDEX).await;
        reply.assert_unavailable("a fault");
        assert_told(&reply.text(), "the index file of serde");
        assert_eq!(reply.header("retry-after"), wait);
        let when = wait.map_or("in a moment".to_owned(), |wait| {
            format!("in {wait} seconds")
        });
        let when = format!("try again {when}.");
        assert!(reply.text().contains(&when), "{}", reply.text());
        rule.lift();
        let mirror = mirror.restart().await;
        assert_eq!(mirror.get(INDEX).await.status, 200);
        let rule = fault(upstream.on_crate_files());
        let reply = mirror.get(DOWNLOAD).await;
        // Small enough to be sent only when it is whole.
        reply.assert_unavailable("a fault");
        assert_told(&reply.text(), "serde 1.0.0");
        rule.lift();
    }
}

#[tokio::test]
async fn what_a_library_says_of_it_is_in_the_log() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mirror = Process::start(&upstream, folder.path(), ONCE).await;
    upstream.stop().await;
    let reply = client::get(mirror.addr(), INDEX, &[]).await;
    assert_told(&reply.text(), "the index file of serde");
    let log = mirror.stop().await;
    assert!(log.contains("Connection refused"), "{log}");
}

#[tokio::test]
async fn cargo_shows_it() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).settings(ONCE).start().await;
    upstream.stop().await;
    let cargo = Cargo::new(&mirror.index_url()).project(&[("serde", "1")]);
    let cargo = cargo.config("[net]\nretry = 0");
    let ran = cargo.run(&["fetch"]).await;
    ran.failure()
        .stderr_contains("the index file of serde isn't in this mirror yet, and crates-io (");
}
