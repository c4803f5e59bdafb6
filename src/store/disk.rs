//! [`Disk`]: the threads on which the storage is waited for: so many and no more, and nobody waits for them without end.
//!
//! A dead network mount neither answers nor fails. Who asks it can be told so after a while, but the thread that asked stays with the system until that
//! lets it go, which may be never. So reads and writes have threads of their own, apart from those of everything else; and when several of them are
//! stuck and nothing that was begun later has come to an end, the storage is left alone, but for one operation now and then that finds out whether it
//! answers again.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};

use super::{Stall, Touch};
use crate::error::{Error, Result};

/// More at once gain nothing on a disk, and a stampede on a network mount waits its turn.
const READERS: usize = 24;
const WRITERS: usize = 16;
/// Those that find out whether the storage is back may get stuck as well.
const PROBES: usize = 8;
/// How many threads may be waiting for the storage at once, stuck ones included.
pub const THREADS: usize = READERS + WRITERS + 2 * PROBES;

/// So many stuck operations, and nothing that came to an end since, and the storage is left alone. One may be a single bad block.
const STUCK: usize = 4;
/// While one is stuck, nobody else waits as long as the first did.
const HASTE: u32 = 5;
/// How long the storage is left alone; doubled with each operation that finds it silent still.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long the storage may take over one thing without getting on, when nobody says so.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where work on the storage is done. Cheap to clone.
#[derive(Clone)]
pub(super) struct Disk {
    reads: Arc<Lane>,
    writes: Arc<Lane>,
    stall_timeout: Duration,
    stall: Option<Stall>,
}

/// Threads of one kind of work: a pool that is full and takes no writes may be read all the same.
struct Lane {
    threads: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    under_way: Mutex<UnderWay>,
}

#[derive(Default)]
struct UnderWay {
    /// A few dozen at most.
    operations: Vec<Arc<Begun>>,
    /// When that one began which began last of those that have come to an end.
    answered: Option<Instant>,
    /// When the last one came to its end.
    ended: Option<Instant>,
    /// While the storage is silent.
    pause: Option<Pause>,
}

struct Pause {
    until: Instant,
    length: Duration,
}

/// An operation that a thread is at.
struct Begun {
    path: String,
    at: Instant,
    /// How long it may take without getting on.
    limit: Duration,
    pulse: Pulse,
}

/// The sign of life of an operation that takes many steps.
pub struct Pulse {
    from: Instant,
    /// In microseconds after `from`.
    last: AtomicU64,
}

/// A thread's place in a lane, given up when its work comes to an end.
struct Pass {
    lane: Arc<Lane>,
    begun: Arc<Begun>,
    _thread: OwnedSemaphorePermit,
}

/// Whether an operation may begin.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    /// As soon as a thread is free.
    InLine,
    /// At once, to find out whether the storage answers.
    Probe,
    /// Not now.
    Refused,
}

/// Work that a thread is at; dropped, it goes on all the same.
pub(super) struct Working<T> {
    work: JoinHandle<Result<T>>,
    begun: Arc<Begun>,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            reads: Lane::new(READERS),
            writes: Lane::new(WRITERS),
            stall_timeout: STALL_TIMEOUT,
            stall: None,
        }
    }

    pub(super) fn with_stall_timeout(self, stall_timeout: Duration) -> Self {
        Self {
            stall_timeout,
            ..self
        }
    }

    pub(super) fn with_stall(self, stall: Stall) -> Self {
        Self {
            stall: Some(stall),
            ..self
        }
    }

    /// Does `work` with the file at `path` and waits for it as long as it gets on; it may go on when this has given up.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        what: Touch,
        path: &str,
        work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut working = self.begin(what, path, work).await?;
        match working.in_time().await {
            Some(done) => done,
            None => Err(working.late()),
        }
    }

    /// Begins `work` with the file at `path` as soon as there is a thread for it.
    pub(super) async fn begin<T: Send + 'static>(
        &self,
        what: Touch,
        path: &str,
        work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
    ) -> Result<Working<T>> {
        let lane = match what {
            Touch::Load | Touch::Read | Touch::List | Touch::Look => &self.reads,
            Touch::Save | Touch::Remove => &self.writes,
        };
        let pass = lane.enter(path, self.stall_timeout).await?;
        let (begun, stall) = (pass.begun.clone(), self.stall.clone());
        let work = tokio::task::spawn_blocking(move || {
            if let Some(stall) = stall {
                stall(what);
            }
            work(&pass.begun.pulse)
        });
        Ok(Working { work, begun })
    }
}

