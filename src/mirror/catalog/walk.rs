//! [`Walk`]: a look through the whole store, beside requests and one thing after the other: which names there are, which crates, and how much room they take.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use semver::Version;
use tokio::{sync::mpsc, task::spawn_blocking};
use tokio_util::task::TaskTracker;

use super::{Catalog, NearCensus, RegistryCensus, StoreCensus, ToolchainCensus, lock};
use crate::{
    domain::{CrateKey, FileKey, Hasher, Key, Manifest, RecordKey, RegistryName},
    error::{Error, Result},
    policy::ManifestReader,
    store::{Links, Mark, Next, Sight, Store, StorePlace, Stored},
};

/// Not at the start itself, when there is other work.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// What isn't told is found as late as this.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How often to see whether somebody else has put something into the store, which may cost a request to a bucket.
const GLANCE_EVERY: Duration = Duration::from_secs(30);
/// How often to see whether the store has changed much by what this process does, which costs nothing.
const TICK: Duration = Duration::from_secs(1);
/// It has when so much more was written than this share of what was there.
const GROWTH: u64 = 8;
/// How many times as long as a look took it rests before the next one, at least.
const RESTS: u32 = 20;
/// And so long where a look costs requests to a bucket.
const BUCKET_RESTS: Duration = Duration::from_secs(60);
/// So many crates whose manifests are to be read may have been found ahead.
const AHEAD: usize = 64;
/// What it rests after each of them, so that others get the disk: as long as it took, within these limits.
const REST: [Duration; 2] = [Duration::from_millis(1), Duration::from_secs(1)];
/// What has no manifest beside it is read, once, up to this size in bytes.
const LARGEST: u64 = 64 << 20;

/// A look through the whole store.
pub(in crate::mirror) struct Walk {
    pub(in crate::mirror) catalog: Arc<Catalog>,
    pub(in crate::mirror) store: Store,
    /// What stopping waits for.
    pub(in crate::mirror) tasks: TaskTracker,
}

/// What was seen so far. It takes no more memory in a large store than in a small one.
struct Seen {
    catalog: Arc<Catalog>,
    /// The number of this walk.
    walk: u32,
    census: BTreeMap<RegistryName, RegistryCensus>,
    toolchains: ToolchainCensus,
    newest: NewestOfEach,
    /// Of how many crates it isn't known what their newest stored version says.
    unknown: u64,
    /// Why something couldn't be looked at, if so.
    unread: Option<Box<str>>,
}

/// The newest stored version of each crate, one after the other: a store shows the files of one crate together.
#[derive(Default)]
struct NewestOfEach(Option<Newest>);

/// The newest of the files seen so far in one folder.
struct Newest {
    folder: Box<str>,
    version: Version,
    key: CrateKey,
}

impl Walk {
    /// Looks through the store shortly after the start, when it has changed much since, by this process or by another, and a few times a day.
    pub(in crate::mirror) async fn keep(&self, now: fn() -> SystemTime) {
        tokio::time::sleep(FIRST_LOOK).await;
        loop {
            let mark = self.store.change_mark().await;
            let (written, started) = (self.store.written(), Instant::now());
            self.catalog.is_outdated.store(false, Ordering::Relaxed);
            if let Err(e) = self.run(now()).await {
                tracing::warn!("the store couldn't be looked through for what is in it: {e}");
            }
            // What came with an import is no longer wanted. A list that can't be read is shown to be so where it is asked for.
            let _ = self.store.tidy_missed(now()).await;
            self.until_due(mark, written, started.elapsed()).await;
        }
    }

    /// Waits until it is time for the next look, when the last one took so long and began when so much had been `written`.
    async fn until_due(&self, mark: Mark, written: u64, took: Duration) {
        let (looked, mut glanced) = (Instant::now(), Instant::now());
        let least = match self.store.place() {
            StorePlace::One => Duration::ZERO,
            StorePlace::Bucket | StorePlace::BucketBehindFolder => BUCKET_RESTS,
        };
        let rest = least.max(took * RESTS);
        while looked.elapsed() < LOOK_EVERY {
            tokio::time::sleep(TICK).await;
            if looked.elapsed() < rest {
                continue;
            }
            if self.has_changed_much(written) {
                return;
            }
            if glanced.elapsed() >= GLANCE_EVERY {
                glanced = Instant::now();
                if self.store.change_mark().await != mark {
                    return;
                }
            }
        }
    }

    /// Whether what was counted is far from what is there by now: what the pages say of a store that is being filled would be wrong for hours.
    fn has_changed_much(&self, written: u64) -> bool {
        let there = self.catalog.census().map_or(0, |census| census.bytes());
        let more = self.store.written().saturating_sub(written);
        more > there / GROWTH || self.catalog.is_outdated.load(Ordering::Relaxed)
    }

