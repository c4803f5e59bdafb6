//! [`Prefetch`]: the store filled before anyone asks, on the way that a client's request takes: the same checks, the same store, the same line for upstream.

mod list;
mod parallel;
mod service;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

pub use list::{Aside, List, lockfile};
pub use service::{Warm, keep_warm};

use super::{CrateBody, Found, IndexEntry, Mirror};
use crate::{
    domain::{
        CrateId, CrateKey, CrateName, IndexKey, Key, Outcome, RegistryName, Sha256, Wanted,
        wanted::{Range, Which},
    },
    error::{Error, Kind, Result},
    store::{Next, Store},
};

/// How often one thing is asked for again when upstream fails for reasons that pass; the first wait is a second, and each one is twice as long.
const REPETITIONS: u32 = 4;
/// The longest wait, whatever upstream wishes.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// When so many things in a row couldn't be had, upstream is down, and waiting for each one in turn would take hours.
const HOPELESS: u32 = 16;

/// One .crate file that has to be here.
#[derive(Clone, Debug)]
pub struct Needed {
    /// Of which registry.
    pub registry: RegistryName,
    /// Which crate and version.
    pub id: CrateId,
    /// What it must hash to, if whoever needs it knows.
    pub sha256: Option<Sha256>,
    /// Who needs it: Cargo.lock files by their path, or none if it was asked for by name.
    pub by: Vec<Arc<str>>,
}

/// Something that couldn't be had.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What it is, as a list of what is wanted has it.
    pub what: String,
    /// Why.
    pub why: String,
    /// Who needs it.
    pub by: Vec<Arc<str>>,
}

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

/// What names come to.
#[derive(Debug, Default)]
pub struct Choice {
    /// The files, each once.
    pub needed: Vec<Needed>,
    /// The names that come to nothing.
    pub missing: Vec<Missing>,
    /// What should be known of the others.
    pub notes: Vec<String>,
}

/// Whoever fills the store. Cheap to clone.
#[derive(Clone)]
pub struct Prefetch {
    mirror: Mirror,
    at_once: usize,
    clock: fn() -> SystemTime,
    progress: Arc<Progress>,
    /// How many things in a row couldn't be had although they may exist.
    failures: Arc<AtomicU32>,
}

/// One thing fetched.
enum Got {
    /// It came from upstream.
    Fetched(Option<CrateKey>),
    /// It was here.
    Here(Option<CrateKey>),
}

impl Needed {
    /// What it is called in a list of what is wanted.
    pub fn label(&self) -> String {
        Wanted::exactly(self.registry, &self.id).to_string()
    }
}

