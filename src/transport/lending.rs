//! [`LendingSocket`]: a client's socket, to which large bodies are lent instead of copied.
//!
//! HTTP/1.1 writes an answer's head and body in one go, as slices. A body that can be lent is announced beforehand ([`Handover`]), and its slice is
//! recognised by where it is in memory. Everything else, HTTP/2's frames among it, is written as always.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::handover::Handover;

/// A client's socket.
pub(super) struct LendingSocket {
    stream: TcpStream,
    handover: Handover,
}

impl LendingSocket {
    /// Takes a socket over. The handover is for those who make the answers.
    pub(super) fn new(stream: TcpStream) -> (Self, Handover) {
        let handover = Handover::open();
        let socket = Self {
            stream,
            handover: handover.clone(),
        };
        (socket, handover)
    }

    /// Sends as much as the socket takes of a head and of the body after it, if that can be lent; `None` if it can't.
    fn poll_lend(
        &self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Option<io::Result<usize>>> {
        let (head, body): (&[u8], &[u8]) = match slices {
            _ if !self.handover.is_taken() => return Poll::Ready(None),
            [body] => (&[], body),
            [head, body, ..] => (head, body),
            [] => return Poll::Ready(None),
        };
        loop {
            if let Err(e) = ready!(self.stream.poll_write_ready(context)) {
                return Poll::Ready(Some(Err(e)));
            }
            let lend = || self.handover.lend(&self.stream, head, body);
            return Poll::Ready(match self.stream.try_io(Interest::WRITABLE, lend) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => continue,
                Err(e) if e.kind() == io::ErrorKind::Unsupported => None,
                sent => Some(sent),
            });
        }
    }
}

impl AsyncRead for LendingSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for LendingSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_lend(context, slices)) {
            Some(sent) => Poll::Ready(sent),
            None => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::zero_copy::{Content, PagePool};

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

    async fn connected() -> (LendingSocket, Handover, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let theirs = TcpStream::connect(address).await.expect("connected");
        let (ours, _) = listener.accept().await.expect("accepted");
        let (ours, handover) = LendingSocket::new(ours);
        (ours, handover, theirs)
    }

    /// Bytes that can be lent.
    fn content(first: u8) -> Content {
        let byte = |n: u32| first.wrapping_add((n % 251) as u8);
        let bytes: Vec<u8> = (0..3_000_000).map(byte).collect();
        let content = PagePool::default().content([&bytes[..]].into_iter());
        content.expect("pages")
    }

    /// Writes slices as HTTP/1.1 does: again and again what is left of them.
    async fn write(stream: &mut LendingSocket, mut slices: &mut [IoSlice<'_>]) {
        while !slices.is_empty() {
            let written = poll_fn(|c| Pin::new(&mut *stream).poll_write_vectored(c, slices)).await;
            IoSlice::advance_slices(&mut slices, written.expect("open"));
        }
    }

    /// What arrives when these slices are written, and nothing more.
    async fn arrives(
        mut ours: LendingSocket,
        mut theirs: TcpStream,
        slices: &mut [IoSlice<'_>],
    ) -> Vec<u8> {
        let mut arrived = Vec::new();
        let written = async {
            write(&mut ours, slices).await;
            ours.shutdown().await.expect("open");
        };
        let (read, ()) = tokio::join!(theirs.read_to_end(&mut arrived), written);
        read.expect("open");
        arrived
    }

    #[tokio::test]
    async fn a_body_that_is_lent_arrives_after_its_head_and_is_not_waited_for_any_more() {
        let (ours, handover, theirs) = connected().await;
        let content = content(0);
        let bytes = content.bytes().clone();
        handover.announce(content);
        let mut slices = [IoSlice::new(HEAD), IoSlice::new(&bytes)];
        let arrived = arrives(ours, theirs, &mut slices).await;
        assert!(arrived == [HEAD, &bytes].concat());
        assert!(handover.holds_nothing(), "its memory is held");
    }

    /// Only a part of it was asked for.
    #[tokio::test]
    async fn a_part_of_what_can_be_lent_arrives_as_that_part() {
        let (ours, handover, theirs) = connected().await;
        let content = content(0).slice(1_000..2_500_000);
        let part = content.bytes().clone();
        handover.announce(content);
        let mut slices = [IoSlice::new(HEAD), IoSlice::new(&part)];
        let arrived = arrives(ours, theirs, &mut slices).await;
        assert!(arrived == [HEAD, &part].concat());
        assert!(handover.holds_nothing(), "its memory is held");
    }

    /// A client may ask for the next before it has the last.
    #[tokio::test]
    async fn what_was_not_announced_arrives_all_the_same() {
        let (ours, handover, theirs) = connected().await;
        let (one, two) = (content(1), content(2));
        handover.announce(one.clone());
        handover.announce(two.clone());
        let mut slices = [
            IoSlice::new(HEAD),
            IoSlice::new(one.bytes()),
            IoSlice::new(HEAD),
            IoSlice::new(two.bytes()),
            IoSlice::new(HEAD),
        ];
        let all = slices
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect::<Vec<_>>();
        assert!(arrives(ours, theirs, &mut slices).await == all);
    }

    #[tokio::test]
    async fn what_is_cleared_is_written_like_everything_else() {
        let (ours, handover, theirs) = connected().await;
        let content = content(0);
        let bytes = content.bytes().clone();
        handover.announce(content);
        handover.clear();
        assert!(handover.holds_nothing(), "its memory is held");
        let mut slices = [IoSlice::new(HEAD), IoSlice::new(&bytes)];
        let all = slices
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect::<Vec<_>>();
        assert!(arrives(ours, theirs, &mut slices).await == all);
    }
}
