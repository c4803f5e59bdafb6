//! A corrupt store: an index record that doesn't pass its check is never served, and is fetched again.

use std::fs;

use crate::support::{
    Connection, Mirror, Package, Upstream, assert_serves, index_path, sha256,
    stored::{DAMAGES, Damage, Record},
};

const SERDE: &str = "/index/se/rd/serde";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("serde", "1.0.0"))
        .publish(Package::new("tokio", "1.0.0"))
        .start()
        .await
}

/// A mirror with nothing in memory that has stored both index files.
async fn that_has_stored(upstream: &Upstream) -> Mirror {
    let settings = "[upstream]\nretries = 0";
    let mirror = Mirror::of(upstream).settings(settings).start().await;
    for path in [SERDE, "/index/to/ki/tokio"] {
        assert_eq!(mirror.get(path).await.status, 200);
    }
    upstream.clear_log();
    mirror.restart().await
}

/// Damage after which there still is a record with an index file in it.
const SLY_DAMAGES: &[Damage] = &[
    ("another checksum in its body", |file, _| {
        let mut record = Record::read(file);
        let body = String::from_utf8(record.body).expect("text");
        let start = body.find("cksum").expect("a checksum") + 8;
        record.body = body.into_bytes();
        record.body[start] = if record.body[start] == b'0' {
            b'1'
        } else {
            b'0'
        };
        record.write(file);
    }),
    ("another checksum in its header", |file, _| {
        let mut record = Record::read(file);
        record.header["sha256"] = sha256(b"something else").into();
        record.write(file);
    }),
    ("another format", |file, _| {
        let mut record = Record::read(file);
        record.header["format"] = 2.into();
        record.write(file);
    }),
    ("a time that no date can be written for", |file, _| {
        let mut record = Record::read(file);
        record.header["fetched_at"] = u64::MAX.into();
        record.write(file);
    }),
];

#[tokio::test]
async fn a_corrupt_index_record_is_fetched_again() {
    let upstream = upstream().await;
    let lines = upstream.index_file("serde");
    let mut mirror = that_has_stored(&upstream).await;
    for (damage, happens) in DAMAGES.iter().chain(SLY_DAMAGES) {
        let record = mirror.index_record("serde");
        happens(&record, &mirror.index_record("tokio"));
        let reply = mirror.get(SERDE).await;
        assert_serves(&reply, "miss", &lines, damage);
        assert_eq!(upstream.index_requests().len(), 1, "{damage}");

        mirror = mirror.restart().await;
        assert_eq!(Record::read(&record).body, lines.as_bytes(), "{damage}");
        assert_serves(&mirror.get(SERDE).await, "hit", &lines, damage);
        assert_eq!(upstream.index_requests().len(), 1, "{damage}");
        upstream.clear_log();
        mirror = mirror.restart().await;
    }
}

#[tokio::test]
async fn a_corrupt_index_record_is_not_served_even_if_there_is_nothing_else() {
    let upstream = upstream().await;
    let mut mirror = that_has_stored(&upstream).await;
    upstream.stop().await;
    let record = mirror.index_record("serde");
    let good = fs::read(&record).expect("a record");
    for (damage, happens) in DAMAGES.iter().chain(SLY_DAMAGES) {
        fs::write(&record, &good).expect("write");
        happens(&record, &mirror.index_record("tokio"));
        let reply = mirror.get(SERDE).await;
        reply.assert_unavailable(damage);
        let reply = mirror.get("/api/v1/crates/serde/1.0.0/download").await;
        reply.assert_unavailable(damage);
        mirror = mirror.restart().await;
    }
}

/// With a wrong date or ETag, upstream could answer 304 for ever, and an old file would stay.
#[tokio::test]
async fn no_flipped_bit_in_a_records_header_hides_a_change() {
    // One crate for every byte of a header.
    let names: Vec<String> = (0..260).map(|at| format!("crate{at}")).collect();
    for kind in [Upstream::new(), Upstream::new().last_modified()] {
        let packages = names.iter().map(|name| Package::new(name, "1.0.0"));
        let upstream = kind.publish_all(packages).start().await;
        let mirror = Mirror::of(&upstream).always_asks().start().await;
        get_all_index_files(&mirror, &names).await;
        let mut mirror = mirror.restart().await;
        let good = |name: &String| fs::read(mirror.index_record(name)).expect("a record");
        let good: Vec<_> = names.iter().map(good).collect();
        names.iter().for_each(|name| upstream.yank(name, "1.0.0"));
        for bit in [0x01, 0x10, 0x40] {
            let mut headers = Vec::new();
            for (at, name) in names.iter().enumerate() {
                let mut record = good[at].clone();
                let end = record.iter().position(|&b| b == b'\n').expect("a header");
                record[at.min(end)] ^= bit;
                fs::write(mirror.index_record(name), &record).expect("write");
                headers.push(String::from_utf8_lossy(&record[..end]).into_owned());
            }
            let found = get_all_index_files(&mirror, &names).await;
            let hidden = names.iter().zip(found).zip(headers);
            let hidden = hidden.filter(|((name, text), _)| *text != upstream.index_file(name));
            let hidden: Vec<_> = hidden.map(|(_, header)| header).collect();
            assert!(hidden.is_empty(), "bit {bit:#x} made these: {hidden:#?}");
            mirror = mirror.restart().await;
        }
    }
}

async fn get_all_index_files(mirror: &Mirror, names: &[String]) -> Vec<String> {
    let mut client = Connection::open(mirror.addr()).await;
    let mut found = Vec::new();
    for name in names {
        let path = format!("/index/{}", index_path(name));
        client.ask("GET", &path, &[]).await.expect("a request sent");
        found.push(client.reply().await.text());
    }
    found
}
