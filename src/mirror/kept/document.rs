//! [`KeptDocument`]: what says which files a toolchain has, in memory: a channel manifest with its `.sha256`, the checksum of a rustup-init, or which rustup is the newest.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;

use super::whole::etag;
use crate::{
    allowance::Lease,
    domain::{
        History, Sha256, Validators,
        freshness::{Freshness, Lifetimes, judge},
        toolchain::{ManifestHashes, RustupRelease, SumFile, ToolchainDocument},
    },
    store::{Mark, StoreRecord},
};

/// After a failed revalidation the stale copy is served without asking for this long, at most.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);

/// A document, and what is known of its age.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct KeptDocument {
    pub(in crate::mirror) content: Arc<DocumentContent>,
    pub(in crate::mirror) validators: Validators,
    /// When upstream, or offline a look into the store, last said that this is current.
    pub(in crate::mirror) checked_at: SystemTime,
    /// The `checked_at` that the store knows of.
    pub(in crate::mirror) recorded_at: SystemTime,
    /// When upstream last failed to say anything about it.
    pub(in crate::mirror) failed_at: Option<SystemTime>,
    /// Offline, the state of the store in which it was looked into.
    pub(in crate::mirror) seen: Option<Mark>,
}

/// What doesn't change when upstream confirms a copy.
#[derive(Debug)]
pub(in crate::mirror) struct DocumentContent {
    /// The bytes as upstream sent them.
    pub(in crate::mirror) body: DocumentText,
    /// Of a manifest, its `.sha256`, which came with it.
    pub(in crate::mirror) sum: Option<DocumentText>,
    pub(in crate::mirror) sha256: Sha256,
    /// When the body came to be.
    pub(in crate::mirror) modified_at: SystemTime,
    pub(in crate::mirror) said: DocumentSays,
}

/// Bytes and their entity tag, both shared: serving them allocates nothing.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct DocumentText {
    pub(in crate::mirror) bytes: Bytes,
    pub(in crate::mirror) etag: Bytes,
}

/// What a document says.
#[derive(Debug)]
pub(in crate::mirror) enum DocumentSays {
    Manifest(ManifestHashes),
    Release,
    Sum(Sha256),
}

/// What to do about a document now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror) enum DocumentDue {
    /// Serve it.
    Nothing,
    /// Serve it: asking failed a moment ago.
    NotYet,
    /// Ask upstream; it may be served when that fails.
    Refresh,
    /// Ask upstream; it is too old to be served otherwise.
    Replace,
}

impl DocumentContent {
    /// A document that upstream or the store has: it is looked through, which takes a while for a large one.
    ///
    /// # Errors
    /// The end of a sentence that says what is wrong with it.
    pub(in crate::mirror) fn read(
        document: &ToolchainDocument,
        body: Bytes,
        sum: Option<SumFile>,
        modified_at: SystemTime,
        mut lease: Lease,
    ) -> Result<Self, String> {
        let sha256 = Sha256::of(&body);
        let said = match (document, &sum) {
            (ToolchainDocument::Manifest(_), None) => return Err("it has no checksum".into()),
            (ToolchainDocument::Manifest(name), Some(sum)) => {
                if sum.sha256 != sha256 {
                    return Err("the checksum beside it is another one".into());
                }
                let hashes = ManifestHashes::of(body.clone())?;
                if name.day.is_some_and(|day| day != hashes.day()) {
                    return Err(format!("it is of {}", hashes.day()));
                }
                DocumentSays::Manifest(hashes)
            }
            (ToolchainDocument::RustupRelease, _) => {
                RustupRelease::parse(&body)?;
                DocumentSays::Release
            }
            (ToolchainDocument::InitSum(_), _) => DocumentSays::Sum(SumFile::parse(&body)?.sha256),
        };
        lease.shrink_to((body.len() + said.size()) as u64);
        let sum = sum.map(|sum| DocumentText::of(sum.text.into_string().into()));
        Ok(Self {
            body: DocumentText::of(lease.hold(body)),
            sum,
            sha256,
            modified_at,
            said,
        })
    }
}

impl DocumentContent {
    /// About how many bytes of memory this takes.
    pub(in crate::mirror) fn size(&self) -> usize {
        self.body.bytes.len() + self.said.size() + SumFile::MAX_LEN + size_of::<Self>()
    }
}

impl DocumentSays {
    fn size(&self) -> usize {
        match self {
            Self::Manifest(hashes) => hashes.size(),
            Self::Release | Self::Sum(_) => 0,
        }
    }
}

impl DocumentText {
    fn of(bytes: Bytes) -> Self {
        let etag = etag(&Sha256::of(&bytes));
        Self { bytes, etag }
    }
}

impl KeptDocument {
    /// What a stored record says.
    pub(in crate::mirror) fn of_record(
        document: &ToolchainDocument,
        record: StoreRecord,
        lease: Lease,
    ) -> Result<Self, String> {
        let StoreRecord {
            body,
            sum,
            validators,
            modified_at,
            checked_at,
            ..
        } = record;
        let content =
            DocumentContent::read(document, body, sum.map(|sum| *sum), modified_at, lease)?;
        Ok(Self {
            content: Arc::new(content),
            validators,
            checked_at,
            recorded_at: checked_at,
            failed_at: None,
            seen: None,
        })
    }

    /// What the store keeps of it.
    pub(in crate::mirror) fn record(&self) -> StoreRecord {
        let content = &self.content;
        let sum = content.sum.as_ref();
        StoreRecord {
            body: content.body.bytes.clone(),
            sha256: content.sha256,
            validators: self.validators.clone(),
            modified_at: content.modified_at,
            checked_at: self.checked_at,
            gone: false,
            history: Arc::new(History::default()),
            sum: sum
                .and_then(|sum| SumFile::parse(&sum.bytes).ok())
                .map(Box::new),
        }
    }

    /// What to do about it at `now`. What never changes is never asked for again.
    pub(in crate::mirror) fn due(
        &self,
        document: &ToolchainDocument,
        lifetimes: Lifetimes,
        now: SystemTime,
    ) -> DocumentDue {
        if !document.moves() {
            return DocumentDue::Nothing;
        }
        let pause = PAUSE_AFTER_FAILURE.min(lifetimes.fresh_for);
        let failed_lately = |at| now.duration_since(at).is_ok_and(|since| since < pause);
        match judge(self.checked_at, now, lifetimes) {
            Freshness::Fresh => DocumentDue::Nothing,
            Freshness::Stale if self.failed_at.is_some_and(failed_lately) => DocumentDue::NotYet,
            Freshness::Stale => DocumentDue::Refresh,
            Freshness::Expired => DocumentDue::Replace,
        }
    }

    /// About how many bytes of memory this takes.
    pub(in crate::mirror) fn size(&self) -> usize {
        self.content.size() + size_of::<Self>()
    }
}
