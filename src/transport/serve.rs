//! [`serve`]: accepts connections until it is time to stop, and lets them finish then.

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::net::{TcpListener, TcpStream};

use super::{
    connection,
    connection_memory::ConnectionMemory,
    linger, refusal,
    scheme::Scheme,
    server::{OpenConnection, Server},
    service::Service,
    settings::Settings,
    stream::Acceptor,
};

/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Where connections come in, and how.
pub struct Endpoint {
    /// The socket that listens.
    pub listener: TcpListener,
    /// How accepted sockets become streams.
    pub acceptor: Acceptor,
}

/// Has `service` answer what comes over connections through `endpoints`, which share the limits in `settings`, until `shutdown` resolves. Then it accepts no
/// more, lets requests in flight finish for up to `grace`, and returns.
pub async fn serve(
    endpoints: Vec<Endpoint>,
    service: impl Service,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let server = Arc::new(Server::new(service, settings));
    let open = join_all(endpoints.iter().map(|endpoint| accept(endpoint, &server)));
    tokio::select! {
        () = shutdown => {}
        _ = open => {}
    }
    // Closed first, so that new clients are refused at once and can go elsewhere.
    drop(endpoints);
    server.stopping.cancel();
    server.tasks.close();
    if tokio::time::timeout(grace, server.tasks.wait())
        .await
        .is_err()
    {
        let left = server.tasks.len();
        tracing::warn!("{left} connections were not finished in time and are closed");
    }
}

/// Accepts connections without end.
async fn accept<S: Service>(endpoint: &Endpoint, server: &Arc<Server<S>>) {
    loop {
        match endpoint.listener.accept().await {
            Ok((socket, client)) => start(server, &endpoint.acceptor, socket, client.ip()),
            Err(e) => {
                tracing::warn!("accepting a connection failed: {e}");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

/// Starts to serve a connection, if there are a permit and memory for it.
fn start<S: Service>(
    server: &Arc<Server<S>>,
    acceptor: &Acceptor,
    socket: TcpStream,
    client: IpAddr,
) {
    // Answers are written in one go; waiting to fill packets only delays them.
    let _ = socket.set_nodelay(true);
    let Some(permit) = server.permits.connection() else {
        return refuse(server, acceptor, socket, refusal::too_many());
    };
    let remembered = size_of::<S::Remembered>();
    let memory = ConnectionMemory::open(&server.memory, acceptor.scheme(), remembered);
    let Some(memory) = memory else {
        return refuse(server, acceptor, socket, refusal::no_memory());
    };
    let tasks = &server.tasks;
    let (server, acceptor) = (server.clone(), acceptor.clone());
    tasks.spawn(async move {
        let open = Arc::new(OpenConnection::new(&server.metrics, permit));
        connection::run(&server, &acceptor, socket, client, open, memory).await;
    });
}

/// Tells a client that there is no permit or no memory for its connection.
fn refuse<S>(server: &Server<S>, acceptor: &Acceptor, socket: TcpStream, sentence: String) {
    match acceptor.scheme() {
        Scheme::Http => {}
        // It couldn't read the sentence, and a handshake only for that would cost more than an answer.
        Scheme::Https => return,
    }
    let Some(permit) = server.permits.refused() else {
        // One of thousands: whether it hears of it or not, nothing is waited for.
        let _ = linger::refuse_at_once(socket, &sentence);
        return;
    };
    let stopping = server.stopping.clone();
    server.tasks.spawn(async move {
        let refused = linger::refuse(socket, &sentence);
        let _ = stopping.run_until_cancelled(refused).await;
        drop(permit);
    });
}
