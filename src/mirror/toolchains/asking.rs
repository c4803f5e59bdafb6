//! Asking a distribution host for a document. A manifest and its `.sha256` are two files there, and a channel may move between the two requests: they are taken together
//! when the one is the checksum of the other, and else asked for again.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::time::sleep;

use crate::{
    allowance::Lease,
    domain::{
        Precondition, Validators,
        toolchain::{ManifestHashes, RustupRelease, SumFile, ToolchainDocument, ToolchainPath},
    },
    error::{Error, Result},
    mirror::{
        kept::{DocumentContent, KeptDocument},
        shared::Shared,
    },
    upstream::{FetchedText, TextStream, Upstream},
};

/// So often a manifest and its checksum are asked for that don't belong together; a channel moves within seconds.
const TRIES: u32 = 4;
/// How long to wait in between, the first time.
const PAUSE: Duration = Duration::from_millis(200);
/// What is taken for a document beside its bytes, a multiple of them: what is known of the files that it names, while that is put in order.
const WORKING: u64 = 2;

/// What came of asking.
pub(super) enum DocumentReply {
    /// What is known is current.
    Confirmed,
    /// There is another one.
    New(Arc<DocumentContent>, Validators),
    /// There is none.
    Absent,
}

/// A text as it came.
struct Text {
    bytes: Bytes,
    validators: Validators,
    lease: Lease,
}

/// Asks for a document, conditionally if something is known, and again when that fails.
pub(super) async fn ask(
    shared: &Shared,
    upstream: &Upstream,
    document: &ToolchainDocument,
    known: Option<&KeptDocument>,
    now: SystemTime,
) -> Result<DocumentReply> {
    let mut attempts = upstream.attempts();
    loop {
        match ask_once(shared, upstream, document, known, now).await {
            Err(e) if attempts.again(&e).await => {}
            done => return done,
        }
    }
}

async fn ask_once(
    shared: &Shared,
    upstream: &Upstream,
    document: &ToolchainDocument,
    known: Option<&KeptDocument>,
    now: SystemTime,
) -> Result<DocumentReply> {
    let path = document.path_of();
    let none = Validators::default();
    let ToolchainDocument::Manifest(name) = *document else {
        let validators = known.map_or(&none, |known| &known.validators);
        return match text(shared, upstream, &path, validators).await? {
            Told::NotModified => Ok(DocumentReply::Confirmed),
            Told::Absent => Ok(DocumentReply::Absent),
            Told::Text(text) if known.is_some_and(|known| known.is_just(&text.bytes, None)) => {
                Ok(DocumentReply::Confirmed)
            }
            Told::Text(text) => read(upstream, document, text, None, now).await,
        };
    };
    let sum_path = ToolchainPath::ManifestSum(name);
    for attempt in 0..TRIES {
        if attempt > 0 {
            sleep(PAUSE * attempt).await;
        }
        // Without validators the checksum, which is small, says whether there is something new.
        let validators = match known {
            Some(known) if known.validators.precondition() == Precondition::None => {
                match text(shared, upstream, &sum_path, &none).await? {
                    Told::Text(text) if known.has_sum(&text.bytes) => {
                        return Ok(DocumentReply::Confirmed);
                    }
                    Told::Absent => return Ok(DocumentReply::Absent),
                    Told::Text(_) | Told::NotModified => &none,
                }
            }
            // A copy that upstream would confirm was of another moment than the checksum.
            Some(known) if attempt == 0 => &known.validators,
            Some(_) | None => &none,
        };
        let manifest = match text(shared, upstream, &path, validators).await? {
            Told::NotModified => return Ok(DocumentReply::Confirmed),
            Told::Absent => return Ok(DocumentReply::Absent),
            Told::Text(text) => text,
        };
        let sum = match text(shared, upstream, &sum_path, &none).await? {
            Told::Text(text) => SumFile::parse(&text.bytes),
            Told::Absent | Told::NotModified => Err("it isn't there".to_owned()),
        };
        let sum = sum.map_err(|why| {
            Error::upstream_fault(format!(
                "{} has {path}, and its checksum is of no use: {why}",
                upstream.shown_index()
            ))
        })?;
        if known.is_some_and(|known| known.is_just(&manifest.bytes, Some(&sum))) {
            return Ok(DocumentReply::Confirmed);
        }
        if sum.sha256 == crate::domain::Sha256::of(&manifest.bytes) {
            return read(upstream, document, manifest, Some(sum), now).await;
        }
        tracing::info!(%path, "it doesn't fit to its checksum; the channel may be moving");
    }
    Err(Error::upstream_fault(format!(
        "{} has a {path} that doesn't fit to the checksum beside it; it is not passed on",
        upstream.shown_index()
    )))
}

