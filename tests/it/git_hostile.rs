//! Whatever is sent to git-upload-pack is answered with a sentence, in bounded memory, and what is wanted and isn't known gets the present state.

use crate::support::{Connection, Git, Mirror, Reply, Upstream, index_path, until};

const UPLOAD_PACK: &str = "/git/index/git-upload-pack";
const REFS: &str = "/git/index/info/refs?service=git-upload-pack";

async fn mirror(upstream: &Upstream) -> Mirror {
    let mirror = Mirror::of(upstream).start().await;
    assert_eq!(mirror.get("/index/1/a").await.status, 200);
    let record = mirror.index_record("a");
    until("stored", || record.exists()).await;
    mirror
}

/// Posts a body with these headers.
async fn post(mirror: &Mirror, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut client = Connection::open(mirror.addr()).await;
    let length = body.len().to_string();
    let mut headers = headers.to_vec();
    headers.push(("content-length", &length));
    let asked = client.ask("POST", UPLOAD_PACK, &headers).await;
    asked.expect("sent");
    // It may have been answered and closed before all of it was sent.
    let (stream, _) = client.into_parts();
    let (mut read, mut write) = stream.into_split();
    let send = async {
        let _ = tokio::io::AsyncWriteExt::write_all(&mut write, body).await;
    };
    let mut received = Vec::new();
    let receive = async {
        let mut block = [0; 16 << 10];
        loop {
            let read = tokio::io::AsyncReadExt::read(&mut read, &mut block).await;
            match read {
                Ok(0) | Err(_) => break,
                Ok(count) => received.extend_from_slice(&block[..count]),
            }
            if is_whole(&received) {
                break;
            }
        }
    };
    tokio::join!(send, receive);
    reply(&received)
}

fn is_whole(received: &[u8]) -> bool {
    received.ends_with(b"0\r\n\r\n") || {
        let text = String::from_utf8_lossy(received);
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let head = text.find("\r\n\r\n").map(|end| end + 4);
        matches!((length, head), (Some(length), Some(head)) if received.len() >= head + length)
            && length != Some(0_usize)
    }
}

fn reply(received: &[u8]) -> Reply {
    let end = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a head");
    let head = String::from_utf8_lossy(&received[..end]).into_owned();
    let status = head[9..12].parse().expect("a status");
    Reply {
        status,
        headers: Default::default(),
        body: received[end + 4..].to_vec(),
        complete: true,
    }
}

fn packet(line: &str) -> String {
    format!("{:04x}{line}", line.len() + 4)
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong_with_it() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    let zero = "0".repeat(40);
    let wanted = packet(&format!("want {zero} side-band-64k\n"));
    let many: String = (0..300)
        .map(|number| packet(&format!("want {number:040x}\n")))
        .collect();
    for (body, said) in [
        (String::new(), "has a body"),
        ("hello".into(), "doesn't begin with its length"),
        ("0000".into(), "nothing is wanted"),
        ("0009done\n".into(), "\"done\""),
        (packet("want me\n"), "\"want me\""),
        (wanted.clone() + "0032have", "ends before its end"),
        (wanted.clone() + &packet("deepen-since 1\n"), "deepen-since"),
        (wanted.clone() + "0001", "version 2"),
        (
            packet("command=ls-refs\n") + "00010000",
            "\"command=ls-refs\"",
        ),
        (many + "0000", "more than 256"),
    ] {
        let reply = post(&mirror, &[], body.as_bytes()).await;
        assert_eq!(reply.status, 400, "{body}: {}", reply.text());
        assert!(reply.text().contains(said), "{body}: {}", reply.text());
    }
    let gzip = [("content-encoding", "gzip")];
    let reply = post(&mirror, &gzip, b"no gzip at all").await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let brotli = [("content-encoding", "br")];
    let reply = post(&mirror, &brotli, wanted.as_bytes()).await;
    assert!(reply.text().contains("gzipped"), "{}", reply.text());
}

