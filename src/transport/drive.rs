//! Driving a connection: it goes on until it ends, nothing gets on, or it is time to stop.

use std::{fmt::Display, net::IpAddr, pin::pin, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::AsyncWriteExt;

use super::{
    activity::Activity,
    coalesce::Coalesced,
    peer::Peer,
    refusal,
    scheme::Scheme,
    server::Server,
    stall::{self, Stall},
    stream::Stream,
    turns::Turns,
    watched::Watched,
};

/// A connection on which nothing has moved for this long, with no answer outstanding, is closed when it is time to stop.
const QUIET: Duration = Duration::from_millis(500);

/// So long a new connection may take then to ask for something: who has just connected is about to, and has no other server to go to.
pub(super) const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// A client's connection as bytes, watched, with coalesced writes.
pub(super) type ClientStream = Coalesced<Watched<Stream>>;

/// A client, as its connection knows it.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) peer: Option<Peer>,
    pub(super) scheme: Scheme,
    pub(super) activity: Activity,
}

/// How it stands with a client when its connection ends.
pub(super) enum End {
    /// It may have been told something that it hasn't read yet.
    Told,
    /// It doesn't listen.
    Unheard,
}

/// What ends a connection that hasn't ended by itself.
enum Interruption {
    /// Nothing gets on.
    Stalled(Stall),
    /// The client's certificate doesn't count any more.
    Lapsed,
    /// It is time to stop.
    Stopping,
}

/// Lets a connection go on until it ends, falls silent or takes nothing for too long, or it is time to stop. Then what is outstanding goes out. A client
/// that has nothing outstanding isn't waited for: a cargo that is busy compiling doesn't answer the question whether it is there. One whose certificate
/// doesn't count any more is asked to connect anew, for it may have another.
pub(super) async fn drive<S, C: GracefulConnection<Error: Display + Unpin>>(
    server: &Server<S>,
    connection: C,
    stream: &ClientStream,
    client: &Client,
) -> End {
    let speaks_http1 = || !stream.is_http2();
    let stalled = stall::stalled(&client.activity, server.idle_timeout, speaks_http1);
    let stalled = stalled.map(Interruption::Stalled).left_future();
    let stopping = server.stopping.cancelled();
    let stopping = stopping.map(|()| Interruption::Stopping);
    let stopping = stopping.left_future().right_future();
    let lapsed = client.peer.as_ref().map(|peer| {
        let lapsed = peer.lapsed().map(|()| Interruption::Lapsed);
        lapsed.right_future().right_future()
    });
    // Polled only when one of them has something to say, and not with every request.
    let all = [stalled, stopping].into_iter().chain(lapsed);
    let mut interruptions: FuturesUnordered<_> = all.collect();
    let connection = pin!(connection);
    let mut turns = Turns::new(connection, stream, &client.activity);
    let ended = loop {
        let interruption = tokio::select! {
            biased;
            ended = &mut turns => break ended,
            Some(interruption) = interruptions.next() => interruption,
        };
        match interruption {
            Interruption::Stalled(stall) => return close_stalled(stall, stream, client),
            Interruption::Lapsed => turns.graceful_shutdown(),
            Interruption::Stopping => {
                // Told earlier, hyper closes what hasn't been read yet.
                tokio::select! {
                    biased;
                    ended = &mut turns => break ended,
                    () = stall::asked(&client.activity, FIRST_WITHIN) => {}
                }
                turns.graceful_shutdown();
                tokio::select! {
                    ended = turns => break ended,
                    () = stall::quiet(&client.activity, QUIET) => return End::Told,
                }
            }
        }
    };
    if let Err(e) = ended {
        tracing::debug!(client = %client.address, "a connection ended badly: {e}");
    }
    End::Told
}

/// The end of a connection on which nothing gets on.
fn close_stalled(stall: Stall, stream: &ClientStream, client: &Client) -> End {
    tracing::debug!(client = %client.address, ?stall, "a connection on which nothing gets on is closed");
    match stall {
        Stall::Head if stream.is_http2() => End::Told,
        Stall::Head => {
            // Without waiting for anything: it has taken its time.
            let refusal = refusal::too_slow();
            let _ = stream.clone().write(refusal.as_bytes()).now_or_never();
            End::Told
        }
        Stall::Silence | Stall::Answer => End::Unheard,
    }
}
