//! One fetch: however many clients ask for the same thing at once, upstream sees one request.

use crate::support::{Connection, Mirror, Package, Upstream, client};

const CLIENTS: usize = 50;

async fn ask_at_once(mirror: &Mirror, path: &str) -> Vec<tokio::task::JoinHandle<client::Reply>> {
    let mut asking = Vec::new();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(mirror.addr()).await;
        connection
            .ask("GET", path, &[])
            .await
            .expect("a request sent");
        asking.push(tokio::spawn(async move { connection.reply().await }));
    }
    // Nobody is to come when the answer is there already.
    let all = format!("\ncrate_mirror_connections {}\n", CLIENTS + 1);
    let all_are_there = |reply: &client::Reply| reply.text().contains(&all);
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
