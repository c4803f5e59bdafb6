//! [`ToolchainService`]: what rustup asks for. What says which files there are (`documents`) is kept as fresh as it has to be; the files themselves come by the same way as
//! crates (`mirror/files/`), and never without the checksum that a document says.

mod asking;
mod documents;
mod door;
mod former;
mod hashes;
mod listing;
mod lookup;
mod pairs;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::{Instant, timeout, timeout_at};

pub use listing::{StoredRelease, StoredToolchains};
pub use pairs::ToolchainAsker;

use self::{
    documents::{DocumentFound, Documents},
    door::{ChannelPass, Channels},
    hashes::Hashes,
    listing::Listings,
    pairs::Pairs,
};
use super::{
    crates::LinkMethod,
    files::{CheckedFile, FileBody, FileLink, FileService, let_link_out, let_out},
    kept::{DocumentContent, DocumentText},
    registry::Registry,
    shared::{Found, Shared, not_in_store_of_toolchains, note_missed, unreadable_offline},
};
use crate::{
    domain::{
        FileKey, MissedRequest, Outcome,
        toolchain::{
            ChannelPattern, ToolchainDocument, ToolchainItem, ToolchainKey, ToolchainPath,
        },
    },
    error::{Error, Kind, Result},
    upstream::ANSWER_WITHIN,
};

/// How much longer than for upstream to wait before the store is to blame.
const GRACE: Duration = Duration::from_millis(500);
/// A link is a shortcut; when it takes longer than this to know of one, the file comes by here.
const SIGNED_WITHIN: Duration = Duration::from_millis(500);

/// How toolchains are served.
pub struct ToolchainParts {
    /// Who is asked for them.
    pub source: Registry,
    /// How long channel names and the newest rustup are served without asking.
    pub fresh_for: Duration,
    /// Which channels may be asked for.
    pub channels: Vec<ChannelPattern>,
}

/// What rustup is given.
pub enum ToolchainAnswer {
    /// A text, which may be another one tomorrow.
    Text(ServedText),
    /// A file.
    File(FileBody),
}

/// A text as it is served.
pub struct ServedText {
    /// Its bytes, as upstream sent them.
    pub bytes: Bytes,
    /// Its entity tag.
    pub etag: Bytes,
    /// When it came to be.
    pub modified_at: SystemTime,
}

/// The toolchains of a distribution host.
pub(super) struct ToolchainService {
    shared: Arc<Shared>,
    files: Arc<FileService>,
    source: Registry,
    documents: Documents,
    channels: Arc<Channels>,
    hashes: Hashes,
    listings: Listings,
    pairs: Pairs,
}

impl ToolchainService {
    pub(super) fn new(shared: Arc<Shared>, files: Arc<FileService>, parts: ToolchainParts) -> Self {
        let ToolchainParts {
            source,
            fresh_for,
            channels,
        } = parts;
        let documents = Documents::new(shared.clone(), source.clone(), fresh_for);
        let channels = Arc::new(Channels::new(channels, shared.clone()));
        Self {
            hashes: Hashes::new(documents.clone(), channels.clone()),
            pairs: Pairs::of(documents.former.clone()),
            listings: Listings::new(shared.clone()),
            shared,
            files,
            source,
            documents,
            channels,
        }
    }

    /// Who is asked.
    pub(super) fn source(&self) -> &Registry {
        &self.source
    }

