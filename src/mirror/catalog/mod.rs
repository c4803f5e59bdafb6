//! [`Catalog`]: which crates there are, as far as this mirror knows: the names it has seen, and what stored crates say of themselves.
//!
//! A search and a crate's page look here and nowhere else, so that nobody's question has the store looked through. It is filled beside requests: by a walk over
//! the store now and then, and by what comes in while the mirror runs.
//!
//! It is in many small parts. Who searches reads one after the other, each as it is at that moment, and holds no lock meanwhile: who adds something changes a copy of
//! the part that is being read, which is as large as one part is. Nobody waits for a search.

mod listing;
mod names;
mod ranking;
mod walk;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;

use self::{
    listing::{Listing, StoredSummary, Words},
    ranking::Ranking,
};
use crate::{
    allowance::{Allowance, Lease},
    domain::{CrateKey, CrateName, Manifest, RegistryName},
};

pub use listing::KnownCrate;

pub(super) use walk::Walk;

/// So much news may wait. What comes then is found by the next walk.
const WAITING: usize = 4_096;
/// The catalog may take this share of the memory budget.
const SHARE: u64 = 4;
/// And never more than so many bytes.
const MOST: u64 = 48 << 20;
/// Memory is leased in steps of so many bytes.
const STEP: u64 = 64 << 10;
/// In so many parts the crates of a registry are kept.
const PARTS: usize = 64;

/// Which crates there are, as far as this mirror knows.
pub(super) struct Catalog {
    parts: Box<[Part]>,
    room: Mutex<Room>,
    /// How many walks have begun.
    walks: AtomicU32,
    census: ArcSwapOption<StoreCensus>,
    /// Whether something has been removed since that was made.
    is_outdated: AtomicBool,
    tell: mpsc::Sender<News>,
    told: Mutex<Option<mpsc::Receiver<News>>>,
}

/// The crates of all registries whose names belong here. Locked for no longer than it takes to change one, or to see where they are.
#[derive(Default)]
struct Part(Mutex<BTreeMap<RegistryName, Arc<Listing>>>);

/// The memory that all parts take together.
struct Room {
    most: u64,
    taken: u64,
    lease: Lease,
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
    /// Of toolchains.
    pub toolchains: ToolchainCensus,
    /// Why there may be more, if something couldn't be looked at.
    pub unread: Option<Box<str>>,
    /// What of it is in a folder in front of a bucket as well, where there is one.
    pub near: Option<NearCensus>,
}

/// What is in the folder in front of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NearCensus {
    /// How many objects.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
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

/// What is stored of toolchains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolchainCensus {
    /// How many manifests and checksums.
    pub documents: u64,
    /// Their bytes.
    pub document_bytes: u64,
    /// How many components and rustup-inits.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
}

impl StoreCensus {
    /// The bytes of all that was seen.
    pub fn bytes(&self) -> u64 {
        let registries = self.registries.values();
        let registries = registries.map(|of| of.record_bytes + of.crate_bytes);
        let toolchains = self.toolchains.document_bytes + self.toolchains.file_bytes;
        registries.sum::<u64>() + toolchains
    }
}

impl Catalog {
    /// An empty one, which takes no more than a quarter of `memory_budget`, nor more than 48 MiB.
    pub(super) fn new(memory_budget: u64, budget: &Allowance) -> Self {
        let (tell, told) = mpsc::channel(WAITING);
        Self {
            parts: std::iter::repeat_with(Part::default).take(PARTS).collect(),
            room: Mutex::new(Room {
                most: (memory_budget / SHARE).min(MOST),
                taken: 0,
                lease: budget.nothing(),
            }),
            walks: AtomicU32::new(0),
            census: ArcSwapOption::empty(),
            is_outdated: AtomicBool::new(false),
            tell,
            told: Mutex::new(Some(told)),
        }
    }

    /// Tells it what has come in. Nobody waits for it.
    pub(super) fn tell(&self, news: News) {
        let _ = self.tell.try_send(news);
    }

    /// Tells it that something has been removed from the store, so that it is to be looked through again when there is time.
    pub(super) fn outdate(&self) {
        self.is_outdated.store(true, Ordering::Relaxed);
    }

    /// What it is told, for who keeps it; once.
    pub(super) fn told(&self) -> Option<mpsc::Receiver<News>> {
        lock(&self.told).take()
    }

