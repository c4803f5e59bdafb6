//! [`BlockingWork`]: work that computes for milliseconds and more: a few at a time, and on none of the threads that serve requests.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use crate::error::{Error, Kind, Result};

/// Nobody stands in line for longer.
const PATIENCE: Duration = Duration::from_secs(8);

/// How much such work may be under way at once.
pub(in crate::mirror) struct BlockingWork(Arc<Semaphore>);

/// What to say to whom there is no memory for.
pub(in crate::mirror) fn not_enough_memory() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror has no memory for such a page at the moment; try again in a moment",
    )
}

/// Leave to do some of it. Work keeps a clone until it is done, also when whoever wanted it has gone away.
#[derive(Clone)]
pub struct WorkTurn {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// Whether somebody still waits for a piece of work.
pub(in crate::mirror) struct Wanted(Weak<()>);

impl Wanted {
    /// False when whoever wanted it has gone away: it may as well end.
    pub(in crate::mirror) fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl BlockingWork {
    /// So much at once.
    pub(in crate::mirror) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    /// Leave to do some work, when it is one's turn.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when that takes longer than eight seconds.
    pub(in crate::mirror) async fn turn(&self) -> Result<WorkTurn> {
        match timeout(PATIENCE, self.0.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(WorkTurn {
                _permit: Arc::new(permit),
            }),
            Ok(Err(_)) | Err(_) => Err(Error::new(
                Kind::Overloaded,
                "this mirror has too many searches and pages to make at the moment; try again in a moment",
            )),
        }
    }
}

impl WorkTurn {
    /// Does some work, which keeps this turn until it is done.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.run_while_wanted(|_| work()).await
    }

    /// The same for work that can end early: it is told whether anybody still waits for it.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it panics.
    pub(in crate::mirror) async fn run_while_wanted<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Wanted) -> T + Send + 'static,
    ) -> Result<T> {
        let waiting = Arc::new(());
        let (turn, wanted) = (self.clone(), Wanted(Arc::downgrade(&waiting)));
        let work = move || {
            let done = work(&wanted);
            drop(turn);
            done
        };
        spawn_blocking(work)
            .await
            .map_err(|e| Error::ended_early("a search or a page", e))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// The permit went with the request, and the work went on: a thousand requests that were given up were a thousand threads.
    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_keeps_its_turn_until_it_is_done() {
        let work = BlockingWork::new(1);
        let (done, wait) = mpsc::channel::<()>();
        let turn = work.turn().await.expect("the first");
        let (tell, told) = mpsc::channel();
        let busy = move |wanted: &Wanted| {
            let _ = (wait.recv(), tell.send(wanted.is_wanted()));
        };
        let mut given_up = Box::pin(async move { turn.run_while_wanted(busy).await });
        assert!(futures_util::poll!(&mut given_up).is_pending());
        drop(given_up);
        assert_eq!(work.0.available_permits(), 0, "it still works");
        done.send(()).expect("it still works");
        let next = work.turn().await.expect("the next");
        assert!(!told.recv().expect("it ended"), "and knows for whom");
        let wanted = next.run_while_wanted(Wanted::is_wanted).await;
        assert!(wanted.expect("an answer"));
    }
}
