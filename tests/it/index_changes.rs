//! Changes upstream takes back: what shrinks or changes under its name is said aloud and served as upstream has it; what was withdrawn stays so.

use serde_json::Value;

use crate::support::{
    Mirror, Package, Process, Reply, Upstream, client, index_path, stored::Record,
};

const PKG: &str = "/index/3/p/pkg";
const DOWNLOAD: &str = "/api/v1/crates/pkg/1.0.0/download";
const CHANGES: &str = "crate_mirror_index_suspicious_changes_total";

/// Three versions of `pkg`.
async fn upstream() -> Upstream {
    let versions = ["1.0.0", "1.1.0", "2.0.0"];
    let packages = versions.map(|version| Package::new("pkg", version));
    Upstream::new().publish_all(packages).start().await
}

/// Version 1.1.0 with other content.
fn another() -> Package {
    Package::new("pkg", "1.1.0").file("src/lib.rs", "// Another one.")
}

async fn changes(mirror: &Mirror, change: &str) -> f64 {
    let text = mirror.get("/metrics").await.text();
    let label = format!("change=\"{change}\"");
    let lines = text.lines().filter(|line| line.starts_with(CHANGES));
    let values = lines.filter(|line| line.contains(&label) && line.contains("crates-io"));
    let values = values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[track_caller]
fn assert_is(reply: &Reply, upstream: &Upstream) {
    assert_eq!((reply.status, reply.complete), (200, true));
    assert_eq!(reply.text(), upstream.index_file("pkg"));
}

/// As upstream has it, but for version 1.1.0, whose content changed: it isn't to be picked.
#[track_caller]
fn assert_hides_1_1_0(reply: &Reply, upstream: &Upstream) {
    assert_eq!((reply.status, reply.complete), (200, true));
    let lines = upstream.index_file("pkg");
    let lines = lines.lines().map(|line| match line.contains("\"1.1.0\"") {
        true => line.replace("\"yanked\":false", "\"yanked\":true") + "\n",
        false => line.to_owned() + "\n",
    });
    assert_eq!(reply.text(), lines.collect::<String>());
}

#[track_caller]
fn assert_gone(reply: &Reply, when: &str) {
    let seen = (reply.status, reply.header("x-cache"));
    assert_eq!(seen, (404, Some("absent")), "{when}: {}", reply.text());
}

#[tokio::test]
async fn versions_that_vanish_or_change_are_counted_and_those_that_change_are_hidden() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_is(&mirror.get(PKG).await, &upstream);

    upstream.delete_version("pkg", "1.0.0");
    upstream.delete_version("pkg", "2.0.0");
    assert_is(&mirror.get(PKG).await, &upstream);
    assert_eq!(changes(&mirror, "vanished").await, 2.0);
    assert_eq!(changes(&mirror, "checksum").await, 0.0);

    upstream.publish(another());
    assert_hides_1_1_0(&mirror.get(PKG).await, &upstream);
    assert_eq!(changes(&mirror, "vanished").await, 2.0);
    assert_eq!(changes(&mirror, "checksum").await, 1.0);

    // Counted once, when it is noticed, not with every request.
    assert_hides_1_1_0(&mirror.get(PKG).await, &upstream);
    assert_eq!(mirror.metric(CHANGES).await, 3.0);
}

/// A mirror that was restarted compares with what it has stored.
#[tokio::test]
async fn changes_are_noticed_over_a_restart() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_is(&mirror.get(PKG).await, &upstream);
    let mirror = mirror.restart().await;
    upstream.delete_version("pkg", "1.0.0");
    upstream.publish(another());
    assert_hides_1_1_0(&mirror.get(PKG).await, &upstream);
    assert_eq!(changes(&mirror, "vanished").await, 1.0);
    assert_eq!(changes(&mirror, "checksum").await, 1.0);
}

/// A warning that comes every day is read by nobody.
#[tokio::test]
async fn what_every_crate_does_is_not_suspicious() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_is(&mirror.get(PKG).await, &upstream);
    upstream.yank("pkg", "1.1.0");
    assert_is(&mirror.get(PKG).await, &upstream);
    upstream.unyank("pkg", "1.1.0");
    upstream.publish(Package::new("pkg", "2.1.0"));
    assert_is(&mirror.get(PKG).await, &upstream);
    assert_eq!(mirror.metric(CHANGES).await, 0.0);
}

#[tokio::test]
async fn the_log_names_the_versions() {
    let upstream = upstream().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[freshness]\nfresh_for = \"0s\"\npatience = \"20s\"";
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    assert_is(&mirror.get(PKG).await, &upstream);
    upstream.delete_version("pkg", "2.0.0");
    upstream.publish(another());
    assert_hides_1_1_0(&mirror.get(PKG).await, &upstream);
    let log = mirror.stop().await;
    for (change, version, other) in [
        ("vanished", "2.0.0", "1.1.0"),
        ("checksum", "1.1.0", "2.0.0"),
    ] {
        let line = log.lines().find(|line| line.contains(change));
        let line = line.unwrap_or_else(|| panic!("no word of {change}: {log}"));
        assert!(line.contains("WARN") && line.contains("pkg"), "{line}");
        assert!(line.contains(version) && !line.contains(other), "{line}");
    }
    assert_eq!(log.lines().count(), 2, "{log}");
}

