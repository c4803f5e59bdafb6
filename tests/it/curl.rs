//! curl as Debian 12 has it (7.88) asks for the upgrade to HTTP/2 and gets whole answers; so does one that wants HTTP/1.1 or knows beforehand.

use tokio::process::Command;

use crate::support::{Mirror, Package, Upstream, curl, tools};

const CRATE: &str = "/api/v1/crates/big/1.0.0/download";

/// Whether there is a curl that speaks HTTP/2.
async fn has_curl() -> bool {
    let version = Command::new("curl").arg("--version").output().await;
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let found = version.is_ok_and(|text| text.contains("HTTP2"));
    if !found {
        tools::skip("no `curl` that speaks HTTP/2 is installed");
    }
    found
}

/// It said "curl: (16) Error in the HTTP2 framing layer" to whatever was larger than its buffer of 32 KiB.
#[tokio::test]
async fn curl_gets_whole_crates_after_the_upgrade() {
    if !has_curl().await {
        return;
    }
    let big = Package::new("big", "1.0.0").payload(3_000_000);
    let upstream = Upstream::new().publish(big).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let file = upstream.crate_file("big", "1.0.0");
    let url = format!("{}{CRATE}", mirror.url());
    // As it arrives, and then from memory, several times: which of both sides is faster differs.
    for _ in 0..10 {
        for (flag, spoken) in [
            ("--http2", "2"),
            ("--http1.1", "1.1"),
            ("--http2-prior-knowledge", "2"),
        ] {
            let curled = curl("%{http_version}", ["--fail", flag], &url).await;
            assert_eq!(curled.written, spoken, "{flag}");
            assert!(curled.body == file, "other bytes: {flag}");
        }
    }
}

/// Two things one after the other over one connection, the second of them after the upgrade.
#[tokio::test]
async fn curl_goes_on_over_the_upgraded_connection() {
    if !has_curl().await {
        return;
    }
    let big = Package::new("big", "1.0.0").payload(300_000);
    let upstream = Upstream::new().publish(big).start().await;
    let mirror = Mirror::of(&upstream).start().await;
    let url = format!("{}{CRATE}", mirror.url());
    let args = ["--fail", "--http2", &url, "--output", "/dev/null"];
    let index = format!("{}/index/3/b/big", mirror.url());
    let curled = curl("%{http_version}", args, &index).await;
    assert_eq!(curled.written, "22", "both over HTTP/2");
    assert!(
        curled.body == upstream.crate_file("big", "1.0.0"),
        "other bytes"
    );
}
