//! [`FileBody`] and [`FileLink`]: what clients are given of a file. Neither can be made without a [`Leave`], and who gives that has asked the rules.

use std::sync::Arc;

use bytes::Bytes;

use super::file::CheckedFile;
use crate::{
    domain::{FileKey, Outcome},
    error::{Error, Result},
    mirror::{kept::etag, shared::Found},
    secret::Secret,
    zero_copy::Content,
};

/// A file that may go to who asked for it, whole or on its way.
pub struct FileBody {
    file: CheckedFile,
    clearance: Clearance,
}

/// Where a client that may have a file gets it by itself.
pub struct FileLink {
    key: FileKey,
    url: Secret,
    clearance: Clearance,
}

/// What the rules say of a file that may go out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Clearance {
    /// Nothing.
    #[default]
    Clear,
    /// Advisories are known about it, which is to be written down: these.
    Warned(Arc<str>),
    /// It would be refused, by this rule, if the policy were enforced.
    WouldDeny(Arc<str>),
}

/// Leave for one file to go out, by those who decide over it: the doors of crates and of toolchains.
pub(in crate::mirror) trait Leave {
    /// For which file.
    fn key(&self) -> FileKey;

    /// What the rules say of it.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when they weren't asked everything.
    fn clearance(self) -> Result<Clearance>;
}

/// Lets a file out. `outcome` says where it comes from.
pub(in crate::mirror) fn let_out(
    file: CheckedFile,
    leave: impl Leave,
    outcome: Outcome,
) -> Result<Found<FileBody>> {
    if *file.key() != leave.key() {
        return Err(Error::internal(
            "a file was to go out without a pass for it",
        ));
    }
    let clearance = leave.clearance()?;
    Ok(Found {
        value: FileBody { file, clearance },
        outcome,
    })
}

/// Lets a client have a file from where the store keeps it. `url` is good for whoever knows it.
pub(in crate::mirror) fn let_link_out(url: Secret, leave: impl Leave) -> Result<Found<FileLink>> {
    let key = leave.key();
    let clearance = leave.clearance()?;
    Ok(Found {
        value: FileLink {
            key,
            url,
            clearance,
        },
        outcome: Outcome::Redirect,
    })
}

impl FileLink {
    /// Which file it is.
    pub fn key(&self) -> &FileKey {
        &self.key
    }

    /// The entity tag of the file, which the link itself doesn't have.
    pub fn etag(&self) -> Bytes {
        etag(&self.key.sha256())
    }

    /// What the rules say of it.
    pub fn clearance(&self) -> &Clearance {
        &self.clearance
    }

    /// Where it is. Whoever knows it gets the file, for as long as it is signed for.
    pub fn url(&self) -> &Secret {
        &self.url
    }
}

impl FileBody {
    /// The file's size in bytes, if it is known yet.
    pub fn length(&self) -> Option<u64> {
        self.file.length()
    }

    /// Which file it is.
    pub fn key(&self) -> &FileKey {
        self.file.key()
    }

    /// The entity tag of the file.
    pub fn etag(&self) -> Bytes {
        self.file.etag()
    }

    /// What the rules say of it.
    pub fn clearance(&self) -> &Clearance {
        &self.clearance
    }

    /// All of it, if it is in memory; it has been checked.
    pub fn whole(&self) -> Option<&Content> {
        match &self.file {
            CheckedFile::Whole(whole) => Some(&whole.content),
            CheckedFile::Stored(..) | CheckedFile::Arriving(..) => None,
        }
    }

    /// The next bytes of a file that isn't in one piece; `None` after its last one, which comes only if its checksum holds.
    ///
    /// # Errors
    /// What keeps the file from being handed out whole; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        self.file.next().await
    }

    /// The file, for who has a closer look at it on behalf of the same client.
    pub(super) fn file(&mut self) -> &mut CheckedFile {
        &mut self.file
    }
}
