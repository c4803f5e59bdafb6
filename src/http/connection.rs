//! Connections: accepted, served in whatever HTTP they speak, and let finish when it is time to stop.

use std::{
    convert::Infallible, fmt::Display, future::Future, io, net::IpAddr, pin::pin, sync::Arc,
    time::Duration,
};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http2, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::Body,
    h2c::{Offer, Upgraded},
    service::{Client, Service},
    watch::{Activity, Watched},
};

/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// The largest request head over HTTP/1.1; larger ones get 431.
const MAX_HEAD: usize = 32 << 10;
/// The largest request head over HTTP/2, decoded.
const MAX_HEADER_LIST: u32 = 32 << 10;
/// Cargo multiplexes about 200 requests on a connection.
const MAX_STREAMS: u32 = 256;
/// A connection on which nothing has moved for this long, with no answer outstanding, is closed when it is time to stop.
const QUIET: Duration = Duration::from_millis(500);
/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What every connection needs.
struct Server {
    service: Service,
    any_protocol: auto::Builder<TokioExecutor>,
    only_http2: http2::Builder<TokioExecutor>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// Serves connections from `listener` until `shutdown` resolves; then accepts no more, lets requests in flight finish for up to `grace`, and
/// returns.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    shutdown: impl Future<Output = ()>,
    grace: Duration,
) {
    let server = Arc::new(Server {
        service,
        any_protocol: any_protocol(),
        only_http2: only_http2(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => server.start(stream, client.ip()),
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

/// HTTP/1.1, or HTTP/2 if the client begins with its magic.
fn any_protocol() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST);
    builder
}

/// HTTP/2 after an upgrade.
fn only_http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST);
    builder
}

impl Server {
    fn start(self: &Arc<Self>, stream: TcpStream, client: IpAddr) {
        // Answers are written in one go; waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let Some(place) = self.service.limits().connection() else {
            return refuse(&stream);
        };
        let server = self.clone();
        self.tasks.spawn(async move {
            let open = Arc::new(Open::new(&server, place));
            server.run(stream, client, open).await;
        });
    }

    async fn run(self: &Arc<Self>, stream: TcpStream, address: IpAddr, open: Arc<Open>) {
        let (stream, activity) = Watched::new(stream);
        let client = Client { address, activity };
        let service = service_fn(|request| {
            let (server, client, open) = (self.clone(), client.clone(), open.clone());
            async move {
                let answer = server.answer_or_upgrade(request, &client, open).await;
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = self
            .any_protocol
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        self.drive(connection, &client).await;
    }

    async fn run_http2(self: &Arc<Self>, stream: Upgraded<Watched<TcpStream>>, client: &Client) {
        let service = service_fn(|request: Request<Incoming>| {
            let (service, client) = (self.service.clone(), client.clone());
            async move { Ok::<_, Infallible>(answer(&service, request, &client).await) }
        });
        let connection = self
            .only_http2
            .serve_connection(TokioIo::new(stream), service);
        self.drive(connection, client).await;
    }

    /// Lets a connection go on until it ends, falls silent or takes nothing for too long, or it is time to stop: then what is outstanding goes out, and a client
    /// that has nothing outstanding is not waited for (a cargo that is busy compiling doesn't answer the question whether it is there).
    async fn drive<C: GracefulConnection<Error: Display>>(&self, connection: C, client: &Client) {
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = client.activity.stalls_for(self.service.limits().idle) => {
                tracing::debug!(client = %client.address, "a connection on which nothing gets on is closed");
                return;
            }
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = client.activity.ends_for(QUIET) => return,
                }
            }
        };
        if let Err(e) = ended {
            tracing::debug!(client = %client.address, "a connection ended badly: {e}");
        }
    }

    /// Answers a request, or a valid offer to go on in HTTP/2 with the request in it.
    async fn answer_or_upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        client: &Client,
        open: Arc<Open>,
    ) -> Response<Body> {
        // A body would have to be read before the upgrade; nobody who reads from a mirror sends one.
        let wanted =
            request.headers().contains_key(header::UPGRADE) && request.body().is_end_stream();
        if !wanted || self.stopping.is_cancelled() {
            return answer(&self.service, request, client).await;
        }
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        match Offer::of(&head) {
            Some(offer) => self.switch_protocols(on_upgrade, offer, client.address, open),
            None => answer(&self.service, Request::from_parts(head, body), client).await,
        }
    }

    /// 101: the connection goes on in HTTP/2, and the request is answered there.
    fn switch_protocols(
        self: &Arc<Self>,
        on_upgrade: OnUpgrade,
        offer: Offer,
        address: IpAddr,
        open: Arc<Open>,
    ) -> Response<Body> {
        let server = self.clone();
        self.tasks.spawn(async move {
            // The connection keeps its place among all.
            let _open = open;
            match upgraded(on_upgrade, &offer).await {
                Ok((stream, activity)) => {
                    let client = Client { address, activity };
                    server.run_http2(stream, &client).await;
                }
                Err(e) => tracing::debug!(client = %address, "an upgrade to HTTP/2 failed: {e}"),
            }
        });
        let mut response = Response::new(Body::nothing());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        response
    }
}

async fn answer(service: &Service, request: Request<Incoming>, client: &Client) -> Response<Body> {
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    service.answer(&head, has_body, client).await
}

/// Tells a client that there are too many, without waiting for anything: it may be one of thousands.
fn refuse(stream: &TcpStream) {
    let sentence = "This mirror has as many connections as `server.max_connections` allows; try again in a moment.\n";
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\nx-cache: miss\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n{sentence}",
        sentence.len()
    );
    let _ = stream.try_write(answer.as_bytes());
}

/// The connection once hyper has let go of it.
async fn upgraded(
    on_upgrade: OnUpgrade,
    offer: &Offer,
) -> io::Result<(Upgraded<Watched<TcpStream>>, Activity)> {
    let upgraded = on_upgrade.await.map_err(io::Error::other)?;
    let parts = auto::upgrade::downcast::<TokioIo<Watched<TcpStream>>>(upgraded)
        .map_err(|_| io::Error::other("not a TCP connection"))?;
    let stream = parts.io.into_inner();
    let activity = stream.activity();
    Ok((Upgraded::new(stream, offer, &parts.read_buf)?, activity))
}

/// An open connection, counted as long as this lives.
struct Open {
    connections: prometheus::IntGauge,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(server: &Server, place: OwnedSemaphorePermit) -> Self {
        let connections = server.service.metrics().connections.clone();
        connections.inc();
        Self {
            connections,
            _place: place,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