impl Prefetch {
    /// Fills the store of `mirror`, asking for `at_once` things at once.
    pub fn new(mirror: Mirror, at_once: usize, clock: fn() -> SystemTime) -> Self {
        Self {
            mirror,
            at_once: at_once.max(1),
            clock,
            progress: Arc::default(),
            failures: Arc::default(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// Looks up in the index which files are meant by names.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics.
    pub async fn pick(&self, wanted: Vec<Wanted>, range: Range) -> Result<Choice> {
        let work = |wanted: Wanted| {
            let this = self.clone();
            async move {
                let picked = this.pick_one(&wanted, range).await;
                (wanted, picked)
            }
        };
        let (mut choice, mut seen) = (Choice::default(), HashSet::new());
        for (wanted, picked) in parallel::each(wanted, self.at_once, work).await? {
            match picked {
                Ok((needed, note)) => {
                    let new = needed
                        .into_iter()
                        .filter(|needed| seen.insert((needed.registry, needed.id)));
                    choice.needed.extend(new);
                    choice.notes.extend(note);
                }
                Err(e) => choice.missing.push(Missing {
                    what: wanted.to_string(),
                    why: e.to_string(),
                    by: Vec::new(),
                }),
            }
        }
        Ok(choice)
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
            let got = match this.index(key.registry, key.name()).await {
                Ok(found) => match found.outcome {
                    Outcome::Miss => {
                        let bytes = found.value.file().body().len() as u64;
                        this.progress.bytes.fetch_add(bytes, Ordering::Relaxed);
                        Ok(Got::Fetched(None))
                    }
                    _ => Ok(Got::Here(None)),
                },
                Err(e) if e.kind() == Kind::Absent => Ok(Got::Here(None)),
                Err(e) => Err(e),
            };
            (got, format!("{}/{}", key.registry, key.path), Vec::new())
        })
        .await
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

    /// The files that one name comes to, and what should be known of it.
    async fn pick_one(
        &self,
        wanted: &Wanted,
        range: Range,
    ) -> Result<(Vec<Needed>, Option<String>)> {
        let registry = wanted.registry;
        let entry = self.spelt_anyhow(registry, wanted.name).await?;
        let file = entry.value.file();
        let picked = wanted.pick(file, range);
        let name = file.name();
        if picked.versions.is_empty() && !matches!(range, Range::Since(_)) {
            return Err(Error::absent(match &wanted.which {
                Which::Any => format!("{registry} has only yanked versions of {name}"),
                Which::Exact(version) => format!("{registry} has no version {version} of {name}"),
                Which::Matching(req) => {
                    format!("{registry} has no version of {name} that {req} allows")
                }
            }));
        }
        let note = (picked.undated > 0).then(|| {
            format!(
                "{} versions of {name} are left out: {registry} doesn't say when they were published",
                picked.undated
            )
        });
        let needed = picked.versions.iter().map(|listed| Needed {
            registry,
            id: CrateId {
                name,
                version: *listed.version(),
            },
            sha256: Some(listed.sha256),
            by: Vec::new(),
        });
        Ok((needed.collect(), note))
    }

    /// The index file of a crate whose `-` and `_` may be the other way round.
    async fn spelt_anyhow(
        &self,
        registry: RegistryName,
        name: CrateName,
    ) -> Result<Found<Arc<IndexEntry>>> {
        let absent = match self.index(registry, name).await {
            Err(e) if e.kind() == Kind::Absent => e,
            done => return done,
        };
        for spelling in name.spellings() {
            match self.index(registry, spelling).await {
                Err(e) if e.kind() == Kind::Absent => {}
                done => return done,
            }
        }
        Err(absent)
    }

    /// An index file that upstream has confirmed as lately as it must be.
    async fn index(
        &self,
        registry: RegistryName,
        name: CrateName,
    ) -> Result<Found<Arc<IndexEntry>>> {
        let mut tries = 0;
        loop {
            let upstream = self.mirror.registry(Some(registry))?;
            match self.mirror.index(upstream, name, (self.clock)()).await {
                Err(e) if self.again(&mut tries, &e).await => {}
                done => return self.noted(done),
            }
        }
    }

    /// One file, fetched if it isn't here.
    async fn file(&self, needed: &Needed) -> Result<Got> {
        let mut tries = 0;
        loop {
            match self.try_file(needed).await {
                Err(e) if self.again(&mut tries, &e).await => {}
                done => return self.noted(done),
            }
        }
    }

    async fn try_file(&self, needed: &Needed) -> Result<Got> {
        let Needed { registry, id, .. } = needed;
        let upstream = self.mirror.registry(Some(*registry))?;
        let found = self.mirror.index(upstream, id.name, (self.clock)()).await?;
        let Some(listed) = found.value.file().find(id) else {
            let what = format!("{registry} has no version {} of {}", id.version, id.name);
            return Err(match found.outcome {
                // Published since, perhaps.
                Outcome::Stale => Error::upstream_unavailable(format!("{what} that is known here")),
                _ => Error::absent(what),
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
        let body = self.mirror.crate_file(upstream, id, (self.clock)()).await?;
        let key = CrateKey {
            registry: *registry,
            id: *id,
            sha256,
        };
        self.drain(body.value).await?;
        Ok(match body.outcome {
            Outcome::Miss => Got::Fetched(Some(key)),
            _ => Got::Here(Some(key)),
        })
    }

    /// Reads to the end, which is where the checksum is checked.
    async fn drain(&self, body: CrateBody) -> Result<()> {
        match body {
            CrateBody::Whole(_) => {}
            CrateBody::Stored(mut reader) => while reader.next().await.transpose()?.is_some() {},
            CrateBody::Arriving(mut reader, _) => {
                while let Some(bytes) = reader.next().await.transpose()? {
                    let length = bytes.len() as u64;
                    self.progress.bytes.fetch_add(length, Ordering::Relaxed);
                }
            }
        }
        Ok(())
    }

    /// Waits until it is worth to ask again after `error`; false when it isn't.
    async fn again(&self, tries: &mut u32, error: &Error) -> bool {
        let hopeless = self.failures.load(Ordering::Relaxed) >= HOPELESS;
        if !passes(error) || *tries == REPETITIONS || hopeless {
            return false;
        }
        let wish = match error.kind() {
            Kind::UpstreamUnavailable { retry_after } => retry_after,
            Kind::UpstreamResting { retry_after } => Some(retry_after),
            _ => None,
        };
        let wait = wish.unwrap_or(Duration::from_secs(1 << *tries));
        *tries += 1;
        tokio::time::sleep(wait.min(LONGEST_WAIT)).await;
        true
    }

    /// Keeps count of what fails in a row for reasons that pass.
    fn noted<T>(&self, done: Result<T>) -> Result<T> {
        match &done {
            Err(e) if passes(e) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => self.failures.store(0, Ordering::Relaxed),
        }
        done
    }
}

/// Whether the same question may get another answer a moment later.
fn passes(error: &Error) -> bool {
    match error.kind() {
        Kind::UpstreamUnavailable { .. }
        | Kind::UpstreamResting { .. }
        | Kind::UpstreamTimeout
        | Kind::Overloaded
        | Kind::Store
        | Kind::Corrupt => true,
        Kind::UpstreamFault
        | Kind::Absent
        | Kind::Offline
        | Kind::BadRequest
        | Kind::MethodNotAllowed
        | Kind::TooManyRequests { .. }
        | Kind::NotFound
        | Kind::Config
        | Kind::Internal => false,
    }
}

/// The index files that a store has of these registries.
///
/// # Errors
/// [`Kind::Store`] when the storage can't be read.
pub async fn stored_index_files(store: &Store, of: Vec<RegistryName>) -> Result<Vec<IndexKey>> {
    let visit = move |keys: &mut Vec<IndexKey>, stored: crate::store::Stored| {
        if let Key::Index(key) = stored.key
            && of.contains(&key.registry)
        {
            keys.push(key);
        }
        Next::Go
    };
    store.each(Vec::new(), visit).await
}

/// Those of the files fetched that didn't make it into the store: a full disk stops nobody who asks for them, but whoever carries the store away
/// has to know.
///
/// # Errors
/// [`Kind::Store`] when the storage can't be read.
pub async fn not_stored(store: &Store, kept: &[CrateKey]) -> Result<Vec<CrateKey>> {
    let mut lost = Vec::new();
    for key in kept {
        let index = Key::Index(IndexKey::new(key.registry, key.id.name));
        let here = store.size_of(&Key::Crate(*key)).await?.is_some()
            && store.size_of(&index).await?.is_some();
        if !here {
            lost.push(*key);
        }
    }
    Ok(lost)
}
