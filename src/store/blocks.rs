//! [`Blocks`]: the bytes of something that is too large to be read at once.

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::error::Result;

/// The bytes of an object that is open, whatever becomes of its path.
pub(super) trait Blocks: Send + Sync {
    /// Up to `most` bytes from `offset` on; fewer only where the object ends.
    fn read(&self, offset: u64, most: usize) -> BoxFuture<'_, Result<Bytes>>;

    /// All of it was read in order, and it is good.
    fn was_good(&self) {}
}
