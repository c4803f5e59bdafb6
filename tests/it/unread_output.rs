//! Unread output: what the program says on its standard output is for people; that nobody reads it is no reason to stop serving.

use std::{
    fs::{self, File},
    process::Stdio,
    time::Duration,
};

use tokio::{net::TcpListener, process::Command};

use crate::support::{Package, Program, Upstream, client};

/// `crate-mirror | head -1`, or a disk that is full.
#[tokio::test]
async fn a_mirror_whose_standard_output_takes_nothing_serves() {
    let serde = Package::new("serde", "1.0.0");
    let upstream = Upstream::new().publish(serde).start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[registries.crates-io]\nindex = \"{}\"\n",
        upstream.index_url()
    );
    std::fs::write(folder.path().join("mirror.toml"), config).expect("write");
    // It can't say which port it was given, so it is given one that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = free.local_addr().expect("its address");
    drop(free);
    let full = File::options().write(true).open("/dev/full");
    let mut mirror = Command::new(env!("CARGO_BIN_EXE_crate-mirror"))
        .args(["--listen", &addr.to_string(), "--log", "warn"])
        .current_dir(folder.path())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(full.expect("/dev/full"))
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts");
    let listens = async {
        while client::try_request(addr, "GET", "/healthz", &[])
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = listens => {}
        status = mirror.wait() => panic!("it ended: {status:?}"),
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("it doesn't listen"),
    }
    let path = "/index/se/rd/serde";
    let reply = client::try_request(addr, "GET", path, &[]).await;
    assert_eq!(
        reply.expect("an answer").text(),
        upstream.index_file("serde")
    );
    // It is there until it is told to end.
    let id = mirror.id().expect("it still runs").to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "no signal sent");
    let ended = tokio::time::timeout(Duration::from_secs(20), mirror.wait()).await;
    let status = ended.expect("it ends").expect("a status");
    assert_eq!(status.code(), Some(0), "{status}");
}

/// They ended in a panic, with exit code 101, which no script expects.
#[tokio::test]
async fn a_command_whose_result_nobody_can_read_ends_with_1_and_without_a_panic() {
    let upstream = Upstream::new().publish(Package::new("leaf", "1.0.0"));
    let upstream = upstream.start().await;
    let program = Program::serving(&upstream, "").command("prefetch");
    let mut ended = program.arg("leaf").run().await;
    for words in [
        "check",
        "check --offline",
        "verify",
        "verify --repair",
        "evict",
        "evict --to 1MiB",
    ] {
        for full in [true, false] {
            let program = Program::new(&[]).words(words).in_folder(ended.folder);
            ended = program.run_into(unread(full), Stdio::piped()).await;
            assert_eq!(ended.code, Some(1), "{words}: {ended:?}");
            assert!(!ended.stderr.contains("panicked"), "{words}: {ended:?}");
            // `head` has seen enough, but a full disk is news.
            let said = ended.stderr.contains("standard output can't be written");
            assert_eq!(said, full, "{words}: {ended:?}");
        }
    }
}

/// Whatever has become of standard error, the exit code is that of what happened.
#[tokio::test]
async fn a_message_that_nobody_can_read_changes_no_exit_code() {
    let upstream = Upstream::new().publish(Package::new("leaf", "1.0.0"));
    let upstream = upstream.start().await;
    let program = Program::serving(&upstream, "").command("prefetch");
    let mut ended = program.arg("leaf").run().await;
    let git = "[[package]]\nname = \"part\"\nversion = \"0.1.0\"\nsource = \"git+https://example.com/part#1a2b\"\n";
    fs::write(ended.folder.path().join("Cargo.lock"), git).expect("a file");
    for (words, code) in [
        ("prefetch leaf", 0),
        ("prefetch leaf nothing", 1),
        ("check", 0),
        ("check Cargo.lock", 1),
        ("verify", 0),
        ("wanted", 0),
        ("export -o bundle.tar.zst", 0),
        ("export -o lock.tar.zst Cargo.lock", 1),
        ("import bundle.tar.zst", 0),
        ("import mirror.toml", 1),
        ("evict --to nothing", 2),
        ("check --config nowhere.toml", 2),
        ("verify --store nowhere", 2),
        ("export", 2),
    ] {
        for full in [true, false] {
            let program = Program::new(&[]).words(words).in_folder(ended.folder);
            ended = program.run_into(Stdio::piped(), unread(full)).await;
            assert_eq!(ended.code, Some(code), "{words}: {ended:?}");
        }
    }
}

/// A list that is lost must not be forgotten, nor seem to be empty.
#[tokio::test]
async fn what_is_wanted_and_cannot_be_written_is_a_failure() {
    let upstream = Upstream::new().start().await;
    let offline = "[offline]\nenabled = true\n";
    let program = Program::serving(&upstream, offline).arg("--store=cache");
    fs::create_dir(program.folder().join("cache")).expect("a store");
    let serving = program.start().await;
    let path = "/index/le/af/leaf";
    assert_eq!(client::get(serving.addr(), path, &[]).await.status, 404);
    serving.signal("TERM").await;
    let wanted = |folder| Program::new(&["wanted", "--forget"]).in_folder(folder);
    let ended = wanted(serving.ended().await.folder);
    let ended = ended.run_into(unread(true), Stdio::piped()).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("nothing is forgotten"), "{ended:?}");
    let ended = wanted(ended.folder);
    let ended = ended.run_into(unread(false), Stdio::piped()).await;
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!(wanted(ended.folder).run().await.stdout, "leaf\n");
}

/// A disk that is full, or a reader that has gone.
fn unread(full: bool) -> Stdio {
    if full {
        let full = File::options().write(true).open("/dev/full");
        return full.expect("/dev/full").into();
    }
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}
