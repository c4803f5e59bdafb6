//! [`StoredToolchains`]: what is here of toolchains, for who looks at it. The store is looked through at most twice a minute, however many look, and whether or not they wait
//! for it: one look at a time, which goes on when those who wanted it have gone, and is remembered, also that it failed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    allowance::Lease,
    domain::{
        Day, FileKey, Key, RecordKey,
        toolchain::{Channel, InitRelease, ToolchainDocument, ToolchainItem},
    },
    error::Result,
    mirror::shared::{Shared, SingleFlight},
    store::{Store, Stored},
};

/// How long a look through the store holds.
const HOLDS: Duration = Duration::from_secs(30);
/// How long it is believed that the store can't be looked through.
const FAILURE_HOLDS: Duration = Duration::from_secs(5);
/// So many releases and rustups are listed, the newest ones.
const MOST: usize = 1_000;
/// So many files are listed with their names, those of the newest releases: a release has some six hundred.
const NAMES: usize = 5_000;

/// What is here of toolchains.
#[derive(Clone, Debug, Default)]
pub struct StoredToolchains {
    /// The releases, by their days, the newest first.
    pub releases: Vec<StoredRelease>,
    /// The files of rustup itself: which version, for which target, of how many bytes.
    pub rustups: Vec<(String, String, u64)>,
    /// The channels whose newest manifest is here.
    pub channels: Vec<Channel>,
    /// How many files there are, and how many bytes they take with what says their checksums.
    pub files: usize,
    /// See above.
    pub bytes: u64,
}

/// What is here of one day's release.
#[derive(Clone, Debug)]
pub struct StoredRelease {
    /// The day.
    pub day: Day,
    /// The channels whose manifests of that day are here.
    pub channels: Vec<Channel>,
    /// The components' file names with their sizes in bytes; of older releases none.
    pub files: Vec<(String, u64)>,
    /// How many more files there are.
    pub unnamed: usize,
}

/// Looks through the store, and remembers what the last one found.
pub(super) struct Listings {
    shared: Arc<Shared>,
    last: Arc<LastListing>,
    flights: SingleFlight<(), Arc<StoredToolchains>>,
}

impl Listings {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            last: Arc::default(),
            flights: SingleFlight::default(),
        }
    }

    /// What is stored of toolchains, as it was half a minute ago at the earliest.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read, or couldn't a moment ago.
    pub(super) async fn current(&self) -> Result<Arc<StoredToolchains>> {
        if let Some(listed) = self.last.current() {
            return listed;
        }
        let Shared { store, budget, .. } = &*self.shared;
        let (last, store, budget) = (self.last.clone(), store.clone(), budget.clone());
        let tasks = self.shared.background.tasks();
        let flight = self.flights.join((), tasks, |_| async move {
            if let Some(listed) = last.current() {
                return listed;
            }
            let listed = looked_through(&store).await.map(Arc::new);
            let size = listed.as_ref().map_or(0, |listed| listed.size());
            // What there is no memory for is given and not kept.
            if let Some(lease) = budget.try_take_needed(size) {
                last.take(listed.clone(), lease);
            }
            listed
        });
        flight.result.await
    }
}

/// What the last look found, and when it came to its end.
#[derive(Default)]
struct LastListing(Mutex<Option<Listing>>);

struct Listing {
    at: Instant,
    listed: Result<Arc<StoredToolchains>>,
    _lease: Lease,
}

impl LastListing {
    fn current(&self) -> Option<Result<Arc<StoredToolchains>>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Listing { at, listed, .. } = last.as_ref()?;
        let holds = match listed {
            Ok(_) => HOLDS,
            Err(_) => FAILURE_HOLDS,
        };
        (at.elapsed() < holds).then(|| listed.clone())
    }

    fn take(&self, listed: Result<Arc<StoredToolchains>>, lease: Lease) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Listing {
            at: Instant::now(),
            listed,
            _lease: lease,
        });
    }
}

/// What is stored.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read.
async fn looked_through(store: &Store) -> Result<StoredToolchains> {
    let mut all = StoredToolchains::default();
    store.toolchain_listings(|folder| all.add(&folder)).await?;
    all.settle();
    all.rustups.sort();
    Ok(all)
}

