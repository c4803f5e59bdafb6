//! [`CrateBody`]: a .crate file, whole or on its way, and the entity tag it goes out with.

use std::sync::Arc;

use bytes::Bytes;

use super::download::Reader;
use crate::{
    domain::{CrateKey, Sha256},
    error::Result,
    store::CrateReader,
    zero_copy::Content,
};

/// A .crate file, whole or on its way.
pub enum CrateBody {
    /// All of it, checked.
    Whole(Arc<WholeCrate>),
    /// From the store, too large for memory; checked on the way.
    Stored(Box<CrateReader>),
    /// From upstream; checked on the way.
    Arriving(Reader, Option<u64>),
}

/// All of a .crate file, checked. Its bytes and its tag can be shared, so that serving it allocates nothing.
#[derive(Debug)]
pub struct WholeCrate {
    /// Which file it is.
    pub key: CrateKey,
    /// Its bytes.
    pub content: Content,
    /// The entity tag for them.
    pub etag: Bytes,
}

impl WholeCrate {
    pub(super) fn new(key: &CrateKey, content: Content) -> Arc<Self> {
        let etag = etag(&key.sha256);
        let key = *key;
        Arc::new(Self { key, content, etag })
    }

    /// About how many bytes of memory this takes.
    pub(super) fn size(&self) -> usize {
        self.content.bytes().len() + self.etag.len() + size_of::<Self>()
    }
}

/// The strong entity tag of a file (RFC 9110, section 8.8.3): its checksum, which no other file has.
fn etag(sha256: &Sha256) -> Bytes {
    format!("\"{sha256}\"").into()
}

impl CrateBody {
    /// The file's size in bytes, if it is known yet.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Whole(whole) => Some(whole.content.bytes().len() as u64),
            Self::Stored(reader) => Some(reader.length()),
            Self::Arriving(_, length) => *length,
        }
    }

    /// Which file it is.
    pub fn key(&self) -> &CrateKey {
        match self {
            Self::Whole(whole) => &whole.key,
            Self::Stored(reader) => reader.key(),
            Self::Arriving(reader, _) => reader.key(),
        }
    }

    /// The entity tag of the file.
    pub fn etag(&self) -> Bytes {
        match self {
            Self::Whole(whole) => whole.etag.clone(),
            Self::Stored(_) | Self::Arriving(..) => etag(&self.key().sha256),
        }
    }

    /// The next bytes of a file that isn't in one piece; `None` after its last one, which comes only if its checksum holds.
    ///
    /// # Errors
    /// What keeps the file from being handed out whole; nothing comes after it.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        match self {
            Self::Whole(whole) => {
                let none = WholeCrate::new(&whole.key, Bytes::new().into());
                let bytes = std::mem::replace(whole, none).content.bytes().clone();
                (!bytes.is_empty()).then_some(Ok(bytes))
            }
            Self::Stored(reader) => reader.next().await,
            Self::Arriving(reader, _) => reader.next().await,
        }
    }
}
