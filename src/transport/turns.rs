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
/// With so many requests that wait for their answers, a connection puts its turns off.
const SEVERAL: usize = 2;

/// A connection that takes its turns.
pub(super) struct Turns<'c, C: GracefulConnection, S> {
    connection: Pin<&'c mut C>,
    stream: &'c Coalesced<S>,
    activity: &'c Activity,
    state: Turn<C::Error>,
    budget: Budget,
    /// Whether the turn that is due has been put off already.
    put_off: bool,
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
            put_off: false,
        }
    }

    /// Whether the turn that is due is to begin only when all tasks that can go on have done so. Where several requests wait, their answers often come at the
    /// same moment, each from a task of its own that wakes this connection. With a turn for each it would write as often; put off once, it writes them together.
    fn puts_off(&mut self) -> bool {
        let several = self.stream.is_http2() && self.activity.in_flight() >= SEVERAL;
        self.put_off = several && !self.put_off;
        self.put_off
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
        if matches!(self.state, Turn::Free) && self.puts_off() {
            // A task that wakes itself goes to the end of the queue.
            context.waker().wake_by_ref();
            return Poll::Pending;
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

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        io,
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use futures_util::future::join_all;
    use http::{Request, Response};
    use hyper::{client, server::conn::http2, service::service_fn};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::{
        io::{AsyncRead, DuplexStream, ReadBuf, duplex},
        sync::Notify,
    };

    use super::{
        super::{
            connection_memory::ConnectionMemory, handover::Handover, in_flight::InFlight,
            inline::Inline,
        },
        *,
    };
    use crate::metrics::{Metrics, Protocol};

    /// A stream that counts how often it is written to.
    struct Counted(DuplexStream, Arc<AtomicUsize>);

    impl AsyncRead for Counted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for Counted {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut self.0).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_flush(context)
        }

        fn poll_shutdown(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_shutdown(context)
        }
    }

    /// Each of them used to be written by itself: a task that is woken by another one has its turn right after it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn answers_that_come_at_the_same_moment_go_out_together() {
        const REQUESTS: usize = 50;
        let (ours, theirs) = duplex(1 << 20);
        let (writes, gate) = (Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let stream = Coalesced::new(Counted(ours, writes.clone()));
        let metrics = Arc::new(Metrics::new());
        let memory = ConnectionMemory::of_its_own();
        let activity = Activity::new(Handover::default(), memory, metrics);
        let (seen, opened) = (activity.clone(), gate.clone());
        tokio::spawn(async move {
            let service = service_fn(|_| {
                let in_flight = InFlight::begin(&activity, Protocol::Http2);
                let gate = gate.clone();
                Box::pin(async move {
                    gate.notified().await;
                    drop(in_flight);
                    Ok::<_, Infallible>(Response::new(String::new()))
                })
            });
            let builder = http2::Builder::new(Inline);
            let connection = builder.serve_connection(TokioIo::new(stream.clone()), service);
            Turns::new(pin!(connection), &stream, &activity).await
        });
        let theirs = TokioIo::new(theirs);
        let client = client::conn::http2::handshake(TokioExecutor::new(), theirs).await;
        let (client, connection) = client.expect("a connection");
        tokio::spawn(connection);
        let asking = (0..REQUESTS).map(|_| {
            let request = Request::get("http://mirror/").body(String::new());
            tokio::spawn(client.clone().send_request(request.expect("a request")))
        });
        let asking: Vec<_> = asking.collect();
        while seen.in_flight() < REQUESTS {
            tokio::task::yield_now().await;
        }
        let before = writes.load(Ordering::Relaxed);
        tokio::spawn(async move { opened.notify_waiters() });
        for answer in join_all(asking).await {
            let answer = answer.expect("a task").expect("an answer");
            assert_eq!(answer.status(), 200);
        }
        let written = writes.load(Ordering::Relaxed) - before;
        assert!(written < 10, "{written} writes");
    }
}
