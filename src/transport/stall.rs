//! [`Watched`]: a connection that notes when bytes move on it, so that one on which nothing moves, or too little, can be closed.
//!
//! It notes that something moved, and not when: a look at the clock with every read and every write would cost each hit two. Whoever waits for it to
//! cease looks from time to time.
//!
//! It is what keeps a client that stalls from holding a crate's memory for ever. Over HTTP/1.1 its socket is full: nothing is accepted, or so
//! little at a time that it counts as nothing. Over HTTP/2 its window may be closed while other things move: see [`Pieces`].

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    arriving::{Arriving, Came},
    lending::Handover,
    memory::Account,
    unsent::{PIECE, Pieces, Since},
};
use crate::{metrics::Metrics, zero_copy::Content};

/// How long a client may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_secs(30);

/// Within a time limit it is looked at so many times what has moved. A limit may be exceeded by the time between two looks.
const LOOKS: u32 = 4;

/// What moves.
#[derive(Clone)]
pub(crate) struct Activity(Arc<Moved>);

struct Moved {
    /// Whether bytes have moved since somebody looked.
    lately: AtomicBool,
    /// Whether bytes have come since a request began: of the head of another one, over HTTP/1.1.
    heard: AtomicBool,
    /// Whether a request has begun since somebody looked; over HTTP/2, whether a head or another frame has become whole.
    begun: AtomicBool,
    /// Bytes that have come of what isn't whole: see [`Arriving`].
    open: AtomicUsize,
    /// Requests whose answers aren't out yet.
    in_flight: AtomicUsize,
    /// The same of those for which there was no room.
    refused: AtomicUsize,
    /// Whether the client has been sent more than it has taken so far.
    full: AtomicBool,
    pieces: Pieces,
    account: Account,
    handover: Handover,
    /// Reached from here, because what all connections share costs each request a trip to the same place in memory.
    metrics: Arc<Metrics>,
}

/// How a connection doesn't get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// Nothing moves on it.
    Silence,
    /// The client doesn't take an answer.
    Answer,
    /// The client takes too long over a request's head.
    Head,
}

/// A request whose answer isn't out yet.
pub(crate) struct InFlight {
    activity: Activity,
    standing: Standing,
}

/// Whether there was room for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There was.
    Admitted,
    /// There wasn't, and it is told so.
    Refused,
}

/// How many refusals may be on their way at the end of a turn. HTTP/2 looks after one when it has written it.
const REFUSALS: usize = 8;

/// A piece of an answer that was handed over to HTTP/2 and isn't out yet, until it is dropped.
pub(crate) struct Out {
    activity: Activity,
    since: Since,
    /// The request, if this is the last piece of its answer.
    _last: Option<InFlight>,
}

/// Which of an answer's pieces one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// There may be more to come.
    Some,
    /// The last one: with it the request is done.
    Last,
}

/// A stream that notes when bytes move on it.
pub(crate) struct Watched<S> {
    inner: S,
    activity: Activity,
    /// Bytes the client took while there were more to take, since that last counted as movement.
    taken: usize,
    arriving: Arriving,
}

impl Activity {
    fn note(&self) {
        self.0.lately.store(true, Ordering::Relaxed);
    }

    /// Notes a request, until what is returned is dropped.
    pub(crate) fn begin(&self) -> InFlight {
        self.0.handover.clear();
        self.0.heard.store(false, Ordering::Relaxed);
        self.0.begun.store(true, Ordering::Relaxed);
        self.0.open.store(0, Ordering::Relaxed);
        let standing = match self.0.account.covers(self.in_flight() + 1) {
            true => Standing::Admitted,
            false => Standing::Refused,
        };
        self.in_flight_of(standing)
    }

    fn in_flight_of(&self, standing: Standing) -> InFlight {
        self.0.count(standing).fetch_add(1, Ordering::Relaxed);
        InFlight {
            activity: self.clone(),
            standing,
        }
    }

    /// Whether there is room for what the connection holds at the end of its turn, when so many bytes are written that the client hasn't taken. Who
    /// doesn't take refusals has none.
    pub(crate) fn settles(&self, untaken: usize) -> bool {
        self.0.refused.load(Ordering::Relaxed) <= REFUSALS
            && self
                .0
                .account
                .settles(self.in_flight(), untaken, self.open())
    }

