//! Connections: accepted, served in whatever HTTP they speak, and let finish when it is time to stop.

use std::{
    fmt::Display,
    future::Future,
    io,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Body as _;
use hyper::{body::Incoming, server::conn::http2, service::service_fn, upgrade::OnUpgrade};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::Sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    body::Body,
    service::{Answering, Client, Service},
};
use crate::transport::{
    coalesce::Gathered,
    h2c::{offer::Offer, upgraded::Upgraded},
    inline::Eager,
    lending::Outgoing,
    linger,
    memory::Account,
    refusal,
    stall::{Activity, Stall, Watched},
};

/// The largest request head over HTTP/1.1; larger ones get 431.
const MAX_HEAD: usize = 32 << 10;
/// The largest request head over HTTP/2, decoded.
const MAX_HEADER_LIST: u32 = 32 << 10;
/// Cargo multiplexes about 200 requests on a connection.
const MAX_STREAMS: u32 = 256;
/// How much a client may send of a body before anybody has looked at its request: as little as HTTP/2 allows, because no request has one.
const WINDOW: u32 = 65_535;
/// With more connections than this, a new one may have fewer requests under way at once: what HTTP/2 keeps ready for each, some 400 bytes, is not
/// given back before the connection ends.
const MANY: i64 = 1000;
const MAX_STREAMS_OF_MANY: u32 = 32;
/// A connection on which nothing has moved for this long, with no answer outstanding, is closed when it is time to stop.
const QUIET: Duration = Duration::from_millis(500);
/// How long to wait before accepting again when the system has no more sockets.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// How long a connection may hold more than there is room for.
const LACKING: Duration = Duration::from_millis(250);

/// A client's connection.
type Stream = Gathered<Watched<Outgoing>>;

/// What every connection needs.
struct Server {
    service: Service,
    few: Protocols,
    many: Protocols,
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
        few: Protocols::new(MAX_STREAMS),
        many: Protocols::new(MAX_STREAMS_OF_MANY),
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

/// How connections are served.
struct Protocols {
    /// HTTP/1.1, or HTTP/2 if the client begins with its magic.
    any: auto::Builder<Eager>,
    /// HTTP/2 after an upgrade.
    only_http2: http2::Builder<Eager>,
}

impl Protocols {
    fn new(max_streams: u32) -> Self {
        let mut any = auto::Builder::new(Eager);
        // Its time limit for a request's head would set a timer with every request; see `watch`.
        any.http1().header_read_timeout(None).max_buf_size(MAX_HEAD);
        any.http2()
            .timer(TokioTimer::new())
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_concurrent_streams(max_streams)
            .max_header_list_size(MAX_HEADER_LIST);
        let mut only_http2 = http2::Builder::new(Eager);
        only_http2
            .timer(TokioTimer::new())
            .initial_connection_window_size(WINDOW)
            .initial_stream_window_size(WINDOW)
            .max_concurrent_streams(max_streams)
            .max_header_list_size(MAX_HEADER_LIST);
        Self { any, only_http2 }
    }
}

impl Server {
    /// How one more connection is served.
    fn protocols(&self) -> &Protocols {
        match self.service.metrics().connections.get() > MANY {
            true => &self.many,
            false => &self.few,
        }
    }

    fn start(self: &Arc<Self>, stream: TcpStream, client: IpAddr) {
        // Answers are written in one go; waiting to fill packets only delays them.
        let _ = stream.set_nodelay(true);
        let Some(place) = self.service.limits().connection() else {
            return self.refuse(stream, refusal::too_many());
        };
        let Some(account) = self.service.room().open() else {
            return self.refuse(stream, refusal::no_room());
        };
        let server = self.clone();
        self.tasks.spawn(async move {
            let open = Arc::new(Open::new(&server, place));
            server.run(stream, client, open, account).await;
        });
    }

