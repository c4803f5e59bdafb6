//! [`WholeFile`]: a file in memory, and the entity tag that files go out with.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use crate::{
    domain::{FileKey, Sha256},
    policy::RulesVersion,
    zero_copy::Content,
};

/// All of a file, checked. Its bytes and its tag can be shared, so that serving it allocates nothing.
#[derive(Debug)]
pub(in crate::mirror) struct WholeFile {
    /// Which file it is.
    pub(in crate::mirror) key: FileKey,
    /// Its bytes.
    pub(in crate::mirror) content: Content,
    /// The entity tag for them.
    pub(in crate::mirror) etag: Bytes,
    /// The rules under which its licence was found to be allowed last: their version and one; 0 for none.
    licensed_under: AtomicU64,
}

impl WholeFile {
    /// The file `key`, which has been checked to be `content`.
    pub(in crate::mirror) fn new(key: &FileKey, content: Content) -> Arc<Self> {
        let etag = etag(&key.sha256());
        let key = *key;
        let licensed_under = AtomicU64::new(0);
        Arc::new(Self {
            key,
            content,
            etag,
            licensed_under,
        })
    }

    /// Whether its licence was found to be allowed by these rules.
    pub(in crate::mirror) fn is_licensed_under(&self, rules: RulesVersion) -> bool {
        self.licensed_under.load(Ordering::Relaxed) == rules.0 + 1
    }

    /// Notes that its licence is allowed by these rules.
    pub(in crate::mirror) fn license_under(&self, rules: RulesVersion) {
        self.licensed_under.store(rules.0 + 1, Ordering::Relaxed);
    }

    /// About how many bytes of memory this takes.
    pub(in crate::mirror) fn size(&self) -> usize {
        self.content.bytes().len() + self.etag.len() + size_of::<Self>()
    }
}

/// The strong entity tag of a file (RFC 9110, section 8.8.3): its checksum, which no other file has.
pub(in crate::mirror) fn etag(sha256: &Sha256) -> Bytes {
    format!("\"{sha256}\"").into()
}