    /// Takes note of what has come.
    fn came(&self, came: Came) {
        match came {
            Came::More(bytes) => drop(self.0.open.fetch_add(bytes, Ordering::Relaxed)),
            Came::Still(open) => self.0.open.store(open, Ordering::Relaxed),
            Came::Anew(open) => {
                self.0.open.store(open, Ordering::Relaxed);
                self.0.begun.store(true, Ordering::Relaxed);
            }
        }
    }

    fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Returns when nothing has moved for `limit`, unless it is for us to answer, when the client hasn't taken a piece of an answer for about that
    /// long, or when it takes too long over a request's head.
    pub(crate) async fn stalls_for(
        &self,
        limit: Duration,
        speaks_http1: impl Fn() -> bool,
    ) -> Stall {
        let line_is_full = || self.0.full.load(Ordering::Relaxed);
        let client_is_silent = async {
            loop {
                self.ceases_for(limit).await;
                if line_is_full() || self.in_flight() == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            () = client_is_silent => Stall::Silence,
            () = self.0.pieces.late(limit, line_is_full) => Stall::Answer,
            () = self.begins_for(HEAD_WITHIN, speaks_http1) => Stall::Head,
        }
    }

    /// Returns when the client has been at sending one request's head for `limit`.
    async fn begins_for(&self, limit: Duration, speaks_http1: impl Fn() -> bool) {
        let mut looks = 0;
        // It may have begun at any time before the first of them.
        while looks <= LOOKS {
            tokio::time::sleep(limit / LOOKS).await;
            let is_another = self.0.begun.swap(false, Ordering::Relaxed);
            let is_under_way = match speaks_http1() {
                true => self.in_flight() == 0 && self.0.heard.load(Ordering::Relaxed),
                // Answers may be on their way beside it. From a client that takes none, nothing is read.
                false => self.open() > 0 && !self.0.full.load(Ordering::Relaxed),
            };
            looks = match is_under_way && !is_another {
                true => looks + 1,
                false => 0,
            };
        }
    }

    /// Returns when no answer is outstanding and nothing has moved for `limit`.
    pub(crate) async fn ends_for(&self, limit: Duration) {
        loop {
            self.ceases_for(limit).await;
            if self.in_flight() == 0 {
                return;
            }
        }
    }

    /// Returns when nothing has moved for `limit`.
    async fn ceases_for(&self, limit: Duration) {
        let mut looks = 0;
        while looks < LOOKS {
            tokio::time::sleep(limit / LOOKS).await;
            looks = match self.0.lately.swap(false, Ordering::Relaxed) {
                true => 0,
                false => looks + 1,
            };
        }
    }
}

impl Moved {
    fn count(&self, standing: Standing) -> &AtomicUsize {
        match standing {
            Standing::Admitted => &self.in_flight,
            Standing::Refused => &self.refused,
        }
    }
}

impl InFlight {
    /// Whether there was room for it.
    pub(crate) fn standing(&self) -> Standing {
        self.standing
    }

    /// Where to count.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.activity.0.metrics
    }

    /// The body that comes next can be lent.
    pub(crate) fn announce(&self, content: Content) {
        self.activity.0.handover.announce(content);
    }

    /// Notes that a piece of the answer is handed over to HTTP/2. With the last one the request goes on until that is out.
    pub(crate) fn hand_over(&self, part: Part) -> Out {
        let activity = self.activity.clone();
        Out {
            since: activity.0.pieces.handed_over(),
            _last: match part {
                Part::Last => Some(activity.in_flight_of(self.standing)),
                Part::Some => None,
            },
            activity,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let count = self.activity.0.count(self.standing);
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.activity.0.pieces.out(self.since);
    }
}

impl<S> Watched<S> {
    /// One to which nothing is lent.
    #[cfg(test)]
    pub(crate) fn new(inner: S, account: Account, metrics: Arc<Metrics>) -> (Self, Activity) {
        Self::lending(inner, Handover::default(), account, metrics)
    }

    /// One that is told by way of `handover` what can be lent.
    pub(crate) fn lending(
        inner: S,
        handover: Handover,
        account: Account,
        metrics: Arc<Metrics>,
    ) -> (Self, Activity) {
        let activity = Activity(Arc::new(Moved {
            lately: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            pieces: Pieces::default(),
            account,
            handover,
            metrics,
        }));
        let watched = Self {
            inner,
            activity: activity.clone(),
            taken: 0,
            arriving: Arriving::new(),
        };
        (watched, activity)
    }

