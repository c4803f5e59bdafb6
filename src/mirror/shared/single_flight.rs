//! [`Flights`]: one piece of work shared by everybody who asks for it meanwhile.
//!
//! The work runs in a task of its own, so it goes on when the first asker goes away.

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

use crate::error::{Error, Result};

/// Work under way, by key. Work must check first whether it was done a moment ago: an asker may have looked before the last flight landed
/// and joined after.
pub(super) struct Flights<K, V>(Arc<Mutex<HashMap<K, Listed<V>>>>);

/// One asker's part in a piece of work; every part resolves to the same result.
#[derive(Clone)]
pub(super) struct Flight<V> {
    pub(super) result: Outcome<V>,
    pub(super) started: Instant,
    interest: watch::Receiver<()>,
    askers: Arc<watch::Sender<()>>,
}

/// What a flight comes to.
type Outcome<V> = Shared<BoxFuture<'static, Result<V>>>;

/// A flight as it is listed; listing it is no interest in it.
struct Listed<V> {
    result: Outcome<V>,
    started: Instant,
    askers: Arc<watch::Sender<()>>,
    /// The part of an asker that went away content.
    kept: Option<watch::Receiver<()>>,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K, V> Flights<K, V>
where
    K: Copy + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Joins the flight for `key` if there is one.
    pub(super) fn join_existing(&self, key: &K) -> Option<Flight<V>> {
        lock(&self.0).get(key).map(Listed::join)
    }

    /// Joins the flight for `key`, or starts `work` as one; `work` is told who still waits for it.
    pub(super) fn join<F>(
        &self,
        key: K,
        tasks: &TaskTracker,
        work: impl FnOnce(Interest<K, V>) -> F,
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
        let listed = Listed {
            result: landed
                .map_err(crashed)
                .map(|r| r.flatten())
                .boxed()
                .shared(),
            started: Instant::now(),
            askers: Arc::new(watch::Sender::new(())),
            kept: None,
        };
        let flight = listed.join();
        let interest = Interest {
            flights: self.0.clone(),
            key,
            askers: listed.askers.clone(),
        };
        let entry = interest.clone();
        flights.insert(key, listed);
        drop(flights);
        let work = work(interest);
        tasks.spawn(async move {
            let entry = Entry(entry);
            let result = work.await;
            // Off the list before anybody hears of the result, so that who asks after that starts anew.
            drop(entry);
            let _ = land.send(result);
        });
        flight
    }
}

impl<K: Eq + Hash, V> Flights<K, V> {
    /// Leaves a flight that is to go on although its asker has been given something else: it hasn't given up.
    pub(super) fn leave_running(&self, key: &K, flight: Flight<V>) {
        if let Some(listed) = lock(&self.0).get_mut(key)
            && Arc::ptr_eq(&listed.askers, &flight.askers)
        {
            listed.kept = Some(flight.interest);
        }
    }
}

impl<V> Listed<V> {
    fn join(&self) -> Flight<V> {
        Flight {
            result: self.result.clone(),
            started: self.started,
            interest: self.askers.subscribe(),
            askers: self.askers.clone(),
        }
    }
}

/// Whether anybody still waits for a flight.
pub(super) struct Interest<K, V> {
    flights: Arc<Mutex<HashMap<K, Listed<V>>>>,
    key: K,
    askers: Arc<watch::Sender<()>>,
}

impl<K: Copy, V> Clone for Interest<K, V> {
    fn clone(&self) -> Self {
        Self {
            flights: self.flights.clone(),
            key: self.key,
            askers: self.askers.clone(),
        }
    }
}

impl<K: Eq + Hash, V> Interest<K, V> {
    /// Returns when the last asker has gone away; the flight is off the list then, so that nobody joins what is being given up.
    pub(super) async fn lost(&self) {
        loop {
            self.askers.closed().await;
            let mut flights = lock(&self.flights);
            if self.askers.receiver_count() == 0 {
                self.delist(&mut flights);
                return;
            }
        }
    }

    /// Removes this flight, and no later one under the same key.
    fn delist(&self, flights: &mut HashMap<K, Listed<V>>) {
        let listed = flights.get(&self.key);
        if listed.is_some_and(|listed| Arc::ptr_eq(&listed.askers, &self.askers)) {
            flights.remove(&self.key);
        }
    }
}

/// A flight's place on the list, given up also when its work panics.
struct Entry<K: Eq + Hash, V>(Interest<K, V>);

impl<K: Eq + Hash, V> Drop for Entry<K, V> {
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
    async fn the_work_goes_on_when_the_first_asker_goes_away() {
        let (flights, tasks) = (Flights::<u8, u8>::default(), TaskTracker::new());
        let (open, gate) = oneshot::channel::<()>();
        drop(flights.join(1, &tasks, |_| async {
            gate.await.map(|()| 7).map_err(|_| Error::internal(""))
        }));
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        open.send(()).expect("the first asker's work is waiting");
        assert_eq!(second.result.await.expect("a result"), 7);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_askers_as_an_error_and_the_next_one_starts_anew() {
        let (flights, tasks) = (Flights::<u8, u8>::default(), TaskTracker::new());
        let first = flights.join(1, &tasks, |_| async { panic!("on purpose") });
        assert!(first.result.await.is_err());
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        assert_eq!(second.result.await.expect("a result"), 8);
    }

    #[tokio::test]
    async fn a_hundred_askers_share_one_flight() {
        let (flights, tasks) = (Flights::<u8, u32>::default(), TaskTracker::new());
        let runs = Arc::new(AtomicU32::new(0));
        let askers: Vec<_> = (0..100)
            .map(|_| {
                let runs = runs.clone();
                flights.join(1, &tasks, |_| async move {
                    Ok(runs.fetch_add(1, Ordering::Relaxed))
                })
            })
            .collect();
        for asker in askers {
            assert_eq!(asker.result.await.expect("a result"), 0);
        }
    }

    /// A client that had given up used to keep its place in the line for upstream.
    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_can_tell() {
        let (flights, tasks) = (Flights::<u8, u8>::default(), TaskTracker::new());
        let (told, heard) = oneshot::channel();
        let work = |interest: Interest<u8, u8>| async move {
            interest.lost().await;
            let _ = told.send(());
            Err(Error::internal("given up"))
        };
        let first = flights.join(1, &tasks, work);
        let second = flights.join(1, &tasks, |_| async { Ok(8) });
        drop(first);
        tokio::task::yield_now().await;
        assert_eq!(tasks.len(), 1, "the second asker still waits");
        drop(second);
        heard.await.expect("the work was told");
        let third = flights.join(1, &tasks, |_| async { Ok(9) });
        assert_eq!(third.result.await.expect("a new flight"), 9);
    }
}
