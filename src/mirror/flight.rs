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
use tokio::{sync::oneshot, time::Instant};
use tokio_util::task::TaskTracker;

use crate::error::{Error, Result};

/// Work under way, by key. Work must check first whether it was done a moment ago: an asker may have looked before the last flight landed
/// and joined after.
pub(super) struct Flights<K, V>(Arc<Mutex<HashMap<K, Flight<V>>>>);

/// One piece of work under way; every clone resolves to the same result.
#[derive(Clone)]
pub(super) struct Flight<V> {
    pub(super) result: Shared<BoxFuture<'static, Result<V>>>,
    pub(super) started: Instant,
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
    /// Joins the flight for `key`, or starts `work` as one.
    pub(super) fn join<F>(&self, key: K, tasks: &TaskTracker, work: impl FnOnce() -> F) -> Flight<V>
    where
        F: Future<Output = Result<V>> + Send + 'static,
    {
        let mut flights = lock(&self.0);
        if let Some(flight) = flights.get(&key) {
            return flight.clone();
        }
        let (land, landed) = oneshot::channel();
        let crashed =
            |_| Error::internal("the work for this request ended early; see the mirror's log");
        let flight = Flight {
            result: landed
                .map_err(crashed)
                .map(|r| r.flatten())
                .boxed()
                .shared(),
            started: Instant::now(),
        };
        flights.insert(key, flight.clone());
        drop(flights);
        let entry = Entry {
            flights: self.0.clone(),
            key,
        };
        let work = work();
        tasks.spawn(async move {
            let result = work.await;
            // Off the list before anybody hears of the result, so that who asks after that starts anew.
            drop(entry);
            let _ = land.send(result);
        });
        flight
    }
}

/// A flight's place on the list, given up also when its work panics.
struct Entry<K: Eq + Hash, V> {
    flights: Arc<Mutex<HashMap<K, Flight<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Entry<K, V> {
    fn drop(&mut self) {
        lock(&self.flights).remove(&self.key);
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
        drop(flights.join(1, &tasks, || async {
            gate.await.map(|()| 7).map_err(|_| Error::internal(""))
        }));
        let second = flights.join(1, &tasks, || async { Ok(8) });
        open.send(()).expect("the first asker's work is waiting");
        assert_eq!(second.result.await.expect("a result"), 7);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_askers_as_an_error_and_the_next_one_starts_anew() {
        let (flights, tasks) = (Flights::<u8, u8>::default(), TaskTracker::new());
        let first = flights.join(1, &tasks, || async { panic!("on purpose") });
        assert!(first.result.await.is_err());
        let second = flights.join(1, &tasks, || async { Ok(8) });
        assert_eq!(second.result.await.expect("a result"), 8);
    }

    #[tokio::test]
    async fn a_hundred_askers_share_one_flight() {
        let (flights, tasks) = (Flights::<u8, u32>::default(), TaskTracker::new());
        let runs = Arc::new(AtomicU32::new(0));
        let askers: Vec<_> = (0..100)
            .map(|_| {
                let runs = runs.clone();
                flights.join(1, &tasks, || async move {
                    Ok(runs.fetch_add(1, Ordering::Relaxed))
                })
            })
            .collect();
        for asker in askers {
            assert_eq!(asker.result.await.expect("a result"), 0);
        }
    }
}
