//! [`LayoutLook`]: one look at the layout's version for all who ask a bucket before that is known.

use std::{
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::time::Instant;

use crate::error::{Error, Result};

/// How long nobody looks again after a look that has failed; doubled with each that fails, up to the second. So a bucket that hangs costs those who wait for
/// it one time limit, and nothing for a while after that.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whether a layout is one that this program knows.
pub(super) type LayoutVerdict = Result<()>;

/// What is known of a bucket's layout, and who finds it out. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct LayoutLook(Arc<Known>);

#[derive(Default)]
struct Known {
    verdict: OnceLock<LayoutVerdict>,
    state: Mutex<LookState>,
}

/// Whether somebody looks.
#[derive(Default)]
enum LookState {
    #[default]
    Never,
    /// Somebody does, for all who come meanwhile.
    UnderWay(Shared<BoxFuture<'static, Result<()>>>, Duration),
    /// The last look has failed.
    Failed {
        why: Error,
        again_at: Instant,
        pause: Duration,
    },
}

impl LayoutLook {
    /// The verdict, or what the look under way comes to. If nobody looks, and the last look didn't fail a moment ago, `look` does.
    ///
    /// # Errors
    /// Those of the verdict, or why there is none yet.
    pub(super) async fn verdict<L>(&self, look: impl FnOnce() -> L) -> Result<()>
    where
        L: Future<Output = Result<LayoutVerdict>> + Send + 'static,
    {
        if let Some(verdict) = self.0.verdict.get() {
            return verdict.clone();
        }
        let under_way = self.join(look, Instant::now())?;
        under_way.await
    }

    fn join<L>(
        &self,
        look: impl FnOnce() -> L,
        now: Instant,
    ) -> Result<Shared<BoxFuture<'static, Result<()>>>>
    where
        L: Future<Output = Result<LayoutVerdict>> + Send + 'static,
    {
        let mut state = self.lock();
        let pause = match &*state {
            LookState::UnderWay(under_way, _) => return Ok(under_way.clone()),
            LookState::Failed { why, again_at, .. } if now < *again_at => return Err(why.clone()),
            LookState::Failed { pause, .. } => (*pause * 2).min(LONGEST_PAUSE),
            LookState::Never => FIRST_PAUSE,
        };
        let (this, look) = (self.clone(), look());
        // It goes on when those who wait for it have gone away.
        let looking = tokio::spawn(async move { this.end(look.await) });
        let this = self.clone();
        let under_way = async move {
            let looked = looking.await;
            looked.unwrap_or_else(|e| this.end(Err(Error::ended_early("the first look", e))))
        };
        let under_way = under_way.boxed().shared();
        *state = LookState::UnderWay(under_way.clone(), pause);
        Ok(under_way)
    }

    /// Notes what a look came to.
    fn end(&self, looked: Result<LayoutVerdict>) -> Result<()> {
        match looked {
            Ok(verdict) => self.0.verdict.get_or_init(|| verdict).clone(),
            Err(why) => {
                let mut state = self.lock();
                if let LookState::UnderWay(_, pause) = *state {
                    *state = LookState::Failed {
                        why: why.clone(),
                        again_at: Instant::now() + pause,
                        pause,
                    };
                }
                Err(why)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LookState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const TAKES: Duration = Duration::from_secs(5);

    /// Looks that take their time and come to this, one after the other.
    struct Looks(LayoutLook, AtomicUsize);

    impl Looks {
        async fn look(&self, comes_to: Result<LayoutVerdict>) -> Result<()> {
            let look = || {
                self.1.fetch_add(1, Ordering::Relaxed);
                async move {
                    sleep(TAKES).await;
                    comes_to
                }
            };
            self.0.verdict(look).await
        }

        fn count(&self) -> usize {
            self.1.load(Ordering::Relaxed)
        }
    }

    /// Each looked for himself, one after the other: the tenth waited ten time limits.
    #[tokio::test(start_paused = true)]
    async fn all_who_wait_share_one_look_and_what_fails_is_left_alone_for_a_while() {
        let looks = Looks(LayoutLook::default(), AtomicUsize::new(0));
        let started = Instant::now();
        let hung = || Err(Error::store("it hangs"));
        let all = join_all((0..10).map(|_| looks.look(hung()))).await;
        assert!(all.iter().all(Result::is_err));
        assert_eq!((looks.count(), started.elapsed()), (1, TAKES));
        looks.look(Ok(Ok(()))).await.expect_err("just failed");
        assert_eq!((looks.count(), started.elapsed()), (1, TAKES));
        for pause in [1, 2, 4] {
            sleep(Duration::from_secs(pause)).await;
            looks.look(hung()).await.expect_err("another one");
        }
        assert_eq!(looks.count(), 4);
        sleep(LONGEST_PAUSE).await;
        looks.look(Ok(Ok(()))).await.expect("it is well");
        looks.look(hung()).await.expect("known for good");
        assert_eq!(looks.count(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_whose_first_waiter_went_away_ends_all_the_same() {
        let looks = Looks(LayoutLook::default(), AtomicUsize::new(0));
        let waits = looks.look(Err(Error::store("it hangs")));
        let gone = tokio::time::timeout(TAKES / 2, waits).await;
        assert!(gone.is_err(), "it still waits");
        sleep(TAKES + FIRST_PAUSE).await;
        looks.look(Ok(Ok(()))).await.expect("another look");
        assert_eq!(looks.count(), 2);
    }
}
