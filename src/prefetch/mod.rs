//! [`Prefetch`]: the store filled before anyone asks, on the way that a client's request takes: the same checks, the same store, the same line for upstream.

mod list;
mod needed;
mod packaged;
mod parallel;
mod patience;
mod pick;
pub mod readiness;
mod service;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

pub use list::{Aside, List, lockfile};
pub use needed::{Missing, Needed};
pub use packaged::{Packaged, lockfile_in};
pub use pick::Choice;
pub use service::{Warm, keep_warm};

use patience::{Patience, Tries};
use readiness::Look;

use crate::{
    domain::{CrateKey, CrateName, IndexKey, Key, Outcome, RegistryName, Wanted},
    error::{Error, Kind, Result},
    mirror::{CrateBody, Found, IndexEntry, Mirror},
    store::{Links, Next, Sight, Store},
};

/// How far a run is; may be looked at while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// How many things there are to do.
    pub total: AtomicU64,
    /// How many are done, one way or another.
    pub done: AtomicU64,
    /// How many bytes have come from upstream.
    pub bytes: AtomicU64,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// How many things came from upstream.
    pub fetched: u64,
    /// How many were here already.
    pub here: u64,
    /// What couldn't be had.
    pub missing: Vec<Missing>,
    /// The files that are here now.
    pub kept: Vec<CrateKey>,
}

/// Whoever fills the store. Cheap to clone.
#[derive(Clone)]
pub struct Prefetch {
    mirror: Mirror,
    at_once: usize,
    look: Look,
    clock: fn() -> SystemTime,
    progress: Arc<Progress>,
    patience: Arc<Patience>,
}

/// One thing fetched.
enum Got {
    /// It came from upstream.
    Fetched(Option<CrateKey>),
    /// It was here.
    Here(Option<CrateKey>),
}

impl Report {
    /// Adds what another run came to.
    pub fn add(&mut self, other: Self) {
        self.fetched += other.fetched;
        self.here += other.here;
        self.missing.extend(other.missing);
        self.kept.extend(other.kept);
    }
}

impl Needed {
    /// What it is called in a list of what is wanted.
    pub fn label(&self) -> String {
        Wanted::exactly(self.registry, &self.id).to_string()
    }
}

