//! The fortress: a mirror under attack, and what must hold afterwards.

use std::path::Path;
use std::sync::{Mutex, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use tempfile::TempDir;

use super::{Connection, Mirror, Package, Reply, Upstream, stored::is_beside};

/// A server that says nothing for this long hangs.
pub const LIMIT: Duration = Duration::from_secs(5);

/// A mirror whose store lies deep in a folder of its own, so that what escapes the store is seen.
pub struct Fortress {
    pub upstream: Upstream,
    pub mirror: Mirror,
    around: TempDir,
}

impl Fortress {
    pub async fn new() -> Fortress {
        watch_for_panics();
        let upstream = Upstream::new()
            .publish(Package::new("serde", "1.0.0"))
            .start()
            .await;
        let around = TempDir::new().expect("a folder");
        let store = around.path().join("a/b/c/store");
        let mirror = Mirror::of(&upstream).store(&store).start().await;
        Fortress {
            upstream,
            mirror,
            around,
        }
    }

    /// Sends these bytes on a connection of their own and returns the first answer, if there is one.
    pub async fn send(&self, bytes: &[u8]) -> Option<Reply> {
        let mut connection = self.open(bytes).await;
        let reply = tokio::time::timeout(LIMIT, connection.try_reply()).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        let reply = reply
            .unwrap_or_else(|_| panic!("it hangs at {shown:?}"))
            .ok();
        // The statuses that the mirror itself sends, and 505, which hyper sends for a version of HTTP that it doesn't speak.
        let status = reply.as_ref().map_or(0, |reply| reply.status);
        assert!(status < 500 || status == 505, "{status} for {shown:?}");
        reply
    }

    pub async fn open(&self, bytes: &[u8]) -> Connection {
        let mut connection = Connection::open(self.mirror.addr()).await;
        connection.send(bytes).await;
        connection
    }

    pub async fn status(&self, bytes: &[u8]) -> Option<u16> {
        self.send(bytes).await.map(|reply| reply.status)
    }

    pub async fn get(&self, path: &str) -> u16 {
        let head = format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n");
        let status = self.status(head.as_bytes()).await;
        status.unwrap_or_else(|| panic!("no answer to GET {path:?}"))
    }

    /// It still serves, nothing panicked, nothing but serde was asked for, and nothing is outside the store.
    pub async fn stands(self) {
        let reply = self.mirror.get("/index/se/rd/serde").await;
        assert_eq!(reply.text(), self.upstream.index_file("serde"));
        let path = "/api/v1/crates/serde/1.0.0/download";
        let reply = self.mirror.get(path).await;
        assert!(reply.body == self.upstream.crate_file("serde", "1.0.0"));
        for seen in self.upstream.requests() {
            let expected = seen.path.contains("serde") || seen.path.ends_with("config.json");
            assert!(expected, "upstream was asked for {}", seen.path);
        }
        self.mirror.stop().await;
        assert!(!has_panicked(), "a task of the server panicked, see above");
        let mut files = files_below(self.around.path());
        // Written beside the crate when there is time.
        files.retain(|file| !is_beside(Path::new(file)));
        let (inside, outside): (Vec<_>, Vec<_>) = files
            .iter()
            .partition(|file| file.starts_with("a/b/c/store/crates-io/"));
        assert_eq!((inside.len(), outside), (2, vec![]), "{files:?}");
    }
}

fn files_below(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(root).expect("below the root");
                files.push(relative.display().to_string());
            }
        }
    }
    files
}

/// The threads on which something panicked. A panic in one of the server's tasks only closes a connection, so nobody would notice. It happens on the thread of
/// the test that runs the server, and is found here.
static PANICKED: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

fn watch_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let mut panicked = PANICKED.lock().unwrap_or_else(PoisonError::into_inner);
            panicked.push(thread::current().id());
            drop(panicked);
            report(info);
        }));
    });
}

fn has_panicked() -> bool {
    let panicked = PANICKED.lock().unwrap_or_else(PoisonError::into_inner);
    panicked.contains(&thread::current().id())
}