impl KeptDocument {
    /// Whether this is what it is, byte for byte.
    fn is_just(&self, body: &[u8], sum: Option<&SumFile>) -> bool {
        let own = self.content.sum.as_ref();
        self.content.body.bytes == body
            && own.map(|sum| &*sum.bytes) == sum.map(|sum| sum.text.as_bytes())
    }

    fn has_sum(&self, text: &[u8]) -> bool {
        let own = self.content.sum.as_ref();
        own.is_some_and(|sum| sum.bytes == text)
    }
}

/// Looks through what has come, beside the threads that serve.
async fn read(
    upstream: &Upstream,
    document: &ToolchainDocument,
    text: Text,
    sum: Option<SumFile>,
    now: SystemTime,
) -> Result<DocumentReply> {
    let Text {
        bytes,
        validators,
        lease,
    } = text;
    let modified = validators.last_modified.as_deref();
    let modified = modified.and_then(|date| httpdate::parse_http_date(date).ok());
    let modified = modified.filter(|at| *at <= now).unwrap_or(now);
    let of = *document;
    let read = move || DocumentContent::read(&of, bytes, sum, modified, lease);
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|e| Error::ended_early("reading a manifest", e))?;
    let content = read.map_err(|why| {
        Error::upstream_fault(format!(
            "{} sent what isn't {document}: {why}; it is not passed on",
            upstream.shown_index()
        ))
    })?;
    Ok(DocumentReply::New(Arc::new(content), validators))
}

/// What was said to a request for a text.
enum Told {
    Text(Text),
    NotModified,
    Absent,
}

async fn text(
    shared: &Shared,
    upstream: &Upstream,
    path: &ToolchainPath,
    known: &Validators,
) -> Result<Told> {
    Ok(match upstream.fetch_text(path, known).await? {
        FetchedText::NotModified => Told::NotModified,
        FetchedText::Absent => Told::Absent,
        FetchedText::New(mut stream) => {
            let (bytes, lease) = body(shared, upstream, path, &mut stream).await?;
            Told::Text(Text {
                bytes,
                validators: stream.validators().clone(),
                lease,
            })
        }
    })
}

/// All of a text, under a lease as it grows.
async fn body(
    shared: &Shared,
    upstream: &Upstream,
    path: &ToolchainPath,
    stream: &mut TextStream,
) -> Result<(Bytes, Lease)> {
    let limit = match path {
        ToolchainPath::Manifest(_) => ManifestHashes::MAX_BODY,
        ToolchainPath::ManifestSum(_) | ToolchainPath::InitSum(_) => SumFile::MAX_LEN,
        ToolchainPath::RustupRelease | ToolchainPath::Component(_) | ToolchainPath::Init(_) => {
            RustupRelease::MAX_LEN
        }
    };
    let (mut bytes, mut lease) = (BytesMut::new(), shared.budget.nothing());
    while let Some(chunk) = upstream.next_of_text(stream, limit).await? {
        let needed = WORKING * (bytes.len() + chunk.len()) as u64;
        let more = needed.saturating_sub(lease.bytes());
        if !lease.try_grow_making_way(more) {
            return Err(Error::new(
                crate::error::Kind::Overloaded,
                format!("there is no memory for {path} at the moment; try again in a moment"),
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), lease))
}
