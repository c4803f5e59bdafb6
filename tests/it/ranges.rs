//! Parts of .crate files, so that a client can go on with a download that broke off: as RFC 9110 has them, and never so that a wrong file comes of it.

use std::{fs, path::Path, process::Stdio};

use tokio::process::Command;

use crate::support::{
    Connection, Mirror, Package, Reply, Upstream, client,
    stored::{corrupt, flip},
    tools,
};

const PATH: &str = "/api/v1/crates/large/1.0.0/download";

/// Files above 64 KiB are too large for memory then, and are read from the store.
const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"\n[upstream]\nretries = 0";

async fn upstream() -> Upstream {
    let package = Package::new("large", "1.0.0").payload(900_000);
    Upstream::new().publish(package).start().await
}

/// What a range of the file is to be answered with.
#[derive(Clone, Copy, Debug)]
enum Expected {
    Part(usize, usize),
    Nothing,
    Whole,
}

use Expected::{Nothing, Part, Whole};

/// Ranges of a file of so many bytes.
fn ranges(length: usize) -> Vec<(String, Expected)> {
    let own = |asked: String, expected| (format!("bytes={asked}"), expected);
    vec![
        own("0-0".into(), Part(0, 1)),
        own("0-99".into(), Part(0, 100)),
        own("70000-200000".into(), Part(70_000, 200_001)),
        own("400000-".into(), Part(400_000, length)),
        own("0-".into(), Part(0, length)),
        own(format!("{}-", length - 1), Part(length - 1, length)),
        own(format!("5-{}", length * 2), Part(5, length)),
        own("-1".into(), Part(length - 1, length)),
        own("-300000".into(), Part(length - 300_000, length)),
        own(format!("-{}", length * 2), Part(0, length)),
        own(format!("{length}-"), Nothing),
        own("-0".into(), Nothing),
        own("0-1,3-4".into(), Whole),
        own("7-5".into(), Whole),
        own("x".into(), Whole),
        ("lines=0-1".into(), Whole),
    ]
}

#[track_caller]
fn assert_is(reply: &Reply, expected: Expected, file: &[u8], what: &str) {
    assert!(reply.complete, "{what}: cut off");
    assert_eq!(reply.header("accept-ranges"), Some("bytes"), "{what}");
    let length = file.len();
    let (status, body, range) = match expected {
        Whole => (200, file, None),
        Part(first, end) => (
            206,
            &file[first..end],
            Some(format!("bytes {first}-{}/{length}", end - 1)),
        ),
        Nothing => {
            assert_eq!(reply.status, 416, "{what}");
            let range = format!("bytes */{length}");
            assert_eq!(reply.header("content-range"), Some(&*range), "{what}");
            assert_eq!(reply.header("etag"), None, "{what}");
            return assert!(reply.text().contains("large 1.0.0"), "{}", reply.text());
        }
    };
    assert_eq!(reply.status, status, "{what}");
    assert_eq!(reply.header("content-range"), range.as_deref(), "{what}");
    let length = body.len().to_string();
    assert_eq!(reply.header("content-length"), Some(&*length), "{what}");
    assert!(reply.body == body, "{what}: other bytes");
    let etag = format!("\"{}\"", crate::support::sha256(file));
    assert_eq!(reply.header("etag"), Some(&*etag), "{what}");
    for (name, value) in [
        ("content-type", "application/gzip"),
        ("cache-control", "public, max-age=31536000, immutable"),
    ] {
        assert_eq!(reply.header(name), Some(value), "{what}");
    }
}

async fn ask(mirror: &Mirror, range: &str) -> Reply {
    mirror.get_with(PATH, &[("range", range)]).await
}

/// `curl -C -` used to be sent the whole, and to give up.
#[tokio::test]
async fn parts_of_a_file_come_from_memory_and_from_the_store() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        assert!(mirror.get(PATH).await.complete);
        let mirror = mirror.restart().await;
        for (range, expected) in ranges(file.len()) {
            let reply = ask(&mirror, &range).await;
            assert_is(&reply, expected, &file, &format!("{range} {settings}"));
            assert_eq!(reply.header("x-cache"), Some("hit"), "{range}");
        }
    }
}

#[tokio::test]
async fn parts_of_a_file_come_while_it_arrives() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        let gate = upstream.on_crate_files().times(1).gate_after(100_000);
        let mut asking = Vec::new();
        for (range, expected) in ranges(file.len()) {
            let mut client = Connection::open(mirror.addr()).await;
            let sent = client.ask("GET", PATH, &[("range", &range)]).await;
            sent.expect("a request sent");
            asking.push((client, range, expected));
        }
        gate.await_waiting(1).await;
        gate.open();
        for (mut client, range, expected) in asking {
            let reply = client.reply().await;
            assert_is(&reply, expected, &file, &format!("{range} {settings}"));
        }
        assert_eq!(upstream.crate_requests().len(), 1, "one fetch");
        upstream.clear_log();
    }
}

