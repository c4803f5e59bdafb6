//! [`Recorder`]: takes events on the way of a request, and has a thread of its own write them down.

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread::{self, JoinHandle, Thread},
    time::{Duration, Instant},
};

use super::{
    event::Event,
    log::{Log, Rotation},
};
use crate::{
    error::{Error, Result},
    metrics::Metrics,
};

/// So many events wait to be written, some 400 bytes each; more are lost.
const QUEUE: usize = 4_096;
/// How long events are gathered before they are written.
const GATHER: Duration = Duration::from_millis(250);
/// So much text is written at once.
const CHUNK: usize = 64 << 10;
/// How often a file that can't be written is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What can't be written down, and so mustn't be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// Whether anything is handed out that can't be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// It is, and what is lost is counted.
    BestEffort,
    /// It isn't.
    Required,
}

/// Where events go.
pub struct Recorder {
    duty: Duty,
    queue: SyncSender<Event>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    writer: Thread,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    /// At most so many are in the queue.
    queued: AtomicUsize,
    /// The last write has failed.
    is_failing: AtomicBool,
    is_ending: AtomicBool,
}

impl Recorder {
    /// Opens the file and begins to take events.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the file can't be opened or made.
    pub fn start(
        path: &Path,
        rotation: Rotation,
        duty: Duty,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let unusable = |e: std::io::Error| {
            Error::config(format!(
                "`audit.path`: {} can't be written: {e}; name a file in a folder that is there and that this program may write to",
                path.display()
            ))
            .with_source(e)
        };
        let log = Log::open(path, rotation).map_err(unusable)?;
        let (queue, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let writer = Writer {
            log,
            events,
            shared: shared.clone(),
            metrics: metrics.clone(),
            failed: None,
            lost_before: metrics.audit_lost.get(),
        };
        let thread = thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(unusable)?;
        Ok(Self {
            duty,
            queue,
            shared,
            metrics,
            writer: thread.thread().clone(),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes an event. Waits for nothing, and asks for no memory.
    ///
    /// # Errors
    /// [`Unwritable`] where writing down is required, and the file can't be written at the moment, or not fast enough.
    pub fn record(&self, event: Event) -> Result<(), Unwritable> {
        let is_required = self.duty == Duty::Required;
        if is_required && self.is_failing() {
            return Err(Unwritable);
        }
        if self.queue.try_send(event).is_err() {
            if is_required {
                return Err(Unwritable);
            }
            self.metrics.audit_lost.inc();
            return Ok(());
        }
        // Only once in so many: waking a thread takes longer than all the rest.
        if self.shared.queued.fetch_add(1, Ordering::Relaxed) == QUEUE / 2 {
            self.writer.unpark();
        }
        Ok(())
    }

    /// Whether the last write has failed.
    pub fn is_failing(&self) -> bool {
        self.shared.is_failing.load(Ordering::Relaxed)
    }

    /// Writes what is in the queue and ends, within this time if the file can be written. What comes afterwards is lost.
    pub async fn close(&self, within: Duration) {
        self.shared.is_ending.store(true, Ordering::Release);
        self.writer.unpark();
        let thread = {
            let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            thread.take()
        };
        let until = Instant::now() + within;
        while thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            if Instant::now() >= until {
                tracing::error!("the audit log isn't written to its end: the disk takes too long");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The thread's side.
struct Writer {
    log: Log,
    events: Receiver<Event>,
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    /// When a write has failed last, if the last one has.
    failed: Option<Instant>,
    /// How many were lost when the file could be written last.
    lost_before: u64,
}

impl Writer {
    fn run(mut self) {
        loop {
            thread::park_timeout(GATHER);
            let is_last = self.shared.is_ending.load(Ordering::Acquire);
            self.log.look();
            let mut queue = self.drain(is_last);
            if is_last {
                // What has come in between.
                queue = self.drain(true);
            }
            if is_last || queue == Queue::Closed {
                self.log.sync();
                let left = self.log.waiting().iter().filter(|b| **b == b'\n').count();
                if left > 0 {
                    tracing::error!(
                        "the last {left} lines of the audit log and more can't be written and are lost"
                    );
                }
                return;
            }
        }
    }

    /// Writes what is in the queue, as far as the file can be written.
    fn drain(&mut self, tries_at_once: bool) -> Queue {
        let waits = |failed: Instant| failed.elapsed() < TRY_AGAIN_AFTER;
        if !tries_at_once && self.failed.is_some_and(waits) {
            return Queue::Open;
        }
        loop {
            let queue = self.gather();
            if let Err(e) = self.log.write() {
                self.fails(&e);
                // What is left stays in the queue, for which there is an end.
                return queue.unless_full();
            }
            self.works();
            match queue {
                Queue::Full => {}
                Queue::Open | Queue::Closed => return queue,
            }
        }
    }

    /// Takes out of the queue what is written at once.
    fn gather(&mut self) -> Queue {
        self.shared.queued.store(0, Ordering::Relaxed);
        while self.log.waiting().len() < CHUNK {
            match self.events.try_recv() {
                Ok(event) => event.write(self.log.waiting()),
                Err(TryRecvError::Empty) => return Queue::Open,
                Err(TryRecvError::Disconnected) => return Queue::Closed,
            }
        }
        Queue::Full
    }

    fn fails(&mut self, why: &std::io::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            self.lost_before = self.metrics.audit_lost.get();
            self.shared.is_failing.store(true, Ordering::Relaxed);
            self.metrics.audit_unwritable.set(1);
            tracing::error!(
                "the audit log can't be written: {why}; it is tried again every second, and what there is no room for until then is lost and counted"
            );
        }
    }

    fn works(&mut self) {
        if self.failed.take().is_some() {
            let lost = self.metrics.audit_lost.get() - self.lost_before;
            self.shared.is_failing.store(false, Ordering::Relaxed);
            self.metrics.audit_unwritable.set(0);
            tracing::warn!("the audit log can be written again; {lost} lines were lost");
        }
    }
}

/// What is left in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    /// Nothing, at the moment.
    Open,
    /// Nothing, and nothing more will come.
    Closed,
    /// There may be more.
    Full,
}

impl Queue {
    fn unless_full(self) -> Self {
        match self {
            Self::Full => Self::Open,
            Self::Open | Self::Closed => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use tempfile::TempDir;

    use super::{
        super::event::tests::{handed_out, line},
        *,
    };

    const ROTATION: Rotation = Rotation {
        max_size: 100 << 20,
        keep: 3,
    };

    fn recorder(duty: Duty) -> (TempDir, PathBuf, Recorder, Arc<Metrics>) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl");
        let metrics = Arc::new(Metrics::new());
        let recorder = Recorder::start(&path, ROTATION, duty, metrics.clone());
        (folder, path, recorder.expect("a recorder"), metrics)
    }

    fn event(n: u64) -> Event {
        handed_out("serde", "1.0.0", n)
    }

    fn content(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_default()
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < Duration::from_secs(10), "{what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Puts a folder in the file's place, which from here is the same as a full disk, and waits until that is noticed.
    fn fill_the_disk(path: &Path, recorder: &Recorder) {
        fs::remove_file(path).expect("removed");
        fs::create_dir(path).expect("a folder");
        recorder.record(event(0)).expect("nobody knows yet");
        until("it is noticed", || recorder.is_failing());
    }

    #[tokio::test]
    async fn what_is_taken_is_written_within_a_second_and_at_the_end() {
        let (_folder, path, recorder, metrics) = recorder(Duty::Required);
        let expected = line(&event(1));
        let started = Instant::now();
        recorder.record(event(1)).expect("taken");
        until("it is written", || content(&path) == expected);
        let took = started.elapsed();
        // A quarter of a second, and what a busy machine takes.
        assert!(took < Duration::from_secs(10), "{took:?}");
        let more = 3 * QUEUE as u64;
        for n in 0..more {
            while recorder.record(event(n)).is_err() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        recorder.close(Duration::from_secs(10)).await;
        assert_eq!(content(&path).lines().count() as u64, 1 + more);
        assert_eq!(metrics.audit_lost.get(), 0);
    }

    #[test]
    fn a_recorder_that_is_dropped_writes_what_it_has() {
        let (_folder, path, recorder, _) = recorder(Duty::BestEffort);
        for n in 0..100 {
            recorder.record(event(n)).expect("taken");
        }
        drop(recorder);
        until("all are written", || content(&path).lines().count() == 100);
    }

    /// That the disk was full would otherwise be found out by whoever looks for a line that isn't there.
    #[tokio::test]
    async fn what_cannot_be_written_is_counted_and_it_goes_on_when_it_can() {
        let (_folder, path, recorder, metrics) = recorder(Duty::BestEffort);
        fill_the_disk(&path, &recorder);
        assert_eq!(metrics.audit_unwritable.get(), 1);
        let started = Instant::now();
        let more = 2 * QUEUE as u64;
        for n in 0..more {
            recorder.record(event(n)).expect("handed out all the same");
        }
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "nobody waits: {took:?}");
        let lost = metrics.audit_lost.get();
        assert!(lost > 0 && lost < more, "{lost}");
        fs::remove_dir(&path).expect("removed");
        until("it goes on", || !recorder.is_failing());
        assert_eq!(metrics.audit_unwritable.get(), 0);
        recorder.close(Duration::from_secs(10)).await;
        let written = content(&path).lines().count() as u64;
        assert_eq!(written + metrics.audit_lost.get(), 1 + more);
    }

    #[tokio::test]
    async fn where_it_is_required_nothing_is_done_that_is_not_written() {
        let (_folder, path, recorder, metrics) = recorder(Duty::Required);
        fill_the_disk(&path, &recorder);
        for n in 1..2 * QUEUE as u64 {
            assert_eq!(recorder.record(event(n)), Err(Unwritable));
        }
        fs::remove_dir(&path).expect("removed");
        until("it goes on", || !recorder.is_failing());
        recorder.record(event(0)).expect("taken");
        recorder.close(Duration::from_secs(10)).await;
        assert_eq!(content(&path), line(&event(0)).repeat(2));
        assert_eq!(metrics.audit_lost.get(), 0);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_refused_at_the_start() {
        let metrics = Arc::new(Metrics::new());
        let path = Path::new("/nowhere/at/all/audit.jsonl");
        let started = Recorder::start(path, ROTATION, Duty::BestEffort, metrics);
        let said = started.err().expect("no folder").to_string();
        assert!(
            said.contains("`audit.path`: /nowhere/at/all/audit.jsonl"),
            "{said}"
        );
    }
}
