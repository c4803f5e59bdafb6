//! [`Body`]: an answer's bytes on their way out, counted as they go.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, stream};
use http_body::{Frame, SizeHint};

use super::{access::Access, part::part_of, range::Part};
use crate::{
    error::{Error, Result},
    mirror::FileBody,
    transport::UnsentChunk,
    zero_copy::Content,
};

/// What comes chunk by chunk.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Where an answer's bytes come from.
pub(super) enum BodySource {
    /// There are none.
    Empty,
    /// All of them at once. They are here a second time as long as they can be lent and that hasn't been announced.
    Full(Bytes, Option<Content>),
    /// Chunk by chunk. An error cuts the client off.
    Chunks {
        chunks: Chunks,
        /// What has come and isn't handed over yet.
        waiting: Bytes,
        /// How many bytes are still to be handed over, if that is known.
        left: Option<u64>,
    },
}

/// An answer's body. With it ends what is known of the request: see [`Access`].
pub struct Body {
    source: BodySource,
    /// What is known of the request; nothing for an answer that isn't the last word on it.
    access: Option<Access>,
}

impl Body {
    pub(super) fn new(source: BodySource, mut access: Access) -> Self {
        access.complete = matches!(source, BodySource::Empty);
        let access = Some(access);
        Self { source, access }
    }
}

impl Default for Body {
    /// No body, and nothing to be counted.
    fn default() -> Self {
        let source = BodySource::Empty;
        Self {
            source,
            access: None,
        }
    }
}

impl From<Content> for BodySource {
    fn from(content: Content) -> Self {
        let bytes = content.bytes().clone();
        Self::Full(bytes, content.can_be_lent().then_some(content))
    }
}

impl From<Bytes> for BodySource {
    fn from(bytes: Bytes) -> Self {
        Self::Full(bytes, None)
    }
}

impl From<FileBody> for BodySource {
    fn from(body: FileBody) -> Self {
        let left = body.length();
        match body.whole() {
            Some(whole) => whole.clone().into(),
            None => Self::chunks(chunks(body), left),
        }
    }
}

impl BodySource {
    /// A part of a file, whose last bytes leave only if the checksum of the whole holds.
    pub(super) fn part(body: FileBody, part: Part) -> Self {
        match body.whole() {
            Some(whole) => {
                // A file in memory is shorter than memory.
                let range = part.first() as usize..part.end() as usize;
                whole.slice(range).into()
            }
            None => {
                let left = Some(part.length());
                Self::chunks(Box::pin(part_of(chunks(body), part)), left)
            }
        }
    }

    /// What comes chunk by chunk, and how many bytes there are if that is known.
    pub(super) fn chunks(chunks: Chunks, left: Option<u64>) -> Self {
        Self::Chunks {
            chunks,
            waiting: Bytes::new(),
            left,
        }
    }
}

fn chunks(body: FileBody) -> Chunks {
    Box::pin(stream::unfold(body, |mut body| async {
        Some((body.next().await?, body))
    }))
}

impl http_body::Body for Body {
    type Data = UnsentChunk;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<UnsentChunk>>>> {
        let Self { source, access } = &mut *self;
        let polled = match source {
            BodySource::Empty => Poll::Ready(None),
            BodySource::Full(waiting, lent) => {
                if let (Some(access), Some(lent)) = (&access, lent.take()) {
                    access.announce(lent);
                }
                let left = Some(waiting.len() as u64);
                Poll::Ready(Some(Ok((waiting, left))))
            }
            BodySource::Chunks {
                chunks,
                waiting,
                left,
            } => match waiting.is_empty() {
                true => chunks.as_mut().poll_next(context).map_ok(|chunk| {
                    *waiting = chunk;
                    (waiting, *left)
                }),
                false => Poll::Ready(Some(Ok((waiting, *left)))),
            },
        };
        match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(Ok((waiting, left)))) => {
                let chunk = match access {
                    Some(access) => access.next_chunk(waiting, left),
                    None => std::mem::take(waiting).into(),
                };
                self.sent(chunk.remaining() as u64);
                Poll::Ready(Some(Ok(Frame::data(chunk))))
            }
            Poll::Ready(Some(Err(e))) => {
                tracing::warn!("a client is cut off in the middle of its answer: {e}");
                self.source = BodySource::Empty;
                Poll::Ready(Some(Err(e)))
            }
            Poll::Ready(None) => {
                self.complete();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            BodySource::Empty => true,
            BodySource::Full(..) | BodySource::Chunks { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Empty => SizeHint::with_exact(0),
            BodySource::Full(bytes, _) => SizeHint::with_exact(bytes.len() as u64),
            BodySource::Chunks {
                left: Some(left), ..
            } => SizeHint::with_exact(*left),
            BodySource::Chunks { left: None, .. } => SizeHint::default(),
        }
    }
}

impl Body {
    fn sent(&mut self, count: u64) {
        if let Some(access) = &mut self.access {
            access.bytes += count;
        }
        match &mut self.source {
            BodySource::Empty => {}
            BodySource::Full(waiting, _) => {
                if waiting.is_empty() {
                    self.source = BodySource::Empty;
                    self.complete();
                }
            }
            BodySource::Chunks { left, .. } => {
                *left = left.map(|left| left.saturating_sub(count));
                if *left == Some(0) {
                    self.complete();
                }
            }
        }
    }

    fn complete(&mut self) {
        if let Some(access) = &mut self.access {
            access.complete = true;
        }
    }
}