    /// Adds names.
    pub(super) fn add_names(&self, registry: RegistryName, names: impl Iterator<Item = CrateName>) {
        for name in names {
            let lower = name.to_lowercase();
            let part = self.part(lower.as_str());
            let is_known = part
                .listing(registry)
                .is_some_and(|listing| listing.names.contains(lower.as_str()));
            if !is_known && self.has_room() {
                self.change(part, registry, |listing| {
                    listing.names.add(name);
                });
            }
        }
    }

    /// Whether what that version of a crate says of itself, or a newer one, is known.
    fn knows(&self, key: &CrateKey) -> bool {
        let Ok(version) = semver::Version::parse(key.id.version.as_str()) else {
            return true;
        };
        let name = key.id.name.to_lowercase();
        let listing = self.part(name.as_str()).listing(key.registry);
        listing.is_some_and(|listing| listing.knows(name.as_str(), &version))
    }

    /// Adds what a stored crate says of itself.
    pub(super) fn add_stored(&self, key: &CrateKey, manifest: &Manifest) {
        let (name, version) = (key.id.name, &key.id.version);
        let walk = self.walks.load(Ordering::Relaxed);
        if let Some(summary) = StoredSummary::of(name, version, manifest, walk)
            && self.has_room()
        {
            let part = self.part(name.to_lowercase().as_str());
            self.change(part, key.registry, |listing| {
                listing.names.add(name);
                listing.store(name, summary);
            });
        }
    }

    /// What was in the store when it was looked at last.
    pub(super) fn census(&self) -> Option<Arc<StoreCensus>> {
        self.census.load_full()
    }

    /// How many names are known of a registry, and how many of these crates are stored.
    pub(super) fn counts(&self, registry: RegistryName) -> (usize, usize) {
        let listings = self.listings(registry);
        listings.fold((0, 0), |(names, stored), listing| {
            (names + listing.names.len(), stored + listing.stored())
        })
    }

    /// About how many bytes a search for the best `most` takes while it goes on: what it finds, and the part that it reads, should that be changed meanwhile.
    pub(super) fn memory_of_search(&self, most: usize) -> u64 {
        let of_a_part = 4 * lock(&self.room).taken / PARTS as u64;
        (most * Ranking::OF_ONE) as u64 + of_a_part
    }

    /// The names of the crates of a registry that fit `words`, the best `most` of them, the best first; and how many fit. Takes some milliseconds where there are many:
    /// to be called where that may be. Ends early when nobody wants it any more.
    pub(super) fn search(
        &self,
        registry: RegistryName,
        words: &str,
        most: usize,
        is_wanted: impl Fn() -> bool,
    ) -> (Vec<CrateName>, usize) {
        let Some(words) = Words::of(words) else {
            return (Vec::new(), 0);
        };
        let mut ranking = Ranking::of(most);
        let listings = self.listings(registry).take_while(|_| is_wanted());
        listings.for_each(|listing| listing.search(&words, &mut ranking));
        let (names, found) = ranking.finish();
        let names = names.iter().filter_map(|name| CrateName::parse(name).ok());
        (names.collect(), found)
    }

    /// What is known of a crate that was found.
    pub(super) fn known(&self, registry: RegistryName, name: CrateName) -> KnownCrate {
        let lower = name.to_lowercase();
        let listing = self.part(lower.as_str()).listing(registry);
        let stored = listing.and_then(|listing| listing.stored_crate(lower.as_str()));
        stored.unwrap_or(KnownCrate {
            name,
            version: None,
            description: None,
        })
    }

    /// The stored crates whose newest stored version is built from `name`, at most `most`, in their order, and how many there are. Takes as long as a search.
    pub(super) fn dependents(
        &self,
        registry: RegistryName,
        name: CrateName,
        most: usize,
    ) -> (Vec<Box<str>>, usize) {
        let (mut first, mut count) = (Vec::new(), 0);
        for listing in self.listings(registry) {
            let (of_it, counted) = listing.dependents(name, most);
            first.extend(of_it);
            first.sort_unstable();
            first.truncate(most);
            count += counted;
        }
        (first, count)
    }

    /// The parts of a registry's crates, one after the other, each as it is when its turn comes.
    fn listings(&self, registry: RegistryName) -> impl Iterator<Item = Arc<Listing>> {
        let parts = self.parts.iter();
        parts.filter_map(move |part| part.listing(registry))
    }

    /// The part to which a name in lower case belongs.
    fn part(&self, name: &str) -> &Part {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        &self.parts[hasher.finish() as usize % PARTS]
    }

