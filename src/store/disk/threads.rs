//! [`Disk`]: work on a disk, and who waits for it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    task::{JoinError, JoinHandle},
    time::timeout,
};

use super::{
    hook::Hook,
    lane::{Lane, PROBES},
    operations::Operation,
    pulse::Pulse,
    touch::Touch,
};
use crate::error::{Error, Result};

/// More at once gain nothing on a disk, and a stampede on a network mount waits its turn.
const READERS: usize = 24;
const WRITERS: usize = 16;
/// How many threads may be waiting for the disk at once, stuck ones included.
pub const THREADS: usize = READERS + WRITERS + 2 * PROBES;

/// How long the disk may take over one thing without getting on, when nobody says so.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where work on a disk is done. Cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct Disk {
    reads: Arc<Lane>,
    writes: Arc<Lane>,
    stall_timeout: Duration,
    hook: Hook,
}

/// Work that a thread is at; dropped, it goes on all the same.
pub(in crate::store) struct Working<T> {
    work: JoinHandle<Result<T>>,
    operation: Arc<Operation>,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            reads: Lane::new(READERS),
            writes: Lane::new(WRITERS),
            stall_timeout: STALL_TIMEOUT,
            hook: Hook::default(),
        }
    }
}

impl Disk {
    /// The same with another limit on how long it may take over one thing without getting on.
    pub(in crate::store) fn with_stall_timeout(self, stall_timeout: Duration) -> Self {
        Self {
            stall_timeout,
            ..self
        }
    }

    /// The same with something that is done before it is touched.
    #[cfg(feature = "testing")]
    pub(in crate::store) fn with_hook(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    pub(in crate::store) fn stall_timeout(&self) -> Duration {
        self.stall_timeout
    }

    pub(super) fn writes(&self) -> &Arc<Lane> {
        &self.writes
    }

    /// Does `work` with the file at `path` and waits for it as long as it gets on; it may go on when this has given up.
    pub(in crate::store) async fn run<T: Send + 'static>(
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
    pub(in crate::store) async fn begin<T: Send + 'static>(
        &self,
        what: Touch,
        path: &str,
        work: impl FnOnce(&Pulse) -> Result<T> + Send + 'static,
    ) -> Result<Working<T>> {
        let lane = match what {
            Touch::Load | Touch::Read | Touch::List | Touch::Look => &self.reads,
            Touch::Save | Touch::Remove => &self.writes,
        };
        let thread = lane.enter(path, self.stall_timeout).await?;
        let (operation, hook) = (thread.operation.clone(), self.hook.clone());
        let work = tokio::task::spawn_blocking(move || {
            hook.meet(what);
            work(&thread.operation.pulse)
        });
        Ok(Working { work, operation })
    }
}

impl<T> Working<T> {
    /// What it came to; `None` when it doesn't get on.
    pub(in crate::store) async fn in_time(&mut self) -> Option<Result<T>> {
        loop {
            let left = self.operation.left(Instant::now())?;
            if let Ok(ended) = timeout(left, &mut self.work).await {
                return Some(flatten(ended));
            }
        }
    }

    /// What it came to, however long it takes.
    pub(in crate::store) async fn ended(self) -> Result<T> {
        flatten(self.work.await)
    }

    /// What to say of it when it doesn't get on.
    pub(in crate::store) fn late(&self) -> Error {
        Error::store(format!(
            "{} didn't get on within {:?}: its disk doesn't answer",
            self.operation.path, self.operation.limit
        ))
    }
}

fn flatten<T>(ended: Result<Result<T>, JoinError>) -> Result<T> {
    ended.map_err(|e| Error::ended_early("a store operation", e))?
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::{
        super::{hook::DiskStall, operations::STUCK},
        *,
    };

    #[tokio::test]
    async fn whoever_waits_for_a_silent_disk_is_told_and_its_threads_are_bounded() {
        let (release, hold) = std::sync::mpsc::channel::<()>();
        let hold = Mutex::new(hold);
        let stall: DiskStall = Arc::new(move |_| {
            let _ = hold.lock().unwrap_or_else(PoisonError::into_inner).recv();
        });
        let disk = Disk::default()
            .with_stall_timeout(Duration::from_millis(100))
            .with_hook(Hook::new(stall));
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
        let stuck = disk.reads.under_way();
        assert!((STUCK..=READERS + PROBES).contains(&stuck), "{stuck}");
        let written = disk.run(Touch::Save, "w", |_| Ok(())).await;
        assert!(written.is_err(), "writes are stuck as well, on their own");
        drop(release);
        while disk.reads.under_way() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let again = disk.run(Touch::Load, "x", |_| Ok(7)).await;
        assert_eq!(again.expect("an answer"), 7);
    }
}
