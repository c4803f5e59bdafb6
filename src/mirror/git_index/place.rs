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
    reading::{CratesMatter, FileReader, PATIENCE, compressed, grow},
    repository::{Histories, Repository},
    update::{Update, UpdateExtent, changes},
};
use crate::{
    allowance::Lease,
    domain::{RegistryName, View},
    error::{Error, Result},
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
/// After an update that failed the next one isn't begun before.
const PAUSE: Duration = Duration::from_secs(5);
/// What a folder takes beside its entry until it is in the log.
const OF_A_FOLDER: usize = object_log::IN_MEMORY + 64;
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
    /// When the last update failed, and why; nothing when it didn't.
    failure: ArcSwapOption<(Instant, Error)>,
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

impl Files {
    fn new(shared: &Shared) -> Self {
        Self {
            table: FileTable::default(),
            states: VecDeque::new(),
            lease: shared.budget.nothing(),
        }
    }

    /// About what it takes in memory, in bytes.
    fn needs(&self) -> usize {
        let mut logs: Vec<_> = self.states.iter().map(|state| &state.log).collect();
        logs.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let objects: usize = logs.iter().map(|log| log.objects()).sum();
        let entries: usize = self.states.iter().map(|state| state.top.len()).sum();
        self.table.len() * file_table::IN_MEMORY
            + objects * object_log::IN_MEMORY
            + entries * TOP_ENTRY
    }

    /// Has the lease be for what there is.
    fn pay(&mut self) -> Result<()> {
        let needs = self.needs();
        resize(&mut self.lease, needs)
    }
}

/// Whether the last state will do.
pub(super) enum Currency {
    /// It is of now.
    Current(Arc<StateContent>),
    /// It is, as far as is known; it is time to look.
    Unwatched(Arc<StateContent>),
    /// Something has changed since; it will do for who can't wait.
    Outdated(Arc<StateContent>),
    /// The rules have changed since. Nobody gets what was shown by the old ones.
    OtherRules,
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
        Self {
            histories: Mutex::new(Histories::new(registry, shared.budget.clone())),
            files: Mutex::new(Files::new(&shared)),
            shared,
            registry,
            view,
            crates,
            present: ArcSwapOption::empty(),
            failure: ArcSwapOption::empty(),
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
        if present.seen.rules != things.rules {
            return Currency::OtherRules;
        }
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
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it. Then the state stays as it was, and this isn't tried again for some seconds.
    pub(super) fn update(&self, things: SeenState, now: SystemTime) -> Result<Arc<StateContent>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let updated = self.updated(&mut files, things, now);
        let failure = updated.as_ref().err();
        let failure = failure.map(|why| Arc::new((Instant::now(), why.clone())));
        self.failure.store(failure);
        // What was put into the log has to be paid for all the same.
        if updated.is_err() && files.pay().is_err() {
            *files = Files::new(&self.shared);
            self.present.store(None);
            self.histories().forget_before(u64::MAX);
        }
        updated
    }

    /// Why the last update failed, if that is only some seconds ago.
    pub(super) fn failed_lately(&self) -> Option<Error> {
        let failure = self.failure.load();
        let (at, why) = &**failure.as_ref()?;
        (at.elapsed() < PAUSE).then(|| why.clone())
    }

    fn updated(
        &self,
        files: &mut Files,
        things: SeenState,
        now: SystemTime,
    ) -> Result<Arc<StateContent>> {
        let present = self.present.load_full();
        let extent = self.extent(present.as_deref(), things);
        let walked = match (&extent, &present) {
            (UpdateExtent::These(_), Some(present)) => present.walked,
            (UpdateExtent::These(_) | UpdateExtent::All | UpdateExtent::Changed, _) => {
                Instant::now()
            }
        };
        let before = files.states.back().cloned();
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
            table: &files.table,
            extent,
            now,
        };
        // What it takes until it is over.
        let mut lease = self.shared.budget.nothing();
        let outcomes = update.run(&mut lease)?;
        let changes = changes(&outcomes, &files.table);
        let top = before
            .as_ref()
            .map_or_else(GitFolder::empty, |b| b.top.clone());
        let mut folders = Vec::new();
        let top = top.changed(&changes, &mut |id, content| {
            let entry = compressed(ObjectKind::Tree, content)?;
            grow(&mut lease, entry.len() + OF_A_FOLDER, PATIENCE)?;
            folders.push((id, entry));
            Ok(())
        })?;
        log.append(folders.iter().map(|(id, entry)| (*id, &entry[..])))?;
        let needs = files.needs() + outcomes.len() * file_table::IN_MEMORY;
        resize(&mut files.lease, needs + top.len() * TOP_ENTRY)?;
        // Nothing fails from here on, so that the table and the last state always fit.
        for (name, file) in outcomes {
            files.table.set(&name, file);
        }
        let content = match before.filter(|before| before.top.id == top.id) {
            Some(before) => before,
            None => self.publish(files, top, log),
        };
        // It is less than that by now, or a new log's objects, which were in the old one.
        let _ = files.pay();
        self.present.store(Some(Arc::new(Present {
            content: content.clone(),
            seen: things,
            next_due: files.table.next_due(),
            walked,
        })));
        Ok(content)
    }

    /// Makes a new state of the table as it is now.
    fn publish(
        &self,
        files: &mut Files,
        top: Arc<GitFolder>,
        log: Arc<ObjectLog>,
    ) -> Arc<StateContent> {
        let Files { table, states, .. } = files;
        let state = (top, table.shown(), table.modified());
        let scratch = || self.shared.store.scratch();
        let content = Arc::new(StateContent::after(states.back(), state, log, scratch));
        states.push_back(content.clone());
        let oldest = (content.serial + 1).saturating_sub(REMEMBERED);
        while states.front().is_some_and(|state| state.serial < oldest) {
            states.pop_front();
        }
        let mut histories = self.histories();
        histories.forget_before(oldest);
        histories.remember(content.clone());
        content
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
        Ok(more) => grow(lease, more, PATIENCE)?,
    }
    Ok(())
}
