//! [`KeptPages`]: pages that were made a moment ago, for all who ask within that moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::request::PageRequest;
use crate::{error::Result, http::respond::no_memory, status::A_MOMENT, transport::ClientMemory};

/// So many pages are kept or being made.
const MOST: usize = 64;
/// So many are made at once, each of which keeps a core busy for some milliseconds.
const AT_ONCE: usize = 2;
/// Of those that may wait for upstream, so many are.
const WAITING: usize = 16;

/// The pages of this moment, by what was asked for. Made once, however many ask.
pub(super) struct KeptPages {
    slots: Mutex<HashMap<PageRequest, Arc<Slot>>>,
    permits: Semaphore,
    /// For those that may wait for upstream: they mustn't keep others waiting.
    waiting: Semaphore,
    memory: Arc<ClientMemory>,
}

/// A page, if it has been made. Held by who makes it, so that all others wait.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<Option<(SystemTime, Bytes)>>);

impl KeptPages {
    /// None yet. What is kept is leased from `memory`.
    pub(super) fn new(memory: Arc<ClientMemory>) -> Self {
        Self {
            slots: Mutex::default(),
            permits: Semaphore::new(AT_ONCE),
            waiting: Semaphore::new(WAITING),
            memory,
        }
    }

    /// The page that was asked for, made by `make` unless somebody else has had it made a moment ago.
    ///
    /// # Errors
    /// Those of `make`, and [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for the page, or too many different ones are asked for at once.
    pub(super) async fn get(
        &self,
        request: &PageRequest,
        now: SystemTime,
        make: impl AsyncFnOnce() -> Result<String>,
    ) -> Result<Bytes> {
        let slot = self.slot(request)?;
        let mut kept = slot.0.lock().await;
        if let Some((made, page)) = &*kept
            && is_new(*made, now)
        {
            return Ok(page.clone());
        }
        // What is old goes before what is new takes memory.
        *kept = None;
        let permits = match request.may_ask_upstream() {
            true => &self.waiting,
            false => &self.permits,
        };
        let _permit = permits.acquire().await;
        let page = make().await?;
        let lease = self.memory.take(page.len()).ok_or_else(no_memory)?;
        let page = lease.hold(page.into());
        *kept = Some((now, page.clone()));
        Ok(page)
    }

    fn slot(&self, request: &PageRequest) -> Result<Arc<Slot>> {
        let mut slots = self.lock();
        if let Some(slot) = slots.get(request) {
            return Ok(slot.clone());
        }
        if slots.len() >= MOST {
            // Those that nobody waits for.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        if slots.len() >= MOST {
            return Err(no_memory());
        }
        Ok(slots.entry(request.clone()).or_default().clone())
    }

    /// Lets go of what is older than a moment.
    pub(super) fn forget_old(&self, now: SystemTime) {
        self.lock().retain(|_, slot| {
            let is_kept = |slot: &Slot| match slot.0.try_lock() {
                Ok(kept) => kept.as_ref().is_some_and(|(made, _)| is_new(*made, now)),
                Err(_) => true,
            };
            Arc::strong_count(slot) > 1 || is_kept(slot)
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PageRequest, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_new(made: SystemTime, now: SystemTime) -> bool {
    now.duration_since(made)
        // Who came first may have waited longest.
        .unwrap_or(Duration::ZERO)
        < A_MOMENT
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::{
        error::Kind,
        http::{
            pages::request::{PageForm, Subject},
            query::SearchQuery,
            readable::Readable,
        },
    };

    fn kept() -> KeptPages {
        KeptPages::new(ClientMemory::new(0, |_| None))
    }

    fn request(words: &str) -> PageRequest {
        PageRequest {
            subject: Subject::Search {
                place: Default::default(),
                query: SearchQuery {
                    words: words.into(),
                    ..SearchQuery::default()
                },
            },
            form: PageForm::Html,
            base: "http://localhost".into(),
            links: "".into(),
            readable: Readable::All,
        }
    }

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_ask_within_a_second() {
        let (kept, made) = (kept(), AtomicU32::new(0));
        let now = SystemTime::now();
        let get = async |at: SystemTime| {
            let make = async || {
                tokio::task::yield_now().await;
                Ok(made.fetch_add(1, Ordering::Relaxed).to_string())
            };
            kept.get(&request("a"), at, make).await.expect("a page")
        };
        let pages = futures_util::future::join_all((0..100).map(|_| get(now))).await;
        assert!(pages.iter().all(|page| page == "0"), "{pages:?}");
        assert_eq!(get(now + A_MOMENT).await, "1");
    }

    #[tokio::test]
    async fn there_is_an_end_to_what_is_kept_and_to_what_is_made() {
        let (kept, now) = (kept(), SystemTime::now());
        for number in 0..1_000 {
            let request = request(&number.to_string());
            let page = kept.get(&request, now, async || Ok(String::new()));
            page.await.expect("a page");
        }
        assert!(kept.lock().len() <= MOST);
        let waiting: Vec<_> = (0..MOST)
            .map(|number| kept.slot(&request(&format!("w{number}"))))
            .collect();
        let refused = waiting
            .iter()
            .chain([&kept.slot(&request("more"))])
            .find_map(|slot| slot.as_ref().err().map(|e| e.kind()));
        assert_eq!(refused, Some(Kind::Overloaded));
        drop(waiting);
        kept.forget_old(now + A_MOMENT);
        assert_eq!(kept.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_page_that_there_is_no_memory_for_is_refused_and_another_tried() {
        let (kept, now) = (kept(), SystemTime::now());
        let huge = async || Ok("x".repeat(100 << 20));
        let refused = kept.get(&request("a"), now, huge).await;
        assert_eq!(refused.expect_err("no memory").kind(), Kind::Overloaded);
        let request = request("a");
        let page = kept.get(&request, now, async || Ok("x".to_owned()));
        assert_eq!(page.await.expect("a page"), "x");
    }
}
