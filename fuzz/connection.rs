//! The check of a connection as a whole: sockets, both protocols, the upgrade between them, and what answers.

use std::{
    cell::{Cell, OnceCell},
    net::SocketAddr,
    sync::{Arc, Once},
    time::Duration,
};

use crate_mirror::{app::App, config, metrics::Metrics, store::Store};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};

/// A server that hasn't ended a connection for so long after its client did hangs.
const LIMIT: Duration = Duration::from_secs(20);

/// Whatever a client sends, in whatever pieces: the server ends the connection when the client does, nothing panics, what comes back is HTTP and not
/// much more than was asked for, and the next client is served.
///
/// The input is a line whose bytes are the sizes of the pieces, over and over (all at once if it is empty), and then what the client sends.
pub fn connection(input: &[u8]) {
    let (sizes, sent) = super::part(input, b"\n");
    SERVER.with(|server| {
        let server = server.get_or_init(Server::start);
        server.runtime.block_on(async {
            // The longest answer is some 20 KB, and the shortest request a dozen bytes.
            let most = (sent.len() + 64) * 4_096;
            let received = server.exchange(sent, sizes, most).await;
            assert!(received.len() <= most, "more than {most} bytes");
            assert_http(&received);
            let next = b"GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
            let next = server.exchange(next, &[], most).await;
            assert!(
                next.starts_with(b"HTTP/1.1 200 OK\r\n"),
                "{}",
                next.escape_ascii()
            );
            assert!(next.ends_with(b"\r\n\r\nok\n"), "{}", next.escape_ascii());
        });
    });
    assert_eq!(PANICS.get(), 0, "a task of the server panicked, see above");
}

/// Nothing, an answer in HTTP/1, or HTTP/2's first frame, which is SETTINGS.
fn assert_http(received: &[u8]) {
    let is_http = received.is_empty()
        || received.starts_with(b"HTTP/1.")
        || received.get(3..9) == Some(&[4, 0, 0, 0, 0, 0]);
    let start = &received[..received.len().min(100)];
    assert!(is_http, "{}", start.escape_ascii());
}

thread_local! {
    static SERVER: OnceCell<&'static Server> = const { OnceCell::new() };
    /// Panics on this thread, on which the server's tasks run. One in a task ends a connection and is otherwise unseen.
    static PANICS: Cell<usize> = const { Cell::new(0) };
}

/// A mirror that has nothing and asks nobody. It lasts as long as the process, like its thread's clients.
struct Server {
    runtime: Runtime,
    addr: SocketAddr,
    _app: App,
}

impl Server {
    fn start() -> &'static Self {
        static COUNTING: Once = Once::new();
        COUNTING.call_once(|| {
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICS.set(PANICS.get() + 1);
                report(info);
            }));
        });
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let settings = "[server]\nlisten = \"127.0.0.1:0\"\n[offline]\nenabled = true\n";
        let settings = config::parse(settings).expect("valid settings");
        let metrics = Arc::new(Metrics::new());
        let store = Store::in_memory(metrics.clone());
        let app = runtime.block_on(App::start_with(settings, store, metrics));
        let app = app.expect("a mirror that starts");
        Box::leak(Box::new(Self {
            addr: app.address(),
            runtime,
            _app: app,
        }))
    }

    /// Sends all of it in pieces, ends that direction, and returns what comes until the server ends the other; a little more than `most` at most.
    async fn exchange(&self, sent: &[u8], sizes: &[u8], most: usize) -> Vec<u8> {
        let stream = TcpStream::connect(self.addr).await.expect("connect");
        stream.set_nodelay(true).expect("a socket");
        let (reading, mut writing) = stream.into_split();
        let send = async {
            let mut sizes = sizes.iter().cycle();
            let mut left = sent;
            while !left.is_empty() {
                let size = sizes.next().map_or(left.len(), |&size| usize::from(size));
                let (piece, rest) = left.split_at(size.clamp(1, left.len()));
                // It may have been closed by now.
                if writing.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
                left = rest;
            }
            let _ = writing.shutdown().await;
        };
        let receive = async {
            let mut received = Vec::new();
            // A reset is an end, too.
            let _ = reading
                .take(most as u64 + 1)
                .read_to_end(&mut received)
                .await;
            received
        };
        let both = timeout(LIMIT, async { tokio::join!(send, receive) }).await;
        both.expect("the connection ends").1
    }
}
