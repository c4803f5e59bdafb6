//! [`Lane`]: the threads of one kind of work, and who may have one.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::operations::{MayBegin, Operation, Operations};
use crate::error::{Error, Result};

/// Those that find out whether the disk is back may get stuck as well.
pub(super) const PROBES: usize = 8;

/// Threads of one kind of work: a pool that is full and takes no writes may be read all the same.
pub(super) struct Lane {
    threads: Arc<Semaphore>,
    probes: Arc<Semaphore>,
    operations: Mutex<Operations>,
}

/// A thread of a lane, given back when its work comes to an end.
pub(super) struct DiskThread {
    lane: Arc<Lane>,
    pub(super) operation: Arc<Operation>,
    _thread: OwnedSemaphorePermit,
}

impl Lane {
    pub(super) fn new(threads: usize) -> Arc<Self> {
        Arc::new(Self {
            threads: Arc::new(Semaphore::new(threads)),
            probes: Arc::new(Semaphore::new(PROBES)),
            operations: Mutex::default(),
        })
    }

    /// Waits for a thread, as long as those that have one get on.
    pub(super) async fn enter(self: &Arc<Self>, path: &str, limit: Duration) -> Result<DiskThread> {
        loop {
            let may_begin = self.lock().may_begin(path, Instant::now());
            let thread = match may_begin {
                MayBegin::Refused => return Err(silent(path)),
                MayBegin::Probe => match self.probes.clone().try_acquire_owned() {
                    Ok(thread) => return Ok(self.thread(path, limit, thread)),
                    Err(_) => return Err(silent(path)),
                },
                MayBegin::InLine => self.threads.clone().acquire_owned(),
            };
            let Ok(thread) = timeout(limit, thread).await else {
                let got_on = self.lock().got_on(limit, Instant::now());
                match got_on {
                    true => continue,
                    false => return Err(silent(path)),
                }
            };
            let thread = thread.map_err(|_| silent(path))?;
            let may_begin = self.lock().may_begin(path, Instant::now());
            match may_begin {
                // It may have fallen silent while this one stood in line.
                MayBegin::Refused => return Err(silent(path)),
                MayBegin::InLine | MayBegin::Probe => return Ok(self.thread(path, limit, thread)),
            }
        }
    }

    fn thread(
        self: &Arc<Self>,
        path: &str,
        limit: Duration,
        thread: OwnedSemaphorePermit,
    ) -> DiskThread {
        let operation = self.lock().begin(path, limit, Instant::now());
        DiskThread {
            lane: self.clone(),
            operation,
            _thread: thread,
        }
    }

    /// Whether an operation is stuck and nothing has come to an end since.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.lock().unanswered(now) > 0
    }

    /// How many operations are under way.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> usize {
        self.lock().count()
    }

    fn lock(&self) -> MutexGuard<'_, Operations> {
        self.operations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn silent(path: &str) -> Error {
    Error::store(format!(
        "{path} wasn't looked for: the store's disk doesn't answer and is left alone for a moment"
    ))
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.lane.lock().end(&self.operation, Instant::now());
    }
}
