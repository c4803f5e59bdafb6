//! [`serve`]: accepts connections until it is time to stop, and lets them finish then.

use std::{net::IpAddr, pin::pin, sync::Arc, time::Duration};

use tokio::net::{TcpListener, TcpStream};

use super::{
    connection,
    connection_memory::ConnectionMemory,
    linger, refusal,
    scheme::Scheme,
    server::{OpenConnection, Server},
    service::Service,
    settings::Settings,
};

/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Has `service` answer what comes over connections from `listener`, until `shutdown` resolves. Then it accepts no more, lets requests in flight finish for
/// up to `grace`, and returns.
pub async fn serve(
    listener: TcpListener,
    service: impl Service,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let server = Arc::new(Server::new(service, settings));
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((socket, client)) => start(&server, socket, client.ip()),
                Err(e) => {
                    tracing::warn!("accepting a connection failed: {e}");
                    tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
                }
            },
        }
    }
    // Closed first, so that new clients are refused at once and can go elsewhere.
    drop(listener);
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

/// Starts to serve a connection, if there are a permit and memory for it.
fn start<S: Service>(server: &Arc<Server<S>>, socket: TcpStream, client: IpAddr) {
    // Answers are written in one go; waiting to fill packets only delays them.
    let _ = socket.set_nodelay(true);
    let Some(permit) = server.permits.connection() else {
        return refuse(server, socket, refusal::too_many());
    };
    let Some(memory) = ConnectionMemory::open(&server.memory) else {
        return refuse(server, socket, refusal::no_memory());
    };
    let tasks = &server.tasks;
    let server = server.clone();
    tasks.spawn(async move {
        let open = Arc::new(OpenConnection::new(&server.metrics, permit));
        connection::run(&server, socket, client, open, memory).await;
    });
}

/// Tells a client that there is no permit or no memory for its connection.
fn refuse<S>(server: &Server<S>, socket: TcpStream, sentence: String) {
    match server.acceptor.scheme() {
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
