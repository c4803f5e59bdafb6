//! Stored files that somebody writes into while they are read (`cp`, `scp` and `tar` do that): no client ever has a complete wrong file of them, nor more
//! bytes than it was told of.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
};

use crate::support::{
    Connection, Frames, Mirror, Package, Upstream,
    frames::{DATA, HEADERS, RST_STREAM, WINDOW_UPDATE},
    until,
};

const PATH: &str = "/api/v1/crates/large/1.0.0/download";

/// Files above 64 KiB are too large for memory then, and are read while they are sent.
const LITTLE_MEMORY: &str = "[memory]\nbudget = \"1MiB\"";

async fn upstream(size: usize) -> Upstream {
    let package = Package::new("large", "1.0.0").payload(size);
    Upstream::new().publish(package).start().await
}

fn open(file: &Path) -> File {
    let file = OpenOptions::new().write(true).open(file);
    file.expect("a stored file")
}

fn write_at(file: &Path, at: u64, bytes: &[u8]) {
    let mut file = open(file);
    file.seek(SeekFrom::Start(at)).expect("a place in it");
    file.write_all(bytes).expect("write");
}

/// Something written into a stored file of so many bytes, of which the first 64 KiB and some have gone out.
type Writing = (&'static str, fn(&Path, u64));

const WRITINGS: &[Writing] = &[
    ("one byte in the middle", |file, length| {
        write_at(file, length / 2, b"x")
    }),
    ("the last byte", |file, length| {
        write_at(file, length - 1, b"x")
    }),
    ("cut in half", |file, length| {
        open(file).set_len(length / 2).expect("cut")
    }),
    ("cut by a byte", |file, length| {
        open(file).set_len(length - 1).expect("cut")
    }),
    ("cut and grown again", |file, length| {
        open(file).set_len(length / 2).expect("cut");
        open(file).set_len(length).expect("grown");
    }),
    ("grown by a byte", |file, length| {
        write_at(file, length, b"x")
    }),
    ("grown to twice its size", |file, length| {
        let bytes = fs::read(file).expect("a stored file");
        write_at(file, length, &bytes);
    }),
    ("another file", |file, length| {
        open(file).set_len(0).expect("cut");
        write_at(file, 0, &vec![b'x'; length as usize]);
    }),
];

/// Takes what is sent on stream 1 until it ends, and says whether it ended well.
async fn take_all(client: &mut Frames, body: &mut Vec<u8>) -> bool {
    for stream in [0, 1] {
        let much = (1u32 << 30).to_be_bytes();
        let sent = client.try_send(WINDOW_UPDATE, 0, stream, &much).await;
        sent.expect("it takes more");
    }
    while let Some(frame) = client.next().await {
        match (frame.stream, frame.kind) {
            (1, DATA) => body.extend_from_slice(&frame.payload),
            (1, RST_STREAM) => return false,
            _ => {}
        }
        if frame.stream == 1 && frame.ends_stream() {
            return true;
        }
    }
    false
}

/// A client that has been given what its window allows of `PATH`.
async fn in_the_middle(mirror: &Mirror) -> (Frames, Vec<u8>) {
    let mut client = Frames::upgrade(mirror.addr(), PATH).await;
    let mut body = Vec::new();
    while body.len() < 60_000 {
        let frame = client.next().await.expect("an answer");
        assert!(frame.kind != RST_STREAM || frame.stream != 1);
        match (frame.stream, frame.kind) {
            (1, DATA) => body.extend_from_slice(&frame.payload),
            (1, HEADERS) => assert!(!frame.ends_stream()),
            _ => {}
        }
    }
    (client, body)
}

/// 4 of 8 tries used to bring a complete wrong file with status 200; of a file that grew came more than had been announced.
#[tokio::test]
async fn a_stored_file_that_is_written_into_while_it_is_read_is_never_given_out_whole() {
    let upstream = upstream(900_000).await;
    let file = upstream.crate_file("large", "1.0.0");
    let mut mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    for (writing, happens) in WRITINGS {
        mirror = mirror.restart().await;
        let stored = mirror.stored_crate("large", "1.0.0");
        let (mut client, mut body) = in_the_middle(&mirror).await;
        happens(&stored, file.len() as u64);
        let whole = take_all(&mut client, &mut body).await;
        assert!(body.len() <= file.len(), "{writing}: more than announced");
        assert!(!whole, "{writing}: whole");

        // The next one has the right file, from wherever it comes.
        let reply = mirror.get_until(PATH, |reply| reply.complete).await;
        assert!(reply.body == file, "{writing}: other bytes");
    }
}

/// The same over HTTP/1.1, with a part of a file, and with a file so large that it isn't in any buffer.
#[tokio::test]
async fn a_file_copied_over_another_one_in_place_is_never_mixed_with_it() {
    let upstream = upstream(30_000_000).await;
    let file = upstream.crate_file("large", "1.0.0");
    let mut mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
    assert!(mirror.get(PATH).await.complete);
    let other = tempfile::NamedTempFile::new().expect("a file");
    fs::write(other.path(), vec![b'x'; file.len()]).expect("written");
    for headers in [&[][..], &[("range", "bytes=1000-29000000")]] {
        mirror = mirror.restart().await;
        let stored = mirror.stored_crate("large", "1.0.0");
        let mut client = Connection::open(mirror.addr()).await;
        client.ask("GET", PATH, headers).await.expect("sent");
        assert!(!client.body_so_far(1).await.is_empty());
        fs::copy(other.path(), &stored).expect("copied");
        let reply = client.reply().await;
        assert!(!reply.complete, "{headers:?}: a mixture");
        let reply = mirror.get_until(PATH, |reply| reply.complete).await;
        assert!(reply.body == file, "other bytes");
    }
}

/// A download that went through the disk: from the moment its file has its place in the store, others can write into it, and its clients still read it.
#[tokio::test]
async fn a_file_written_into_right_after_it_was_fetched_is_never_given_out_whole() {
    let upstream = upstream(900_000).await;
    let file = upstream.crate_file("large", "1.0.0");
    for (writing, happens) in WRITINGS {
        let mirror = Mirror::of(&upstream).settings(LITTLE_MEMORY).start().await;
        let (mut client, mut body) = in_the_middle(&mirror).await;
        let stored = || mirror.stored().into_iter().any(|p| p.ends_with(".crate"));
        until("stored", stored).await;
        happens(&mirror.stored_crate("large", "1.0.0"), file.len() as u64);
        let whole = take_all(&mut client, &mut body).await;
        assert!(body.len() <= file.len(), "{writing}: more than announced");
        // What was added behind its end is none of this client's business.
        assert!(!whole || body == file, "{writing}: a complete wrong file");
        let grown = writing.starts_with("grown");
        assert_eq!(whole, grown, "{writing}");
    }
}

/// A half file that was asked for used to be removed under the hands of whoever was copying it there.
#[tokio::test]
async fn a_file_that_is_being_copied_into_the_store_is_served_when_it_is_there() {
    let upstream = upstream(900_000).await;
    let file = upstream.crate_file("large", "1.0.0");
    for settings in ["", LITTLE_MEMORY] {
        let settings = format!("{settings}\n[offline]\nenabled = true");
        let online = Mirror::of(&upstream).start().await;
        assert!(online.get(PATH).await.complete);
        let online = online.restart().await;
        let stored = online.stored_crate("large", "1.0.0");
        let store = online.store().to_owned();
        let mirror = Mirror::of(&upstream).settings(&settings).store(&store);
        let mirror = mirror.start().await;

        let mut target = File::create(&stored).expect("a file");
        let (one, two) = file.split_at(file.len() / 2);
        target.write_all(one).expect("written");
        let early = crate::support::client::try_request(mirror.addr(), "GET", PATH, &[]).await;
        assert!(early.is_ok_and(|reply| !reply.complete || reply.status == 503));
        target.write_all(two).expect("written");
        let reply = mirror
            .get_until(PATH, |reply| reply.complete && reply.status == 200)
            .await;
        assert!(reply.body == file, "other bytes");
        mirror.stop().await;
    }
}
