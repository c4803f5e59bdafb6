//! [`WantedList`]: what was asked for offline and isn't here, read from the store now and then for all who look at it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::Mutex, time::Instant};

use crate::{
    allowance::{Allowance, Lease},
    domain::MissedRequest,
    error::Result,
    store::Store,
};

/// How long a list is good at least.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// And so many times as long as it took to read: it has to be looked up for each of its lines whether that is here by now, and the disk is for requests.
const TIMES: u32 = 20;

/// The list that was read last. Whoever asks while it is being read waits for that.
#[derive(Default)]
pub(super) struct WantedList(Mutex<Option<Looked>>);

struct Looked {
    good_until: Instant,
    listed: Arc<[MissedRequest]>,
    /// There may be ten thousand lines.
    _lease: Option<Lease>,
}

impl WantedList {
    /// The list as it is now, or was a moment ago. Nothing is changed by looking at it.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read.
    pub(super) async fn get(
        &self,
        store: &Store,
        budget: &Allowance,
        now: SystemTime,
    ) -> Result<Arc<[MissedRequest]>> {
        let mut last = self.0.lock().await;
        let started = Instant::now();
        if let Some(looked) = last.as_ref().filter(|looked| started < looked.good_until) {
            return Ok(looked.listed.clone());
        }
        *last = None;
        let listed: Arc<[MissedRequest]> = store.missed(now).await?.into();
        let (took, bytes) = (started.elapsed(), size_of_val(&*listed) as u64);
        let lease = budget.try_take_needed(bytes);
        // What there is no memory for is given and not kept.
        if lease.is_some() {
            *last = Some(Looked {
                good_until: Instant::now() + GOOD_FOR.max(took * TIMES),
                listed: listed.clone(),
                _lease: lease,
            });
        }
        Ok(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    /// Each who asked had the whole list looked up on the disk.
    #[tokio::test(start_paused = true)]
    async fn the_store_is_looked_at_once_a_second_for_all() {
        let (store, now) = (
            Store::in_memory(Arc::new(Metrics::new())),
            SystemTime::now(),
        );
        let (list, budget) = (WantedList::default(), Allowance::new(1 << 20, 0));
        let request = |text| MissedRequest::parse(text).expect("valid");
        let a = request("a");
        store.note_missed(a, now).await.expect("noted");
        let listed = async || {
            list.get(&store, &budget, now)
                .await
                .expect("a list")
                .to_vec()
        };
        assert_eq!(listed().await, [a]);
        store.note_missed(request("b"), now).await.expect("noted");
        assert_eq!(listed().await, [a], "a moment ago");
        assert!(budget.taken() > 0);
        tokio::time::sleep(2 * GOOD_FOR).await;
        assert_eq!(listed().await.len(), 2);
    }
}
