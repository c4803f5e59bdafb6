//! TLS: real cargo and real curl over HTTP/2 and HTTP/1.1, each sent back the way it came; whole bodies, sessions resumed, and never an upgrade.

use rustls::{
    HandshakeKind, ProtocolVersion,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    Cargo, Mirror, Package, Program, Subject, TlsFolder, Upstream, client, curl, tools,
};

const CONFIG: &str = "/index/config.json";
const CRATE: &str = "/api/v1/crates/big/1.0.0/download";
const BY_HTTP2: &str = "crate_mirror_requests_by_protocol_total{protocol=\"HTTP/2\"}";

async fn upstream() -> Upstream {
    Upstream::new()
        .publish(Package::new("a", "1.0.0").dep("b", "1"))
        .publish(Package::new("b", "1.0.0"))
        .publish(Package::new("big", "1.0.0").payload(3_000_000))
        .start()
        .await
}

/// A cargo that trusts the authority of these files, or only the system's.
fn cargo(index: &str, trusted: Option<&TlsFolder>) -> Cargo {
    let cargo = Cargo::new(index).project(&[("a", "1")]);
    let cargo = cargo.env("CARGO_NET_RETRY", "0");
    match trusted {
        None => cargo,
        Some(files) => {
            let path = files.authority_path();
            cargo.config(&format!("[http]\ncainfo = {path:?}\n"))
        }
    }
}

#[tokio::test]
async fn cargo_builds_over_tls_and_http2() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.start().await;
    let index = format!("{}/index/", mirror.tls_url());
    let strange = cargo(&index, None).run(&["build"]).await;
    strange.failure().stderr_contains("certificate");
    let refused = mirror
        .metric("crate_mirror_tls_handshakes_total{result=\"alert\"}")
        .await;
    assert!(refused > 0.0, "nobody broke it off");
    assert_eq!(mirror.metric(BY_HTTP2).await, 0.0);
    let built = cargo(&index, Some(&files)).run(&["build"]).await;
    built.success();
    // config.json, two index files, two crates.
    assert_eq!(mirror.metric(BY_HTTP2).await, 5.0);
}

/// `server.listen` itself speaks TLS, and what is printed and what the page says is for who comes through it.
#[tokio::test]
async fn what_it_says_to_paste_works_over_tls() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let program = Program::serving(&upstream, &files.settings(""));
    let program = program.start().await;
    let addr = program.addr();
    assert_eq!(program.url(), format!("https://{addr}"));
    let printed = program.stdout().split_once("config.toml:\n\n");
    let printed = printed.expect("lines to paste").1.to_owned();
    let page = files.client().get(addr, "/").await.text();
    assert!(page.contains(printed.trim()), "{page}\nand not\n{printed}");
    let cainfo = format!("[http]\ncainfo = {:?}\n", files.authority_path());
    let cargo = Cargo::unconfigured().config(&printed).config(&cainfo);
    let cargo = cargo.project(&[("a", "1")]);
    cargo.run(&["build"]).await.success();
}

#[tokio::test]
async fn a_client_is_sent_back_the_way_it_came() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.start().await;
    let by_tls = files.client().get(mirror.tls_addr(), CONFIG).await.text();
    let (plain, tls) = (mirror.addr(), mirror.tls_url());
    assert_eq!(
        by_tls,
        format!("{{\"dl\":\"{tls}/api/v1/crates\",\"api\":\"{tls}\"}}")
    );
    let plainly = mirror.get(CONFIG).await.text();
    assert_eq!(
        plainly,
        format!("{{\"dl\":\"http://{plain}/api/v1/crates\",\"api\":\"http://{plain}\"}}")
    );
    assert_eq!(mirror.url(), tls, "what is printed");
}

#[tokio::test]
async fn curl_gets_whole_crates_over_http_1_1_and_http2() {
    if !tools::has("curl", "--version") {
        return;
    }
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.start().await;
    let file = upstream.crate_file("big", "1.0.0");
    let url = format!("{}{CRATE}", mirror.tls_url());
    let authority = files.authority_path();
    let trusting = ["--fail", "--cacert", authority.to_str().expect("a path")];
    for (args, spoken) in [
        (&["--http1.1"][..], "1.1 0"),
        (&["--http2"], "2 0"),
        (&["--http1.1", "--tls-max", "1.2"], "1.1 0"),
        (&["--http2", "--tls-max", "1.2"], "2 0"),
        (&["--no-alpn"], "1.1 0"),
    ] {
        for _ in 0..3 {
            let written = "%{http_version} %{ssl_verify_result}";
            let args = trusting.iter().chain(args);
            let curled = curl(written, args.clone(), &url).await;
            assert_eq!(curled.written, spoken, "{args:?}");
            assert!(curled.body == file, "other bytes: {args:?}");
        }
    }
}

