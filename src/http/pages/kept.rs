//! [`KeptPages`]: pages that were made a moment ago, for all who ask within that moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio::time::{Instant, timeout};

use super::request::{PageKey, PageQueue, PageRequest};
use crate::{
    error::{Error, Kind, Result},
    http::respond::no_memory,
    status::A_MOMENT,
    transport::ClientMemory,
};

/// So many pages of a line are kept or being made.
const MOST: usize = 64;
/// Nobody waits for a page for longer. What it takes to make one has shorter limits of its own, so that this comes to pass where several of them add up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pages of this moment, by what was asked for. Made once, however many ask.
pub(super) struct KeptPages {
    own: Arc<Slots>,
    store: Arc<Slots>,
    crates: Arc<Slots>,
    searches: Arc<Slots>,
    memory: Arc<ClientMemory>,
}

/// The pages of one line. When it is full of those that are waited for, the other lines aren't.
#[derive(Default)]
struct Slots(Mutex<HashMap<PageKey, Slot>>);

enum Slot {
    /// It is being made: by all who wait for it together, whoever came first, and not any longer when the last of them has gone away.
    Making(WeakShared<Making>),
    /// It was made then.
    Made(SystemTime, Bytes),
}

type Making = BoxFuture<'static, Result<Bytes>>;

impl KeptPages {
    /// None yet. What is kept is leased from `memory`.
    pub(super) fn new(memory: Arc<ClientMemory>) -> Self {
        Self {
            own: Arc::default(),
            store: Arc::default(),
            crates: Arc::default(),
            searches: Arc::default(),
            memory,
        }
    }

    /// The page that was asked for, made by `make` unless it was made a moment ago, or is being made. All who wait for it get what it comes to, an error as well: to
    /// try again would take as long for each of them.
    ///
    /// # Errors
    /// Those of `make`, and [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for the page, too many different ones of its line are
    /// asked for at once, or it isn't there after twenty seconds.
    pub(super) async fn get<F>(
        &self,
        request: &PageRequest,
        now: SystemTime,
        make: impl FnOnce() -> F,
    ) -> Result<Bytes>
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        let (key, slots) = (request.key(), self.line(request.line()));
        let making = {
            let mut all = slots.lock();
            let being_made = match all.get(&key) {
                Some(Slot::Made(at, page)) if is_new(*at, now) => return Ok(page.clone()),
                Some(Slot::Making(making)) => making.upgrade(),
                Some(Slot::Made(..)) | None => None,
            };
            match being_made {
                Some(making) => making,
                None => {
                    // What is old goes before what is new takes memory.
                    all.remove(&key);
                    make_room(&mut all)?;
                    let making = self.making(slots.clone(), key.clone(), now, make());
                    // It isn't done before it is begun.
                    all.extend(making.downgrade().map(|weak| (key, Slot::Making(weak))));
                    making
                }
            }
        };
        timeout(PATIENCE, making)
            .await
            .unwrap_or_else(|_| Err(takes_long()))
    }

    /// Makes a page and keeps it; an error is kept for nobody but those who wait.
    fn making(
        &self,
        slots: Arc<Slots>,
        key: PageKey,
        now: SystemTime,
        make: impl Future<Output = Result<String>> + Send + 'static,
    ) -> Shared<Making> {
        let memory = self.memory.clone();
        let came = Instant::now();
        let making = async move {
            let page = make.await.and_then(|page| {
                let lease = memory.take(page.len()).ok_or_else(no_memory)?;
                Ok(lease.hold(page.into()))
            });
            let at = now + came.elapsed();
            let mut all = slots.lock();
            match &page {
                Ok(page) => all.insert(key, Slot::Made(at, page.clone())),
                Err(_) => all.remove(&key),
            };
            page
        };
        making.boxed().shared()
    }

    /// Lets go of what is older than a moment.
    pub(super) fn forget_old(&self, now: SystemTime) {
        for slots in [&self.own, &self.store, &self.crates, &self.searches] {
            slots.lock().retain(|_, slot| match slot {
                Slot::Making(making) => making.upgrade().is_some(),
                Slot::Made(at, _) => is_new(*at, now),
            });
        }
    }

    fn line(&self, line: PageQueue) -> &Arc<Slots> {
        match line {
            PageQueue::Own => &self.own,
            PageQueue::Store => &self.store,
            PageQueue::Crate => &self.crates,
            PageQueue::Search => &self.searches,
        }
    }
}