/// Upstream doesn't say how long the file is. A part at its end can be cut out only when all of it is here, so its client waits for that.
#[tokio::test]
async fn a_part_of_a_file_whose_length_upstream_keeps_to_itself_comes_when_it_is_known() {
    let package = Package::new("large", "1.0.0").payload(900_000);
    let upstream = Upstream::new().chunked().publish(package).start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mirror = Mirror::of(&upstream).start().await;
    let reply = ask(&mirror, "bytes=-1000").await;
    assert_is(&reply, Part(file.len() - 1000, file.len()), &file, "a tail");
}

#[tokio::test]
async fn if_range_gives_the_whole_to_who_has_a_part_of_another_file() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let etag = format!("\"{}\"", crate::support::sha256(&file));
    let weak = format!("W/{etag}");
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    for (if_range, expected) in [
        (&*etag, Part(10, file.len())),
        (&weak, Whole),
        ("\"another\"", Whole),
        ("*", Whole),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Whole),
    ] {
        let headers = [("range", "bytes=10-"), ("if-range", if_range)];
        let reply = mirror.get_with(PATH, &headers).await;
        assert_is(&reply, expected, &file, if_range);
    }
}

#[tokio::test]
async fn who_has_the_file_is_told_so_and_head_says_what_get_would() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let etag = format!("\"{}\"", crate::support::sha256(&file));
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        assert!(mirror.get(PATH).await.complete);
        for more in [&[][..], &[("range", "bytes=0-1")]] {
            let headers = [&[("if-none-match", &*etag)], more].concat();
            let reply = mirror.get_with(PATH, &headers).await;
            assert_eq!((reply.status, reply.body.len()), (304, 0), "{more:?}");
            assert_eq!(reply.header("etag"), Some(&*etag));
            assert_eq!(reply.header("content-type"), None);
        }
        let other = [("if-none-match", "\"another\"")];
        assert_is(
            &mirror.get_with(PATH, &other).await,
            Whole,
            &file,
            "another",
        );

        // RFC 9110, section 14.2: only GET has ranges.
        let range = [("range", "bytes=0-1")];
        let head = client::head(mirror.addr(), PATH, &range).await;
        let get = mirror.get(PATH).await;
        assert_eq!((head.status, head.body.len()), (200, 0));
        for name in [
            "accept-ranges",
            "cache-control",
            "content-length",
            "content-type",
            "etag",
            "x-cache",
        ] {
            assert!(get.header(name).is_some(), "{name}");
            assert_eq!(head.header(name), get.header(name), "{name}");
        }
    }
}

/// A file may turn out to be wrong long after the part that was asked for. So the end of the part waits until the whole file has been checked.
#[tokio::test]
async fn no_part_of_a_wrong_file_is_ever_complete() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let asked = ["bytes=0-0", "bytes=0-99", "bytes=70000-200000", "bytes=-5"];
    let lie = upstream.on_crate_files().corrupt();
    for settings in ["[upstream]\nretries = 0", LITTLE_MEMORY] {
        for range in asked {
            let mirror = Mirror::of(&upstream).settings(settings).start().await;
            let headers = [("range", range)];
            let reply = client::try_request(mirror.addr(), "GET", PATH, &headers).await;
            let whole = reply.is_ok_and(|reply| reply.complete && reply.status == 206);
            assert!(!whole, "{range}: a part of a wrong file");
        }
    }
    lie.lift();
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    let mirror = mirror.restart().await;
    for range in asked {
        let mirror = Mirror::of(&upstream)
            .settings(LITTLE_MEMORY)
            .store(mirror.store())
            .start()
            .await;
        flip(&mirror.stored_crate("large", "1.0.0"), file.len() - 1, 1);
        let headers = [("range", range)];
        let reply = client::try_request(mirror.addr(), "GET", PATH, &headers).await;
        let whole = reply.is_ok_and(|reply| reply.complete && reply.status == 206);
        assert!(!whole, "{range}: a part of a corrupt file");
        // Fetched again.
        mirror.get_until(PATH, |reply| reply.complete).await;
        mirror.stop().await;
    }
}

/// What a client got of `PATH` before it was cut off.
async fn cut_off(mirror: &Mirror) -> Vec<u8> {
    let mut client = Connection::open(mirror.addr()).await;
    client.ask("GET", PATH, &[]).await.expect("a request sent");
    let reply = client.reply().await;
    assert!(!reply.complete && !reply.body.is_empty(), "cut off");
    reply.body
}

/// Goes on from what is there without `If-Range`, as clients do that know nothing of tags.
async fn resumed(mirror: &Mirror, so_far: &[u8]) -> Reply {
    ask(mirror, &format!("bytes={}-", so_far.len())).await
}