    /// Changes a registry's crates in one part; a copy of them, if somebody reads them.
    fn change(&self, part: &Part, registry: RegistryName, change: impl FnOnce(&mut Listing)) {
        let mut listings = lock(&part.0);
        let listing = listings.entry(registry).or_default();
        let before = listing.memory();
        change(Arc::make_mut(listing));
        let after = listing.memory();
        drop(listings);
        let mut room = lock(&self.room);
        room.taken = (room.taken + after as u64).saturating_sub(before as u64);
    }

    /// Whether there is memory for one more, which is leased.
    fn has_room(&self) -> bool {
        let mut room = lock(&self.room);
        let needed = room.taken + STEP / 2;
        if needed > room.most {
            return false;
        }
        let missing = needed.saturating_sub(room.lease.bytes());
        missing == 0 || room.lease.try_grow_making_way(missing.max(STEP))
    }
}

impl Part {
    /// A registry's crates as they are now.
    fn listing(&self, registry: RegistryName) -> Option<Arc<Listing>> {
        lock(&self.0).get(&registry).cloned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let search = |registry, words| catalog.search(registry, words, 10, || true);
        let (found, total) = search(key.registry, " FRAMEWORK  serde ");
        assert_eq!((found.len(), total), (1, 1));
        let known = catalog.known(key.registry, found[0]);
        assert_eq!(known.name.as_str(), "Serde");
        assert_eq!(known.description.as_deref(), Some("A <b>framework</b>"));
        let other = RegistryName::parse("other").expect("a name");
        assert_eq!(search(other, "serde"), (vec![], 0));
        assert_eq!(search(key.registry, "  "), (vec![], 0));
    }

    fn many(count: usize) -> (Catalog, RegistryName) {
        let budget = Allowance::new(256 << 20, 0);
        let (catalog, registry) = (Catalog::new(256 << 20, &budget), RegistryName::crates_io());
        let name = |n| CrateName::parse(&format!("zz-{n}-a")).expect("a name");
        catalog.add_names(registry, (0..count).map(name));
        (catalog, registry)
    }

    /// A search held a lock as long as it took, and who told the catalog of an index file waited for it on a thread that serves hits.
    #[test]
    fn what_comes_in_does_not_wait_for_a_search() {
        let (catalog, registry) = many(1_000);
        let late = CrateName::parse("late-a").expect("a name");
        // In the midst of a search, on its own thread: whoever had to wait for it would wait for ever.
        let is_wanted = || {
            catalog.add_names(registry, [late].into_iter());
            true
        };
        let read: Vec<_> = catalog.listings(registry).collect();
        let (_, found) = catalog.search(registry, "zz", 10, is_wanted);
        assert_eq!(found, 1_000);
        let in_all = |read: &[Arc<Listing>]| read.iter().map(|l| l.names.len()).sum::<usize>();
        assert_eq!(in_all(&read), 1_000, "as it was");
        assert_eq!(catalog.counts(registry), (1_001, 0));
    }

    /// Of more than ten thousand names the first of the alphabet were ranked, and the others not found.
    #[test]
    fn the_best_of_very_many_names_is_found_wherever_it_is_in_the_alphabet() {
        let (catalog, registry) = many(12_000);
        let exact = CrateName::parse("zzz-a-exact").expect("a name");
        catalog.add_names(registry, [exact].into_iter());
        let (found, total) = catalog.search(registry, "a exact", 3, || true);
        assert_eq!((found, total), (vec![exact], 1));
        let short = CrateName::parse("zzzz-a").expect("a name");
        let first = CrateName::parse("a-zz").expect("a name");
        catalog.add_names(registry, [first, short].into_iter());
        let (found, total) = catalog.search(registry, "a", 2, || true);
        assert_eq!(total, 12_003);
        assert_eq!(found[0], first, "it begins with it");
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_search_that_nobody_wants_any_more_ends() {
        let (catalog, registry) = many(1_000);
        let left = std::cell::Cell::new(3);
        let is_wanted = || left.replace(left.get() - 1) > 0;
        let (_, found) = catalog.search(registry, "zz", 10, is_wanted);
        assert!(found < 500, "{found}");
        assert_eq!(left.get(), -1);
    }

    /// They must not cost more than 50 MB, and they cost a fifth of that.
    #[test]
    fn a_quarter_of_a_million_names_take_little() {
        let (catalog, registry) = many(250_000);
        assert_eq!(catalog.counts(registry), (250_000, 0));
        let taken = lock(&catalog.room).taken;
        assert!(taken < 12 << 20, "{taken}");
        let (found, total) = catalog.search(registry, "249999", 10, || true);
        assert_eq!((found.len(), total), (1, 1));
    }
}
