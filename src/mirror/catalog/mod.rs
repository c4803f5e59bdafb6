//! [`Catalog`]: which crates there are, as far as this mirror knows: the names it has seen, and what stored crates say of themselves.
//!
//! A search and a crate's page look here and nowhere else, so that nobody's question has the store looked through. It is filled beside requests: by a walk over
//! the store now and then, and by what comes in while the mirror runs.

mod listing;
mod names;
mod walk;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::SystemTime,
};

use tokio::sync::mpsc;

use self::listing::{Listing, StoredSummary};
use crate::{
    allowance::{Allowance, Lease},
    domain::{CrateKey, CrateName, Manifest, RegistryName},
};

pub(super) use walk::Walk;

/// So much news may wait. What comes then is found by the next walk.
const WAITING: usize = 4_096;
/// The catalog may take this share of the memory budget.
const SHARE: u64 = 4;
/// And never more than so many bytes.
const MOST: u64 = 48 << 20;
/// Memory is leased in steps of so many bytes.
const STEP: u64 = 64 << 10;

/// Which crates there are, as far as this mirror knows.
pub(super) struct Catalog {
    known: RwLock<Known>,
    most: u64,
    tell: mpsc::Sender<News>,
    told: Mutex<Option<mpsc::Receiver<News>>>,
}

struct Known {
    listings: BTreeMap<RegistryName, Listing>,
    lease: Lease,
    /// How many walks have begun.
    walks: u32,
    census: Option<Arc<StoreCensus>>,
}

/// Something that has come in.
#[derive(Clone, Copy, Debug)]
pub(super) enum News {
    /// The index file of a crate.
    Seen(RegistryName, CrateName),
    /// A .crate file.
    Stored(CrateKey),
}

/// What is in the store, as it was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreCensus {
    /// When it was looked at.
    pub at: SystemTime,
    /// By registry.
    pub registries: BTreeMap<RegistryName, RegistryCensus>,
}

/// What is stored of a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCensus {
    /// How many index records.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// How many .crate files.
    pub crates: u64,
    /// Their bytes.
    pub crate_bytes: u64,
}

/// A crate that was searched for, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCrate {
    /// Its name; in lower case where it is known from paths alone.
    pub name: CrateName,
    /// Its newest version that is stored, if one is.
    pub version: Option<Box<str>>,
    /// What that says of itself.
    pub description: Option<Box<str>>,
}

impl Catalog {
    /// An empty one, which takes no more than a quarter of `memory_budget`, nor more than 48 MiB.
    pub(super) fn new(memory_budget: u64, budget: &Allowance) -> Self {
        let (tell, told) = mpsc::channel(WAITING);
        Self {
            known: RwLock::new(Known {
                listings: BTreeMap::new(),
                lease: budget.nothing(),
                walks: 0,
                census: None,
            }),
            most: (memory_budget / SHARE).min(MOST),
            tell,
            told: Mutex::new(Some(told)),
        }
    }

    /// Tells it what has come in. Nobody waits for it.
    pub(super) fn tell(&self, news: News) {
        let _ = self.tell.try_send(news);
    }