#[tokio::test]
async fn a_body_is_no_longer_than_it_may_be_however_it_is_packed() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    let have = packet(&format!("have {}\n", "1".repeat(40)));
    let wanted = packet(&format!("want {} side-band-64k\n", "0".repeat(40)));
    let long = wanted.clone() + "0000" + &have.repeat(30_000);
    let reply = post(&mirror, &[], long.as_bytes()).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("1048576"), "{}", reply.text());
    let bomb = wanted.clone() + "0000" + &have.repeat(200_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut gzip, bomb.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let headers = [("content-encoding", "gzip")];
    let reply = post(&mirror, &headers, &gzip).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("decompressed"), "{}", reply.text());
    // What a client sends that has thousands of commits of which nothing is known is all right.
    let many = wanted + "0000" + &have.repeat(15_000) + "0009done\n";
    let reply = post(&mirror, &[], many.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

/// A packet of 64 KiB that came byte by byte was copied with each byte.
#[tokio::test]
async fn a_body_in_pieces_of_a_byte_is_understood_as_soon_as_any_other() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    let long = format!("want {} agent={}\n", "0".repeat(40), "x".repeat(65_000));
    let body = packet(&long) + "00000009done\n";
    let mut gzip = Vec::new();
    for byte in body.as_bytes() {
        let mut member = flate2::write::GzEncoder::new(gzip, flate2::Compression::none());
        std::io::Write::write_all(&mut member, &[*byte]).expect("memory");
        gzip = member.finish().expect("memory");
    }
    // Members of one byte each take 24 bytes: more than may come.
    gzip.truncate(1 << 20);
    let headers = [("content-encoding", "gzip")];
    let reply = post(&mirror, &headers, &gzip).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let chunked: String = body.chars().map(|c| format!("1\r\n{c}\r\n")).collect();
    let mut client = Connection::open(mirror.addr()).await;
    let headers = [("transfer-encoding", "chunked")];
    client
        .ask("POST", UPLOAD_PACK, &headers)
        .await
        .expect("sent");
    client.send((chunked + "0\r\n\r\n").as_bytes()).await;
    let reply = client.reply().await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.text().contains("NAK\nPACK"));
}

#[tokio::test]
async fn what_is_wanted_and_not_known_gets_the_present_state() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    let body = packet(&format!("want {}\n", "7".repeat(40))) + "00000009done\n";
    let reply = post(&mirror, &[], body.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let text = reply.text();
    assert!(text.contains("0008NAK\nPACK"), "{text}");
}

#[tokio::test]
async fn what_is_no_smart_request_is_told_how_to_ask() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    for (path, status, said) in [
        ("/git/index/info/refs", 400, "smart protocol"),
        (
            "/git/index/info/refs?service=git-receive-pack",
            403,
            "read-only",
        ),
        ("/git/index", 404, "as `registry`"),
        ("/git/index/", 404, "as `registry`"),
        ("/git/index/HEAD", 404, "one by one"),
        ("/git/index/objects/info/packs", 404, "one by one"),
        (UPLOAD_PACK, 400, "POST"),
        ("/git/indexes", 404, "nothing under this path"),
    ] {
        let reply = mirror.get(path).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.text().contains(said), "{path}: {}", reply.text());
    }
    let reply = mirror.get(REFS).await;
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    let kind = "application/x-git-upload-pack-advertisement";
    assert_eq!(reply.header("content-type"), Some(kind));
    let labelled = "crate_mirror_requests_total{outcome=\"hit\",route=\"git\"}";
    assert!(mirror.metric(labelled).await >= 1.0);
}

#[tokio::test]
async fn a_repository_whose_history_is_unknown_is_fetched_into_all_the_same() {
    let upstream = Upstream::with_one_crate().await;
    let mirror = mirror(&upstream).await;
    let git = Git::new();
    let url = format!("{}/git/index", mirror.url());
    let own = git.folder().join("own");
    git.run(git.folder(), &["init", "--quiet", "own"])
        .await
        .success();
    // So many that git names them in several requests, the later ones gzipped.
    let script = own.join("many.sh");
    let commits =
        "export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t
tree=$(git mktree </dev/null)
c=$(git commit-tree -m first $tree)
for i in $(seq 400); do c=$(git commit-tree -m $i -p $c $tree); done
git update-ref refs/heads/mine $c";
    std::fs::write(&script, commits).expect("a file");
    let alias = format!("alias.many=!sh {}", script.display());
    git.run(&own, &["-c", &alias, "many"]).await.success();
    let fetched = git.run(&own, &["fetch", &url, "master"]).await;
    fetched.success();
    let show = format!("FETCH_HEAD:{}", index_path("a"));
    let file = git.says(&own, &["show", &show]).await;
    assert_eq!(file, upstream.index_file("a").trim_end());
}