/// The first part is of a download that turned out to be wrong, the rest would be of a good one. Together they would be a complete wrong file.
#[tokio::test]
async fn the_rest_of_a_good_file_is_not_given_to_who_has_the_beginning_of_a_wrong_one() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for settings in ["[upstream]\nretries = 0", LITTLE_MEMORY] {
        let lie = upstream.on_crate_files().corrupt();
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        let so_far = cut_off(&mirror).await;
        assert!(!file.starts_with(&so_far), "it got wrong bytes");
        lie.lift();
        for from in ["upstream", "memory or the store"] {
            let reply = resumed(&mirror, &so_far).await;
            assert_is(&reply, Whole, &file, from);
        }
        // A client that begins anew gets the whole file.
        let reply = ask(&mirror, "bytes=0-").await;
        assert_is(&reply, Whole, &file, "from the beginning");
    }
}

/// A beginning that was right may be gone on with: that is what ranges are for.
#[tokio::test]
async fn the_rest_of_a_file_is_given_to_who_was_cut_off_because_upstream_broke_off() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    for settings in ["[upstream]\nretries = 0", LITTLE_MEMORY] {
        let cut = upstream.on_crate_files().truncate(500_000);
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        let so_far = cut_off(&mirror).await;
        cut.lift();
        for from in ["upstream", "memory or the store"] {
            let reply = resumed(&mirror, &so_far).await;
            assert_is(&reply, Part(so_far.len(), file.len()), &file, from);
        }
    }
}

#[tokio::test]
async fn the_rest_of_a_good_file_is_not_given_to_who_has_the_beginning_of_a_corrupt_one() {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    let mirror = mirror.restart().await;
    corrupt(&mirror.stored_crate("large", "1.0.0"));
    let so_far = cut_off(&mirror).await;
    assert!(!file.starts_with(&so_far), "it got wrong bytes");
    for from in ["upstream", "the store"] {
        let reply = resumed(&mirror, &so_far).await;
        assert_is(&reply, Whole, &file, from);
    }
}

/// The client left before the stored file turned out to be corrupt, and then that file was replaced.
#[tokio::test]
async fn the_rest_of_a_good_file_is_not_given_to_who_left_before_the_other_was_found_corrupt() {
    let package = Package::new("large", "1.0.0").payload(20_000_000);
    let upstream = Upstream::new().publish(package).start().await;
    let file = upstream.crate_file("large", "1.0.0");
    let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    let mirror = mirror.restart().await;
    let stored = mirror.stored_crate("large", "1.0.0");
    let read = async |n| {
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", PATH, &[]).await.expect("a request sent");
        client.body_so_far(n).await
    };
    let good = read(200_000).await;
    let reply = resumed(&mirror, &good).await;
    assert_is(&reply, Part(good.len(), file.len()), &file, "the rest");

    flip(&stored, 1000, 1);
    let bad = read(100_000).await;
    assert!(!file.starts_with(&bad), "it got wrong bytes");
    // The server learns of its leaving when it writes.
    flip(&stored, 1000, 1);
    let replied = mirror.get_until(PATH, |reply| reply.complete).await;
    assert!(replied.body == file);
    let mut reply = resumed(&mirror, &bad).await;
    for _ in 0..100 {
        if reply.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        reply = resumed(&mirror, &bad).await;
    }
    assert_is(&reply, Whole, &file, "a beginning of a corrupt file");
}

/// Runs a program to its end in `folder`.
async fn run(folder: &Path, program: &str, args: &[&str]) -> std::process::Output {
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.output().await.expect("it runs")
}

/// Has `program` go on from half of a file, and from all of it, under every path of the file.
async fn goes_on(program: &str, args: &[&str]) {
    let upstream = upstream().await;
    let file = upstream.crate_file("large", "1.0.0");
    let folder = tempfile::tempdir().expect("a folder");
    let there = folder.path().join("large.crate");
    for settings in ["", LITTLE_MEMORY] {
        let mirror = Mirror::of(&upstream).settings(settings).start().await;
        for path in [
            PATH,
            "/crates/large/large-1.0.0.crate",
            "/registries/crates-io/crates/large/1.0.0/download",
        ] {
            for so_far in [400_000, file.len()] {
                fs::write(&there, &file[..so_far]).expect("a part of it");
                let url = format!("{}{path}", mirror.url());
                let ran = run(folder.path(), program, &[args, &[&url]].concat()).await;
                assert!(ran.status.success(), "{so_far} {path}: {ran:?}");
                let whole = fs::read(&there).expect("the file");
                assert!(whole == file, "{so_far} {path}: other bytes");
            }
        }
    }
}

#[tokio::test]
async fn curl_goes_on_with_what_it_has() {
    if !tools::has("curl", "--version") {
        return;
    }
    for protocol in ["--http1.1", "--http2", "--http2-prior-knowledge"] {
        let args = ["-sS", "-C", "-", "-o", "large.crate", protocol];
        goes_on("curl", &args).await;
    }
}

#[tokio::test]
async fn wget_goes_on_with_what_it_has() {
    if tools::has("wget", "--version") {
        goes_on("wget", &["-nv", "-c", "-O", "large.crate"]).await;
    }
}