impl Prefetch {
    /// Fills the store of `mirror`, asking for `at_once` things at once. What is stored is looked at as closely as `look` says before it counts as
    /// here; a glance leaves alone what clients have in memory.
    pub fn new(mirror: Mirror, at_once: usize, look: Look, clock: fn() -> SystemTime) -> Self {
        Self {
            mirror,
            at_once: at_once.max(1),
            look,
            clock,
            progress: Arc::default(),
            patience: Arc::default(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Fetches what isn't here.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics; what can't be had is in the report.
    pub async fn fetch(&self, needed: Vec<Needed>) -> Result<Report> {
        self.all(needed, |this, needed| async move {
            let label = needed.label();
            (this.file(&needed).await, label, needed.by)
        })
        .await
    }

    /// Has the index files under `keys` confirmed or replaced by upstream. One that upstream no longer has counts as done.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics; what can't be had is in the report.
    pub async fn refresh(&self, keys: Vec<IndexKey>) -> Result<Report> {
        self.all(keys, |this, key| async move {
            let got = this.refreshed(key).await;
            (got, format!("{}/{}", key.registry, key.path), Vec::new())
        })
        .await
    }

    /// One index file that upstream has confirmed or replaced just now.
    async fn refreshed(&self, key: IndexKey) -> Result<Got> {
        let found = match self.index(key.registry, key.name()).await {
            Err(e) if e.kind() == Kind::Absent => return Ok(Got::Here(None)),
            done => done?,
        };
        match found.outcome {
            Outcome::Miss => {
                self.count(found.value.file().body().len());
                Ok(Got::Fetched(None))
            }
            Outcome::Stale => Err(Error::upstream_unavailable(format!(
                "{} couldn't say whether the copy here is current",
                key.registry
            ))),
            Outcome::Hit | Outcome::Revalidated | Outcome::Absent | Outcome::Offline => {
                Ok(Got::Here(None))
            }
        }
    }

    /// Does all of something, keeping count.
    async fn all<T: Send + 'static, F>(
        &self,
        items: Vec<T>,
        work: impl Fn(Self, T) -> F,
    ) -> Result<Report>
    where
        F: Future<Output = (Result<Got>, String, Vec<Arc<str>>)> + Send + 'static,
    {
        let progress = &self.progress;
        progress
            .total
            .fetch_add(items.len() as u64, Ordering::Relaxed);
        let work = |item| {
            let (done, progress) = (work(self.clone(), item), progress.clone());
            async move {
                let done = done.await;
                progress.done.fetch_add(1, Ordering::Relaxed);
                done
            }
        };
        let mut report = Report::default();
        for (got, what, by) in parallel::each(items, self.at_once, work).await? {
            match got {
                Ok(Got::Fetched(key)) => {
                    report.fetched += 1;
                    report.kept.extend(key);
                }
                Ok(Got::Here(key)) => {
                    report.here += 1;
                    report.kept.extend(key);
                }
                Err(e) => report.missing.push(Missing {
                    what,
                    why: e.to_string(),
                    by,
                }),
            }
        }
        Ok(report)
    }

    /// An index file that upstream has confirmed as lately as it must be.
    async fn index(
        &self,
        registry: RegistryName,
        name: CrateName,
    ) -> Result<Found<Arc<IndexEntry>>> {
        let mut tries = Tries::default();
        loop {
            let upstream = self.mirror.registry(Some(registry))?;
            match self
                .mirror
                .index_alone(upstream, name, (self.clock)())
                .await
            {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => return self.patience.settle(tries, done),
            }
        }
    }

    /// One file, fetched if it isn't here.
    async fn file(&self, needed: &Needed) -> Result<Got> {
        let mut tries = Tries::default();
        loop {
            match self.try_file(needed).await {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => return self.patience.settle(tries, done),
            }
        }
    }

    async fn try_file(&self, needed: &Needed) -> Result<Got> {
        let Needed { registry, id, .. } = needed;
        let upstream = self.mirror.registry(Some(*registry))?;
        let now = (self.clock)();
        let found = self.mirror.index_alone(upstream, id.name, now).await?;
        let Some(listed) = found.value.file().find(id) else {
            let what = format!("{registry} has no version {} of {}", id.version, id.name);
            return Err(match found.outcome {
                // Published since, perhaps.
                Outcome::Stale => Error::upstream_unavailable(format!("{what} that is known here")),
                Outcome::Hit
                | Outcome::Revalidated
                | Outcome::Miss
                | Outcome::Absent
                | Outcome::Offline => Error::absent(what),
            });
        };
        let sha256 = listed.sha256;
        if let Some(wanted) = needed.sha256
            && wanted != sha256
        {
            return Err(Error::absent(format!(
                "its checksum must be {wanted}, but the index of {registry} says {sha256}: it isn't the file that was locked"
            )));
        }
        let key = CrateKey {
            registry: *registry,
            id: *id,
            sha256,
        };
        if self.look == Look::Glance && self.is_stored(key).await {
            return Ok(Got::Here(Some(key)));
        }
        let body = self.mirror.crate_file(upstream, id, (self.clock)()).await?;
        self.drain(body.value).await?;
        Ok(match body.outcome {
            Outcome::Miss => Got::Fetched(Some(key)),
            Outcome::Hit
            | Outcome::Revalidated
            | Outcome::Stale
            | Outcome::Absent
            | Outcome::Offline => Got::Here(Some(key)),
        })
    }

    /// Whether there is such a file, as far as a glance can tell; eviction sees that it is used.
    async fn is_stored(&self, key: CrateKey) -> bool {
        let store = self.mirror.store();
        let size = store.mark_used(&Key::Crate(key), (self.clock)()).await;
        matches!(size, Ok(Some(1..)))
    }

    fn count(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads to the end, which is where the checksum is checked.
    async fn drain(&self, body: CrateBody) -> Result<()> {
        match body {
            CrateBody::Whole(_) => {}
            CrateBody::Stored(mut reader) => while reader.next().await.transpose()?.is_some() {},
            CrateBody::Arriving(mut reader, _) => {
                while let Some(bytes) = reader.next().await.transpose()? {
                    self.count(bytes.len());
                }
            }
        }
        Ok(())
    }
}

/// The index files that a store has of these registries.
///
/// # Errors
/// [`Kind::Store`] when any of the storage can't be read.
pub async fn stored_index_files(store: &Store, of: Vec<RegistryName>) -> Result<Vec<IndexKey>> {
    let visit = move |found: &mut Result<Vec<IndexKey>>, sight: Sight| match (sight, &mut *found) {
        (Sight::Object(stored), Ok(keys)) => {
            if let Key::Index(key) = stored.key
                && of.contains(&key.registry)
            {
                keys.push(key);
            }
            Next::Go
        }
        (Sight::Unread(e), Ok(_)) => {
            *found = Err(e);
            Next::Stop
        }
        (Sight::Odd(..) | Sight::Removed(_) | Sight::Unchanged(_), _) | (_, Err(_)) => Next::Go,
    };
    store.each(Links::Followed, Ok(Vec::new()), visit).await?
}

/// Those of the files fetched that didn't make it into the store: a full disk stops nobody who asks for them, but whoever carries the store away
/// has to know.
pub async fn not_stored(store: &Store, kept: &[CrateKey]) -> Vec<CrateKey> {
    let mut lost = Vec::new();
    for key in kept {
        let index = Key::Index(IndexKey::new(key.registry, key.id.name));
        for part in [Key::Crate(*key), index] {
            // What can't be looked at can't be carried away either.
            if !matches!(store.size_of(&part).await, Ok(Some(_))) {
                lost.push(*key);
                break;
            }
        }
    }
    lost
}
