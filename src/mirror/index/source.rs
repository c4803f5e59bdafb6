//! [`IndexSource`]: what index files come from when memory doesn't answer.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;

use super::shown::{IndexFound, IndexWaiters};
use crate::{
    domain::IndexKey,
    error::{Error, Result},
    mirror::{kept::IndexEntry, shared::Resident},
};

/// Upstream, or offline the store: all in which the two differ.
pub(super) trait IndexSource: Sync {
    /// Whether what was begun before somebody came may answer him too.
    const SERVES_LATECOMERS: bool;

    /// What of memory may be given to who asks, if that takes nothing but a look into it.
    fn permits(
        &self,
        key: &IndexKey,
        known: Resident,
        now: SystemTime,
    ) -> Option<Result<IndexFound>>;

    /// The same for who can wait a moment for more than a look.
    fn remembered(
        &self,
        key: &IndexKey,
        now: SystemTime,
    ) -> impl Future<Output = Option<Result<IndexFound>>> + Send;

    /// Obtains the entry and keeps it in memory, once for all who wait for it.
    fn obtain(
        &self,
        key: IndexKey,
        now: SystemTime,
        waiters: IndexWaiters,
    ) -> BoxFuture<'static, Result<IndexFound>>;

    /// How long to wait for that before [`meanwhile`](Self::meanwhile) is asked; to the end, if that isn't set.
    fn patience(&self) -> Option<Duration>;

    /// The copy that may be given to who has no more patience.
    fn meanwhile(&self, key: &IndexKey, now: SystemTime) -> Option<Arc<IndexEntry>>;

    /// What to say when it isn't there in time.
    fn late(&self, key: &IndexKey) -> Error;

    /// What is given to who asked when `error` is all that came of it.
    ///
    /// # Errors
    /// `error`, in the words of who asked.
    fn failed(&self, key: &IndexKey, error: Error) -> Result<IndexFound>;
}
