//! [`CrateService`]: .crate files, from memory, from the store, or from upstream by one shared download, and never without their checksum.

mod door;
mod download;
mod fetch;
mod file;
mod from_store;
mod from_upstream;
mod landing;
mod listing;
mod loads;
mod parts;
mod source;
mod withdrawn;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout_at};

pub use door::CrateBody;

use self::{
    door::{Listing, let_out},
    download::Downloads,
    file::CrateFile,
    from_store::CrateFromStore,
    from_upstream::CrateFromUpstream,
    listing::listed,
    loads::Loads,
    source::CrateSource,
    withdrawn::withdrawn,
};
use super::{
    index::IndexService,
    kept::IndexEntry,
    registry::Registry,
    shared::{Found, Resident, Shared},
};
use crate::{
    domain::{CrateId, IndexKey, Outcome, RegistryName},
    error::{Error, Kind, Result},
    upstream::ANSWER_WITHIN,
};

/// How much longer than for upstream to wait before the store is to blame.
const GRACE: Duration = Duration::from_millis(500);

/// The .crate files of all registries.
pub(super) struct CrateService {
    shared: Arc<Shared>,
    /// Who knows their checksums.
    index: Arc<IndexService>,
    /// Crates being read from the store.
    loads: Arc<Loads>,
    /// Crates being fetched from upstream.
    downloads: Arc<Downloads>,
}

/// A file that is there for who asked, and not yet through the [`door`].
struct Obtained {
    file: CrateFile,
    outcome: Outcome,
    /// The index entry that lists it; none if it is withdrawn.
    entry: Option<Arc<IndexEntry>>,
}

impl CrateService {
    pub(super) fn new(shared: Arc<Shared>, index: Arc<IndexService>) -> Self {
        Self {
            loads: Arc::new(Loads::new(shared.clone())),
            downloads: Arc::default(),
            shared,
            index,
        }
    }

    /// The file of exactly this crate and version.
    ///
    /// The checksum comes from the index file, whatever its age, as long as the file is here: content under a checksum doesn't go stale. Only
    /// when upstream has to be asked anyway does the index have to be current first.
    ///
    /// # Errors
    /// [`Kind::Absent`] when there is no such crate or version, with the canonical name if there is one; one of the upstream kinds when upstream
    /// fails and the file isn't here; [`Kind::Offline`] and [`Kind::Corrupt`] when there is no upstream to ask.
    pub(super) async fn get(
        &self,
        registry: &Registry,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Found<CrateBody>> {
        if let Some(found) = self.get_at_once(registry, id) {
            return found;
        }
        let (name, deadline) = (registry.name(), Instant::now() + ANSWER_WITHIN);
        let (shared, index, loads) = (&self.shared, &*self.index, &self.loads);
        let obtained = async {
            match registry {
                Registry::Online(upstream) => {
                    let source = CrateFromUpstream {
                        shared,
                        index,
                        loads,
                        downloads: &self.downloads,
                        upstream,
                        now,
                        deadline,
                    };
                    self.obtained(&source, name, id, now).await
                }
                Registry::Offline(_) => {
                    let source = CrateFromStore {
                        shared,
                        index,
                        loads,
                        registry: name,
                        now,
                        deadline,
                    };
                    self.obtained(&source, name, id, now).await
                }
            }
        };
        let obtained = timeout_at(deadline + GRACE, obtained).await;
        let Obtained {
            file,
            outcome,
            entry,
        } = obtained.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Overloaded,
                format!("{id} couldn't be read from this mirror's store in time; try again"),
            ))
        })?;
        let line = entry.as_ref().and_then(|entry| entry.file().find(id));
        let_out(
            file,
            line.map_or(Listing::Withdrawn, Listing::Listed),
            outcome,
        )
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub(super) fn get_at_once(
        &self,
        registry: &Registry,
        id: &CrateId,
    ) -> Option<Result<Found<CrateBody>>> {
        let index = IndexKey::new(registry.name(), id.name);
        let entry = self.index.in_memory(&index)?;
        let (line, key) = listed(&entry, index.registry, id)?;
        match self.shared.memory.crate_file(&key)? {
            Resident::Crate(whole) => {
                let (file, listing) = (CrateFile::Whole(whole), Listing::Listed(line));
                Some(let_out(file, listing, Outcome::Hit))
            }
            Resident::Absent(_) | Resident::Index(_) => None,
        }
    }

    /// The length of a file of which a client asks for a part, if it can be given one.
    pub(super) async fn divisible(&self, body: &mut CrateBody) -> Option<u64> {
        parts::divisible(&self.shared.store, body.file()).await
    }

    /// The file, from the store if the index at hand says which one it is; else what the source comes to.
    async fn obtained<S: CrateSource>(
        &self,
        source: &S,
        registry: RegistryName,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Obtained> {
        let at_hand = source.at_hand(id).await?;
        let known = at_hand.as_deref();
        let known = known.and_then(|entry| listed(entry, registry, id));
        let known = known.map(|(_, key)| key);
        if let Some(key) = known
            && let Some(file) = source.stored(&key).await?
        {
            return Ok(Obtained::stored(file, at_hand));
        }
        let current = source.current(id, at_hand.as_ref()).await;
        let entry = current.as_ref().ok().map(|found| found.value.clone());
        let key = entry.as_deref();
        let key = key.and_then(|entry| listed(entry, registry, id));
        let Some((_, key)) = key else {
            let index = IndexKey::new(registry, id.name);
            let entry = entry.or(at_hand);
            let entry = entry.as_deref();
            let stored = withdrawn(&self.shared, &self.loads, &index, id, entry, now).await;
            return match stored {
                Some(file) => Ok(Obtained::stored(file, None)),
                None => Err(source.unlisted(id, current).await),
            };
        };
        if known != Some(key)
            && let Some(file) = source.stored(&key).await?
        {
            return Ok(Obtained::stored(file, entry));
        }
        let Found { value, outcome } = source.obtain(&key).await?;
        Ok(Obtained {
            file: value,
            outcome,
            entry,
        })
    }
}

impl Obtained {
    fn stored(file: CrateFile, entry: Option<Arc<IndexEntry>>) -> Self {
        Self {
            file,
            outcome: Outcome::Hit,
            entry,
        }
    }
}
