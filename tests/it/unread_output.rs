//! Unread output: what the program says on its standard output is for people; that nobody reads it is no reason to stop serving.

use std::{fs::File, process::Stdio, time::Duration};

use tokio::{net::TcpListener, process::Command};

use crate::support::{Package, Upstream, client};

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