impl<T> Working<T> {
    /// What it came to; `None` when it doesn't get on.
    pub(super) async fn in_time(&mut self) -> Option<Result<T>> {
        loop {
            let left = self.begun.left(Instant::now())?;
            if let Ok(ended) = timeout(left, &mut self.work).await {
                return Some(flatten(ended));
            }
        }
    }

    /// What it came to, however long it takes.
    pub(super) async fn ended(self) -> Result<T> {
        flatten(self.work.await)
    }

    /// What to say of it when it doesn't get on.
    pub(super) fn late(&self) -> Error {
        Error::store(format!(
            "{} didn't get on within {:?}: its disk doesn't answer",
            self.begun.path, self.begun.limit
        ))
    }
}

/// Something whose end touches the storage, an open file or a temporary one: dropped, it ends on one of the disk's threads. If the storage doesn't answer,
/// it never ends: a file that stays open or stays behind is better than a thread that everybody waits for.
pub(super) struct Kept<T: Send + 'static> {
    held: Option<T>,
    name: String,
    disk: Disk,
}

impl<T: Send + 'static> Kept<T> {
    pub(super) fn new(held: T, name: String, disk: Disk) -> Self {
        Self {
            held: Some(held),
            name,
            disk,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What is held; an error only where it was taken out before.
    pub(super) fn get(&self) -> Result<&T> {
        self.held.as_ref().ok_or_else(|| empty(&self.name))
    }

    pub(super) fn get_mut(&mut self) -> Result<&mut T> {
        let Self { held, name, .. } = self;
        held.as_mut().ok_or_else(|| empty(name))
    }

    pub(super) fn into_inner(mut self) -> Result<T> {
        self.held.take().ok_or_else(|| empty(&self.name))
    }
}

fn empty(name: &str) -> Error {
    Error::internal(format!("{name} was taken away before"))
}

impl<T: Send + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        let Some(held) = self.held.take() else {
            return;
        };
        let last = Last(Some(held), self.disk.writes.clone());
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (disk, name) = (self.disk.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move {
            let end = |_: &_| {
                last.end();
                Ok(())
            };
            let _ = disk.begin(Touch::Remove, &name, end).await;
        });
    }
}

/// What is to end. Where no thread could be had for it, it ends here and now, or never if the storage is silent.
struct Last<T>(Option<T>, Arc<Lane>);

impl<T> Last<T> {
    fn end(mut self) {
        drop(self.0.take());
    }
}

impl<T> Drop for Last<T> {
    fn drop(&mut self) {
        let held = self.0.take();
        if self.1.lock().unanswered(Instant::now()) > 0 {
            std::mem::forget(held);
        }
    }
}

fn flatten<T>(ended: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    ended.map_err(|e| Error::internal(format!("a store operation ended early: {e}")))?
}

impl Lane {
    fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            threads: Arc::new(Semaphore::new(threads)),
            probes: Arc::new(Semaphore::new(PROBES)),
            under_way: Mutex::default(),
        })
    }

    /// Waits for a thread, as long as those that have one get on.
    async fn enter(self: &Arc<Self>, path: &str, limit: Duration) -> Result<Pass> {
        loop {
            let turn = self.lock().turn(path, Instant::now());
            let thread = match turn {
                Turn::Refused => return Err(silent(path)),
                Turn::Probe => match self.probes.clone().try_acquire_owned() {
                    Ok(thread) => return Ok(self.pass(path, limit, thread)),
                    Err(_) => return Err(silent(path)),
                },
                Turn::InLine => self.threads.clone().acquire_owned(),
            };
            let Ok(thread) = timeout(limit, thread).await else {
                let got_on = self.lock().got_on(limit, Instant::now());
                match got_on {
                    true => continue,
                    false => return Err(silent(path)),
                }
            };
            let thread = thread.map_err(|_| silent(path))?;
            let turn = self.lock().turn(path, Instant::now());
            match turn {
                // It may have fallen silent while this one stood in line.
                Turn::Refused => return Err(silent(path)),
                Turn::InLine | Turn::Probe => return Ok(self.pass(path, limit, thread)),
            }
        }
    }

    fn pass(self: &Arc<Self>, path: &str, limit: Duration, thread: OwnedSemaphorePermit) -> Pass {
        let begun = self.lock().begin(path, limit, Instant::now());
        Pass {
            lane: self.clone(),
            begun,
            _thread: thread,
        }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn silent(path: &str) -> Error {
    Error::store(format!(
        "{path} wasn't looked for: the store's disk doesn't answer and is left alone for a moment"
    ))
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.lane.lock().end(&self.begun, Instant::now());
    }
}

