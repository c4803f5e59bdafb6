//! Who speaks something else where TLS is spoken, or TLS where it isn't, or falls silent in the midst of it: answered or closed, never left hanging, and
//! nobody else notices.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{ClientConnection, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{Frames, Mirror, Package, TlsFolder, Upstream, client, frames::MAGIC};

/// What a handshake may take, and some time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

async fn mirror(files: &TlsFolder, server: &str) -> (Upstream, Mirror) {
    let leaf = Package::new("leaf", "1.0.0");
    let upstream = Upstream::new().publish(leaf).start().await;
    let mirror = Mirror::of(&upstream).settings(&files.beside_plain(""));
    let mirror = mirror.server(server).start().await;
    (upstream, mirror)
}

/// Sends these bytes and reads until the other side closes.
async fn answered(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).await.expect("connect");
    let mut answer = Vec::new();
    let talk = async {
        // It may be closed before all is sent.
        let _ = stream.write_all(bytes).await;
        match stream.read_to_end(&mut answer).await {
            Err(e) if e.kind() != ErrorKind::ConnectionReset => panic!("{e}"),
            Ok(_) | Err(_) => {}
        }
    };
    let closed = timeout(PATIENCE, talk).await;
    assert!(closed.is_ok(), "left hanging after {bytes:?}");
    answer
}

/// How a client begins.
fn hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("memory");
    bytes
}

#[tokio::test]
async fn plain_http_is_told_that_this_port_speaks_tls() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "").await;
    for bytes in [
        &b"GET /index/config.json HTTP/1.1\r\nhost: a\r\n\r\n"[..],
        b"G",
        MAGIC,
        &[
            &b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"[..],
            &[b'x'; 100_000],
        ]
        .concat(),
    ] {
        let answer = answered(mirror.tls_addr(), bytes).await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        let (_, sentence) = answer.split_once("\r\n\r\n").expect("a body");
        assert_eq!(
            sentence,
            "This port speaks TLS; use https:// instead of http://.\n"
        );
    }
    let counted = "crate_mirror_tls_handshakes_total{result=\"plain-http\"}";
    assert_eq!(mirror.metric(counted).await, 4.0);
}

#[tokio::test]
async fn tls_on_a_plain_port_is_closed() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "").await;
    let started = Instant::now();
    answered(mirror.addr(), &hello()).await;
    assert!(files.client().connect(mirror.addr()).await.is_err());
    assert!(started.elapsed() < PATIENCE);
    assert_eq!(mirror.get("/healthz").await.status, 200);
}

/// Ten seconds, from when it was accepted, and not from the last byte.
#[tokio::test]
async fn a_client_that_falls_silent_or_dawdles_is_closed() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "").await;
    let (addr, hello) = (mirror.tls_addr(), hello());
    let mut clients = JoinSet::new();
    for sent in [0, 1, 5, hello.len() / 2, hello.len()] {
        let begun = hello[..sent].to_vec();
        clients.spawn(async move {
            answered(addr, &begun).await;
        });
    }
    clients.spawn(async move {
        let mut stream = TcpStream::connect(addr).await.expect("connect");
        for byte in hello {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("it took its time");
    });
    clients.join_all().await;
    let late = "crate_mirror_tls_handshakes_total{result=\"timeout\"}";
    assert_eq!(mirror.metric(late).await, 6.0);
}

/// Two listeners, and one limit.
#[tokio::test]
async fn handshakes_count_as_connections() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "max_connections = 3").await;
    let open = async || {
        TcpStream::connect(mirror.tls_addr())
            .await
            .expect("connect")
    };
    let silent = [open().await, open().await];
    let mut plain = TcpStream::connect(mirror.addr()).await.expect("connect");
    let asked = b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n";
    // Until it has accepted all three.
    loop {
        plain.write_all(asked).await.expect("sent");
        let mut text = vec![0; 64 << 10];
        let read = plain.read(&mut text).await.expect("an answer");
        if String::from_utf8_lossy(&text[..read]).contains("crate_mirror_connections 3\n") {
            break;
        }
    }
    let fourth = files.client().connect(mirror.tls_addr()).await;
    assert!(fourth.is_err(), "one too many");
    let fifth = client::get(mirror.addr(), "/healthz", &[]).await;
    assert_eq!(fifth.status, 503);
    drop((silent, plain));
}

/// It would have held up the end for ten seconds.
#[tokio::test]
async fn who_is_at_a_handshake_is_not_waited_for_at_the_end() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "shutdown_grace = \"60s\"").await;
    let mut silent = TcpStream::connect(mirror.tls_addr())
        .await
        .expect("connect");
    let mut served = Frames::upgrade(mirror.addr(), "/healthz").await;
    assert_eq!(served.response(1).await.status, 200);
    drop(served);
    let started = Instant::now();
    mirror.stop().await;
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    let _ = silent.read(&mut [0; 8]).await;
}

/// Bytes of no meaning, and a client's first ones with some of them changed, cut out or put in.
#[tokio::test]
async fn whatever_comes_before_the_handshake_it_ends() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "").await;
    let (hello, addr) = (hello(), mirror.tls_addr());
    let mut random = fastrand::Rng::with_seed(13);
    let mut clients = JoinSet::new();
    for round in 0..300 {
        let mut bytes = hello.clone();
        let at = random.usize(..bytes.len());
        match round % 5 {
            0 => bytes = (0..random.usize(1..2_000)).map(|_| random.u8(..)).collect(),
            1 => bytes[at] = random.u8(..),
            2 => drop(bytes.splice(at..at, (0..50).map(|_| random.u8(..)))),
            3 => drop(bytes.drain(..at)),
            // Of a message that is said to be endless.
            _ => bytes = [&[22, 3, 1, 64, 0, 1, 255, 255, 255][..], &[0; 70_000]].concat(),
        }
        clients.spawn(async move { answered(addr, &bytes).await });
    }
    clients.join_all().await;
    assert_eq!(
        files.client().get(addr, "/index/le/af/leaf").await.status,
        200
    );
    assert_eq!(mirror.metric("crate_mirror_connections").await, 1.0);
}

/// A record that is never whole, after the handshake.
#[tokio::test]
async fn a_client_that_falls_silent_within_a_record_is_closed() {
    let files = TlsFolder::new();
    let (_upstream, mirror) = mirror(&files, "idle_timeout = \"1s\"").await;
    let stream = files
        .client()
        .connect(mirror.tls_addr())
        .await
        .expect("TLS");
    let (mut socket, _) = stream.into_inner();
    let half = [&[23, 3, 3, 0x40, 0][..], &[0; 9_000]].concat();
    socket.write_all(&half).await.expect("sent");
    let mut rest = Vec::new();
    let closed = timeout(PATIENCE, socket.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "left hanging");
}
