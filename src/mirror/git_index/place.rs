//! [`IndexPlace`]: the git index of one registry as it is seen in one view: what is known of its files, and its last states.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    content::{IN_A_CHAIN, StateContent},
    file_table::{self, FileTable},
    folder::GitFolder,
    object_log::{self, ObjectLog},
    reading::{CratesMatter, FileReader, compressed, grow},
    repository::{Histories, Repository},
    update::{Update, UpdateExtent, changes},
};
use crate::{
    allowance::Lease,
    domain::{RegistryName, View},
    error::Result,
    git::ObjectKind,
    mirror::{
        index::Viewpoint,
        shared::{ChangedRecords, Shared},
    },
    policy::RulesVersion,
    store::Mark,
};

/// So many states are remembered, for those who fetch what has changed since.
const REMEMBERED: u64 = 2 * IN_A_CHAIN;
/// Whoever changes the store without a word is noticed as late as this.
const WALK_EVERY: Duration = Duration::from_secs(600);
/// About what an entry of the folder at the top takes in memory, of which each state has its own.
const TOP_ENTRY: usize = 56;

/// The git index of one registry as it is seen in one view.
pub(super) struct IndexPlace {
    shared: Arc<Shared>,
    registry: RegistryName,
    view: View,
    crates: CratesMatter,
    present: ArcSwapOption<Present>,
    /// What only an update needs.
    files: Mutex<Files>,
    histories: Mutex<Histories>,
}

/// The last state, and up to what it is one.
struct Present {
    content: Arc<StateContent>,
    seen: SeenState,
    next_due: Option<SystemTime>,
    walked: Instant,
}

/// What the state of the files depends on beside the time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SeenState {
    changes: u64,
    mark: Mark,
    rules: RulesVersion,
}

struct Files {
    table: FileTable,
    states: VecDeque<Arc<StateContent>>,
    lease: Lease,
}

/// Whether the last state will do.
pub(super) enum Currency {
    /// It is of now.
    Current(Arc<StateContent>),
    /// It is, as far as is known; it is time to look.
    Unwatched(Arc<StateContent>),
    /// Something has changed since.
    Outdated(Arc<StateContent>),
    /// There is none.
    Missing,
}

impl IndexPlace {
    pub(super) fn new(
        shared: Arc<Shared>,
        registry: RegistryName,
        view: View,
        crates: CratesMatter,
    ) -> Self {
        let files = Files {
            table: FileTable::default(),
            states: VecDeque::new(),
            lease: shared.budget.nothing(),
        };
        Self {
            histories: Mutex::new(Histories::new(registry, shared.budget.clone())),
            shared,
            registry,
            view,
            crates,
            present: ArcSwapOption::empty(),
            files: Mutex::new(files),
        }
    }

    /// What the state of the files depends on, as it is now.
    pub(super) async fn state_of_things(&self) -> SeenState {
        let Shared {
            store,
            rules,
            stored_changes,
            ..
        } = &*self.shared;
        SeenState {
            mark: store.change_mark().await,
            changes: stored_changes.count(),
            rules: rules.version(),
        }
    }

    /// Whether the last state is that of these things.
    pub(super) fn currency(&self, things: SeenState, now: SystemTime) -> Currency {
        let Some(present) = self.present.load_full() else {
            return Currency::Missing;
        };
        let content = present.content.clone();
        let is_due = present.next_due.is_some_and(|due| due <= now);
        let has_changed = present.seen != things && !self.concerns_others(&present.seen, things);
        match has_changed || is_due {
            true => Currency::Outdated(content),
            false if present.walked.elapsed() >= WALK_EVERY => Currency::Unwatched(content),
            false => Currency::Current(content),
        }
    }

    /// Whether all that has changed is other registries' records.
    fn concerns_others(&self, seen: &SeenState, things: SeenState) -> bool {
        let changes = &self.shared.stored_changes;
        let same = SeenState {
            changes: things.changes,
            ..*seen
        };
        same == things
            && changes.since(seen.changes, self.registry) == ChangedRecords::These(Vec::new())
    }

