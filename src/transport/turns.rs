//! [`Turns`]: a connection that takes its turns. What it writes in one goes out at its end, and what it holds then has to have room in memory.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::server::graceful::GracefulConnection;
use tokio::{io::AsyncWrite, time::Sleep};

use super::{activity::Activity, coalesce::Coalesced};

/// How long a connection may hold more than there is memory for.
const OVERDRAWN: Duration = Duration::from_millis(250);

/// A connection that takes its turns.
pub(super) struct Turns<'c, C: GracefulConnection, S> {
    connection: Pin<&'c mut C>,
    stream: &'c Coalesced<S>,
    activity: &'c Activity,
    state: Turn<C::Error>,
    budget: Budget,
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

/// Whether there was memory at the end of a turn for what the connection held.
enum Budget {
    /// There was.
    Kept,
    /// There wasn't. It has until then to let go of some: refusals may be on their way from other threads.
    Overdrawn(Pin<Box<Sleep>>),
}

impl<'c, C: GracefulConnection, S> Turns<'c, C, S> {
    /// `connection` reads from and writes to `stream`.
    pub(super) fn new(
        connection: Pin<&'c mut C>,
        stream: &'c Coalesced<S>,
        activity: &'c Activity,
    ) -> Self {
        Self {
            connection,
            stream,
            activity,
            state: Turn::Free,
            budget: Budget::Kept,
        }
    }

    /// Lets requests that have begun end, and none begin.
    pub(super) fn graceful_shutdown(&mut self) {
        self.connection.as_mut().graceful_shutdown();
    }

    /// Waits for the next turn. A connection that goes on holding more than there is memory for has had its last one.
    fn settle(&mut self, untaken: usize, context: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        if self.activity.settles(untaken) {
            self.budget = Budget::Kept;
            return Poll::Pending;
        }
        let too_long = match &mut self.budget {
            Budget::Overdrawn(too_long) => too_long,
            kept @ Budget::Kept => {
                *kept = Budget::Overdrawn(Box::pin(tokio::time::sleep(OVERDRAWN)));
                return self.settle(untaken, context);
            }
        };
        too_long.as_mut().poll(context).map(|()| {
            tracing::debug!("a connection that holds more than there is room for is closed");
            Ok(())
        })
    }
}

impl<C: GracefulConnection<Error: Unpin>, S: AsyncWrite + Unpin> Future for Turns<'_, C, S> {
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
        let coalesced = self.stream.is_http2();
        if let Turn::Free = self.state {
            match self.connection.as_mut().poll(context) {
                // All is out. After an upgrade the stream is another task's by now, and waits on its behalf.
                Poll::Ready(ended) if !coalesced => return Poll::Ready(ended),
                Poll::Ready(ended) => self.state = Turn::Ended(ended),
                // Asked again: the client's first bytes may just have said which protocol it is.
                Poll::Pending if !self.stream.is_http2() => return self.settle(0, context),
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
