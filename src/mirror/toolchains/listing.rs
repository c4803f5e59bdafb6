//! [`StoredToolchains`]: what is here of toolchains, for who looks at it. The store is looked through at most twice a minute, however many look.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    domain::{
        Day,
        toolchain::{Channel, InitRelease, ToolchainDocument, ToolchainItem},
    },
    error::Result,
    store::{Store, ToolchainHolding},
};

/// How long a look through the store holds.
const HOLDS: Duration = Duration::from_secs(30);
/// So many releases and rustups are listed, the newest ones.
const MOST: usize = 1_000;

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
    /// The components' file names with their sizes in bytes.
    pub files: Vec<(String, u64)>,
}

/// What the last look found.
#[derive(Default)]
pub(super) struct LastListing(Mutex<Option<(Instant, Arc<StoredToolchains>)>>);

impl LastListing {
    pub(super) fn current(&self) -> Option<Arc<StoredToolchains>> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, listed) = last.as_ref()?;
        (at.elapsed() < HOLDS).then(|| listed.clone())
    }

    pub(super) fn take(&self, listed: Arc<StoredToolchains>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), listed));
    }
}

/// What is stored. Blocks.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read.
pub(super) fn looked_through(store: &Store) -> Result<StoredToolchains> {
    let mut all = StoredToolchains::default();
    store.toolchain_holdings(|holding| {
        all.add(holding);
        Ok(())
    })?;
    all.releases
        .sort_by_key(|release| std::cmp::Reverse(release.day));
    all.releases.truncate(MOST);
    all.rustups.sort();
    all.rustups.truncate(MOST);
    Ok(all)
}

impl StoredToolchains {
    fn add(&mut self, holding: ToolchainHolding) {
        let documents = holding.documents.iter().map(|(_, object)| object.size);
        let files = holding.files.iter().map(|(_, object)| object.size);
        self.bytes += documents.chain(files).sum::<u64>();
        self.files += holding.files.len();
        let mut release: Option<StoredRelease> = None;
        let of =
            |release: &mut Option<StoredRelease>, day: Day, add: &dyn Fn(&mut StoredRelease)| {
                add(release.get_or_insert_with(|| StoredRelease {
                    day,
                    channels: Vec::new(),
                    files: Vec::new(),
                }));
            };
        for (document, _) in &holding.documents {
            match document {
                ToolchainDocument::Manifest(name) => match name.day {
                    Some(day) => of(&mut release, day, &|it| it.channels.push(name.channel)),
                    None => self.channels.push(name.channel),
                },
                ToolchainDocument::RustupRelease | ToolchainDocument::InitSum(_) => {}
            }
        }
        for (key, object) in &holding.files {
            match key.item {
                ToolchainItem::Component(file) => of(&mut release, file.day, &|it| {
                    it.files.push((file.name.to_string(), object.size));
                }),
                ToolchainItem::Init(file) => {
                    let version = match file.release {
                        InitRelease::Newest => "the newest".to_owned(),
                        InitRelease::Version(version) => version.to_string(),
                    };
                    let target = file.target.to_string();
                    self.rustups.push((version, target, object.size));
                }
            }
        }
        self.releases.extend(release);
    }
}