    /// Looks through the store. What is found is in the catalog then.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the walk ends early. What can't be looked at ends nothing.
    pub(in crate::mirror) async fn run(&self, now: SystemTime) -> Result<()> {
        let seen = Seen {
            catalog: self.catalog.clone(),
            walk: self.catalog.begin(),
            census: BTreeMap::new(),
            toolchains: ToolchainCensus::default(),
            newest: NewestOfEach::default(),
            unknown: 0,
            unread: None,
        };
        let visit = |seen: &mut Seen, sight: Sight| {
            match sight {
                Sight::Object(stored) => seen.object(&stored),
                Sight::Unread(e) => seen.unread = Some(e.message().into()),
                Sight::Odd(..) | Sight::Removed(_) | Sight::Unchanged(_) => {}
            }
            Next::Go
        };
        let mut seen = self.store.each(Links::Followed, seen, visit).await?;
        let last = seen.newest.end();
        seen.crate_ended(last);
        let Seen {
            walk,
            census,
            toolchains,
            unknown,
            unread,
            ..
        } = seen;
        let census = StoreCensus {
            at: now,
            registries: census,
            toolchains,
            unread,
            near: self.near().await?,
        };
        let catalog = self.catalog.clone();
        // There may be many to forget.
        let looked = spawn_blocking(move || catalog.looked(walk, census)).await;
        looked.map_err(|e| Error::ended_early("a look through the store", e))?;
        match unknown {
            0 => Ok(()),
            _ => self.learn().await,
        }
    }

    /// What is in the folder in front of a bucket, if there is one.
    async fn near(&self) -> Result<Option<NearCensus>> {
        let near = match self.store.place() {
            StorePlace::BucketBehindFolder => self.store.near(),
            StorePlace::Bucket | StorePlace::One => None,
        };
        let Some(near) = near else {
            return Ok(None);
        };
        let count = |counted: &mut NearCensus, sight: Sight| {
            if let Sight::Object(stored) = sight {
                counted.objects += 1;
                counted.bytes += stored.size;
            }
            Next::Go
        };
        let counted = near.each(Links::Followed, NearCensus::default(), count);
        counted.await.map(Some)
    }

    /// Goes through the store once more and reads the manifests of those crates of which it isn't known what they say; no faster than that takes.
    async fn learn(&self) -> Result<()> {
        let (tell, mut told) = mpsc::channel(AHEAD);
        let catalog = self.catalog.clone();
        let visit = move |newest: &mut NewestOfEach, sight: Sight| {
            let Sight::Object(Stored {
                key: Key::File(FileKey::Crate(key)),
                path,
                ..
            }) = sight
            else {
                return Next::Go;
            };
            match newest.next(key, &path).filter(|key| !catalog.knows(key)) {
                // Nobody listens any more when it is time to stop.
                Some(key) if tell.blocking_send(key).is_err() => Next::Stop,
                Some(_) | None => Next::Go,
            }
        };
        let walked = self
            .store
            .each(Links::Followed, NewestOfEach::default(), visit);
        let read = async {
            while let Some(key) = told.recv().await {
                self.learn_of(key).await;
            }
        };
        let (walked, ()) = tokio::join!(walked, read);
        if let Some(key) = walked?.end().filter(|key| !self.catalog.knows(key)) {
            self.learn_of(key).await;
        }
        Ok(())
    }

    async fn learn_of(&self, key: CrateKey) {
        let started = Instant::now();
        if let Some(manifest) = self.manifest(key).await {
            self.catalog.add_stored(&key, &manifest);
        }
        let [least, most] = REST;
        tokio::time::sleep(started.elapsed().clamp(least, most)).await;
    }

    /// What the manifest in a stored file says; read and kept beside the file now if it never was.
    async fn manifest(&self, key: CrateKey) -> Option<Manifest> {
        if let Some(manifest) = self.store.load_manifest(&key).await.ok()? {
            return Some(manifest);
        }
        let store = self.store.clone();
        let read = spawn_blocking(move || read(&store, &key)).await;
        let manifest = read.ok()??;
        let (store, kept) = (self.store.clone(), manifest.clone());
        let save = async move { store.save_manifest(&key, &kept).await };
        // A store that can't be written to has it read again by the next walk.
        let _ = self.tasks.spawn(save).await;
        Some(manifest)
    }
}

