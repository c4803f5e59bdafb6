//! A corrupt store: a .crate file that doesn't pass its check is never served whole, and is fetched again.

use std::fs;

use crate::support::{
    Connection, Mirror, Package, Upstream, assert_serves, client, index_path,
    stored::{DAMAGES, flip},
};

/// Files above 64 KiB are too large for memory then, and are checked while they are sent.
const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"";

async fn upstream() -> Upstream {
    let sizes = [
        ("serde", 0),
        ("tokio", 0),
        ("large", 900_000),
        ("other", 900_000),
    ];
    let packages = sizes.map(|(name, size)| Package::new(name, "1.0.0").payload(size));
    Upstream::new().publish_all(packages).start().await
}

fn index(name: &str) -> String {
    format!("/index/{}", index_path(name))
}

fn download(name: &str) -> String {
    format!("/api/v1/crates/{name}/1.0.0/download")
}

/// A mirror with nothing in memory that has stored the index files and .crate files of these crates.
async fn that_has_stored(upstream: &Upstream, names: [&str; 2], settings: &str) -> Mirror {
    let mirror = Mirror::of(upstream).settings(settings).start().await;
    for name in names {
        assert_eq!(mirror.get(&index(name)).await.status, 200);
        assert!(mirror.get(&download(name)).await.complete);
    }
    upstream.clear_log();
    mirror.restart().await
}

#[tokio::test]
async fn a_corrupt_crate_is_fetched_again() {
    let upstream = upstream().await;
    let file = upstream.crate_file("serde", "1.0.0");
    let mut mirror = that_has_stored(&upstream, ["serde", "tokio"], "").await;
    let stored = mirror.stored_crate("serde", "1.0.0");
    let other = mirror.stored_crate("tokio", "1.0.0");
    for (damage, happens) in DAMAGES {
        happens(&stored, &other);
        let reply = mirror.get(&download("serde")).await;
        assert_serves(&reply, "miss", &file, damage);
        assert_eq!(upstream.crate_requests().len(), 1, "{damage}");
        assert!(mirror.metric("crate_mirror_store_corrupt_total").await >= 1.0);
        upstream.clear_log();
        mirror = mirror.restart().await;
        assert!(
            fs::read(&stored).expect("a stored file") == file,
            "{damage}"
        );
    }
}

#[tokio::test]
async fn a_corrupt_crate_is_not_served_even_if_there_is_nothing_else() {
    let upstream = upstream().await;
    let settings = "[upstream]\nretries = 0";
    let mut mirror = that_has_stored(&upstream, ["serde", "tokio"], settings).await;
    upstream.stop().await;
    let stored = mirror.stored_crate("serde", "1.0.0");
    let other = mirror.stored_crate("tokio", "1.0.0");
    let good = fs::read(&stored).expect("a stored file");
    for (damage, happens) in DAMAGES {
        fs::write(&stored, &good).expect("write");
        happens(&stored, &other);
        let reply = mirror.get(&download("serde")).await;
        reply.assert_unavailable(damage);
        mirror = mirror.restart().await;
        assert!(!stored.exists(), "{damage}: dropped");
    }
}

/// A file too large for memory is checked while it is sent. Its client is cut off when it turns out wrong, and the next client gets the right file.
#[tokio::test]
async fn a_corrupt_crate_too_large_for_memory_is_cut_off_and_fetched_again() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mut mirror = that_has_stored(&upstream, ["large", "other"], LITTLE_MEMORY).await;
    let stored = mirror.stored_crate("large", "1.0.0");
    let other = mirror.stored_crate("other", "1.0.0");
    for (damage, happens) in DAMAGES {
        happens(&stored, &other);
        let path = download("large");
        let first = client::try_request(mirror.addr(), "GET", &path, &[]).await;
        // Damage that shows before the first byte goes out cuts nobody off: the client gets the right file.
        if let Ok(reply) = first {
            let right = reply.status == 200 && reply.body == file;
            assert!(right || !reply.complete, "{damage}: a complete wrong file");
        }
        let second = mirror.get(&path).await;
        assert!(second.complete && second.body == file, "{damage}");
        assert_eq!(upstream.crate_requests().len(), 1, "{damage}");
        upstream.clear_log();
        mirror = mirror.restart().await;
        assert!(
            fs::read(&stored).expect("a stored file") == file,
            "{damage}"
        );
    }
}

/// A slow client's check may fail long after the corrupt file has been replaced. The file that it finds then is the good one, which has to stay.
#[tokio::test]
async fn a_slow_client_of_a_corrupt_file_does_not_take_the_good_one_away() {
    let content = "all the same".repeat(1_500_000);
    let package = Package::new("large", "1.0.0").file("payload.txt", &content);
    let upstream = Upstream::new().publish(package).start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(&download("large")).await.complete);
    let mirror = mirror.restart().await;
    let stored = mirror.stored_crate("large", "1.0.0");
    flip(&stored, file.len() - 1, 1);

    let mut slow = Connection::open(mirror.addr()).await;
    let path = download("large");
    slow.ask("GET", &path, &[]).await.expect("a request sent");
    assert!(!slow.body_so_far(1).await.is_empty());
    let quick = mirror.get(&path).await;
    assert!(!quick.complete, "a complete wrong file");
    let next = mirror.get(&path).await;
    assert!(next.complete && next.body == file, "fetched again");
    assert!(!slow.reply().await.complete, "a complete wrong file");

    upstream.stop().await;
    let mirror = mirror.restart().await;
    assert_serves(&mirror.get(&path).await, "hit", &file, "replaced");
}

/// A disk with bad sectors, wrong permissions, a folder where a file should be: upstream may still answer.
#[tokio::test]
async fn a_store_that_cannot_be_read_or_written_is_one_that_has_nothing() {
    let upstream = upstream().await;
    let mirror = that_has_stored(&upstream, ["serde", "large"], LITTLE_MEMORY).await;
    for path in mirror.stored() {
        let path = mirror.store().join(path);
        fs::remove_file(&path).expect("remove");
        fs::create_dir_all(path.join("in the way")).expect("a folder");
    }
    for name in ["serde", "large"] {
        let lines = upstream.index_file(name);
        assert_serves(&mirror.get(&index(name)).await, "miss", lines, name);
        let file = upstream.crate_file(name, "1.0.0");
        assert_serves(&mirror.get(&download(name)).await, "miss", file, name);
    }
    assert!(mirror.metric("crate_mirror_store_failures_total").await >= 4.0);
    assert_eq!(mirror.get("/healthz").await.status, 200);
}
