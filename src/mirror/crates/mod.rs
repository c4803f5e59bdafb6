//! [`CrateService`]: .crate files, from memory, from the store, or from upstream by one shared download, and never without their checksum.

mod door;
mod from_store;
mod from_upstream;
mod judge;
mod link;
mod listing;
mod manifests;
mod overview;
mod source;
mod withdrawn;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout_at};

pub use judge::{CrateJudgement, Denied, Judgement, LicenseKnown};
pub use link::LinkMethod;
pub use overview::{CrateOverview, VersionOverview};

use self::{
    door::{Door, Pass},
    from_store::CrateFromStore,
    from_upstream::CrateFromUpstream,
    listing::listed,
    manifests::Manifests,
    source::CrateSource,
    withdrawn::withdrawn,
};
use super::{
    files::{CheckedFile, FileBody, FileService, let_out},
    index::IndexService,
    registry::Registry,
    shared::{BlockingWork, Found, Shared},
};
use crate::{
    domain::{CrateId, CrateKey, IndexKey, Manifest, Outcome, RegistryName, View},
    error::{Error, Kind, Result},
    upstream::ANSWER_WITHIN,
};

/// How much longer than for upstream to wait before the store is to blame.
const GRACE: Duration = Duration::from_millis(500);

/// So many overviews of crates are made and written at once.
const OVERVIEWS_AT_ONCE: usize = 4;

/// The .crate files of all registries.
pub(super) struct CrateService {
    shared: Arc<Shared>,
    /// Who knows their checksums.
    index: Arc<IndexService>,
    /// Who has the files themselves.
    files: Arc<FileService>,
    manifests: Arc<Manifests>,
    /// What is shown of crates as a whole, of which little is made at once.
    overviews: BlockingWork,
}

/// A file that is there for who asked, and leave for it to go out.
struct Obtained {
    file: CheckedFile,
    outcome: Outcome,
    pass: Pass,
}

impl CrateService {
    pub(super) fn new(
        shared: Arc<Shared>,
        index: Arc<IndexService>,
        files: Arc<FileService>,
    ) -> Self {
        Self {
            files,
            manifests: Arc::new(Manifests::new(shared.clone())),
            overviews: BlockingWork::new(OVERVIEWS_AT_ONCE),
            shared,
            index,
        }
    }

    /// What the manifest in a stored file says, read now if it never was. No request waits for this.
    pub(super) async fn manifest_of(&self, key: &CrateKey, now: SystemTime) -> Option<Manifest> {
        self.manifests.of_stored(key, &self.files, now).await
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
        view: View,
        now: SystemTime,
    ) -> Result<Found<FileBody>> {
        if let Some(found) = self.get_at_once(registry, id, view, now) {
            return found;
        }
        let (name, deadline) = (registry.name(), Instant::now() + ANSWER_WITHIN);
        let (shared, index, files) = (&self.shared, &*self.index, &*self.files);
        let door = Door::new(shared, name, id, view, now);
        door.open()?;
        let obtained = async {
            match registry {
                Registry::Online(upstream) => {
                    let source = CrateFromUpstream {
                        index,
                        files,
                        upstream,
                        now,
                        deadline,
                    };
                    self.obtained(&source, &door, name, id, now).await
                }
                Registry::Offline(_) => {
                    let source = CrateFromStore {
                        shared,
                        index,
                        files,
                        registry: name,
                        now,
                        deadline,
                    };
                    self.obtained(&source, &door, name, id, now).await
                }
            }
        };
        let obtained = timeout_at(deadline + GRACE, obtained).await;
        let Obtained {
            file,
            outcome,
            pass,
        } = obtained.unwrap_or_else(|_| {
            Err(Error::new(
                Kind::Overloaded,
                format!("{id} couldn't be read from this mirror's store in time; try again"),
            ))
        })?;
        let pass = match pass.needs_license() {
            true => {
                let known = self.manifests.license_of(pass.key, &file);
                let license = timeout_at(deadline + GRACE, known).await;
                let license = license.unwrap_or_else(|_| Err(manifest_is_late(id)))?;
                door.license(pass, &file, &license)?
            }
            false => pass,
        };
        let_out(file, pass, outcome)
    }

    /// The same if it takes nothing but a look into memory; `None` when it takes more.
    pub(super) fn get_at_once(
        &self,
        registry: &Registry,
        id: &CrateId,
        view: View,
        now: SystemTime,
    ) -> Option<Result<Found<FileBody>>> {
        let index = IndexKey::new(registry.name(), id.name);
        let entry = self.index.seen_in_memory(&index, view, now)?;
        let place = entry.file().position(id)?;
        let (_, key) = listed(&entry, index.registry, id)?;
        let file = self.files.in_memory(&key.into())?;
        let CheckedFile::Whole(whole) = &file else {
            return None;
        };
        let pass = Pass::at_once(&self.shared.rules, &entry, place, key, whole, now)?;
        Some(let_out(file, pass, Outcome::Hit))
    }

    /// The length of a file of which a client asks for a part, if it can be given one.
    pub(super) async fn divisible(&self, body: &mut FileBody) -> Option<u64> {
        self.files.divisible(body).await
    }

    /// The file, from the store if the index at hand says which one it is; else what the source comes to.
    async fn obtained<S: CrateSource>(
        &self,
        source: &S,
        door: &Door<'_>,
        registry: RegistryName,
        id: &CrateId,
        now: SystemTime,
    ) -> Result<Obtained> {
        let at_hand = source.at_hand(id).await?;
        let known = at_hand.as_deref();
        let known = known.and_then(|entry| listed(entry, registry, id));
        let known = known.map(|(_, key)| key);
        let mut passed = None;
        if let Some(key) = known {
            let pass = door.examine(&key, at_hand.as_deref())?;
            if let Some(file) = source.stored(&key).await? {
                return Ok(Obtained::stored(file, pass));
            }
            passed = Some(pass);
        }
        let current = source.current(id, at_hand.as_ref()).await;
        let entry = current.as_ref().ok().map(|found| found.value.clone());
        let key = entry.as_deref();
        let key = key.and_then(|entry| listed(entry, registry, id));
        let Some((_, key)) = key else {
            let index = IndexKey::new(registry, id.name);
            let entry = entry.or(at_hand);
            let entry = entry.as_deref();
            let stored = withdrawn(&self.shared, &self.files, &index, id, entry, now).await;
            return match stored {
                Some((key, file)) => {
                    let pass = door.examine(&key, entry)?;
                    Ok(Obtained::stored(file, pass))
                }
                None => Err(source.unlisted(id, current).await),
            };
        };
        // Before upstream is asked for it: what may not go out needn't come in.
        let pass = match passed.filter(|_| known == Some(key)) {
            Some(pass) => pass,
            None => door.examine(&key, entry.as_deref())?,
        };
        if known != Some(key)
            && let Some(file) = source.stored(&key).await?
        {
            return Ok(Obtained::stored(file, pass));
        }
        let Found { value, outcome } = source.obtain(&key).await?;
        Ok(Obtained {
            file: value,
            outcome,
            pass,
        })
    }
}

impl Obtained {
    fn stored(file: CheckedFile, pass: Pass) -> Self {
        Self {
            file,
            outcome: Outcome::Hit,
            pass,
        }
    }
}

/// What to say when the rules ask for a licence and the manifest that says it isn't here in time.
fn manifest_is_late(id: &CrateId) -> Error {
    Error::upstream_timeout(format!(
        "the manifest of {id}, whose licence the rules ask for, didn't arrive in time; try again, it may be here by then"
    ))
}
