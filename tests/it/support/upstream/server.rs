//! The server: listens, notes what it is asked, and lets rules come between a request and its answer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::answer::Class;
use super::faults::When;
use super::gate::Gate;
use super::log::{Log, Seen};
use super::rules::{Rules, Scope};
use super::site::Site;
use super::{PATIENCE, wire};

/// A running server. Dropping it stops it.
pub struct Server {
    addr: SocketAddr,
    pub(super) shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What the handle and its connections have in common.
pub(super) struct Shared {
    pub(super) origin: Origin,
    pub(super) rules: Rules,
    pub(super) log: Log,
}

/// Where answers come from when nothing is wrong.
pub(super) enum Origin {
    /// The fake crates.io.
    Site(Arc<Mutex<Site>>),
    /// Another server, which is asked for each of them.
    Server(SocketAddr),
}

impl Origin {
    pub(super) fn class(&self, path: &str) -> Class {
        match self {
            Origin::Site(site) => site.lock().expect("the site's lock").class(path),
            Origin::Server(_) => Class::Page,
        }
    }
}

impl Server {
    pub(super) fn over(origin: Origin, listener: TcpListener) -> Server {
        let addr = listener.local_addr().expect("the server's address");
        let shared = Arc::new(Shared {
            origin,
            rules: Rules::default(),
            log: Log::default(),
        });
        let state = State::accepting(listener, &shared);
        Server {
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

    /// What was asked, in the order it came. A request is noted before a gate or a fault meets it.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.log.select(|_| true)
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
            panic!("the server is stopped already");
        };
        drop(stop);
        task.await.expect("the server's listener");
        let reserved = reserve(self.addr).await;
        *self.lock() = State::Stopped(reserved);
    }

    /// Listens again, on the same port, with all that was published.
    pub async fn restart(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Changing);
        let State::Stopped(socket) = state else {
            panic!("the server runs already");
        };
        let listener = socket.listen(1024).expect("listen again");
        *self.lock() = State::accepting(listener, &self.shared);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("the server's state")
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