impl Slots {
    fn lock(&self) -> MutexGuard<'_, HashMap<PageKey, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of pages that nobody waits for, if there are too many.
fn make_room(all: &mut HashMap<PageKey, Slot>) -> Result<()> {
    if all.len() >= MOST {
        all.retain(|_, slot| match slot {
            Slot::Making(making) => making.upgrade().is_some(),
            Slot::Made(..) => false,
        });
    }
    match all.len() < MOST {
        true => Ok(()),
        false => Err(too_many()),
    }
}

fn is_new(at: SystemTime, now: SystemTime) -> bool {
    // Who came before it was ready has waited.
    now.duration_since(at).unwrap_or(Duration::ZERO) < A_MOMENT
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
            .key()
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
            .key()
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
            .key()
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
        let tries = Arc::new(AtomicU32::new(0));
        let request = request("a");
        let get = || {
            kept.get(&request, now, || {
                tries.fetch_add(1, Ordering::Relaxed);
                async {
                    tokio::time::sleep(PATIENCE / 2).await;
                    Err(Error::upstream_timeout("upstream hangs"))
                }
            })
        };
        let (a, b, c) = (get(), get(), get());
        let all = tokio::join!(a, b, c);
        let kinds = [all.0, all.1, all.2].map(|page| page.expect_err("it fails").kind());
        assert_eq!(kinds, [Kind::UpstreamTimeout; 3]);
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        let later = kept.get(&request, now, async || Ok("x".to_owned()));
        assert_eq!(later.await.expect("a page"), "x");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_page_for_ever() {
        let (kept, now) = (kept(), SystemTime::now());
        let request = request("a");
        let first = kept.get(&request, now, std::future::pending);
        let second = kept.get(&request, now, async || Ok(String::new()));
        let (first, second) = tokio::join!(first, second);
        for late in [first, second] {
            assert_eq!(late.expect_err("late").kind(), Kind::Overloaded);
        }
    }

    /// The page was made by the first who asked; when that one went away, the next began anew.
    #[tokio::test]
    async fn a_page_is_gone_on_with_as_long_as_anybody_waits_for_it_and_no_longer() {
        let (kept, now) = (kept(), SystemTime::now());
        let request = request("a");
        let (open, gate) = tokio::sync::oneshot::channel::<()>();
        let alive = Arc::new(());
        let held = alive.clone();
        let mut first = Box::pin(kept.get(&request, now, || async move {
            let _held = held;
            gate.await.map_err(|_| Error::internal("closed"))?;
            Ok("first".to_owned())
        }));
        let mut second = Box::pin(kept.get(&request, now, async || Ok("second".to_owned())));
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(Arc::strong_count(&alive), 2, "the second still waits");
        open.send(()).expect("it waits");
        assert_eq!(second.await.expect("a page"), "first");

        let held = alive.clone();
        let mut alone = Box::pin(kept.get(&request, now + 2 * A_MOMENT, || async move {
            let _held = held;
            std::future::pending().await
        }));
        assert!(futures_util::poll!(&mut alone).is_pending());
        drop(alone);
        assert_eq!(Arc::strong_count(&alive), 1, "nobody waits");
        let later = kept.get(&request, now + 2 * A_MOMENT, async || Ok("x".to_owned()));
        assert_eq!(later.await.expect("a page"), "x");
    }

    #[tokio::test]
    async fn a_page_is_made_once_for_all_who_ask_within_a_second() {
        let (kept, made) = (kept(), Arc::new(AtomicU32::new(0)));
        let now = SystemTime::now();
        let get = async |at: SystemTime| {
            let made = made.clone();
            let make = || async move {
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
    async fn there_is_an_end_to_what_is_kept() {
        let (kept, now) = (kept(), SystemTime::now());
        for number in 0..1_000 {
            let request = request(&number.to_string());
            let page = kept.get(&request, now, async || Ok(String::new()));
            page.await.expect("a page");
        }
        assert!(kept.searches.lock().len() <= MOST);
        kept.forget_old(now + 2 * A_MOMENT);
        assert_eq!(kept.searches.lock().len(), 0);
    }

    /// A token in a path stood in the table as it is.
    #[tokio::test]
    async fn a_token_in_a_path_is_not_kept_to_find_its_pages_by() {
        let request = PageRequest::new(
            Subject::Home,
            PageForm::Html,
            "http://mirror/t/cm_secret".into(),
            "/t/cm_secret".into(),
            Readable::All,
        );
        let key = request.key();
        assert!(!format!("{key:?}").contains("cm_secret"), "{key:?}");
        let other = PageRequest {
            links: "/t/cm_other".into(),
            ..request
        };
        assert_ne!(key, other.key());
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
