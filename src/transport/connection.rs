//! One connection: served in whatever HTTP its client speaks, also after an upgrade from one to the other, and closed.

use std::{io, net::IpAddr, sync::Arc};

use http::{Request as HttpRequest, Version, header};
use http_body::Body as _;
use hyper::{body::Incoming, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;

use super::{
    activity::Activity,
    coalesce::Coalesced,
    connection_memory::ConnectionMemory,
    drive::{Client, ClientStream, End, FIRST_WITHIN, drive},
    h2c::{Offer, Upgraded},
    in_flight::InFlight,
    linger, refusal,
    reply::Reply,
    request_body::RequestBody,
    scheme::Scheme,
    server::{OpenConnection, Server},
    service::{Request, Service},
    stream::{Accepted, Acceptor},
    tls::Failed,
    watched::Watched,
};
use crate::metrics::Protocol;

/// Serves an accepted connection until it is closed.
pub(super) async fn run<S: Service>(
    server: &Arc<Server<S>>,
    acceptor: &Acceptor,
    socket: TcpStream,
    address: IpAddr,
    open: Arc<OpenConnection>,
    memory: ConnectionMemory,
) {
    let accepted = acceptor.accept(socket, &memory, &server.metrics);
    // Who is about to come when it is time to stop is waited for as long as who is about to ask.
    let late = async {
        server.stopping.cancelled().await;
        tokio::time::sleep(FIRST_WITHIN).await;
    };
    let accepted = tokio::select! {
        biased;
        accepted = accepted => Some(accepted),
        () = late => None,
    };
    let Accepted {
        stream,
        handover,
        peer,
    } = match accepted {
        Some(Ok(accepted)) => accepted,
        Some(Err(why)) => return turned_away(address, why).await,
        None => return,
    };
    let activity = Activity::new(handover, memory, server.metrics.clone());
    let client = Client {
        address,
        peer,
        scheme: stream.scheme(),
        activity: activity.clone(),
    };
    let stream = Coalesced::new(Watched::new(stream, activity));
    let remembered = S::Remembered::default();
    let service =
        service_fn(|request| answer_or_upgrade(server, request, &client, &remembered, &open));
    let builders = server.protocols.with(server.metrics.connections.get());
    let io = TokioIo::new(stream.clone());
    let connection = builders.any.serve_connection_with_upgrades(io, service);
    let end = drive(server, connection, &stream, &client).await;
    close(server, end, stream, open).await;
}

/// The end of a connection that did not come about. Thousands may be turned away in a second, so that it isn't worth a line of the usual log.
async fn turned_away(client: IpAddr, why: Failed) {
    tracing::debug!(%client, "a connection did not come about: {why}");
    match why {
        Failed::Plain(socket) => linger::refuse(socket, &refusal::wants_tls()).await,
        // With bytes of the client unread, the alert that says why would be lost.
        Failed::Otherwise(_, _, Some(socket)) => linger::close(socket).await,
        Failed::Otherwise(_, _, None) => {}
    }
}

/// Goes on in HTTP/2 after an upgrade.
async fn run_http2<S: Service>(
    server: &Arc<Server<S>>,
    upgraded: Upgraded<ClientStream>,
    stream: ClientStream,
    client: &Client,
    open: Arc<OpenConnection>,
) {
    let remembered = S::Remembered::default();
    let service = service_fn(|request| answer(server, request, client, &remembered));
    let builders = server.protocols.with(server.metrics.connections.get());
    let io = TokioIo::new(upgraded);
    let connection = builders.only_http2.serve_connection(io, service);
    let end = drive(server, connection, &stream, client).await;
    close(server, end, stream, open).await;
}

/// Closes a connection that has ended. If it goes on in HTTP/2, another task has it open, and will close it.
async fn close<S>(server: &Server<S>, end: End, stream: ClientStream, open: Arc<OpenConnection>) {
    let Some(_open) = Arc::into_inner(open) else {
        return;
    };
    match end {
        End::Told => {
            let lingers = linger::close(stream);
            // What has arrived by now is read also when it is time to stop, but nothing more is waited for.
            tokio::select! {
                biased;
                () = lingers => {}
                () = server.stopping.cancelled() => {}
            }
        }
        End::Unheard => {}
    }
}

/// Has the service answer a request.
fn answer<S: Service>(
    server: &Server<S>,
    request: HttpRequest<Incoming>,
    client: &Client,
    remembered: &S::Remembered,
) -> Reply<S> {
    let (head, body) = request.into_parts();
    let protocol = match head.version {
        Version::HTTP_2 => Protocol::Http2,
        _ => Protocol::Http1,
    };
    let request = Request {
        head,
        body: RequestBody::of(body),
        client: client.address,
        peer: client.peer.clone(),
        scheme: client.scheme,
        in_flight: InFlight::begin(&client.activity, protocol),
    };
    Reply::Answer(server.service.answer(request, remembered))
}

/// Has a request answered; or a valid offer to go on in HTTP/2, with the request in it.
fn answer_or_upgrade<S: Service>(
    server: &Arc<Server<S>>,
    mut request: HttpRequest<Incoming>,
    client: &Client,
    remembered: &S::Remembered,
    open: &Arc<OpenConnection>,
) -> Reply<S> {
    if !asks_for_upgrade(&request, client.scheme) || server.stopping.is_cancelled() {
        return answer(server, request, client, remembered);
    }
    let on_upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let accepted =
        Offer::of(&head).filter(|offer| server.service.accepts_upgrade(&head.headers, offer));
    match accepted {
        Some(offer) => upgrade(server, on_upgrade, offer, client.clone(), open.clone()),
        None => {
            let request = HttpRequest::from_parts(head, body);
            answer(server, request, client, remembered)
        }
    }
}

/// Whether it is worth a look at what a request offers. A body would have to be read before the upgrade, and nobody sends one who only reads.
fn asks_for_upgrade(request: &HttpRequest<Incoming>, scheme: Scheme) -> bool {
    match scheme {
        Scheme::Http => {
            request.headers().contains_key(header::UPGRADE) && request.body().is_end_stream()
        }
        // Over TLS the handshake decides on the protocol.
        Scheme::Https => false,
    }
}

/// 101: the connection goes on in HTTP/2, in a task of its own, and the request is answered there.
fn upgrade<S: Service>(
    server: &Arc<Server<S>>,
    on_upgrade: OnUpgrade,
    offer: Offer,
    client: Client,
    open: Arc<OpenConnection>,
) -> Reply<S> {
    let tasks = &server.tasks;
    let server = server.clone();
    tasks.spawn(async move {
        let upgraded = upgraded(on_upgrade, &offer).await;
        // It holds the request's head.
        drop(offer);
        match upgraded {
            Ok((upgraded, stream)) => run_http2(&server, upgraded, stream, &client, open).await,
            Err(e) => {
                tracing::debug!(client = %client.address, "an upgrade to HTTP/2 failed: {e}");
            }
        }
    });
    Reply::switching_protocols()
}

/// The connection once hyper has let go of it: as its HTTP/2 is read from now on, and as what it writes goes out.
async fn upgraded(
    on_upgrade: OnUpgrade,
    offer: &Offer,
) -> io::Result<(Upgraded<ClientStream>, ClientStream)> {
    let upgraded = on_upgrade.await.map_err(io::Error::other)?;
    let parts = auto::upgrade::downcast::<TokioIo<ClientStream>>(upgraded)
        .map_err(|_| io::Error::other("not a connection of ours"))?;
    let stream = parts.io.into_inner();
    stream.upgrade(|watched| watched.upgrade(&parts.read_buf));
    let upgraded = Upgraded::new(stream.clone(), offer, &parts.read_buf)?;
    Ok((upgraded, stream))
}
