//! The stall watch: when a connection doesn't get on, so that it can be closed.
//!
//! It keeps a client that stalls from holding a large body's memory for ever. Over HTTP/1.1 such a client's socket is full: it takes nothing, or so little
//! at a time that it counts as nothing. Over HTTP/2 its window may be closed while other things move:
//! see [`UnsentChunks`](super::unsent::UnsentChunks).

use std::time::Duration;

use super::activity::Activity;

/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// How often it is looked within a time limit whether something has moved. A limit may be exceeded by the time between two looks.
const LOOKS: u32 = 4;

/// How a connection doesn't get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stall {
    /// Nothing moves on it.
    Silence,
    /// The client doesn't take an answer.
    Answer,
    /// The client takes too long over a request's head.
    Head,
}

/// Returns when nothing has moved for `limit`, unless it is for us to answer; when the client hasn't taken a chunk of an answer for about that long; or
/// when it takes too long over a request's head.
pub(super) async fn stalled(
    activity: &Activity,
    limit: Duration,
    speaks_http1: impl Fn() -> bool,
) -> Stall {
    let is_full = || activity.is_full();
    let client_is_silent = async {
        loop {
            unmoved(activity, limit).await;
            if is_full() || activity.in_flight() == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = client_is_silent => Stall::Silence,
        () = activity.unsent().late(limit, is_full) => Stall::Answer,
        () = slow_head(activity, HEAD_WITHIN, speaks_http1) => Stall::Head,
    }
}

/// Returns when no answer is outstanding and nothing has moved for `limit`.
pub(super) async fn quiet(activity: &Activity, limit: Duration) {
    loop {
        unmoved(activity, limit).await;
        if activity.in_flight() == 0 {
            return;
        }
    }
}

/// Returns when the client has asked for something, now or before; or when it hasn't for `limit`.
pub(super) async fn asked(activity: &Activity, limit: Duration) {
    let end = tokio::time::Instant::now() + limit;
    while !activity.has_asked() && tokio::time::Instant::now() < end {
        tokio::time::sleep(limit / (8 * LOOKS)).await;
    }
}

/// Returns when the client has been at sending one request's head for `limit`.
async fn slow_head(activity: &Activity, limit: Duration, speaks_http1: impl Fn() -> bool) {
    let mut looks = 0;
    // The head may have begun at any time before the first look, so one more is needed.
    while looks <= LOOKS {
        tokio::time::sleep(limit / LOOKS).await;
        let is_another = activity.has_begun();
        let is_under_way = match speaks_http1() {
            true => activity.in_flight() == 0 && activity.has_been_heard(),
            // Answers may be on their way beside it. From a client that takes none, nothing is read.
            false => activity.open() > 0 && !activity.is_full(),
        };
        looks = match is_under_way && !is_another {
            true => looks + 1,
            false => 0,
        };
    }
}

/// Returns when nothing has moved for `limit`.
async fn unmoved(activity: &Activity, limit: Duration) {
    let mut looks = 0;
    while looks < LOOKS {
        tokio::time::sleep(limit / LOOKS).await;
        looks = match activity.has_moved() {
            true => 0,
            false => looks + 1,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::{
        super::{
            connection_memory::ConnectionMemory, frames::MAGIC, handover::Handover,
            in_flight::InFlight, watched::Watched,
        },
        *,
    };
    use crate::metrics::Protocol;

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// Of a head of 16 KB that goes on after it.
    const HALF: [u8; 9] = [0, 64, 0, 1, 0, 0, 0, 0, 1];

    /// A stream under the watch, to which nothing is lent.
    fn watched<S>(stream: S) -> (Watched<S>, Activity) {
        let memory = ConnectionMemory::of_its_own();
        let activity = Activity::new(Handover::default(), memory, Arc::default());
        (Watched::new(stream, activity.clone()), activity)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_bytes_move_is_not_idle() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut stream, activity) = watched(ours);
        let limit = Duration::from_secs(60);
        let ceased = tokio::spawn(async move { stalled(&activity, limit, || false).await });
        theirs.write_all(MAGIC).await.expect("room");
        stream.read_exact(&mut [0; 24]).await.expect("a preface");
        for _ in 0..5 {
            tokio::time::sleep(limit - Duration::from_secs(1)).await;
            theirs.write_all(&PING).await.expect("room");
            stream.read_exact(&mut [0; 17]).await.expect("a ping");
            assert!(!ceased.is_finished());
        }
        let before = Instant::now();
        ceased.await.expect("no panic");
        assert!(before.elapsed() >= limit - Duration::from_secs(1));
    }

    /// A client that sends a byte of a head now and then kept its connection for ever.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_too_long_over_a_head_stalls() {
        let head_takes = async |http1: bool, is_answered: bool, begin: &[u8], then: &[u8]| {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (mut stream, activity) = watched(ours);
            let _answer = is_answered.then(|| InFlight::begin(&activity, Protocol::Http1));
            let before = Instant::now();
            tokio::select! {
                stall = stalled(&activity, Duration::from_secs(120), || http1) => {
                    assert_eq!(stall, Stall::Head);
                    Some(before.elapsed())
                }
                () = async { while stream.read_u8().await.is_ok() {} } => None,
                () = async {
                    theirs.write_all(begin).await.expect("room");
                    for byte in then.iter().cycle().take(3600) {
                        theirs.write_all(&[*byte]).await.expect("room");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                } => None,
            }
        };
        let stalled = head_takes(true, false, b"", b"x").await;
        let limit = HEAD_WITHIN..=HEAD_WITHIN * 3 / 2;
        assert!(stalled.is_some_and(|it| limit.contains(&it)), "{stalled:?}");
        let half = [&MAGIC[..], &HALF[..]].concat();
        for is_answered in [true, false] {
            let stalled = head_takes(false, is_answered, &half, b"x").await;
            assert!(stalled.is_some_and(|it| limit.contains(&it)), "{stalled:?}");
        }
        // The next request may come while an answer is on its way, and over HTTP/2 there is more to say than requests.
        assert_eq!(head_takes(true, true, b"", b"x").await, None);
        assert_eq!(head_takes(false, false, MAGIC, &PING).await, None);
    }

    /// A head may come in two pieces, and the first of them is there whenever somebody looks.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_again_and_again_does_not_stall() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut stream, activity) = watched(ours);
        tokio::select! {
            _ = stalled(&activity, Duration::from_secs(120), || true) => panic!("a stall"),
            () = async {
                while stream.read_u8().await.is_ok() {
                    stream.read_u8().await.expect("the rest");
                    drop(InFlight::begin(&activity, Protocol::Http1));
                }
            } => {}
            () = async {
                for _ in 0..3600 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    theirs.write_all(b"G").await.expect("room");
                    tokio::time::sleep(Duration::from_millis(999)).await;
                    theirs.write_all(b"E").await.expect("room");
                }
            } => {}
        }
    }

    /// Sends without end to a client that takes `step` bytes each `every`, and returns when that counts as a stall; after a day it doesn't.
    async fn stalls_after(step: usize, every: Duration) -> Option<Duration> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (mut stream, activity) = watched(ours);
        let block = vec![0; 64 << 10];
        let send = async { while stream.write_all(&block).await.is_ok() {} };
        let take = async {
            let mut space = vec![0; step];
            while theirs.read_exact(&mut space).await.is_ok() {
                tokio::time::sleep(every).await;
            }
        };
        let before = Instant::now();
        tokio::select! {
            _ = stalled(&activity, Duration::from_secs(120), || true) => Some(before.elapsed()),
            () = send => None,
            () = take => None,
            () = tokio::time::sleep(Duration::from_secs(24 * 3600)) => None,
        }
    }

    /// Ten bytes a second used to be movement enough to hold a crate for ever.
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_next_to_nothing_stalls() {
        for (step, seconds) in [(1, 1), (10, 1), (100, 1), (1000, 100)] {
            let stalled = stalls_after(step, Duration::from_secs(seconds)).await;
            let stalled = stalled.expect("a stall");
            assert!(stalled <= Duration::from_secs(360), "{stalled:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_on_a_slow_line_does_not_stall() {
        for (step, seconds) in [(1000, 1), (30_000, 30)] {
            let stalled = stalls_after(step, Duration::from_secs(seconds)).await;
            assert_eq!(stalled, None, "{step} bytes each {seconds} s");
        }
    }

    /// Pings, or the start of a next request.
    #[tokio::test(start_paused = true)]
    async fn sending_does_not_help_a_client_that_takes_nothing() {
        let (ours, theirs) = tokio::io::duplex(64);
        let (stream, activity) = watched(ours);
        let (mut reads, mut writes) = tokio::io::split(stream);
        let (_unread, mut asks) = tokio::io::split(theirs);
        let before = Instant::now();
        tokio::select! {
            _ = stalled(&activity, Duration::from_secs(120), || true) => {}
            _ = writes.write_all(&[0; 1000]) => panic!("taken"),
            () = async { while reads.read_u8().await.is_ok() {} } => {}
            () = async {
                while asks.write_all(b"?").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            } => {}
        }
        assert!(before.elapsed() <= Duration::from_secs(150));
    }
}
