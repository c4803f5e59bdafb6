//! [`Prefetcher`]: fills the store through the mirror, as a client would by asking.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    missing::Missing,
    parallel,
    patience::{Patience, Tries},
    readiness::CheckDepth,
    report::{Report, RunProgress},
};
use crate::{
    domain::{CrateKey, CrateName, IndexKey, Key, Outcome, RegistryName, Selected, View},
    error::{Error, Kind, Result},
    mirror::{FileBody, Found, IndexEntry, Mirror},
};

/// Fills the store. Cheap to clone.
#[derive(Clone)]
pub struct Prefetcher {
    pub(super) mirror: Mirror,
    pub(super) at_once: usize,
    pub(super) depth: CheckDepth,
    pub(super) clock: fn() -> SystemTime,
    progress: Arc<RunProgress>,
    pub(super) patience: Arc<Patience>,
}

/// One thing fetched.
enum Got {
    /// It came from upstream.
    Fetched(Option<CrateKey>),
    /// It was here.
    Here(Option<CrateKey>),
    /// The rules keep it out, which nobody has asked for by name; this is why.
    LeftOut(String),
}

impl Prefetcher {
    /// Fills the store of `mirror`, asking for `at_once` things at once. What is stored is looked at as closely as `depth` says before it counts as
    /// here; a glance leaves alone what clients have in memory.
    pub fn new(
        mirror: Mirror,
        at_once: usize,
        depth: CheckDepth,
        clock: fn() -> SystemTime,
    ) -> Self {
        Self {
            mirror,
            at_once: at_once.max(1),
            depth,
            clock,
            progress: Arc::default(),
            patience: Arc::default(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> &Arc<RunProgress> {
        &self.progress
    }

    /// Fetches what isn't here.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics; what can't be had is in the report.
    pub async fn fetch(&self, selected: Vec<Selected>) -> Result<Report> {
        self.all(selected, |this, selected| async move {
            let label = selected.label();
            (this.file(&selected).await, label, selected.by)
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
            Err(e) if e.kind() == Kind::Denied => return Ok(Got::LeftOut(e.message().to_owned())),
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
            Outcome::Hit
            | Outcome::Revalidated
            | Outcome::Absent
            | Outcome::Offline
            | Outcome::Denied
            | Outcome::Redirect => Ok(Got::Here(None)),
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
                Ok(Got::LeftOut(why)) => report.left_out.push(Missing { what, why, by }),
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
    pub(super) async fn index(
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
    async fn file(&self, selected: &Selected) -> Result<Got> {
        let mut tries = Tries::default();
        loop {
            match self.try_file(selected).await {
                Err(e) if self.patience.again(&mut tries, &e).await => {}
                done => return self.patience.settle(tries, done),
            }
        }
    }

    async fn try_file(&self, selected: &Selected) -> Result<Got> {
        let Selected { registry, id, .. } = selected;
        let upstream = self.mirror.registry(Some(*registry))?;
        let now = (self.clock)();
        let found = self.mirror.index_alone(upstream, id.name, now).await?;
        let file = found.value.file();
        let Some(place) = file.position(id) else {
            let what = format!("{registry} has no version {} of {}", id.version, id.name);
            return Err(match found.outcome {
                // Published since, perhaps.
                Outcome::Stale => Error::upstream_unavailable(format!("{what} that is known here")),
                Outcome::Hit
                | Outcome::Revalidated
                | Outcome::Miss
                | Outcome::Absent
                | Outcome::Offline
                | Outcome::Denied
                | Outcome::Redirect => Error::absent(what),
            });
        };
        let sha256 = file.versions()[place].sha256;
        if let Some(locked) = selected.sha256
            && locked != sha256
        {
            return Err(Error::absent(format!(
                "its checksum must be {locked}, but the index of {registry} says {sha256}: it isn't the file that was locked"
            )));
        }
        let key = CrateKey {
            registry: *registry,
            id: *id,
            sha256,
        };
        // What the rules keep out is no use although it is stored; why, who asks for it is told.
        let is_allowed = !found.value.hides(place);
        if self.depth == CheckDepth::Glance && is_allowed && self.is_stored(key).await {
            return Ok(Got::Here(Some(key)));
        }
        let now = (self.clock)();
        let found = self
            .mirror
            .crate_file(upstream, id, View::Usual, now)
            .await?;
        let outcome = found.outcome;
        self.drain(found).await?;
        Ok(match outcome {
            Outcome::Miss => Got::Fetched(Some(key)),
            Outcome::Hit
            | Outcome::Revalidated
            | Outcome::Stale
            | Outcome::Absent
            | Outcome::Offline
            | Outcome::Denied
            | Outcome::Redirect => Got::Here(Some(key)),
        })
    }

    /// Whether there is such a file, as far as a glance can tell; eviction sees that it is used.
    async fn is_stored(&self, key: CrateKey) -> bool {
        let store = self.mirror.store();
        let size = store.mark_used(&Key::from(key), (self.clock)()).await;
        matches!(size, Ok(Some(1..)))
    }

    fn count(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Reads to the end, which is where the checksum is checked.
    async fn drain(&self, found: Found<FileBody>) -> Result<()> {
        let (mut body, outcome) = (found.value, found.outcome);
        if body.whole().is_some() {
            return Ok(());
        }
        while let Some(bytes) = body.next().await.transpose()? {
            if outcome == Outcome::Miss {
                self.count(bytes.len());
            }
        }
        Ok(())
    }
}
