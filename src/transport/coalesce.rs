//! [`Coalesced`]: write coalescing. What HTTP/2 writes in one turn of its connection goes out together, at the end of the turn.
//!
//! HTTP/2 hands over each frame by itself and flushes after it. With a system call for each frame, small answers would cost hardly anything but system
//! calls. So what is written is collected. Whoever drives the connection sends it when the connection has nothing more to write for now. HTTP/1.1
//! writes an answer in one go, and that goes straight through.

use std::{
    cell::Cell,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::MAGIC;

/// How much is collected at most, in bytes: four of HTTP/2's usual frames with their heads.
const MOST: usize = 4 * ((16 << 10) + 9);

thread_local! {
    /// A buffer of that size for the connection that has its turn. Thousands may be open, but only as many have a turn as there are threads.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A stream whose writes are coalesced if it speaks HTTP/2. A clone is another handle on the same stream.
pub(super) struct Coalesced<S>(Arc<Shared<S>>);

struct Shared<S> {
    /// Whether it is HTTP/2. Beside the lock, because each turn asks.
    is_http2: AtomicBool,
    writes: Mutex<Writes<S>>,
}

/// What has been written to a stream and isn't sent.
struct Writes<S> {
    stream: S,
    /// What is still to come of HTTP/2's magic before it is HTTP/2; nothing once that is decided.
    magic: &'static [u8],
    /// What is to go out. It is in the thread's buffer; in one of its own, no larger than it needs, when the client doesn't take it.
    waiting: Vec<u8>,
    /// How much of that is out already.
    sent: usize,
}

impl<S> Clone for Coalesced<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> Coalesced<S> {
    /// Takes a stream over, of which nothing has been read.
    pub(super) fn new(stream: S) -> Self {
        Self(Arc::new(Shared {
            is_http2: AtomicBool::new(false),
            writes: Mutex::new(Writes {
                stream,
                magic: MAGIC,
                waiting: Vec::new(),
                sent: 0,
            }),
        }))
    }

    /// From now on it is HTTP/2. `tell` tells the stream below, too.
    pub(super) fn upgrade(&self, tell: impl FnOnce(&mut S)) {
        tell(&mut self.lock().stream);
        self.coalesce();
    }

    fn coalesce(&self) {
        self.0.is_http2.store(true, Ordering::Relaxed);
    }

    /// How many bytes wait to be sent.
    pub(super) fn untaken(&self) -> usize {
        let writes = self.lock();
        writes.waiting.len() - writes.sent
    }

    /// Whether it is HTTP/2, and what is written waits for [`poll_send`](Self::poll_send).
    pub(super) fn is_http2(&self) -> bool {
        self.0.is_http2.load(Ordering::Relaxed)
    }

    /// Only ever one task at a time uses a connection, so nobody waits here.
    fn lock(&self) -> MutexGuard<'_, Writes<S>> {
        self.0.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Writes<S> {
    /// Takes note of what the client sends. True once: when it has sent all of HTTP/2's magic. hyper decides by all of it, too.
    fn has_begun_http2(&mut self, came: &[u8]) -> bool {
        let (expected, later) = self.magic.split_at(came.len().min(self.magic.len()));
        self.magic = match came.starts_with(expected) {
            true => later,
            false => &[],
        };
        !expected.is_empty() && later.is_empty() && came.starts_with(expected)
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    /// Sends what has been collected.
    pub(super) fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(context)
    }
}

impl<S: AsyncWrite + Unpin> Writes<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.waiting.len() {
            let rest = &self.waiting[self.sent..];
            match Pin::new(&mut self.stream).poll_write(context, rest)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(sent) => self.sent += sent,
                Poll::Pending => {
                    self.keep_rest();
                    return Poll::Pending;
                }
            }
        }
        self.sent = 0;
        let mut buffer = std::mem::take(&mut self.waiting);
        if buffer.capacity() >= MOST {
            buffer.clear();
            SPARE.set(buffer);
        }
        // A stream that encrypts may have taken what the socket hasn't.
        Pin::new(&mut self.stream).poll_flush(context)
    }

    /// Moves what the client hasn't taken out of the thread's buffer, which the next connection needs.
    fn keep_rest(&mut self) {
        if self.waiting.capacity() >= MOST {
            let rest = self.waiting[self.sent..].to_vec();
            self.sent = 0;
            let mut buffer = std::mem::replace(&mut self.waiting, rest);
            buffer.clear();
            SPARE.set(buffer);
        }
    }

    /// Takes all of `slices`, or what the stream takes of them.
    fn poll_collect(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.waiting.len() + length > MOST {
            ready!(self.poll_send(context))?;
            if length > MOST {
                return Pin::new(&mut self.stream).poll_write_vectored(context, slices);
            }
        }
        if self.waiting.is_empty() {
            self.waiting = SPARE.take();
            self.waiting.reserve_exact(MOST);
        }
        slices
            .iter()
            .for_each(|s| self.waiting.extend_from_slice(s));
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut writes = self.lock();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut writes.stream).poll_read(context, buffer))?;
        if writes.has_begun_http2(&buffer.filled()[before..]) {
            self.coalesce();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut writes = self.lock();
        match self.is_http2() {
            true => writes.poll_collect(context, slices),
            false => Pin::new(&mut writes.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.lock().stream.is_write_vectored()
    }

    /// Done at once: what has been collected goes out at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut writes = self.lock();
        ready!(writes.poll_send(context))?;
        Pin::new(&mut writes.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    /// Our end of a connection whose client has begun with `opening`, and the client's.
    async fn begun(opening: &[u8], room: usize) -> (Coalesced<DuplexStream>, DuplexStream) {
        let (ours, mut theirs) = duplex(room);
        let mut ours = Coalesced::new(ours);
        theirs.write_all(opening).await.expect("room");
        let mut read = vec![0; opening.len()];
        ours.read_exact(&mut read).await.expect("the opening");
        assert_eq!(read, opening);
        (ours, theirs)
    }

    /// What has arrived at the client by now.
    async fn arrived(theirs: &mut DuplexStream) -> Vec<u8> {
        let mut space = vec![0; 1 << 20];
        let read = tokio::time::timeout(std::time::Duration::ZERO, theirs.read(&mut space)).await;
        space.truncate(read.map_or(0, |read| read.expect("open")));
        space
    }

    #[tokio::test]
    async fn over_http2_writes_go_out_together_at_the_end_of_the_turn() {
        let (mut ours, mut theirs) = begun(MAGIC, 1 << 20).await;
        for piece in [b"one ", b"two ", b"six "] {
            ours.write_all(piece).await.expect("collected");
            ours.flush().await.expect("as far as HTTP/2 knows");
        }
        assert_eq!(arrived(&mut theirs).await, b"");
        poll_fn(|context| ours.poll_send(context))
            .await
            .expect("sent");
        assert_eq!(arrived(&mut theirs).await, b"one two six ");
    }

    /// "PRI " alone was taken for HTTP/2, and HTTP/2 that came in small pieces was not.
    #[test]
    fn it_is_http2_when_all_of_its_magic_has_come() {
        let begun = |pieces: &[&[u8]]| {
            let stream = Coalesced::new(());
            let mut begins = pieces.iter().map(|p| stream.lock().has_begun_http2(p));
            begins.by_ref().position(|begins| begins)
        };
        let (one, two) = MAGIC.split_at(3);
        assert_eq!(begun(&[MAGIC]), Some(0));
        assert_eq!(begun(&[&[&MAGIC[..], b"more"].concat()]), Some(0));
        assert_eq!(begun(&[one, two, b"more"]), Some(1));
        assert_eq!(begun(&[one, b"", two]), Some(2));
        assert_eq!(begun(&[b"PRI / HTTP/1.1\r\n", MAGIC]), None);
        assert_eq!(begun(&[b"GET / HTTP/1.1\r\n", b"\r\n"]), None);
        assert_eq!(begun(&[one, b"X", two]), None);
    }

    #[tokio::test]
    async fn over_http1_writes_go_straight_through() {
        let (mut ours, mut theirs) = begun(b"GET / HTTP/1.1\r\n\r\n", 1 << 20).await;
        ours.write_all(b"answer").await.expect("room");
        assert_eq!(arrived(&mut theirs).await, b"answer");
    }

    #[tokio::test]
    async fn more_than_there_is_room_for_arrives_whole_and_in_order() {
        let (mut ours, mut theirs) = begun(MAGIC, 1000).await;
        let whole: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        let (sent, mut copy) = (whole.clone(), Vec::new());
        let send = async {
            // Small ones, ones that just don't fit any more, and ones that never would.
            let (mut rest, mut sizes) =
                (&sent[..], [100, 16_393, MOST + 1, MOST - 1].iter().cycle());
            while !rest.is_empty() {
                let size = rest.len().min(*sizes.next().unwrap_or(&1));
                ours.write_all(&rest[..size]).await.expect("open");
                rest = &rest[size..];
            }
            ours.shutdown().await.expect("what is left goes out first");
        };
        let (_, read) = tokio::join!(send, theirs.read_to_end(&mut copy));
        read.expect("open");
        assert!(copy == whole);
    }
}