/// Reads a whole .crate file, which doesn't count as use of it. `None` when it can't be read, or isn't what it should be.
fn read(store: &Store, key: &CrateKey) -> Option<Manifest> {
    let (file, size) = store.open_object(&Key::from(*key)).ok()??;
    if size > LARGEST {
        return None;
    }
    let (mut file, mut block) = (file.take(size), vec![0; 64 << 10]);
    let (mut reader, mut hasher) = (ManifestReader::new(&key.id), Hasher::default());
    loop {
        match file.read(&mut block).ok()? {
            0 => break,
            read => {
                hasher.update(&block[..read]);
                reader.feed(&block[..read]);
            }
        }
    }
    (hasher.finish() == key.sha256).then(|| reader.finish())
}

impl Seen {
    fn object(&mut self, stored: &Stored) {
        let (registry, name) = match stored.key {
            Key::Record(RecordKey::Index(key)) => {
                let of = self.census.entry(key.registry).or_default();
                of.records += 1;
                of.record_bytes += stored.size;
                (key.registry, key.name())
            }
            Key::File(FileKey::Crate(key)) => {
                let of = self.census.entry(key.registry).or_default();
                of.crates += 1;
                of.crate_bytes += stored.size;
                let ended = self.newest.next(key, &stored.path);
                self.crate_ended(ended);
                (key.registry, key.id.name)
            }
            Key::Record(RecordKey::Toolchain(_)) => {
                self.toolchains.documents += 1;
                self.toolchains.document_bytes += stored.size;
                return;
            }
            Key::File(FileKey::Toolchain(_)) => {
                self.toolchains.files += 1;
                self.toolchains.file_bytes += stored.size;
                return;
            }
        };
        self.catalog.add_names(registry, [name].into_iter());
    }

    /// All files of a crate were seen, and this is the newest of them.
    fn crate_ended(&mut self, newest: Option<CrateKey>) {
        if let Some(key) = newest {
            self.catalog.saw(&key, self.walk);
            self.unknown += u64::from(!self.catalog.knows(&key));
        }
    }
}

impl NewestOfEach {
    /// Takes the next file; gives the newest of the crate before, if this is one of another.
    fn next(&mut self, key: CrateKey, path: &str) -> Option<CrateKey> {
        let (folder, _) = path.rsplit_once('/')?;
        let version = Version::parse(key.id.version.as_str()).ok()?;
        let rank = |version: &Version| (version.pre.is_empty(), version.clone());
        match &mut self.0 {
            Some(newest) if *newest.folder == *folder => {
                if rank(&version) > rank(&newest.version) {
                    (newest.version, newest.key) = (version, key);
                }
                None
            }
            _ => {
                let next = Newest {
                    folder: folder.into(),
                    version,
                    key,
                };
                self.0.replace(next).map(|ended| ended.key)
            }
        }
    }

    /// The newest of the last crate.
    fn end(&mut self) -> Option<CrateKey> {
        self.0.take().map(|last| last.key)
    }
}

impl Catalog {
    /// The number of a walk that begins now.
    fn begin(&self) -> u32 {
        self.walks.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that a file of that crate was seen.
    fn saw(&self, key: &CrateKey, walk: u32) {
        let name = key.id.name.to_lowercase();
        if let Some(listing) = self.part(name.as_str()).listing(key.registry) {
            listing.seen(name.as_str(), walk);
        }
    }

    /// Takes what a walk has counted, and forgets what it found to be gone.
    fn looked(&self, walk: u32, census: StoreCensus) {
        for part in &self.parts {
            let registries: Vec<_> = lock(&part.0).keys().copied().collect();
            for registry in registries {
                self.change(part, registry, |listing| {
                    listing.names.settle();
                    // What couldn't be looked at may be there all the same.
                    if census.unread.is_none() {
                        listing.keep_stored(walk);
                    }
                });
            }
        }
        self.census.store(Some(Arc::new(census)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CrateId, Sha256};

    /// The newest of all crates were kept in a map until the end, tens of megabytes for a large store.
    #[test]
    fn the_newest_version_of_each_crate_is_told_when_the_next_crate_begins() {
        let mut newest = NewestOfEach::default();
        let key = |name: &str, version: &str| CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse(name, version).expect("valid"),
            sha256: Sha256::of(version.as_bytes()),
        };
        let mut told = Vec::new();
        for (name, version) in [
            ("a", "1.0.0"),
            ("a", "1.10.0"),
            ("a", "1.9.0"),
            ("a", "2.0.0-rc.1"),
            ("b", "0.1.0-a"),
            ("b", "0.1.0-b"),
            ("c", "1.0.0"),
        ] {
            let key = key(name, version);
            told.extend(newest.next(key, &key.path()));
        }
        told.extend(newest.end());
        let told: Vec<_> = told.iter().map(|key| key.id.to_string()).collect();
        assert_eq!(told, ["a 1.10.0", "b 0.1.0-b", "c 1.0.0"]);
        assert_eq!(newest.end(), None);
    }
}