impl UnderWay {
    /// Whether an operation on `path` may begin.
    fn turn(&mut self, path: &str, now: Instant) -> Turn {
        let mut stuck = self.operations.iter().filter(|begun| begun.is_stuck(now));
        // One bad block must not take one thread after the other.
        if stuck.any(|begun| begun.path == path) {
            return Turn::Refused;
        }
        if self.unanswered(now) < STUCK {
            self.pause = None;
            return Turn::InLine;
        }
        let length = match &self.pause {
            None => FIRST_PAUSE,
            Some(pause) if now < pause.until => return Turn::Refused,
            Some(pause) => (pause.length * 2).min(LONGEST_PAUSE),
        };
        let (until, first) = (now + length, self.pause.is_none());
        self.pause = Some(Pause { until, length });
        match first {
            true => Turn::Refused,
            false => Turn::Probe,
        }
    }

    /// How many are stuck that began after everything that has come to an end.
    fn unanswered(&self, now: Instant) -> usize {
        let since = |begun: &&Arc<Begun>| self.answered.is_none_or(|last| begun.at > last);
        let stuck = self.operations.iter().filter(|begun| begun.is_stuck(now));
        stuck.filter(since).count()
    }

    /// Whether anything came to its end or got on within that time.
    fn got_on(&self, within: Duration, now: Instant) -> bool {
        let lately = |at: Instant| now.saturating_duration_since(at) < within;
        self.ended.is_some_and(lately) || self.operations.iter().any(|begun| !begun.is_stuck(now))
    }

    fn begin(&mut self, path: &str, limit: Duration, now: Instant) -> Arc<Begun> {
        let limit = match self.unanswered(now) {
            0 => limit,
            _ => limit / HASTE,
        };
        let begun = Arc::new(Begun {
            path: path.to_owned(),
            at: now,
            limit,
            pulse: Pulse {
                from: now,
                last: AtomicU64::new(0),
            },
        });
        self.operations.push(begun.clone());
        begun
    }

    fn end(&mut self, begun: &Arc<Begun>, now: Instant) {
        self.operations.retain(|other| !Arc::ptr_eq(other, begun));
        self.answered = self.answered.max(Some(begun.at));
        self.ended = Some(now);
    }
}

impl Begun {
    /// How much longer it may take; `None` when it is stuck.
    fn left(&self, now: Instant) -> Option<Duration> {
        let silent_for = now.saturating_duration_since(self.pulse.last());
        self.limit
            .checked_sub(silent_for)
            .filter(|left| !left.is_zero())
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.left(now).is_none()
    }
}

