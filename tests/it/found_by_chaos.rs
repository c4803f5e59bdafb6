//! What the chaos test has found, each reduced to the few steps that show it.

use crate::support::{Mirror, Package, Upstream};

/// Clients of a resumed download were told a length, and upstream then sent a longer file. The bytes beyond that length pushed out the chunk that was held
/// back, so that clients got as many wrong bytes as they had been told: a complete wrong file.
#[tokio::test]
async fn a_resumed_download_that_grows_never_completes_its_first_length() {
    let upstream = Upstream::new()
        .publish(Package::new("short", "1.0.0").payload(100_000))
        .publish(Package::new("long", "1.0.0").payload(2_000_000))
        .start()
        .await;
    let (short, long) = (
        upstream.crate_path("short", "1.0.0"),
        upstream.crate_path("long", "1.0.0"),
    );
    upstream.on(&short).times(1).reset_after(40_000);
    upstream.on(&short).times(1).body_of(&long);
    let mirror = Mirror::of(&upstream).start().await;
    let reply = mirror.get("/api/v1/crates/short/1.0.0/download").await;
    assert!(
        !(reply.status == 200 && reply.complete),
        "a complete wrong file of {} bytes",
        reply.body.len()
    );
    let again = mirror.get("/api/v1/crates/short/1.0.0/download").await;
    assert!(again.body == upstream.crate_file("short", "1.0.0"));
}

/// 404 is final for cargo. A stale copy of the index can't know the versions published since.
#[tokio::test]
async fn a_version_that_only_a_stale_index_lacks_may_be_asked_for_again() {
    let upstream = Upstream::new()
        .publish(Package::new("a", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_eq!(mirror.get("/index/1/a").await.status, 200);
    upstream.publish(Package::new("a", "1.1.0"));
    let path = "/api/v1/crates/a/1.1.0/download";
    let fault = upstream.on_index_files().fail(500);
    assert_eq!(mirror.get(path).await.status, 503);
    fault.lift();
    assert_eq!(mirror.get(path).await.status, 200);
}
