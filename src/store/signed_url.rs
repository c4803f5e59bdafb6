//! Sending clients to where an object is kept, with a URL that is signed for them.

use super::{handle::Store, signed::Signed};
use crate::{domain::FileKey, error::Result, secret::Secret};

impl Store {
    /// Whether clients are ever sent to where an object is kept: nothing needs to be looked up for one that isn't.
    pub fn signs_urls(&self) -> bool {
        self.backend.signs_urls()
    }

    /// Where a client may get the .crate file under `key` by itself: a URL that is good for `store.signed_for`, and for who has it, so that nobody prints it.
    /// Nothing unless `store.redirect` is on, this process has read the file from the bucket and found it good or has written it there, and the folder doesn't
    /// have it; nor where clients may hold a beginning that was never checked: the bucket would give them the rest of another file.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when there is nothing to sign with.
    pub async fn signed_url(&self, key: &FileKey, asks: Signed) -> Result<Option<Secret>> {
        if !self.doubts(key).is_empty() {
            return Ok(None);
        }
        let signed = self.backend.signed_url(&key.path(), asks).await;
        signed.inspect_err(|e| self.complain(e))
    }
}
