//! [`CheckedFile`]: a file as it is found, whole or on its way. Clients get none: see [`body`](super::body).

use std::sync::Arc;

use bytes::Bytes;

use super::{download::DownloadReader, readers::OneReader};
use crate::{
    domain::FileKey,
    error::Result,
    mirror::kept::{WholeFile, etag},
    store::StoredFileReader,
};

/// A file, whole or on its way. Its bytes have been checked, or the last of them are held back until they are.
pub(in crate::mirror) enum CheckedFile {
    /// All of it, checked.
    Whole(Arc<WholeFile>),
    /// From the store, too large for memory; checked on the way. Beside it is its reader, unless this is a second look for the same one.
    Stored(
        Box<StoredFileReader>,
        #[expect(dead_code, reason = "held for its drop")] Option<OneReader>,
    ),
    /// From upstream; checked on the way.
    Arriving(Box<DownloadReader>, Option<u64>),
}

impl CheckedFile {
    /// The file's size in bytes, if it is known yet.
    pub(in crate::mirror) fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole.content.bytes().len() as u64),
            Self::Stored(reader, _) => Some(reader.length()),
            Self::Arriving(_, length) => *length,
        }
    }

    /// Which file it is.
    pub(in crate::mirror) fn key(&self) -> &FileKey {
        match self {
            Self::Whole(whole) => &whole.key,
            Self::Stored(reader, _) => reader.key(),
            Self::Arriving(reader, _) => reader.key(),
        }
    }

    /// The entity tag of the file.
    pub(in crate::mirror) fn etag(&self) -> Bytes {
        match self {
            Self::Whole(whole) => whole.etag.clone(),
            Self::Stored(..) | Self::Arriving(..) => etag(&self.key().sha256()),
        }
    }

    /// The next bytes of a file that isn't in one piece; `None` after its last one, which comes only if its checksum holds.
    ///
    /// # Errors
    /// What keeps the file from being handed out whole; nothing comes after it.
    pub(in crate::mirror) async fn next(&mut self) -> Option<Result<Bytes>> {
        match self {
            Self::Whole(whole) => {
                let none = WholeFile::new(&whole.key, Bytes::new().into());
                let bytes = std::mem::replace(whole, none).content.bytes().clone();
                (!bytes.is_empty()).then_some(Ok(bytes))
            }
            Self::Stored(reader, _) => reader.next().await,
            Self::Arriving(reader, _) => reader.next().await,
        }
    }

    /// The same file from its beginning.
    pub(in crate::mirror) fn again(&self) -> Self {
        match self {
            Self::Whole(whole) => Self::Whole(whole.clone()),
            Self::Stored(reader, _) => Self::Stored(Box::new(reader.again()), None),
            Self::Arriving(reader, length) => Self::Arriving(Box::new(reader.again()), *length),
        }
    }
}
