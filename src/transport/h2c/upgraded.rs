//! [`Upgraded`]: a connection after its upgrade to HTTP/2, which reads as if it had been HTTP/2 from the start.
//!
//! What was in the offer is played first, and then comes what the client really sends, less what was played already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::offer::{FRAME_HEAD, MAGIC, Offer, SETTINGS};

/// How much is sent after the 101 before the client has gone on in HTTP/2, in bytes. curl 7.88 keeps at most 32 KiB that come with the 101, and fails when
/// there is more (exit code 16).
const BEFORE_PREFACE: usize = 16 << 10;

/// A connection after its upgrade, as hyper's HTTP/2 server gets to read it.
pub struct Upgraded<S> {
    inner: S,
    /// To be read before anything else.
    replay: Bytes,
    preface: Preface,
}

/// How much of the client's own preface has been seen.
enum Preface {
    /// Not all of it.
    Awaited(Awaited),
    /// All of it.
    Done,
}

/// What is known while the client's preface is awaited.
struct Awaited {
    /// What came so far.
    seen: BytesMut,
    /// The settings it is expected to repeat.
    settings: Bytes,
    /// How much may still be sent.
    room: usize,
    /// Who waits to send more.
    writer: Option<Waker>,
}

impl<S> Upgraded<S> {
    /// The connection `inner` after a 101 to `offer`; `already_read` is what came with the request.
    ///
    /// # Errors
    /// When that is not the beginning of what an HTTP/2 client sends.
    pub fn new(inner: S, offer: &Offer, already_read: &[u8]) -> io::Result<Self> {
        let mut upgraded = Self {
            inner,
            replay: offer.opening(),
            preface: Preface::awaited(offer.settings()),
        };
        if let Some(rest) = upgraded.preface.see(already_read)? {
            upgraded.replay = [upgraded.replay, rest].concat().into();
        }
        Ok(upgraded)
    }
}

impl Preface {
    fn awaited(settings: Bytes) -> Self {
        Self::Awaited(Awaited {
            seen: BytesMut::new(),
            settings,
            room: BEFORE_PREFACE,
            writer: None,
        })
    }

    /// How many of `wanted` bytes may be sent now.
    fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        match self {
            Self::Awaited(awaited) if awaited.room == 0 && wanted > 0 => {
                awaited.writer = Some(context.waker().clone());
                Poll::Pending
            }
            Self::Awaited(awaited) => Poll::Ready(wanted.min(awaited.room)),
            Self::Done => Poll::Ready(wanted),
        }
    }

    /// Notes so many bytes as sent.
    fn sent(&mut self, bytes: usize) {
        if let Self::Awaited(awaited) = self {
            awaited.room = awaited.room.saturating_sub(bytes);
        }
    }

    /// Takes what the client sent; gives what is to be passed on once the magic and the first frame are here.
    ///
    /// The magic was played already. So were the settings, if the first frame repeats them, as it does with every client met so far: passed
    /// on it would be acknowledged a second time, and RFC 7540, section 3.2.1, has the 101 acknowledge `HTTP2-Settings` already, so that
    /// nghttp2 and with it cargo close the connection over a surplus acknowledgement.
    fn see(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let Self::Awaited(awaited) = self else {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        };
        let Awaited { seen, settings, .. } = awaited;
        seen.extend_from_slice(bytes);
        let compared = seen.len().min(MAGIC.len());
        if seen[..compared] != MAGIC[..compared] {
            let why = "the client didn't go on in HTTP/2 after its upgrade";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let Some((head, payload)) = seen[compared..].split_first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let first_is_settings = head[3..] == [SETTINGS, 0, 0, 0, 0, 0];
        let repeats = first_is_settings && length == settings.len();
        if repeats && payload.len() < length {
            return Ok(None);
        }
        let skip = match repeats && payload[..length] == settings[..] {
            true => MAGIC.len() + FRAME_HEAD + length,
            false => MAGIC.len(),
        };
        let mut rest = std::mem::take(seen);
        rest.advance(skip);
        if let Some(writer) = awaited.writer.take() {
            writer.wake();
        }
        *self = Self::Done;
        Ok(Some(rest.freeze()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upgraded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if !this.replay.is_empty() {
                let length = this.replay.len().min(buffer.remaining());
                buffer.put_slice(&this.replay.split_to(length));
                return Poll::Ready(Ok(()));
            }
            if matches!(this.preface, Preface::Done) {
                return Pin::new(&mut this.inner).poll_read(context, buffer);
            }
            let mut space = [0; 4096];
            let mut piece = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut this.inner).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            if let Some(rest) = this.preface.see(piece.filled())? {
                this.replay = rest;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upgraded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let room = ready!(this.preface.poll_room(context, bytes.len()));
        let sent = ready!(Pin::new(&mut this.inner).poll_write(context, &bytes[..room]))?;
        this.preface.sent(sent);
        Poll::Ready(Ok(sent))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Preface::Done = self.preface {
            return Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        }
        // Before the client's preface little is sent: a slice at a time will do.
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(context, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::offer::put_frame, *};

    /// What cargo offers.
    const SETTINGS_OF_CARGO: &[u8] = &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0];

    fn settings_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        put_frame(&mut frame, SETTINGS, 0, 0, payload);
        frame.to_vec()
    }

    /// A second acknowledgement made nghttp2 close the connection.
    #[test]
    fn settings_that_are_repeated_are_not_passed_on_however_they_are_cut() {
        let settings = Bytes::from_static(SETTINGS_OF_CARGO);
        let sent = [MAGIC, &settings_frame(&settings)[..], b"more"].concat();
        for cut in 0..sent.len() - 4 {
            let mut preface = Preface::awaited(settings.clone());
            assert_eq!(preface.see(&sent[..cut]).expect("valid"), None, "{cut}");
            let rest = preface.see(&sent[cut..]).expect("valid");
            assert_eq!(rest.as_deref(), Some(&b"more"[..]), "{cut}");
        }
    }

    #[test]
    fn other_settings_are_passed_on() {
        let mut preface = Preface::awaited(Bytes::from_static(b"abcdef"));
        let frame = settings_frame(b"ghijkl");
        let rest = preface.see(&[MAGIC, &frame[..]].concat()).expect("valid");
        assert_eq!(rest.as_deref(), Some(&frame[..]));
    }
}