    /// What is asked for if it takes nothing but a look into memory; `None` when it takes more.
    pub(super) fn at_once(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Option<Result<Found<ToolchainAnswer>>> {
        match *path {
            ToolchainPath::Manifest(_)
            | ToolchainPath::ManifestSum(_)
            | ToolchainPath::RustupRelease
            | ToolchainPath::InitSum(_) => {
                let document = document_of(path)?;
                // What is refused is said, and counted, by who gives the answer.
                self.channels.admit_document(&document).ok()?;
                let found = self.documents.at_once(&document, now)?;
                Some(found.and_then(|found| self.served(path, asker, &found)))
            }
            ToolchainPath::Component(file) => {
                let sha256 = self.hashes.at_once(&file)?;
                let item = ToolchainItem::Component(file);
                self.file_at_once(ToolchainKey { item, sha256 })
            }
            ToolchainPath::Init(file) => {
                let sum = ToolchainDocument::InitSum(file);
                let sum = self.documents.at_once(&sum, now)?.ok()?;
                let sha256 = sum.value.sum()?;
                let item = ToolchainItem::Init(file);
                self.file_at_once(ToolchainKey { item, sha256 })
            }
        }
    }

    fn file_at_once(&self, key: ToolchainKey) -> Option<Result<Found<ToolchainAnswer>>> {
        let file = self.files.in_memory(&key.into())?;
        let pass = ChannelPass::of(key);
        Some(let_out(file, pass, Outcome::Hit).map(of_file))
    }

    /// What is asked for, as fresh as it has to be.
    ///
    /// # Errors
    /// [`Kind::Absent`] when upstream doesn't have it, [`Kind::Denied`] when its channel may not be asked for; one of the upstream kinds when upstream fails and it isn't
    /// here; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    pub(super) async fn get(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        now: SystemTime,
    ) -> Result<Found<ToolchainAnswer>> {
        if let Some(found) = self.at_once(path, asker, now) {
            return found;
        }
        let deadline = Instant::now() + ANSWER_WITHIN;
        let got = async {
            match *path {
                ToolchainPath::Manifest(_)
                | ToolchainPath::ManifestSum(_)
                | ToolchainPath::RustupRelease
                | ToolchainPath::InitSum(_) => {
                    let document =
                        document_of(path).ok_or_else(|| Error::internal("it is no document"))?;
                    let found = self.document(&document, now, deadline).await?;
                    self.served(path, asker, &found)
                }
                ToolchainPath::Component(file) => {
                    let item = ToolchainItem::Component(file);
                    self.file(item, now, deadline).await.map(of_file)
                }
                ToolchainPath::Init(file) => {
                    let item = ToolchainItem::Init(file);
                    self.file(item, now, deadline).await.map(of_file)
                }
            }
        };
        let got = timeout_at(deadline + GRACE, got).await;
        let got = got.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Overloaded,
                format!("{path} couldn't be read from this mirror's store in time; try again"),
            ))
        });
        if let Err(e) = &got {
            self.channels.count(e);
            if e.kind() == Kind::Offline {
                self.note_missed(path, now);
            }
        }
        got
    }

    /// A document that may be asked for.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub(super) async fn document(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<DocumentFound> {
        self.channels.admit_document(document)?;
        self.documents.get(document, now, deadline).await
    }

    /// The manifest of a channel, as text, for who chooses from it.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    pub(super) async fn manifest(
        &self,
        document: &ToolchainDocument,
        now: SystemTime,
    ) -> Result<Bytes> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let found = self.document(document, now, deadline).await?;
        Ok(found.value.content.body.bytes.clone())
    }

    /// A file.
    ///
    /// # Errors
    /// Those of [`get`](Self::get).
    async fn file(
        &self,
        item: ToolchainItem,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<FileBody>> {
        let sha256 = self.hashes.of(&item, now, deadline).await?;
        let mut key = ToolchainKey { item, sha256 };
        let mistold = &self.shared.mistold;
        // Of a large one that turned out at its end, when its client had most of it.
        if mistold.take(&key.into()) {
            key.sha256 = self.hashes.anew(&item, now, deadline).await?;
        }
        let found = match self.obtained(&key, now, deadline).await {
            // There may be a newer one than its checksum here is of. All who waited for it ask together.
            Err(e) if mistold.holds(&key.into()) => {
                let anew = self.hashes.anew(&item, now, deadline).await?;
                if anew == key.sha256 {
                    return Err(e);
                }
                key.sha256 = anew;
                self.obtained(&key, now, deadline).await?
            }
            other => other?,
        };
        let_out(found.value, ChannelPass::of(key), found.outcome)
    }

    async fn obtained(
        &self,
        key: &ToolchainKey,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<CheckedFile>> {
        let file = FileKey::from(*key);
        if let Some(file) = self.files.in_memory(&file) {
            return Ok(Found::here(file));
        }
        match &self.source {
            Registry::Online(upstream) => {
                if let Some(file) = self.files.if_stored(&file, now).await {
                    return Ok(Found::here(file));
                }
                self.files.fetched(upstream, &file, now, deadline).await
            }
            Registry::Offline(_) => {
                let stored = self.files.stored(&file, now).await;
                let stored = stored.map_err(|e| unreadable_offline(&key.item, &e))?;
                match stored {
                    Some(file) => Ok(Found::here(file)),
                    None => Err(not_in_store_of_toolchains(&key.item)),
                }
            }
        }
    }

    /// Where a client gets a file by itself; `None` when it comes from here as any other.
    ///
    /// # Errors
    /// [`Kind::Internal`] when what lets it out doesn't.
    pub(super) async fn link(
        &self,
        path: &ToolchainPath,
        asks: LinkMethod,
        now: SystemTime,
    ) -> Result<Option<Found<FileLink>>> {
        let item = match *path {
            ToolchainPath::Component(file) => ToolchainItem::Component(file),
            // Rustup-init is fetched by curl, which follows no redirect unless it is told to.
            ToolchainPath::Init(_)
            | ToolchainPath::Manifest(_)
            | ToolchainPath::ManifestSum(_)
            | ToolchainPath::RustupRelease
            | ToolchainPath::InitSum(_) => return Ok(None),
        };
        if !self.shared.store.signs_urls() {
            return Ok(None);
        }
        let signed = async {
            let deadline = Instant::now() + SIGNED_WITHIN;
            let sha256 = self.hashes.of(&item, now, deadline).await.ok()?;
            let key = ToolchainKey { item, sha256 };
            if self.files.in_memory(&key.into()).is_some() {
                return None;
            }
            let file = FileKey::from(key);
            let url = self.shared.store.signed_url(&file, asks.into()).await;
            Some((key, url.ok()??))
        };
        match timeout(SIGNED_WITHIN, signed).await {
            Ok(Some((key, url))) => let_link_out(url, ChannelPass::of(key)).map(Some),
            Ok(None) | Err(_) => Ok(None),
        }
    }

    /// What is stored of toolchains, as it was half a minute ago at the earliest.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read.
    pub(super) async fn stored(&self) -> Result<Arc<StoredToolchains>> {
        self.listings.current().await
    }

    /// What of a document is asked for, by somebody who may have been given its checksum a moment ago.
    fn served(
        &self,
        path: &ToolchainPath,
        asker: &ToolchainAsker,
        found: &DocumentFound,
    ) -> Result<Found<ToolchainAnswer>> {
        let content = &found.value.content;
        match *path {
            ToolchainPath::ManifestSum(name) if name.moves() => {
                let document = ToolchainDocument::Manifest(name);
                self.pairs.gave(asker, &document, content);
                text_of(path, content, found.outcome)
            }
            ToolchainPath::Manifest(name) if name.moves() => {
                let document = ToolchainDocument::Manifest(name);
                let content = self.pairs.to_give(asker, &document, content);
                text_of(path, &content, found.outcome)
            }
            ToolchainPath::ManifestSum(_)
            | ToolchainPath::Manifest(_)
            | ToolchainPath::RustupRelease
            | ToolchainPath::InitSum(_)
            | ToolchainPath::Component(_)
            | ToolchainPath::Init(_) => text_of(path, content, found.outcome),
        }
    }

    fn note_missed(&self, path: &ToolchainPath, now: SystemTime) {
        let missed = MissedRequest::of_toolchain(path);
        let Shared {
            store, background, ..
        } = &*self.shared;
        note_missed(store, background, missed, now);
    }
}

fn of_file(found: Found<FileBody>) -> Found<ToolchainAnswer> {
    Found {
        value: ToolchainAnswer::File(found.value),
        outcome: found.outcome,
    }
}

/// The document that a path asks for, or for a part of.
fn document_of(path: &ToolchainPath) -> Option<ToolchainDocument> {
    match *path {
        ToolchainPath::Manifest(name) | ToolchainPath::ManifestSum(name) => {
            Some(ToolchainDocument::Manifest(name))
        }
        ToolchainPath::RustupRelease => Some(ToolchainDocument::RustupRelease),
        ToolchainPath::InitSum(file) => Some(ToolchainDocument::InitSum(file)),
        ToolchainPath::Component(_) | ToolchainPath::Init(_) => None,
    }
}

/// What of a document is asked for.
fn text_of(
    path: &ToolchainPath,
    content: &DocumentContent,
    outcome: Outcome,
) -> Result<Found<ToolchainAnswer>> {
    let DocumentText { bytes, etag } = match path {
        ToolchainPath::ManifestSum(_) => content
            .sum
            .clone()
            .ok_or_else(|| Error::internal("a manifest without its checksum"))?,
        ToolchainPath::Manifest(_)
        | ToolchainPath::RustupRelease
        | ToolchainPath::InitSum(_)
        | ToolchainPath::Component(_)
        | ToolchainPath::Init(_) => content.body.clone(),
    };
    Ok(Found {
        value: ToolchainAnswer::Text(ServedText {
            bytes,
            etag,
            modified_at: content.modified_at,
        }),
        outcome,
    })
}
