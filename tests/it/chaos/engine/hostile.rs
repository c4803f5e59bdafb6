//! The hostile: what an upstream sends that is out to harm, and the places it must never lead to.

use std::{io::Write, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::World;

/// The size of a bomb once it is unpacked. Packed it has some 64 KB.
const INFLATED: usize = 60_000_000;
/// Whatever is asked for below this is inside the network, where no answer of upstream's may lead a mirror.
const INSIDE: &str = "/inside/";
/// One of a private network, and the one at which clouds give out their machines' credentials.
const ADDRESSES: [&str; 2] = ["10.0.0.1", "169.254.169.254"];

/// The gzip bombs: nothing but zeros, and lawful lines, but another crate's.
pub(super) fn bombs() -> &'static [Bytes; 2] {
    static BOMBS: OnceLock<[Bytes; 2]> = OnceLock::new();
    BOMBS.get_or_init(|| {
        let line = format!(
            "{{\"name\":\"bomb\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{:064}\",\"features\":{{}},\"yanked\":false}}\n",
            0
        );
        [gzip(b"\0"), gzip(line.as_bytes())]
    })
}

fn gzip(piece: &[u8]) -> Bytes {
    let piece = piece.repeat(100_000 / piece.len());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for _ in 0..INFLATED / piece.len() {
        encoder.write_all(&piece).expect("gzip into memory");
    }
    encoder.finish().expect("gzip into memory").into()
}

/// A listener that nobody may connect to: it is on another port than the registry that sends index files there.
pub(super) struct Trap {
    listener: TcpListener,
}

impl Trap {
    pub(super) async fn new() -> Trap {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        Trap {
            listener: listener.expect("a port for the trap"),
        }
    }

    fn url(&self) -> String {
        let addr = self.listener.local_addr().expect("the trap's address");
        format!("http://{addr}{INSIDE}")
    }
}

impl World {
    /// A URL that no index file may come from, and no crate either where upstream is outside.
    ///
    /// Where it is outside it is reached through a proxy, which is upstream itself and would see what is asked for. An upstream on this machine may
    /// lead into the network around it, so what is inside then is the trap: another host than the registry.
    pub(super) fn somewhere_inside(&self, choice: usize) -> String {
        match self.outside {
            true => format!("http://{}{INSIDE}", ADDRESSES[choice % ADDRESSES.len()]),
            false => self.trap.url(),
        }
    }

    /// Whether anybody has been led inside, by what upstream was asked as a proxy.
    pub(super) fn judge_asked(&self) {
        let asked = self.upstream.count(INSIDE);
        if asked > 0 {
            let what = format!("{asked} requests were led to an address inside");
            self.figures.violation(what);
        }
    }

    /// Notes who connects to the trap: an answer of upstream's has led it there.
    pub(super) async fn watch_trap(&self, end: CancellationToken) {
        while let Some(Ok((_, from))) = end.run_until_cancelled(self.trap.listener.accept()).await {
            let what = format!("a connection from {from} was led to where no index file may be");
            self.figures.violation(what);
        }
    }
}
