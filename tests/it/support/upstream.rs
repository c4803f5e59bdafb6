//! The upstream: a fake crates.io in this process, real in its protocol and broken on demand.
//!
//! It speaks HTTP/1.1 by hand, because a server library would refuse to send half of what a test
//! wants sent. Without faults it behaves like crates.io: weak ETags and Last-Modified, real
//! conditional requests, 404 for what isn't there, the crate file under the `dl` of its config.json.

mod answer;
mod builder;
mod faults;
mod gate;
mod log;
mod rules;
mod sink;
mod site;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::package::{Package, index_path};
use log::Log;
use rules::{Rules, Scope};
use site::Site;

pub use builder::UpstreamBuilder;
pub use faults::When;
pub use gate::Gate;
pub use log::Seen;
pub use rules::Rule;

/// How long a test waits for something that must happen before it is called a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running upstream. Dropping it stops it.
pub struct Upstream {
    addr: SocketAddr,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What the handle and its connections have in common.
struct Shared {
    site: Mutex<Site>,
    rules: Rules,
    log: Log,
}

impl Shared {
    fn site(&self) -> MutexGuard<'_, Site> {
        self.site.lock().expect("the site's lock")
    }
}

impl Upstream {
    #[expect(
        clippy::new_ret_no_self,
        reason = "tests read better with one name: Upstream::new()…start()"
    )]
    pub fn new() -> UpstreamBuilder {
        UpstreamBuilder::default()
    }

    /// One that has version 1.0.0 of the crate `a`, and nothing else, for tests that don't care what they ask for.
    pub async fn with_one_crate() -> Upstream {
        Upstream::new()
            .publish(Package::new("a", "1.0.0"))
            .start()
            .await
    }

    /// One that has version 1.0.0 of the crates `name-0` and so on, so many and each of that size; and their names.
    pub async fn with_many(count: usize, size: usize) -> (Upstream, Vec<String>) {
        let names: Vec<_> = (0..count).map(|n| format!("name-{n}")).collect();
        let packages = names.iter().map(|n| Package::new(n, "1.0.0").payload(size));
        let upstream = Upstream::new().publish_all(packages).start().await;
        (upstream, names)
    }

    fn over(site: Site, listener: TcpListener, addr: SocketAddr) -> Upstream {
        let shared = Arc::new(Shared {
            site: Mutex::new(site),
            rules: Rules::default(),
            log: Log::default(),
        });
        let state = State::accepting(listener, &shared);
        Upstream {
            addr,
            shared,
            state: Mutex::new(state),
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// `http://127.0.0.1:PORT/index/`
    pub fn index_url(&self) -> String {
        format!("http://{}/index/", self.addr)
    }

    /// The path of an index file here: `/index/se/rd/serde`.
    pub fn index_path(&self, name: &str) -> String {
        format!("/index/{}", index_path(name))
    }

    /// The path of a published crate file here, as the `dl` makes it.
    pub fn crate_path(&self, name: &str, version: &str) -> String {
        self.shared.site().version(name, version).path.clone()
    }

    /// The crate file as it was published.
    pub fn crate_file(&self, name: &str, version: &str) -> bytes::Bytes {
        self.shared.site().version(name, version).file.clone()
    }

    /// The index file as it would be served without Content-Encoding.
    pub fn index_file(&self, name: &str) -> String {
        self.shared.site().index_file(name)
    }

    /// Adds a version, or puts it in the place of the one with its name and number.
    pub fn publish(&self, package: Package) {
        self.shared.site().publish(package);
    }

    /// The crate was deleted: its index file and its crate files are gone.
    pub fn delete(&self, name: &str) {
        self.shared.site().delete(name);
    }

    /// One version was deleted: its line and its crate file are gone.
    pub fn delete_version(&self, name: &str, version: &str) {
        self.shared.site().delete_version(name, version);
    }

    pub fn yank(&self, name: &str, version: &str) {
        self.shared.site().set_yanked(name, version, true);
    }

    pub fn unyank(&self, name: &str, version: &str) {
        self.shared.site().set_yanked(name, version, false);
    }

    /// One more page, for instance of the web API. A path without a query answers for every query.
    pub fn page(&self, path: &str, content_type: &str, body: &str) {
        self.shared.site().page(path, content_type, body);
    }

    /// What was asked, in the order it came. A request is noted before a gate or a fault meets it.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.select(|_| true)
    }

    /// Requests for index files, config.json not among them.
    pub fn index_requests(&self) -> Vec<Seen> {
        self.shared.log.select(|seen| Scope::Index.covers(seen))
    }

    /// Requests for anything below the `dl`.
    pub fn crate_requests(&self) -> Vec<Seen> {
        self.shared.log.select(|seen| Scope::Crates.covers(seen))
    }

    /// How many requests had this in their path.
    pub fn count(&self, substring: &str) -> usize {
        let matching = |seen: &Seen| seen.path.contains(substring);
        self.shared.log.select(matching).len()
    }

    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until `n` requests with this in their path have come; panics after 10 seconds.
    pub async fn await_requests(&self, n: usize, substring: &str) {
        self.shared.log.await_requests(n, substring).await;
    }

    /// Requests with this in their path; say next what happens to them.
    pub fn on(&self, substring: &str) -> When<'_> {
        let scope = Scope::Path(substring.to_owned());
        When::new(&self.shared.rules, scope)
    }

    pub fn on_everything(&self) -> When<'_> {
        self.on("")
    }

    /// Requests for index files, config.json not among them.
    pub fn on_index_files(&self) -> When<'_> {
        When::new(&self.shared.rules, Scope::Index)
    }

    /// Requests for anything below the `dl`.
    pub fn on_crate_files(&self) -> When<'_> {
        When::new(&self.shared.rules, Scope::Crates)
    }

    /// Holds requests with this in their path until the gate opens.
    pub fn gate(&self, substring: &str) -> Gate {
        self.on(substring).gate()
    }

    /// Sends `n` bytes of the body, then holds until the gate opens.
    pub fn gate_after(&self, substring: &str, n: usize) -> Gate {
        self.on(substring).gate_after(n)
    }

    /// Forgets every fault and gate. What is held or hanging already stays so.
    pub fn heal(&self) {
        self.shared.rules.clear();
    }

    /// Refuses connections from now on; those that were open are closed when this returns.
    pub async fn stop(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Changing);
        let State::Accepting { stop, task } = state else {
            panic!("the upstream is stopped already");
        };
        drop(stop);
        task.await.expect("the upstream's listener");
        let reserved = reserve(self.addr).await;
        *self.lock() = State::Stopped(reserved);
    }

    /// Listens again, on the same port, with all that was published.
    pub async fn restart(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Changing);
        let State::Stopped(socket) = state else {
            panic!("the upstream runs already");
        };
        let listener = socket.listen(1024).expect("listen again");
        *self.lock() = State::accepting(listener, &self.shared);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the upstream's state")
    }
}

enum State {
    /// Dropping `stop` ends the task, and with it every connection.
    Accepting {
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    },
    Stopped(TcpSocket),
    Changing,
}

impl State {
    fn accepting(listener: TcpListener, shared: &Arc<Shared>) -> State {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(accept(listener, Arc::clone(shared), stopped));
        State::Accepting { stop, task }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let (stream, _) = accepted.expect("accept a connection");
                connections.spawn(wire::serve(stream, Arc::clone(&shared)));
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Keeps the port while nothing listens on it: connections are refused, no other test is handed
/// the port, and no client can connect to itself through it.
///
/// A process that another test is forking (cargo) holds a copy of the listener until it execs, and
/// binding fails as long. So once it succeeds, nobody accepts any more.
async fn reserve(addr: SocketAddr) -> TcpSocket {
    let started = Instant::now();
    loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseaddr(true).expect("reuse the port");
        match socket.bind(addr) {
            Ok(()) => return socket,
            Err(error) if started.elapsed() > PATIENCE => panic!("keep port {addr}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}