impl StoredToolchains {
    /// Adds what is in a folder.
    fn add(&mut self, folder: &[Stored]) {
        let mut release: Option<StoredRelease> = None;
        let of =
            |release: &mut Option<StoredRelease>, day: Day, add: &dyn Fn(&mut StoredRelease)| {
                add(release.get_or_insert_with(|| StoredRelease {
                    day,
                    channels: Vec::new(),
                    files: Vec::new(),
                    unnamed: 0,
                }));
            };
        for stored in folder {
            let item = match stored.key {
                Key::Record(RecordKey::Toolchain(document)) => {
                    self.bytes += stored.size;
                    match document {
                        ToolchainDocument::Manifest(name) => match name.day {
                            Some(day) => {
                                of(&mut release, day, &|it| it.channels.push(name.channel));
                            }
                            None => self.channels.push(name.channel),
                        },
                        ToolchainDocument::RustupRelease | ToolchainDocument::InitSum(_) => {}
                    }
                    continue;
                }
                Key::File(FileKey::Toolchain(key)) => key.item,
                Key::Record(RecordKey::Index(_)) | Key::File(FileKey::Crate(_)) => continue,
            };
            self.bytes += stored.size;
            self.files += 1;
            match item {
                ToolchainItem::Component(file) => of(&mut release, file.day, &|it| {
                    it.files.push((file.name.to_string(), stored.size));
                }),
                ToolchainItem::Init(file) => {
                    let version = match file.release {
                        InitRelease::Newest => "the newest".to_owned(),
                        InitRelease::Version(version) => version.to_string(),
                    };
                    let target = file.target.to_string();
                    if self.rustups.len() < MOST {
                        self.rustups.push((version, target, stored.size));
                    }
                }
            }
        }
        self.releases.extend(release);
        if self.releases.len() > 2 * MOST || self.named() > 2 * NAMES {
            self.settle();
        }
    }

    fn named(&self) -> usize {
        self.releases.iter().map(|of| of.files.len()).sum()
    }

    /// Keeps the newest releases, and of the newest of these the names of their files.
    fn settle(&mut self) {
        self.releases
            .sort_by_key(|release| std::cmp::Reverse(release.day));
        self.releases.truncate(MOST);
        let mut left = NAMES;
        for release in &mut self.releases {
            let named = release.files.len().min(left);
            release.unnamed += release.files.len() - named;
            release.files.truncate(named);
            release.files.shrink_to_fit();
            left -= named;
        }
    }

    /// About how many bytes of memory this takes.
    pub(super) fn size(&self) -> u64 {
        /// A name with its size, or the day of a release with its channels.
        const OF_ONE: usize = 160;
        ((self.releases.len() + self.named() + self.rustups.len()) * OF_ONE) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(day: usize, files: usize) -> StoredRelease {
        let day = format!(
            "20{:02}-{:02}-{:02}",
            day / 300,
            day / 25 % 12 + 1,
            day % 25 + 1
        );
        let file = |n| (format!("component-{n}-x86_64-unknown-linux-gnu.tar.xz"), 1);
        StoredRelease {
            day: Day::parse(&day).expect("a day"),
            channels: Vec::new(),
            files: (0..files).map(file).collect(),
            unnamed: 0,
        }
    }

    /// The names of all files in the store were listed, as many as strangers had asked for.
    #[test]
    fn a_listing_takes_no_more_memory_for_a_larger_store() {
        let mut all = StoredToolchains::default();
        for day in 0..3_000 {
            all.releases.push(release(day, 600));
            if all.releases.len() > 2 * MOST || all.named() > 2 * NAMES {
                all.settle();
            }
            assert!(all.named() <= 2 * NAMES + 600);
        }
        all.settle();
        assert_eq!((all.releases.len(), all.named()), (MOST, NAMES));
        let newest = &all.releases[0];
        assert_eq!((newest.files.len(), newest.unnamed), (600, 0));
        let oldest = all.releases.last().expect("a release");
        assert_eq!((oldest.files.len(), oldest.unnamed), (0, 600));
        assert!(all.size() < 1 << 20, "{}", all.size());
        all.releases = vec![release(1, 3 * NAMES)];
        all.settle();
        assert_eq!(all.releases[0].unnamed, 2 * NAMES);
    }
}
