//! [`KeptPages`]: pages that were made a moment ago, for all who ask within that moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::request::{PageQueue, PageRequest};
use crate::{
    error::{Error, Kind, Result},
    http::respond::no_memory,
    status::A_MOMENT,
    transport::ClientMemory,
};

/// So many pages of a line are kept or being made.
const MOST: usize = 64;
/// Nobody waits for a page that is made for another for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pages of this moment, by what was asked for. Made once, however many ask.
pub(super) struct KeptPages {
    own: Slots,
    store: Slots,
    crates: Slots,
    searches: Slots,
    memory: Arc<ClientMemory>,
}

/// The pages of one line. When it is full of those that are waited for, the other lines aren't.
#[derive(Default)]
struct Slots(Mutex<HashMap<PageRequest, Arc<Slot>>>);

/// What was made last, if anything was. Held by who makes it, so that all others wait.
#[derive(Default)]
struct Slot(tokio::sync::Mutex<Option<Made>>);

/// What making a page has come to.
struct Made {
    at: SystemTime,
    page: Result<Bytes>,
}

impl KeptPages {
    /// None yet. What is kept is leased from `memory`.
    pub(super) fn new(memory: Arc<ClientMemory>) -> Self {
        Self {
            own: Slots::default(),
            store: Slots::default(),
            crates: Slots::default(),
            searches: Slots::default(),
            memory,
        }
    }

    /// The page that was asked for, made by `make` unless somebody else has had it made a moment ago. Who waited while it was made gets what it came to, an
    /// error as well: to try again would take as long for each of them.
    ///
    /// # Errors
    /// Those of `make`, and [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for the page, too many different ones of its line are
    /// asked for at once, or it is made for another and isn't there after ten seconds.
    pub(super) async fn get(
        &self,
        request: &PageRequest,
        now: SystemTime,
        make: impl AsyncFnOnce() -> Result<String>,
    ) -> Result<Bytes> {
        let came = Instant::now();
        let slot = self.line(request.line()).slot(request)?;
        let mut kept = timeout(PATIENCE, slot.0.lock())
            .await
            .map_err(|_| takes_long())?;
        if let Some(made) = &*kept
            && made.is_for(now)
        {
            return made.page.clone();
        }
        // What is old goes before what is new takes memory.
        *kept = None;
        let page = make().await.and_then(|page| {
            let lease = self.memory.take(page.len()).ok_or_else(no_memory)?;
            Ok(lease.hold(page.into()))
        });
        *kept = Some(Made {
            at: now + came.elapsed(),
            page: page.clone(),
        });
        page
    }

    /// Lets go of what is older than a moment.
    pub(super) fn forget_old(&self, now: SystemTime) {
        for slots in [&self.own, &self.store, &self.crates, &self.searches] {
            slots.forget_old(now);
        }
    }

    fn line(&self, line: PageQueue) -> &Slots {
        match line {
            PageQueue::Own => &self.own,
            PageQueue::Store => &self.store,
            PageQueue::Crate => &self.crates,
            PageQueue::Search => &self.searches,
        }
    }
}

