//! [`let_out`]: the one way out for .crate files, from wherever they come. What may not go to who asks is refused here.
//!
//! Outside of this module nobody can make a [`CrateBody`], and nothing else is given to clients.

use bytes::Bytes;

use super::file::CrateFile;
use crate::{
    domain::{CrateKey, Outcome, Version},
    error::Result,
    mirror::shared::Found,
    zero_copy::Content,
};

/// A .crate file that may go to who asked for it, whole or on its way.
pub struct CrateBody(CrateFile);

/// What the index says of a file.
#[derive(Clone, Copy)]
pub(super) enum Listing<'a> {
    /// This line.
    Listed(&'a Version),
    /// Nothing (any more): the version is withdrawn.
    Withdrawn,
}

/// Decides whether this file may go to who asks for it. `listing` is the index's word on it, `outcome` where it comes from.
///
/// # Errors
/// None today: there are no rules yet, and every crate may go to everybody.
pub(super) fn let_out(
    file: CrateFile,
    listing: Listing<'_>,
    outcome: Outcome,
) -> Result<Found<CrateBody>> {
    match listing {
        Listing::Listed(version) => debug_assert_eq!(version.sha256, file.key().sha256),
        Listing::Withdrawn => {}
    }
    Ok(Found {
        value: CrateBody(file),
        outcome,
    })
}

impl CrateBody {
    /// The file's size in bytes, if it is known yet.
    pub fn length(&self) -> Option<u64> {
        self.0.length()
    }

    /// Which file it is.
    pub fn key(&self) -> &CrateKey {
        self.0.key()
    }

    /// The entity tag of the file.
    pub fn etag(&self) -> Bytes {
        self.0.etag()
    }

    /// All of it, if it is in memory; it has been checked.
    pub fn whole(&self) -> Option<&Content> {
        match &self.0 {
            CrateFile::Whole(whole) => Some(&whole.content),
            CrateFile::Stored(_) | CrateFile::Arriving(..) => None,
        }
    }

    /// The next bytes of a file that isn't in one piece; `None` after its last one, which comes only if its checksum holds.
    ///
    /// # Errors
    /// What keeps the file from being handed out whole; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.0.next().await
    }

    /// The file, for who has a closer look at it on behalf of the same client.
    pub(super) fn file(&mut self) -> &mut CrateFile {
        &mut self.0
    }
}