    /// The repository whose config.json is this one, at the last state.
    ///
    /// # Errors
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
    pub(super) fn repository(
        &self,
        config: &Bytes,
        content: &Arc<StateContent>,
    ) -> Result<Arc<Repository>> {
        self.histories().repository(config, content)
    }

    /// Brings the state up to date. Blocks, for as long as it takes to read what has changed.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the store can't be read or there is no room for what is made,
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it.
    pub(super) fn update(&self, things: SeenState, now: SystemTime) -> Result<Arc<StateContent>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Files {
            table,
            states,
            lease,
        } = &mut *files;
        let present = self.present.load_full();
        let extent = self.extent(present.as_deref(), things);
        let walked = match (&extent, &present) {
            (UpdateExtent::These(_), Some(present)) => present.walked,
            (UpdateExtent::These(_) | UpdateExtent::All | UpdateExtent::Changed, _) => {
                Instant::now()
            }
        };
        let before = states.back().cloned();
        let log = match &before {
            Some(before) => before.log.clone(),
            None => Arc::new(ObjectLog::new(self.shared.store.scratch()?)),
        };
        let update = Update {
            reader: FileReader {
                shared: self.shared.clone(),
                from: Viewpoint::of(&self.shared, self.view, now),
                crates: self.crates,
            },
            registry: self.registry,
            log: &log,
            table,
            extent,
            now,
        };
        let outcomes = update.run()?;
        let changes = changes(&outcomes, table);
        let top = before
            .as_ref()
            .map_or_else(GitFolder::empty, |b| b.top.clone());
        let mut folders = Vec::new();
        let top = top.changed(&changes, &mut |id, content| {
            folders.push((id, compressed(ObjectKind::Tree, content)?));
            Ok(())
        })?;
        log.append(folders.iter().map(|(id, entry)| (*id, &entry[..])))?;
        // Nothing fails from here on, so that the table and the last state always fit.
        for (name, file) in outcomes {
            table.set(&name, file);
        }
        let content = match before.filter(|before| before.top.id == top.id) {
            Some(before) => before,
            None => {
                let state = (top, table.shown(), table.modified());
                let scratch = || self.shared.store.scratch();
                let content = Arc::new(StateContent::after(states.back(), state, log, scratch));
                states.push_back(content.clone());
                self.forget(states, content.serial);
                content
            }
        };
        let needs = table.len() * file_table::IN_MEMORY
            + content.log.objects() * object_log::IN_MEMORY
            + states.len() * content.top.len() * TOP_ENTRY;
        resize(lease, needs)?;
        self.present.store(Some(Arc::new(Present {
            content: content.clone(),
            seen: things,
            next_due: table.next_due(),
            walked,
        })));
        Ok(content)
    }

    fn extent(&self, present: Option<&Present>, things: SeenState) -> UpdateExtent {
        let Some(present) = present else {
            return UpdateExtent::All;
        };
        let seen = present.seen;
        if seen.rules != things.rules {
            return UpdateExtent::All;
        }
        if seen.mark != things.mark || present.walked.elapsed() >= WALK_EVERY {
            return UpdateExtent::Changed;
        }
        let changes = &self.shared.stored_changes;
        match changes.since(seen.changes, self.registry) {
            ChangedRecords::These(keys) => UpdateExtent::These(keys),
            ChangedRecords::Any => UpdateExtent::Changed,
        }
    }

    /// Lets go of states that are too old.
    fn forget(&self, states: &mut VecDeque<Arc<StateContent>>, newest: u64) {
        let oldest = (newest + 1).saturating_sub(REMEMBERED);
        while states.front().is_some_and(|state| state.serial < oldest) {
            states.pop_front();
        }
        self.histories().forget_before(oldest);
    }

    fn histories(&self) -> MutexGuard<'_, Histories> {
        self.histories
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a lease one on so many bytes.
fn resize(lease: &mut Lease, bytes: usize) -> Result<()> {
    let more = (bytes as u64).saturating_sub(lease.bytes());
    match usize::try_from(more) {
        Ok(0) | Err(_) => lease.shrink_to(bytes as u64),
        Ok(more) => grow(lease, more)?,
    }
    Ok(())
}