#[tokio::test]
async fn the_newest_common_version_and_http2_are_agreed_on() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let (mirror, both) = (mirror.start().await, &["http/1.1", "h2"][..]);
    for (client, version) in [
        (files.client(), ProtocolVersion::TLSv1_3),
        (files.client_of(&TLS12), ProtocolVersion::TLSv1_2),
        (files.client_of(&TLS13), ProtocolVersion::TLSv1_3),
    ] {
        for (offered, spoken) in [(both, "h2"), (&both[..1], "http/1.1"), (&both[1..], "h2")] {
            let client = client.clone().offering(offered);
            let stream = client.connect(mirror.tls_addr()).await.expect("TLS");
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version));
            assert_eq!(session.alpn_protocol(), Some(spoken.as_bytes()));
        }
        let other = client
            .offering(&["spdy/3"])
            .connect(mirror.tls_addr())
            .await;
        assert!(other.is_err(), "nothing in common, and yet a connection");
    }
}

/// Keys of tickets are kept when the certificate is replaced.
#[tokio::test]
async fn sessions_are_resumed_also_under_another_certificate() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.start().await;
    for version in [&TLS12, &TLS13] {
        let client = files.client_of(version);
        let handshake = async || {
            let mut stream = client.connect(mirror.tls_addr()).await.expect("TLS");
            let kind = stream.get_ref().1.handshake_kind();
            // The tickets come after the handshake.
            client::get_over(&mut stream, "localhost", "/healthz", &[])
                .await
                .expect("an answer");
            kind
        };
        assert_eq!(handshake().await, Some(HandshakeKind::Full));
        assert_eq!(handshake().await, Some(HandshakeKind::Resumed));
        let next = files.authority.issue(&Subject::LOCALHOST);
        files.put(&next);
        mirror.reread();
        files.client().shows(mirror.tls_addr(), &next).await;
        assert_eq!(handshake().await, Some(HandshakeKind::Resumed));
    }
    let resumed = mirror
        .metric("crate_mirror_tls_handshakes_total{result=\"resumed\"}")
        .await;
    assert!(resumed >= 4.0, "{resumed}");
}

/// Over TLS the handshake decides on the protocol; an upgrade would be a way around it.
#[tokio::test]
async fn an_upgrade_is_never_offered_over_tls() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let settings = files.beside_plain("");
    let mirror = Mirror::of(&upstream)
        .settings(&settings)
        .server("h2c = \"always\"");
    let mirror = mirror.start().await;
    let offer = [
        ("connection", "Upgrade, HTTP2-Settings"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAAQAoAAAAAIAAAAA"),
    ];
    let reply = files
        .client()
        .get_with(mirror.tls_addr(), CONFIG, &offer)
        .await;
    assert_eq!((reply.status, reply.header("upgrade")), (200, None));
    assert_eq!(mirror.get_with(CONFIG, &offer).await.status, 101);
}

/// A connection that is closed without `close_notify` looks to its client as if somebody had cut it.
#[tokio::test]
async fn connections_are_closed_in_order() {
    let (upstream, files) = (upstream().await, TlsFolder::new());
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.start().await;
    let mut last = files
        .client()
        .connect(mirror.tls_addr())
        .await
        .expect("TLS");
    let asked = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    last.write_all(asked.as_bytes()).await.expect("sent");
    let mut all = String::new();
    last.read_to_string(&mut all)
        .await
        .expect("an end in order");
    assert!(all.ends_with("ok\n"), "{all}");
    let mut waiting = files
        .client()
        .connect(mirror.tls_addr())
        .await
        .expect("TLS");
    client::get_over(&mut waiting, "a", "/healthz", &[])
        .await
        .expect("an answer");
    let mut space = [0; 8];
    let (_, left) = tokio::join!(mirror.stop(), waiting.read(&mut space));
    assert_eq!(left.expect("an end in order"), 0);
}