    /// From now on it is HTTP/2, from its preface on, of which so much is here.
    pub(crate) fn upgrade(&mut self, already_read: &[u8]) {
        self.arriving = Arriving::new();
        self.activity.came(self.arriving.see(already_read));
    }

    /// What a client sends counts as movement only while it takes what it is sent.
    fn read<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if matches!(polled, Poll::Ready(Ok(_))) && !self.activity.0.full.load(Ordering::Relaxed) {
            self.activity.note();
            self.activity.0.heard.store(true, Ordering::Relaxed);
        }
        polled
    }

    /// Taking all there is counts as movement, and of what is more than that, a piece. What is taken here is taken by the system, which says that it has
    /// room again when a third of its buffer is gone: 10 to 30 KB on a slow line, hundreds on a fast one, where a client that dawdles at some KB/s can
    /// look as if it took nothing.
    fn wrote(
        &mut self,
        polled: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        let full = match polled {
            Poll::Ready(Ok(taken)) => {
                self.taken += taken;
                taken < offered
            }
            Poll::Pending => true,
            Poll::Ready(Err(_)) => return polled,
        };
        self.activity.0.full.store(full, Ordering::Relaxed);
        if !full || self.taken >= PIECE {
            self.taken = 0;
            self.activity.note();
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Some(bytes) = buffer.filled().get(before..)
            && !bytes.is_empty()
        {
            let came = self.arriving.see(bytes);
            self.activity.came(came);
        }
        self.read(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(polled, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(polled, slices.iter().map(|slice| slice.len()).sum())
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::{super::h2c::offer::MAGIC, *};

    const PING: [u8; 17] = [0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// Of a head of 16 KB that goes on after it.
    const HALF: [u8; 9] = [0, 64, 0, 1, 0, 0, 0, 0, 1];

    #[tokio::test(start_paused = true)]
    async fn a_stream_on_which_bytes_move_is_not_idle() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let (mut watched, activity) = Watched::new(ours, Account::of_its_own(), Arc::default());
        let limit = Duration::from_secs(60);
        let ceased = tokio::spawn(async move { activity.stalls_for(limit, || false).await });
        theirs.write_all(MAGIC).await.expect("room");
        watched.read_exact(&mut [0; 24]).await.expect("a preface");
        for _ in 0..5 {
            tokio::time::sleep(limit - Duration::from_secs(1)).await;
            theirs.write_all(&PING).await.expect("room");
            watched.read_exact(&mut [0; 17]).await.expect("a ping");
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
            let (mut watched, activity) = Watched::new(ours, Account::of_its_own(), Arc::default());
            let _answer = is_answered.then(|| activity.begin());
            let before = Instant::now();
            tokio::select! {
                stall = activity.stalls_for(Duration::from_secs(120), || http1) => {
                    assert_eq!(stall, Stall::Head);
                    Some(before.elapsed())
                }
                () = async { while watched.read_u8().await.is_ok() {} } => None,
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
        let (mut watched, activity) = Watched::new(ours, Account::of_its_own(), Arc::default());
        tokio::select! {
            _ = activity.stalls_for(Duration::from_secs(120), || true) => panic!("a stall"),
            () = async {
                while watched.read_u8().await.is_ok() {
                    watched.read_u8().await.expect("the rest");
                    drop(activity.begin());
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
        let (mut watched, activity) = Watched::new(ours, Account::of_its_own(), Arc::default());
        let block = vec![0; 64 << 10];
        let send = async { while watched.write_all(&block).await.is_ok() {} };
        let take = async {
            let mut space = vec![0; step];
            while theirs.read_exact(&mut space).await.is_ok() {
                tokio::time::sleep(every).await;
            }
        };
        let before = Instant::now();
        tokio::select! {
            _ = activity.stalls_for(Duration::from_secs(120), || true) => Some(before.elapsed()),
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
        let (watched, activity) = Watched::new(ours, Account::of_its_own(), Arc::default());
        let (mut reads, mut writes) = tokio::io::split(watched);
        let (_unread, mut asks) = tokio::io::split(theirs);
        let before = Instant::now();
        tokio::select! {
            _ = activity.stalls_for(Duration::from_secs(120), || true) => {}
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
