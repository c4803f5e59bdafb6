//! [`Walk`]: a look through the whole store, beside requests and one thing after the other: which names there are, which crates, and how much room they take.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::Arc,
    time::{Duration, SystemTime},
};

use semver::Version;
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

use super::{Catalog, RegistryCensus, StoreCensus};
use crate::{
    domain::{CrateKey, CrateName, Hasher, IndexKey, Key, Manifest, RegistryName},
    error::Result,
    policy::ManifestReader,
    store::{Links, Next, Sight, Store, Stored},
};

/// Not at the start itself, when there is other work.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// What isn't told is found as late as this.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How often to see whether somebody else has put something into the store.
const GLANCE_EVERY: Duration = Duration::from_secs(30);
/// So many names are added at a time.
const BATCH: usize = 1_024;
/// After so many manifests it rests.
const MANIFESTS: usize = 32;
/// For so long: others want the disk too.
const REST: Duration = Duration::from_millis(20);
/// What has no manifest beside it is read, once, up to this size in bytes.
const LARGEST: u64 = 64 << 20;

/// A look through the whole store.
pub(in crate::mirror) struct Walk {
    pub(in crate::mirror) catalog: Arc<Catalog>,
    pub(in crate::mirror) store: Store,
    /// What stopping waits for.
    pub(in crate::mirror) tasks: TaskTracker,
}

/// What was seen so far.
struct Seen {
    catalog: Arc<Catalog>,
    names: Vec<(RegistryName, CrateName)>,
    census: BTreeMap<RegistryName, RegistryCensus>,
    /// The newest stored version of each crate. It is the path that is kept, because a key takes three times as much.
    newest: BTreeMap<Box<str>, (Version, Box<str>)>,
}

impl Walk {
    /// Looks through the store shortly after the start, when somebody else has put something into it, and a few times a day.
    pub(in crate::mirror) async fn keep(&self, now: fn() -> SystemTime) {
        tokio::time::sleep(FIRST_LOOK).await;
        loop {
            let mark = self.store.change_mark().await;
            if let Err(e) = self.run(now()).await {
                tracing::warn!("the store couldn't be looked through for what is in it: {e}");
            }
            for _ in 0..LOOK_EVERY.as_secs() / GLANCE_EVERY.as_secs() {
                tokio::time::sleep(GLANCE_EVERY).await;
                if self.store.change_mark().await != mark {
                    break;
                }
            }
        }
    }

    /// Looks through the store. What is found is in the catalog then.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when the walk ends early. What can't be looked at ends nothing.
    pub(in crate::mirror) async fn run(&self, now: SystemTime) -> Result<()> {
        let walk = self.catalog.begin();
        let seen = Seen {
            catalog: self.catalog.clone(),
            names: Vec::with_capacity(BATCH),
            census: BTreeMap::new(),
            newest: BTreeMap::new(),
        };
        let visit = |seen: &mut Seen, sight: Sight| {
            if let Sight::Object(stored) = sight {
                seen.object(stored);
            }
            Next::Go
        };
        let mut seen = self.store.each(Links::Followed, seen, visit).await?;
        seen.add_names();
        let Seen { census, newest, .. } = seen;
        let census = StoreCensus {
            at: now,
            registries: census,
        };
        self.catalog
            .looked(walk, census, |folder| newest.contains_key(folder));
        for (count, (_, path)) in newest.into_values().enumerate() {
            if let Some(Key::Crate(key)) = Key::from_path(&path)
                && !self.catalog.knows(&key)
                && let Some(manifest) = self.manifest(key).await
            {
                self.catalog.add_stored(&key, &manifest);
            }
            if count % MANIFESTS == MANIFESTS - 1 {
                tokio::time::sleep(REST).await;
            }
        }
        Ok(())
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
    let (file, size) = store.open_object(&Key::Crate(*key)).ok()??;
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
    fn object(&mut self, stored: Stored) {
        let (registry, name) = match stored.key {
            Key::Index(key) => {
                let of = self.census.entry(key.registry).or_default();
                of.records += 1;
                of.record_bytes += stored.size;
                (key.registry, key.name())
            }
            Key::Crate(key) => {
                let of = self.census.entry(key.registry).or_default();
                of.crates += 1;
                of.crate_bytes += stored.size;
                self.newest_of(&key, &stored.path);
                (key.registry, key.id.name)
            }
        };
        self.names.push((registry, name));
        if self.names.len() >= BATCH {
            self.add_names();
        }
    }

    fn newest_of(&mut self, key: &CrateKey, path: &str) {
        let (Some((folder, _)), Ok(version)) = (
            path.rsplit_once('/'),
            Version::parse(key.id.version.as_str()),
        ) else {
            return;
        };
        let rank = |version: &Version| (version.pre.is_empty(), version.clone());
        match self.newest.get_mut(folder) {
            Some(known) if rank(&known.0) >= rank(&version) => {}
            Some(known) => *known = (version, path.into()),
            None => {
                self.newest.insert(folder.into(), (version, path.into()));
            }
        }
    }

    fn add_names(&mut self) {
        let mut by_registry = BTreeMap::<RegistryName, Vec<CrateName>>::new();
        for (registry, name) in self.names.drain(..) {
            by_registry.entry(registry).or_default().push(name);
        }
        for (registry, names) in by_registry {
            self.catalog.add_names(registry, names.into_iter());
        }
    }
}

impl Catalog {
    /// The number of a walk that begins now.
    fn begin(&self) -> u32 {
        let mut known = self.write();
        known.walks += 1;
        known.walks
    }

    /// Takes what a walk has counted, and forgets what it found to be gone: crates whose folder isn't among those that have files.
    fn looked(&self, walk: u32, census: StoreCensus, has_files: impl Fn(&str) -> bool) {
        let mut known = self.write();
        for (registry, listing) in &mut known.listings {
            listing.names.settle();
            listing.keep_stored(walk, |name| {
                CrateName::parse(name)
                    .is_ok_and(|name| has_files(&IndexKey::new(*registry, name).crates_folder()))
            });
        }
        known.census = Some(Arc::new(census));
    }
}
