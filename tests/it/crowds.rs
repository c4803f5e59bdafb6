//! Crowds: hundreds of clients that ask for hundreds of things at once wait, and nobody is refused for want of memory.
#![cfg(target_os = "linux")]

use std::{future::poll_fn, net::SocketAddr, pin::Pin, time::Duration};

use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body::Body;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::support::{Package, Process, Upstream};

const HELD: &str = "/index/he/ld/held";

/// Makes the same request so many times over one connection. As cargo does, it has no more requests under way than the server allows, and makes the others
/// after them. Returns how many were answered with 200.
async fn crowd(server: SocketAddr, requests: usize) -> usize {
    let socket = TcpStream::connect(server).await.expect("a connection");
    let io = TokioIo::new(socket);
    let (client, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    let ask = || {
        let mut client = client.clone();
        let request = Request::get(format!("http://{server}{HELD}"));
        let request = request.body(String::new()).expect("a request");
        async move {
            let answer = client.send_request(request).await.ok()?;
            let status = answer.status();
            let mut body = answer.into_body();
            while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await
            {
                frame.ok()?;
            }
            Some(status)
        }
    };
    let answers = join_all((0..requests).map(|_| ask())).await;
    let answered = answers.iter().flatten();
    answered.filter(|&&status| status == StatusCode::OK).count()
}

/// Each connection used to be allowed 256 requests at once, however many there were: of 500 cargos that asked for 200 index files each, a quarter was
/// refused with 503.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_over_http2_waits_at_its_own_end_and_nobody_is_refused() {
    const CLIENTS: usize = 100;
    const REQUESTS: usize = 200;
    let _alone = crate::support::memory_is_measured().await;
    let held = Package::new("held", "1.0.0");
    let upstream = Upstream::new().publish(held).start().await;
    let gate = upstream.gate(HELD);
    let folder = tempfile::tempdir().expect("a folder");
    let settings = "[memory]\nbudget = \"16MiB\"";
    let mirror = Process::start(&upstream, folder.path(), settings).await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| tokio::spawn(crowd(mirror.addr(), REQUESTS)))
        .collect();
    gate.await_waiting(1).await;
    let all = format!("\ncrate_mirror_connections {}\n", CLIENTS + 1);
    while !mirror.get("/metrics").await.text().contains(&all) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    gate.open();
    let mut answered = 0;
    for client in clients {
        answered += client.await.expect("a client");
    }
    assert_eq!(answered, CLIENTS * REQUESTS);
    let peak = mirror.peak_memory();
    assert!(peak <= 116 << 20, "{peak} bytes at the peak");
}
