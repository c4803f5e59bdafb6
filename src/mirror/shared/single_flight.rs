//! [`SingleFlight`]: one piece of work shared by everybody who asks for it meanwhile.
//!
//! The work runs in a task of its own, so it goes on when the first waiter goes away.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::{FutureExt, TryFutureExt, future::BoxFuture, future::Shared};
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    error::{Error, Result},
    traces,
};

/// Work under way, by key. Clones list the same work. Work must check first whether it was done a moment ago: a waiter may have looked before the last flight landed
/// and joined after.
pub(in crate::mirror) struct SingleFlight<K, V>(Arc<Mutex<HashMap<K, ListedFlight<V>>>>);

/// One waiter's handle on a piece of work; every handle resolves to the same result.
#[derive(Clone)]
pub(in crate::mirror) struct Flight<V> {
    pub(in crate::mirror) result: Landed<V>,
    pub(in crate::mirror) started: Instant,
    waiter: watch::Receiver<()>,
    waiting: Arc<watch::Sender<()>>,
}

/// What a flight comes to.
type Landed<V> = Shared<BoxFuture<'static, Result<V>>>;

/// A flight as it is listed. The list doesn't count as a waiter.
struct ListedFlight<V> {
    result: Landed<V>,
    started: Instant,
    waiting: Arc<watch::Sender<()>>,
    /// Counts as a waiter for one that was given something else and went away content.
    kept: Option<watch::Receiver<()>>,
}

impl<K, V> Clone for SingleFlight<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> SingleFlight<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight for `key` if there is one.
    pub(in crate::mirror) fn join_existing(&self, key: &K) -> Option<Flight<V>> {
        lock(&self.0).get(key).map(ListedFlight::join)
    }

    /// Joins the flight for `key`, or starts `work` as one; `work` is told who still waits for it.
    pub(in crate::mirror) fn join<F>(
        &self,
        key: K,
        tasks: &TaskTracker,
        work: impl FnOnce(Waiters<K, V>) -> F,
    ) -> Flight<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(listed) = flights.get(&key) {
            return listed.join();
        }
        let (land, landed) = oneshot::channel();
        let crashed =
            |_| Error::internal("the work for this request ended early; see the mirror's log");
        let listed = ListedFlight {
            result: landed
                .map_err(crashed)
                .map(|r| r.flatten())
                .boxed()
                .shared(),
            started: Instant::now(),
            waiting: Arc::new(watch::Sender::new(())),
            kept: None,
        };
        let flight = listed.join();
        let waiters = Waiters {
            flights: self.0.clone(),
            key,
            waiting: listed.waiting.clone(),
        };
        let entry = waiters.clone();
        flights.insert(key, listed);
        drop(flights);
        let work = work(waiters);
        tasks.spawn(traces::carried(async move {
            let entry = ListEntry(entry);
            let result = work.await;
            // Off the list before anybody hears of the result, so that who asks after that starts anew.
            drop(entry);
            let _ = land.send(result);
        }));
        flight
    }
}

impl<K: Eq + Hash, V> SingleFlight<K, V> {
    /// Leaves a flight that is to go on although its waiter has been given something else: that one hasn't given up.
    pub(in crate::mirror) fn leave_running(&self, key: &K, flight: Flight<V>) {
        if let Some(listed) = lock(&self.0).get_mut(key)
            && Arc::ptr_eq(&listed.waiting, &flight.waiting)
        {
            listed.kept = Some(flight.waiter);
        }
    }
}

impl<V> ListedFlight<V> {
    fn join(&self) -> Flight<V> {
        Flight {
            result: self.result.clone(),
            started: self.started,
            waiter: self.waiting.subscribe(),
            waiting: self.waiting.clone(),
        }
    }
}

/// Whether anybody still waits for a flight.
pub(in crate::mirror) struct Waiters<K, V> {
    flights: Arc<Mutex<HashMap<K, ListedFlight<V>>>>,
    key: K,
    waiting: Arc<watch::Sender<()>>,
}

impl<K: Copy, V> Clone for Waiters<K, V> {
    fn clone(&self) -> Self {
        Self {
            flights: self.flights.clone(),
            key: self.key,
            waiting: self.waiting.clone(),
        }
    }
}

impl<K: Eq + Hash, V> Waiters<K, V> {
    /// Returns when the last waiter has gone away; the flight is off the list then, so that nobody joins what is being given up.
    pub(in crate::mirror) async fn gone(&self) {
        loop {
            self.waiting.closed().await;
            let mut flights = lock(&self.flights);
            if self.waiting.receiver_count() == 0 {
                self.delist(&mut flights);
                return;
            }
        }
    }

    /// Removes this flight, and no later one under the same key.
    fn delist(&self, flights: &mut HashMap<K, ListedFlight<V>>) {
        let listed = flights.get(&self.key);
        if listed.is_some_and(|listed| Arc::ptr_eq(&listed.waiting, &self.waiting)) {
            flights.remove(&self.key);
        }
    }
}

/// A flight's place on the list, given up also when its work panics.
struct ListEntry<K: Eq + Hash, V>(Waiters<K, V>);

impl<K: Eq + Hash, V> Drop for ListEntry<K, V> {
    fn drop(&mut self) {
        self.0.delist(&mut lock(&self.0.flights));
    }
}

fn lock<K, V>(flights: &Mutex<HashMap<K, V>>) -> MutexGuard<'_, HashMap<K, V>> {
    flights.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn the_work_goes_on_when_the_first_waiter_goes_away() {
        let (flights, tasks) = (SingleFlight::<u8, u8>::default(), TaskTracker::new());
        let (open, gate) = oneshot::channel::<()>();
        drop(flights.join(1, &tasks, |_| async {
            gate.await.map(|()| 7).map_err(|_| Error::internal(""))
        }));
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        open.send(()).expect("the first waiter's work is waiting");
        assert_eq!(second.result.await.expect("a result"), 7);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_waiters_as_an_error_and_the_next_one_starts_anew() {
        let (flights, tasks) = (SingleFlight::<u8, u8>::default(), TaskTracker::new());
        let first = flights.join(1, &tasks, |_| async { panic!("on purpose") });
        assert!(first.result.await.is_err());
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        assert_eq!(second.result.await.expect("a result"), 8);
    }

    #[tokio::test]
    async fn a_hundred_waiters_share_one_flight() {
        let (flights, tasks) = (SingleFlight::<u8, u32>::default(), TaskTracker::new());
        let runs = Arc::new(AtomicU32::new(0));
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let runs = runs.clone();
                flights.join(1, &tasks, |_| async move {
                    Ok(runs.fetch_add(1, Ordering::Relaxed))
                })
            })
            .collect();
        for waiter in waiters {
            assert_eq!(waiter.result.await.expect("a result"), 0);
        }
    }

    /// A client that had given up used to keep its place in the line for upstream.
    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_can_tell() {
        let (flights, tasks) = (SingleFlight::<u8, u8>::default(), TaskTracker::new());
        let (told, heard) = oneshot::channel();
        let work = |waiters: Waiters<u8, u8>| async move {
            waiters.gone().await;
            let _ = told.send(());
            Err(Error::internal("given up"))
        };
        let first = flights.join(1, &tasks, work);
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        drop(first);
        tokio::task::yield_now().await;
        assert_eq!(tasks.len(), 1, "the second waiter still waits");
        drop(second);
        heard.await.expect("the work was told");
        let third = flights.join(1, &tasks, |_| async { Ok(9) });
        assert_eq!(third.result.await.expect("a new flight"), 9);
    }
}