    /// Tells a client that there is no place or no room for its connection.
    fn refuse(&self, stream: TcpStream, sentence: String) {
        let Some(place) = self.service.limits().refused() else {
            // One of thousands: whether it hears of it or not, nothing is waited for.
            let _ = linger::refuse_at_once(stream, &sentence);
            return;
        };
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            let refused = linger::refuse(stream, &sentence);
            let _ = stopping.run_until_cancelled(refused).await;
            drop(place);
        });
    }

    async fn run(
        self: &Arc<Self>,
        stream: TcpStream,
        address: IpAddr,
        open: Arc<Open>,
        account: Account,
    ) {
        let (stream, handover) = Outgoing::new(stream);
        let metrics = self.service.metrics().clone();
        let (stream, activity) = Watched::lending(stream, handover, account, metrics);
        let stream = Gathered::new(stream);
        let client = Client { address, activity };
        let service = service_fn(|request| self.answer_or_upgrade(request, &client, &open));
        let connection = self
            .protocols()
            .any
            .serve_connection_with_upgrades(TokioIo::new(stream.clone()), service);
        let end = self.drive(connection, &stream, &client).await;
        self.close(end, stream, open).await;
    }

    async fn run_http2(
        self: &Arc<Self>,
        upgraded: Upgraded<Stream>,
        stream: Stream,
        client: &Client,
        open: Arc<Open>,
    ) {
        let service = service_fn(|request| answer(&self.service, request, client));
        let connection = self
            .protocols()
            .only_http2
            .serve_connection(TokioIo::new(upgraded), service);
        let end = self.drive(connection, &stream, client).await;
        self.close(end, stream, open).await;
    }

    /// Closes a connection that has ended. One that goes on in HTTP/2 has another holder of its place, who will.
    async fn close(&self, end: End, stream: Stream, open: Arc<Open>) {
        let Some(_open) = Arc::into_inner(open) else {
            return;
        };
        match end {
            End::Told => {
                let lingers = linger::close(stream);
                // With nothing more to wait for when it is time to stop, but for what has arrived by now.
                tokio::select! {
                    biased;
                    () = lingers => {}
                    () = self.stopping.cancelled() => {}
                }
            }
            End::Unheard => {}
        }
    }

    /// Lets a connection go on until it ends, falls silent or takes nothing for too long, or it is time to stop: then what is outstanding goes out,
    /// and a client that has nothing outstanding is not waited for (a cargo that is busy compiling doesn't answer the question whether it is there).
    async fn drive<C: GracefulConnection<Error: Display + Unpin>>(
        &self,
        connection: C,
        stream: &Stream,
        client: &Client,
    ) -> End {
        let speaks_http1 = || !stream.gathers();
        let stalled = client
            .activity
            .stalls_for(self.service.limits().idle, speaks_http1);
        let stalled = stalled.map(Interruption::Stalled).left_future();
        let stopping = self.stopping.cancelled();
        let stopping = stopping.map(|()| Interruption::Stopping).right_future();
        // Polled only when one of them has something to say, and not with every request.
        let mut interruptions: FuturesUnordered<_> = [stalled, stopping].into_iter().collect();
        let mut turns = Turns {
            connection: pin!(connection),
            stream,
            activity: &client.activity,
            state: Turn::Free,
            room: Room::Enough,
        };
        let ended = tokio::select! {
            biased;
            ended = &mut turns => ended,
            Some(interruption) = interruptions.next() => match interruption {
                Interruption::Stalled(stall) => {
                    tracing::debug!(client = %client.address, ?stall, "a connection on which nothing gets on is closed");
                    return match stall {
                        Stall::Head if stream.gathers() => End::Told,
                        Stall::Head => {
                            // Without waiting for anything: it has taken its time.
                            let _ = stream.clone().write(refusal::too_slow().as_bytes()).now_or_never();
                            End::Told
                        }
                        Stall::Silence | Stall::Answer => End::Unheard,
                    };
                }
                Interruption::Stopping => {
                    turns.connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        ended = turns => ended,
                        () = client.activity.ends_for(QUIET) => return End::Told,
                    }
                }
            }
        };
        if let Err(e) = ended {
            tracing::debug!(client = %client.address, "a connection ended badly: {e}");
        }
        End::Told
    }

    /// Answers a request, or a valid offer to go on in HTTP/2 with the request in it.
    fn answer_or_upgrade(
        self: &Arc<Self>,
        mut request: Request<Incoming>,
        client: &Client,
        open: &Arc<Open>,
    ) -> Answering {
        // A body would have to be read before the upgrade; nobody who reads from a mirror sends one.
        let wanted =
            request.headers().contains_key(header::UPGRADE) && request.body().is_end_stream();
        if !wanted || self.stopping.is_cancelled() {
            return answer(&self.service, request, client);
        }
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let upgrades = self.service.upgrades();
        match Offer::of(&head).filter(|offer| upgrades.include(&head.headers, offer)) {
            Some(offer) => Answering::now(self.switch_protocols(
                on_upgrade,
                offer,
                client.clone(),
                open.clone(),
            )),
            None => answer(&self.service, Request::from_parts(head, body), client),
        }
    }

    /// 101: the connection goes on in HTTP/2, and the request is answered there.
    fn switch_protocols(
        self: &Arc<Self>,
        on_upgrade: OnUpgrade,
        offer: Offer,
        client: Client,
        open: Arc<Open>,
    ) -> Response<Body> {
        let server = self.clone();
        self.tasks.spawn(async move {
            let upgraded = upgraded(on_upgrade, &offer).await;
            // It holds the request's head.
            drop(offer);
            match upgraded {
                Ok((upgraded, stream)) => server.run_http2(upgraded, stream, &client, open).await,
                Err(e) => {
                    tracing::debug!(client = %client.address, "an upgrade to HTTP/2 failed: {e}");
                }
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

fn answer(service: &Service, request: Request<Incoming>, client: &Client) -> Answering {
    let (head, body) = request.into_parts();
    let has_body = !body.is_end_stream();
    service.answer(head, has_body, client)
}

/// How it stands with a client when its connection ends.
enum End {
    /// It may have been told something that it hasn't read yet.
    Told,
    /// It doesn't listen.
    Unheard,
}

/// What ends a connection that hasn't ended by itself.
enum Interruption {
    /// Nothing gets on.
    Stalled(Stall),
    /// It is time to stop.
    Stopping,
}

/// The connection once hyper has let go of it, twice: as its client goes on, and as it goes out.
async fn upgraded(on_upgrade: OnUpgrade, offer: &Offer) -> io::Result<(Upgraded<Stream>, Stream)> {
    let upgraded = on_upgrade.await.map_err(io::Error::other)?;
    let parts = auto::upgrade::downcast::<TokioIo<Stream>>(upgraded)
        .map_err(|_| io::Error::other("not a TCP connection"))?;
    let stream = parts.io.into_inner();
    stream.gather_with(|watched| watched.upgrade(&parts.read_buf));
    Ok((
        Upgraded::new(stream.clone(), offer, &parts.read_buf)?,
        stream,
    ))
}

/// A connection that takes its turns; what it writes in one goes out at its end.
struct Turns<'c, C: GracefulConnection> {
    connection: Pin<&'c mut C>,
    stream: &'c Stream,
    activity: &'c Activity,
    state: Turn<C::Error>,
    room: Room,
}

/// Whether there was room at the end of a turn for what a connection held.
enum Room {
    Enough,
    /// There wasn't. It has until then to let go of some: refusals may be on their way from other threads.
    Lacking(Pin<Box<Sleep>>),
}

/// How it is with a connection between its turns.
enum Turn<E> {
    /// The next one may begin.
    Free,
    /// The client hasn't taken what the last one wrote. Until it has, none begins: nothing more is read from a client that doesn't read.
    Full,
    /// There is none any more: how it ended, while the last of it goes out.
    Ended(Result<(), E>),
}

impl<C: GracefulConnection<Error: Unpin>> Future for Turns<'_, C> {
    type Output = Result<(), C::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Turn::Full = self.state {
            match self.stream.poll_send(context) {
                Poll::Ready(Ok(())) => self.state = Turn::Free,
                Poll::Ready(Err(_)) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    let untaken = self.stream.untaken();
                    return self.settle(untaken, context);
                }
            }
        }
        let gathered = self.stream.gathers();
        if let Turn::Free = self.state {
            match self.connection.as_mut().poll(context) {
                // All is out. After an upgrade the stream is another task's by now, and waits on its behalf.
                Poll::Ready(ended) if !gathered => return Poll::Ready(ended),
                Poll::Ready(ended) => self.state = Turn::Ended(ended),
                // The client's first bytes may just have said which it is.
                Poll::Pending if !self.stream.gathers() => return self.settle(0, context),
                Poll::Pending => {}
            }
        }
        let sent = self.stream.poll_send(context);
        match (sent, std::mem::replace(&mut self.state, Turn::Free)) {
            (Poll::Ready(Ok(())), Turn::Free | Turn::Full) => self.settle(0, context),
            (Poll::Pending, Turn::Free | Turn::Full) => {
                self.state = Turn::Full;
                let untaken = self.stream.untaken();
                self.settle(untaken, context)
            }
            (Poll::Pending, ended @ Turn::Ended(_)) => {
                self.state = ended;
                Poll::Pending
            }
            // If the client is gone, that is no news to a connection that has ended.
            (Poll::Ready(_), Turn::Ended(ended)) => Poll::Ready(ended),
            // To others it is all there is to know.
            (Poll::Ready(Err(_)), Turn::Free | Turn::Full) => Poll::Ready(Ok(())),
        }
    }
}

impl<C: GracefulConnection> Turns<'_, C> {
    /// Waits for the next turn. A connection that goes on holding more than there is room for has had its last one.
    fn settle(&mut self, untaken: usize, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        if self.activity.settles(untaken) {
            self.room = Room::Enough;
            return Poll::Pending;
        }
        let too_long = match &mut self.room {
            Room::Lacking(too_long) => too_long,
            enough @ Room::Enough => {
                *enough = Room::Lacking(Box::pin(tokio::time::sleep(LACKING)));
                return self.settle(untaken, context);
            }
        };
        too_long.as_mut().poll(context).map(|()| {
            tracing::debug!("a connection that holds more than there is room for is closed");
            Ok(())
        })
    }
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
