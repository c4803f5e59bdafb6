//! [`CrateSource`]: where .crate files come from when memory doesn't answer.

use std::{future::Future, sync::Arc};

use crate::{
    domain::{CrateId, CrateKey},
    error::{Error, Result},
    mirror::{files::CheckedFile, index::IndexFound, kept::IndexEntry, shared::Found},
};

/// Upstream, or offline the store: all in which the two differ.
pub(super) trait CrateSource: Sync {
    /// The index entry of the crate that is to be had without asking upstream, whatever its age, and also when the crate is gone from upstream's index:
    /// content under a checksum doesn't go stale.
    ///
    /// # Errors
    /// What keeps anybody from saying which file it is.
    fn at_hand(&self, id: &CrateId)
    -> impl Future<Output = Result<Option<Arc<IndexEntry>>>> + Send;

    /// The index entry that decides whether there is such a version, for who can't do with the one `at_hand`.
    ///
    /// # Errors
    /// [`Kind::Absent`](crate::error::Kind::Absent) when there is no such crate; what keeps anybody from saying so.
    fn current(
        &self,
        id: &CrateId,
        at_hand: Option<&Arc<IndexEntry>>,
    ) -> impl Future<Output = Result<IndexFound>> + Send;

    /// The file in the store.
    ///
    /// # Errors
    /// What is wrong with it, if there is nothing else to ask.
    fn stored(&self, key: &CrateKey) -> impl Future<Output = Result<Option<CheckedFile>>> + Send;

    /// The file that isn't in the store.
    ///
    /// # Errors
    /// Why it can't be had.
    fn obtain(&self, key: &CrateKey) -> impl Future<Output = Result<Found<CheckedFile>>> + Send;

    /// What to say of a version that isn't listed in what [`current`](Self::current) came to, and isn't here either.
    fn unlisted(
        &self,
        id: &CrateId,
        current: Result<IndexFound>,
    ) -> impl Future<Output = Error> + Send;
}