impl Pulse {
    /// Notes that the operation gets on.
    pub fn beat(&self) {
        let since = u64::try_from(self.from.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.from + Duration::from_micros(self.last.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const LATER: Duration = Duration::from_secs(6);

    fn with_stuck(count: usize, now: Instant) -> (UnderWay, Vec<Arc<Begun>>) {
        let mut under_way = UnderWay::default();
        let stuck = (0..count).map(|n| under_way.begin(&n.to_string(), LIMIT, now));
        let stuck = stuck.collect();
        (under_way, stuck)
    }

    #[test]
    fn a_disk_that_is_silent_is_left_alone_and_probed_ever_more_seldom() {
        let start = Instant::now();
        let (mut under_way, _stuck) = with_stuck(STUCK, start);
        assert_eq!(under_way.turn("x", start + LIMIT / 2), Turn::InLine);
        let mut now = start + LATER;
        assert_eq!(under_way.turn("x", now), Turn::Refused);
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = Duration::from_secs(pause);
            assert_eq!(
                under_way.turn("x", now + pause - Duration::from_millis(1)),
                Turn::Refused
            );
            now += pause;
            assert_eq!(under_way.turn("x", now), Turn::Probe, "after {pause:?}");
            assert_eq!(under_way.turn("y", now), Turn::Refused, "one at a time");
        }
    }

    #[test]
    fn a_probe_that_comes_back_opens_the_way_for_all() {
        let start = Instant::now();
        let (mut under_way, _stuck) = with_stuck(2 * STUCK, start);
        let now = start + LATER;
        assert_eq!(under_way.turn("x", now), Turn::Refused);
        let probe = under_way.begin("x", LIMIT, now);
        under_way.end(&probe, now);
        assert_eq!(under_way.turn("y", now), Turn::InLine);
    }

    #[test]
    fn what_was_stuck_and_comes_back_counts_for_those_before_it() {
        let start = Instant::now();
        let (mut under_way, stuck) = with_stuck(STUCK + 1, start);
        let now = start + LATER;
        for begun in stuck.iter().take(2) {
            under_way.end(begun, now);
        }
        assert_eq!(under_way.turn("x", now), Turn::InLine);
    }

    /// Every request for it would take a thread that never comes back.
    #[test]
    fn a_file_on_which_somebody_is_stuck_is_not_asked_for_again() {
        let start = Instant::now();
        let (mut under_way, stuck) = with_stuck(1, start);
        let now = start + LATER;
        assert_eq!(under_way.turn("0", now), Turn::Refused);
        assert_eq!(under_way.turn("1", now), Turn::InLine);
        under_way.end(&stuck[0], now);
        assert_eq!(under_way.turn("0", now), Turn::InLine);
    }

    #[test]
    fn nobody_waits_as_long_as_the_first() {
        let start = Instant::now();
        let (mut under_way, _stuck) = with_stuck(1, start);
        assert_eq!(under_way.begin("x", LIMIT, start).limit, LIMIT);
        let next = under_way.begin("y", LIMIT, start + LATER);
        assert_eq!(next.limit, LIMIT / HASTE);
    }

    /// A large file on a slow disk takes long, and isn't stuck.
    #[test]
    fn what_gets_on_is_not_stuck() {
        let before = Instant::now();
        let mut under_way = UnderWay::default();
        let begun = under_way.begin("x", LIMIT, before);
        std::thread::sleep(Duration::from_millis(2));
        begun.pulse.beat();
        assert!(begun.is_stuck(begun.pulse.last() + LIMIT));
        assert!(!begun.is_stuck(before + LIMIT));
    }

    #[tokio::test]
    async fn whoever_waits_for_a_silent_disk_is_told_and_its_threads_are_bounded() {
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = Mutex::new(hold);
        let stall: Stall = Arc::new(move |_| {
            let _ = hold.lock().unwrap_or_else(PoisonError::into_inner).recv();
        });
        let disk = Disk::new()
            .with_stall_timeout(Duration::from_millis(100))
            .with_stall(stall);
        let asked: Vec<_> = (0..100)
            .map(|n| {
                let disk = disk.clone();
                tokio::spawn(async move {
                    let path = n.to_string();
                    disk.run(Touch::Load, &path, |_| Ok(())).await.is_ok()
                })
            })
            .collect();
        for answer in asked {
            assert!(!answer.await.expect("an answer"), "it can't have answered");
        }
        let stuck = disk.reads.lock().operations.len();
        assert!((STUCK..=READERS + PROBES).contains(&stuck), "{stuck}");
        let written = disk.run(Touch::Save, "w", |_| Ok(())).await;
        assert!(written.is_err(), "writes are stuck as well, on their own");
        drop(release);
        while !disk.reads.lock().operations.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let again = disk.run(Touch::Load, "x", |_| Ok(7)).await;
        assert_eq!(again.expect("an answer"), 7);
    }
}
