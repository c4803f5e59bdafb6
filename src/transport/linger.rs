//! Lingering: a connection is closed so that what its client was told last arrives.
//!
//! When a connection is closed while bytes from the client are unread, the system sends a reset, and the client may lose what was sent to it before
//! (RFC 9112, section 9.6). So our direction is ended first, and what the client still sends is read for a little while.

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::Shutdown,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// How much of what a client still sends is read, in bytes: more than a head may have, and what is on its way of a body.
const MOST: usize = 1 << 20;
/// How long it is waited for. A client that has read its answer closes within a round trip.
const LONGEST: Duration = Duration::from_secs(2);
/// How much is read at a time, in bytes.
const AT_ONCE: usize = 8 << 10;

/// Closes a connection on which the last word may be on its way: within two seconds, and after reading at most a megabyte.
pub(super) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let read_on = async {
        stream.shutdown().await?;
        let mut read = 0;
        while read < MOST {
            match poll_fn(|context| poll_discard(&mut stream, context)).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whatever fails here: it is closed all the same.
    let _ = tokio::time::timeout(LONGEST, read_on).await;
}

/// Says `last` and closes.
pub(super) async fn refuse(mut stream: TcpStream, last: &str) {
    let said = tokio::time::timeout(LONGEST, stream.write_all(last.as_bytes())).await;
    if matches!(said, Ok(Ok(()))) {
        close(stream).await;
    }
}

/// The same without waiting for anything: what has arrived by now is read, and what arrives later meets a reset.
pub(super) fn refuse_at_once(stream: TcpStream, last: &str) -> io::Result<()> {
    // The runtime doesn't know yet that there is room to write; the system does.
    let mut stream = stream.into_std()?;
    stream.write_all(last.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let _ = stream.read(&mut [0; AT_ONCE])?;
    Ok(())
}

/// Reads some bytes and forgets them; how many there were, 0 at the end.
fn poll_discard(
    stream: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let mut space = [MaybeUninit::uninit(); AT_ONCE];
    let mut buffer = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(context, &mut buffer))?;
    Poll::Ready(Ok(buffer.filled().len()))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, duplex},
        time::Instant,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_closes_is_not_waited_for() {
        let (ours, mut theirs) = duplex(64);
        let before = Instant::now();
        let client = async {
            theirs.write_all(&[b'x'; 1000]).await.expect("taken");
            assert_eq!(theirs.read(&mut [0; 8]).await.expect("open"), 0);
            drop(theirs);
        };
        tokio::join!(close(ours), client);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stays_is_waited_for_within_limits() {
        let (ours, _theirs) = duplex(64);
        let before = Instant::now();
        close(ours).await;
        assert_eq!(before.elapsed(), LONGEST);

        let (ours, mut theirs) = duplex(AT_ONCE);
        let flood = async {
            let mut sent = 0;
            while theirs.write_all(&[b'x'; AT_ONCE]).await.is_ok() {
                sent += AT_ONCE;
            }
            sent
        };
        let before = Instant::now();
        let ((), sent) = tokio::join!(close(ours), flood);
        assert!((MOST..=MOST + 2 * AT_ONCE).contains(&sent), "{sent}");
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
