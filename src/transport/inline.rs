//! [`Inline`]: the inline executor. It runs what can end at once on the spot.
//!
//! Over HTTP/2 hyper hands each request to an executor. The usual one makes a task of it, which costs memory, a place in a queue and one more turn of the
//! connection. A hit never waits, and can do without all three.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hyper::rt::Executor;
use tokio::task::coop;

/// Runs a future as far as it goes without waiting; what has to wait becomes a task.
#[derive(Clone, Copy)]
pub(super) struct Inline;

impl<F: Future<Output = ()> + Send + Unpin + 'static> Executor<F> for Inline {
    fn execute(&self, mut future: F) {
        // Nothing is lost by a waker that does nothing: if the future waits, it is polled anew as a task.
        let mut context = Context::from_waker(Waker::noop());
        // Connections share a thread: what one does on the spot counts against its turn, as what it reads and writes does.
        let Poll::Ready(turn) = coop::poll_proceed(&mut context) else {
            return drop(tokio::spawn(future));
        };
        let polled = catch_unwind(AssertUnwindSafe(|| {
            Pin::new(&mut future).poll(&mut context)
        }));
        match polled {
            Ok(Poll::Pending) => drop(tokio::spawn(future)),
            Ok(Poll::Ready(())) => turn.made_progress(),
            // As in a task it ends this request alone; the panic hook has said where it happened.
            Err(_) => drop(future),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_can_end_at_once_has_ended_when_execute_returns() {
        let ended = Arc::new(AtomicU32::new(0));
        let ends = ended.clone();
        Inline.execute(Box::pin(async move {
            ends.fetch_add(1, Ordering::Relaxed);
        }));
        assert_eq!(ended.load(Ordering::Relaxed), 1);
    }

    /// One connection that never ran out of requests kept a thread to itself.
    #[tokio::test]
    async fn only_so_much_is_done_on_the_spot_in_one_turn() {
        let ended = Arc::new(AtomicU32::new(0));
        for _ in 0..10_000 {
            let ends = ended.clone();
            Inline.execute(Box::pin(async move {
                ends.fetch_add(1, Ordering::Relaxed);
            }));
        }
        assert!(ended.load(Ordering::Relaxed) < 1000);
        while ended.load(Ordering::Relaxed) < 10_000 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_has_to_wait_goes_on_when_it_can() {
        let (go, gone) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        Inline.execute(Box::pin(async move {
            let _ = end.send(gone.await);
        }));
        go.send(7).expect("it waits");
        assert_eq!(ended.await.expect("it ends"), Ok(7));
    }

    /// It would end the connection, and with it every other request there.
    #[tokio::test]
    async fn a_panic_stays_inside() {
        Inline.execute(Box::pin(async { panic!("on purpose") }));
    }
}