impl Slots {
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
            return Err(too_many());
        }
        Ok(slots.entry(request.clone()).or_default().clone())
    }

    fn forget_old(&self, now: SystemTime) {
        self.lock().retain(|_, slot| {
            let is_kept = |slot: &Slot| match slot.0.try_lock() {
                Ok(kept) => kept.as_ref().is_some_and(|made| made.is_new(now)),
                Err(_) => true,
            };
            Arc::strong_count(slot) > 1 || is_kept(slot)
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PageRequest, Arc<Slot>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Made {
    /// Whether it is for who came at `now`: a page while it is new, an error only if it was made while he waited.
    fn is_for(&self, now: SystemTime) -> bool {
        match self.page {
            Ok(_) => self.is_new(now),
            Err(_) => now <= self.at,
        }
    }

    fn is_new(&self, now: SystemTime) -> bool {
        // Who came before it was ready has waited.
        now.duration_since(self.at).unwrap_or(Duration::ZERO) < A_MOMENT
    }
}

fn too_many() -> Error {
    Error::new(
        Kind::Overloaded,
        "this mirror makes as many pages of this sort as it can at the moment; try again in a moment",
    )
}

fn takes_long() -> Error {
    Error::new(
        Kind::Overloaded,
        "this page takes this mirror long to make, because upstream or its store is slow; try again in a moment",
    )
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
            route::ApiCall,
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
            base: "".into(),
            links: "".into(),
            readable: Readable::All,
        }
    }

    /// One `Host` after another, or one `?page=`, made as many pages of the same.
    #[test]
    fn what_makes_no_difference_to_a_page_makes_no_other_page() {
        let figures = |host: &str| {
            PageRequest::new(
                Subject::Figures,
                PageForm::Json,
                host.into(),
                host.into(),
                Readable::All,
            )
        };
        assert_eq!(figures("http://a"), figures("http://b"));
        let policy = |form, host: &str, links: &str| {
            let place = Default::default();
            PageRequest::new(
                Subject::Policy { place },
                form,
                host.into(),
                links.into(),
                Readable::All,
            )
        };
        let html = policy(PageForm::Html, "a", "/t/secret");
        assert_eq!(html, policy(PageForm::Html, "b", "/t/secret"));
        assert_ne!(html, policy(PageForm::Html, "a", ""));
        let text = |links| policy(PageForm::Text, "a", links);
        assert_eq!(text("/t/secret"), text(""));
        let home = |host: &str| {
            PageRequest::new(
                Subject::Home,
                PageForm::Text,
                host.into(),
                "".into(),
                Readable::All,
            )
        };
        assert_ne!(home("http://a"), home("http://b"));
    }

    /// Sixty-four searches that upstream kept waiting were a 503 for `/` and `/status.json`.
    #[tokio::test]
    async fn what_the_mirror_does_can_be_seen_while_searches_and_crates_hang() {
        let (kept, now) = (kept(), SystemTime::now());
        let hanging = |number: usize| {
            let (kept, request) = (&kept, request(&number.to_string()));
            async move {
                kept.get(&request, now, std::future::pending)
                    .await
                    .map(drop)
            }
        };
        let mut hanging: Vec<_> = (0..MOST).map(|number| Box::pin(hanging(number))).collect();
        for one in &mut hanging {
            assert!(futures_util::poll!(one).is_pending());
        }
        let more = request("more");
        let full = kept.get(&more, now, async || Ok(String::new()));
        assert_eq!(full.await.expect_err("full").kind(), Kind::Overloaded);
        let name = crate::domain::CrateName::parse("a").expect("a name");
        let place = crate::http::route::Place::default();
        for subject in [
            Subject::Home,
            Subject::Figures,
            Subject::Policy { place },
            Subject::Wanted,
            Subject::Crate { place, name },
            Subject::Api {
                place,
                call: ApiCall::Crate(name),
                query: SearchQuery::default(),
            },
        ] {
            let request =
                PageRequest::new(subject, PageForm::Text, "".into(), "".into(), Readable::All);
            let page = kept.get(&request, now, async || Ok("x".to_owned())).await;
            assert_eq!(page.expect("a page"), "x", "{request:?}");
        }
    }

    /// The second waited as long as the first, the third as long as both: nobody heard of it in time.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_page_that_fails_hears_of_it_with_the_first() {
        let (kept, now) = (kept(), SystemTime::now());
        let tries = AtomicU32::new(0);
        let request = request("a");
        let get = || {
            kept.get(&request, now, async || {
                tries.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PATIENCE / 2).await;
                Err(Error::upstream_timeout("upstream hangs"))
            })
        };
        let (a, b, c) = (get(), get(), get());
        let all = tokio::join!(a, b, c);
        let kinds = [all.0, all.1, all.2].map(|page| page.expect_err("it fails").kind());
        assert_eq!(kinds, [Kind::UpstreamTimeout; 3]);
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        let later = kept.get(&request, now + PATIENCE, async || Ok("x".to_owned()));
        assert_eq!(later.await.expect("a page"), "x");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_anothers_page_for_ever() {
        let (kept, now) = (kept(), SystemTime::now());
        let request = request("a");
        let mut first = Box::pin(kept.get(&request, now, std::future::pending));
        assert!(futures_util::poll!(&mut first).is_pending());
        let second = kept.get(&request, now, async || Ok(String::new()));
        assert_eq!(second.await.expect_err("late").kind(), Kind::Overloaded);
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
        assert_eq!(get(now + 2 * A_MOMENT).await, "1");
    }

    #[tokio::test]
    async fn there_is_an_end_to_what_is_kept_and_to_what_is_made() {
        let (kept, now) = (kept(), SystemTime::now());
        for number in 0..1_000 {
            let request = request(&number.to_string());
            let page = kept.get(&request, now, async || Ok(String::new()));
            page.await.expect("a page");
        }
        assert!(kept.searches.lock().len() <= MOST);
        let waiting: Vec<_> = (0..MOST)
            .map(|number| kept.searches.slot(&request(&format!("w{number}"))))
            .collect();
        let refused = waiting
            .iter()
            .chain([&kept.searches.slot(&request("more"))])
            .find_map(|slot| slot.as_ref().err().map(|e| e.kind()));
        assert_eq!(refused, Some(Kind::Overloaded));
        drop(waiting);
        kept.forget_old(now + 2 * A_MOMENT);
        assert_eq!(kept.searches.lock().len(), 0);
    }

    #[tokio::test]
    async fn a_page_that_there_is_no_memory_for_is_refused_and_another_tried() {
        let (kept, now) = (kept(), SystemTime::now());
        let huge = async || Ok("x".repeat(100 << 20));
        let refused = kept.get(&request("a"), now, huge).await;
        assert_eq!(refused.expect_err("no memory").kind(), Kind::Overloaded);
        let request = request("a");
        let later = now + A_MOMENT;
        let page = kept.get(&request, later, async || Ok("x".to_owned()));
        assert_eq!(page.await.expect("a page"), "x");
    }
}