    /// What it is told, for who keeps it; once.
    pub(super) fn told(&self) -> Option<mpsc::Receiver<News>> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.take()
    }

    /// Adds names.
    pub(super) fn add_names(&self, registry: RegistryName, names: impl Iterator<Item = CrateName>) {
        let mut known = self.write();
        for name in names {
            if known.has_room(self.most) {
                known.listings.entry(registry).or_default().names.add(name);
            }
        }
    }

    /// Whether what that version of a crate says of itself, or a newer one, is known.
    fn knows(&self, key: &CrateKey) -> bool {
        let Ok(version) = semver::Version::parse(key.id.version.as_str()) else {
            return true;
        };
        let name = key.id.name.to_lowercase();
        let known = self.read();
        let listing = known.listings.get(&key.registry);
        listing.is_some_and(|listing| listing.knows(name.as_str(), &version))
    }

    /// Adds what a stored crate says of itself.
    pub(super) fn add_stored(&self, key: &CrateKey, manifest: &Manifest) {
        let mut known = self.write();
        let (name, version) = (key.id.name, &key.id.version);
        if let Some(summary) = StoredSummary::of(name, version, manifest, known.walks)
            && known.has_room(self.most)
        {
            let listing = known.listings.entry(key.registry).or_default();
            listing.names.add(key.id.name);
            listing.store(key.id.name, summary);
        }
    }

    /// What was in the store when it was looked at last.
    pub(super) fn census(&self) -> Option<Arc<StoreCensus>> {
        self.read().census.clone()
    }

    /// How many names are known of a registry, and how many of these crates are stored.
    pub(super) fn counts(&self, registry: RegistryName) -> (usize, usize) {
        let known = self.read();
        let listing = known.listings.get(&registry);
        listing.map_or((0, 0), |listing| (listing.names.len(), listing.stored()))
    }

    /// The crates of a registry that fit `words`, the best first. Takes some milliseconds where there are many: to be called where that may be.
    pub(super) fn search(&self, registry: RegistryName, words: &str) -> Vec<KnownCrate> {
        let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
        let known = self.read();
        let Some(listing) = known.listings.get(&registry) else {
            return Vec::new();
        };
        let found = listing.search(&words).into_iter();
        let found = found.filter_map(|found| {
            Some(KnownCrate {
                name: CrateName::parse(&found.name).ok()?,
                version: found.version,
                description: found.description,
            })
        });
        found.collect()
    }

    /// The stored crates whose newest stored version is built from `name`, at most `most`, and how many there are. Takes as long as a search.
    pub(super) fn dependents(
        &self,
        registry: RegistryName,
        name: CrateName,
        most: usize,
    ) -> (Vec<Box<str>>, usize) {
        let known = self.read();
        let listing = known.listings.get(&registry);
        listing.map_or((Vec::new(), 0), |listing| listing.dependents(name, most))
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether there is memory for one more, which is leased.
    fn has_room(&mut self, most: u64) -> bool {
        let needed = self.listings.values().map(Listing::memory).sum::<usize>() as u64 + STEP / 2;
        if needed > most {
            return false;
        }
        let missing = needed.saturating_sub(self.lease.bytes());
        if missing == 0 {
            return true;
        }
        self.lease.try_grow_making_way(missing.max(STEP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CrateId;

    #[test]
    fn it_takes_no_more_memory_than_it_may() {
        let budget = Allowance::new(1 << 20, 0);
        let catalog = Catalog::new(1 << 20, &budget);
        let registry = RegistryName::crates_io();
        let names = (0..100_000).map(|n| CrateName::parse(&format!("crate-{n}")).expect("a name"));
        catalog.add_names(registry, names);
        let (known, _) = catalog.counts(registry);
        assert!((5_000..50_000).contains(&known), "{known}");
        assert!(budget.taken() <= (1 << 18) + STEP, "{}", budget.taken());
    }

    #[test]
    fn what_a_stored_crate_says_is_found() {
        let budget = Allowance::new(1 << 20, 0);
        let catalog = Catalog::new(1 << 20, &budget);
        let key = CrateKey {
            registry: RegistryName::crates_io(),
            id: CrateId::parse("Serde", "1.0.0").expect("valid"),
            sha256: crate::domain::Sha256::of(b""),
        };
        let manifest = Manifest {
            name: Some("Serde".into()),
            description: Some("A <b>framework</b>".into()),
            ..Manifest::none()
        };
        assert!(!catalog.knows(&key));
        catalog.add_stored(&key, &manifest);
        assert!(catalog.knows(&key));
        let found = catalog.search(key.registry, " FRAMEWORK  serde ");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name.as_str(), "Serde");
        assert_eq!(found[0].description.as_deref(), Some("A <b>framework</b>"));
        let other = RegistryName::parse("other").expect("a name");
        assert_eq!(catalog.search(other, "serde"), []);
    }
}