/// Whoever depends on a version that is gone has a Cargo.lock with its checksum.
#[tokio::test]
async fn the_file_of_a_version_that_vanished_is_not_served_under_a_changed_checksum() {
    let upstream = upstream().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    let old = upstream.crate_file("pkg", "1.1.0");
    let path = "/api/v1/crates/pkg/1.1.0/download";
    assert!(mirror.get(path).await.body == old);
    upstream.publish(another());
    assert_hides_1_1_0(&mirror.get(PKG).await, &upstream);
    let reply = mirror.get(path).await;
    assert_eq!(reply.status, 403, "neither the old one nor the new one");
    assert!(
        reply.text().contains("has other content"),
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn a_crate_that_was_withdrawn_stays_so_until_upstream_has_it_again() {
    let upstream = upstream().await;
    let file = upstream.crate_file("pkg", "1.0.0");
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_is(&mirror.get(PKG).await, &upstream);
    assert!(mirror.get(DOWNLOAD).await.complete);

    upstream.delete("pkg");
    assert_gone(&mirror.get(PKG).await, "withdrawn");
    let reply = mirror.get(DOWNLOAD).await;
    assert!(reply.status == 200 && reply.body == file, "withdrawn");

    upstream.stop().await;
    assert_gone(&mirror.get(PKG).await, "an outage");
    let reply = mirror.get(DOWNLOAD).await;
    assert!(reply.status == 200 && reply.body == file, "an outage");

    let mirror = mirror.restart().await;
    assert_gone(&mirror.get(PKG).await, "a restart in an outage");
    let reply = mirror.get(DOWNLOAD).await;
    let seen = (reply.status, reply.header("x-cache"), reply.complete);
    assert_eq!(seen, (200, Some("hit"), true));
    assert!(reply.body == file, "a restart in an outage");
    // A version that this mirror never had is missing as before.
    let never = mirror.get("/api/v1/crates/pkg/2.0.0/download").await;
    assert_eq!(never.status, 404, "{}", never.text());

    upstream.restart().await;
    upstream.publish(Package::new("pkg", "3.0.0"));
    // The mirror may not ask upstream again for a moment.
    let is_back = |reply: &Reply| reply.status == 200;
    assert_is(&mirror.get_until(PKG, is_back).await, &upstream);
    let mirror = mirror.restart().await;
    upstream.stop().await;
    assert_is(&mirror.get(PKG).await, &upstream);
}

/// A crate that is back has the ETag from before, so that upstream answers 304, as if it had never been gone.
#[tokio::test]
async fn a_crate_that_comes_back_unchanged_is_there_again() {
    let upstream = Upstream::new().weak_etag();
    let upstream = upstream.publish(Package::new("pkg", "1.0.0")).start().await;
    let mirror = Mirror::of(&upstream).always_asks().start().await;
    assert_is(&mirror.get(PKG).await, &upstream);
    for status in [404, 410, 451] {
        let gone = upstream.on(PKG).fail(status);
        for _ in 0..2 {
            assert_gone(&mirror.get(PKG).await, &status.to_string());
        }
        gone.lift();
        assert_is(&mirror.get(PKG).await, &upstream);
    }
}

/// Records are written beside the answers; the one of a moment ago must not take the place of the one of now.
#[tokio::test]
async fn of_two_changes_in_a_row_the_last_one_is_stored() {
    let names: Vec<_> = (0..12).map(|n| format!("name-{n}")).collect();
    let upstream = Upstream::new().start().await;
    let folder = tempfile::tempdir().expect("a folder");
    // The real program, which waits until the disk has what it writes.
    let settings = "[freshness]\nfresh_for = \"0s\"\npatience = \"20s\"";
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    // The first record takes long to write, the second one is written at once.
    let filler = Value::String("x".repeat(2_000_000));
    for name in &names {
        let path = format!("/index/{}", index_path(name));
        upstream.publish(Package::new(name, "1.0.0"));
        upstream.publish(Package::new(name, "1.1.0").field("filler", filler.clone()));
        let reply = client::head(mirror.addr(), &path, &[]).await;
        assert_eq!(reply.status, 200);
        upstream.delete_version(name, "1.1.0");
        assert_eq!(mirror.get(&path).await.text(), upstream.index_file(name));
    }
    mirror.stop().await;
    let is_old = |name: &&String| {
        let record = folder.path().join("crates-io/index").join(index_path(name));
        Record::read(&record).body != upstream.index_file(name).as_bytes()
    };
    let old: Vec<_> = names.iter().filter(is_old).collect();
    assert!(old.is_empty(), "these records are old: {old:?}");
}
