//! One fetch: however many clients ask for the same thing at once, upstream sees one request.

use tokio::task::JoinHandle;

use crate::{
    failing_disk::{LITTLE_MEMORY, download, is_stored},
    support::{Connection, Mirror, Package, Upstream, client, until},
};

const CLIENTS: usize = 50;

async fn ask_at_once(mirror: &Mirror, path: &str) -> Vec<JoinHandle<client::Reply>> {
    let mut asking = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(mirror.addr()).await;
        connection
            .ask("GET", path, &[])
            .await
            .expect("a request sent");
        asking.push(tokio::spawn(async move { connection.reply().await }));
    }
    // All have to be connected before the test goes on: none may come when the answer is there already.
    let all_are_there = |reply: &client::Reply| {
        let text = reply.text();
        let mut lines = text.lines();
        let open = lines.find_map(|line| line.strip_prefix("crate_mirror_connections "));
        // The request for /metrics has a connection, too.
        open.and_then(|open| open.parse().ok()) > Some(CLIENTS)
    };
    mirror.get_until("/metrics", all_are_there).await;
    asking
}

#[tokio::test]
async fn fifty_clients_for_one_cold_index_file_are_one_upstream_request() {
    let upstream = Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .start()
        .await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate("/se/rd/serde");
    let asking = ask_at_once(&mirror, "/index/se/rd/serde").await;
    gate.await_waiting(1).await;
    gate.open();
    for reply in asking {
        let reply = reply.await.expect("a reply");
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text(), upstream.index_file("serde"));
    }
    assert_eq!(upstream.index_requests().len(), 1);
}

#[tokio::test]
async fn fifty_clients_for_one_cold_crate_are_one_upstream_request() {
    let package = Package::new("big", "1.0.0").payload(1_000_000);
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate_after(&upstream.crate_path("big", "1.0.0"), 300_000);
    let asking = ask_at_once(&mirror, "/api/v1/crates/big/1.0.0/download").await;
    gate.await_waiting(1).await;
    gate.open();
    for reply in asking {
        let reply = reply.await.expect("a reply");
        assert_eq!((reply.status, reply.complete), (200, true));
        assert!(
            reply.body == upstream.crate_file("big", "1.0.0"),
            "other bytes"
        );
    }
    assert_eq!(upstream.crate_requests().len(), 1);
}

/// The download used to be the first client's own and ended with it.
#[tokio::test]
async fn the_download_goes_on_when_its_first_client_goes_away() {
    let package = Package::new("big", "1.0.0").payload(1_000_000);
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let gate = upstream.gate_after(&upstream.crate_path("big", "1.0.0"), 300_000);
    let path = "/api/v1/crates/big/1.0.0/download";
    let mut first = Connection::open(mirror.addr()).await;
    first.ask("GET", path, &[]).await.expect("a request sent");
    assert!(!first.body_so_far(100_000).await.is_empty());
    drop(first);
    gate.open();
    let second = mirror.get(path).await;
    assert!(
        second.body == upstream.crate_file("big", "1.0.0"),
        "other bytes"
    );
    assert_eq!(upstream.crate_requests().len(), 1);
}

/// Clients find nothing in the store while the first one's download is under way, and then wait for the index file, which is due for a check. When that has
/// come, the download has ended and isn't listed any more. They used to fetch the crate again, without another look into the store.
#[tokio::test]
async fn fifty_clients_for_one_cold_crate_beyond_memory_are_one_upstream_request() {
    let package = Package::new("large", "1.0.0").payload(600_000);
    let upstream = Upstream::new().publish(package).start().await;
    let mirror = Mirror::of(&upstream).always_asks().settings(LITTLE_MEMORY);
    let mirror = mirror.start().await;
    let path = download("large");
    let arriving = upstream.gate_after(&upstream.crate_path("large", "1.0.0"), 300_000);
    let mut first = Connection::open(mirror.addr()).await;
    first.ask("GET", &path, &[]).await.expect("a request sent");
    arriving.await_waiting(1).await;
    let checking = upstream.gate("/la/rg/large");
    let asking = ask_at_once(&mirror, &path).await;
    checking.await_waiting(1).await;
    // All fifty: their requests came before this one, and the mirror runs on this thread.
    for _ in 0..5 {
        assert_eq!(mirror.get("/healthz").await.status, 200);
    }
    arriving.open();
    assert!(first.reply().await.complete);
    until("stored", || is_stored(&mirror, "large")).await;
    for _ in 0..5 {
        assert_eq!(mirror.get("/healthz").await.status, 200);
    }
    checking.open();
    for reply in asking {
        let reply = reply.await.expect("a reply");
        assert_eq!((reply.status, reply.complete), (200, true));
        assert_eq!(reply.header("x-cache"), Some("hit"));
        let right = reply.body == upstream.crate_file("large", "1.0.0");
        assert!(right, "other bytes");
    }
    assert_eq!(upstream.crate_requests().len(), 1);
}
