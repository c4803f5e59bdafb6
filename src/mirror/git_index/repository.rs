//! [`Repository`]: what a client fetches from: the states of an index with one config.json, as commits.
//!
//! The folders are the same for all who ask. What depends on how a client came here is config.json, the folder at the top, which has it in it, and the commit.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::content::StateContent;
use crate::{
    allowance::{Allowance, Lease},
    domain::RegistryName,
    error::{Error, Kind, Result},
    git::{Commit, ObjectId, ObjectKind},
};

/// So many differently reached repositories are remembered; the one that was asked for least recently goes first.
const HISTORIES: usize = 64;
/// About what a commit takes in memory.
const COMMIT: u64 = 640;

/// The file in which an index says where its crates are.
pub(super) const CONFIG: &str = "config.json";

/// A commit.
pub(super) struct StateCommit {
    pub(super) id: ObjectId,
    pub(super) bytes: Vec<u8>,
    /// The folder at the top.
    pub(super) root: ObjectId,
    pub(super) parent: Option<ObjectId>,
    pub(super) content: Arc<StateContent>,
    time: u64,
    #[expect(dead_code, reason = "held for its drop")]
    lease: Lease,
}

/// The states of an index with one config.json.
pub struct Repository {
    pub(super) config: Bytes,
    pub(super) config_id: ObjectId,
    pub(super) tip: Arc<StateCommit>,
    pub(super) commits: HashMap<ObjectId, Arc<StateCommit>>,
}

/// What is remembered of a registry's index, by its config.json.
pub(super) struct Histories {
    registry: RegistryName,
    budget: Allowance,
    /// The states of the chain of now, the oldest first. From them the same commits are made for whoever comes back.
    chain: VecDeque<Arc<StateContent>>,
    /// The one that was asked for last is the last one.
    all: Vec<History>,
}

struct History {
    config: Bytes,
    config_id: ObjectId,
    /// In their order.
    commits: VecDeque<Arc<StateCommit>>,
    /// What was given out last.
    last: Option<Arc<Repository>>,
}

impl Repository {
    /// Its last commit.
    pub fn tip(&self) -> ObjectId {
        self.tip.id
    }

    /// How many index files are in it.
    pub fn files(&self) -> usize {
        self.tip.content.files
    }

    /// Whether it has that commit.
    pub fn knows(&self, id: &ObjectId) -> bool {
        self.commits.contains_key(id)
    }

    /// The commits from one back to that which has no parent; those without which the line can't be gone back are named by `None`.
    pub(super) fn line(&self, from: &Arc<StateCommit>) -> Option<Vec<Arc<StateCommit>>> {
        let mut line = vec![from.clone()];
        let mut parent = from.parent;
        while let Some(id) = parent {
            let commit = self.commits.get(&id)?;
            parent = commit.parent;
            line.push(commit.clone());
        }
        Some(line)
    }

    /// All commits that a client has who says that it has these, and of these the parents of `shallow` ones not.
    pub(super) fn possessed<'a>(
        &self,
        haves: impl IntoIterator<Item = &'a ObjectId>,
        is_shallow: impl Fn(&ObjectId) -> bool,
    ) -> HashSet<ObjectId> {
        let mut possessed = HashSet::new();
        for have in haves {
            let mut next = Some(*have);
            while let Some(commit) = next.and_then(|id| self.commits.get(&id)) {
                if !possessed.insert(commit.id) {
                    break;
                }
                next = commit.parent.filter(|_| !is_shallow(&commit.id));
            }
        }
        possessed
    }
}

impl Histories {
    pub(super) fn new(registry: RegistryName, budget: Allowance) -> Self {
        let all = Vec::new();
        Self {
            registry,
            budget,
            chain: VecDeque::new(),
            all,
        }
    }

    /// There is a new state.
    pub(super) fn remember(&mut self, content: Arc<StateContent>) {
        self.chain.retain(|state| state.chain == content.chain);
        self.chain.push_back(content);
    }

    /// The repository with this config.json at that state, which is the newest.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when there is no memory for another commit.
    pub(super) fn repository(
        &mut self,
        config: &Bytes,
        content: &Arc<StateContent>,
    ) -> Result<Arc<Repository>> {
        let place = self.all.iter().position(|known| known.config == *config);
        let mut history = match place {
            Some(place) => self.all.remove(place),
            None => {
                let mut history = History::new(config);
                for before in &self.chain {
                    if before.serial < content.serial && before.chain == content.chain {
                        history.add(before, self.registry, &self.budget)?;
                    }
                }
                history
            }
        };
        let repository = history.at(content, self.registry, &self.budget);
        if self.all.len() >= HISTORIES {
            self.all.remove(0);
        }
        self.all.push(history);
        repository
    }

    /// Forgets the commits of states before this one.
    pub(super) fn forget_before(&mut self, serial: u64) {
        self.chain.retain(|state| state.serial >= serial);
        for history in &mut self.all {
            let is_old = |commit: &Arc<StateCommit>| commit.content.serial < serial;
            while history.commits.front().is_some_and(is_old) {
                history.commits.pop_front();
                history.last = None;
            }
        }
        self.all.retain(|history| !history.commits.is_empty());
    }
}

impl History {
    fn new(config: &Bytes) -> Self {
        Self {
            config: config.clone(),
            config_id: ObjectId::of(ObjectKind::Blob, config),
            commits: VecDeque::new(),
            last: None,
        }
    }

    fn at(
        &mut self,
        content: &Arc<StateContent>,
        registry: RegistryName,
        budget: &Allowance,
    ) -> Result<Arc<Repository>> {
        let tip = match self.commits.back() {
            // One that was looked up a moment ago may be older than another's.
            Some(last) if last.content.serial >= content.serial => last.clone(),
            Some(_) | None => self.add(content, registry, budget)?,
        };
        if let Some(last) = &self.last {
            return Ok(last.clone());
        }
        let commits = self.commits.iter();
        let repository = Arc::new(Repository {
            config: self.config.clone(),
            config_id: self.config_id,
            commits: commits.map(|commit| (commit.id, commit.clone())).collect(),
            tip,
        });
        self.last = Some(repository.clone());
        Ok(repository)
    }

    /// Adds the commit of the state after the last one.
    fn add(
        &mut self,
        content: &Arc<StateContent>,
        registry: RegistryName,
        budget: &Allowance,
    ) -> Result<Arc<StateCommit>> {
        let last = self.commits.back().cloned();
        let commit = self.commit(last.as_deref(), content, registry, budget)?;
        let commit = Arc::new(commit);
        self.commits.push_back(commit.clone());
        self.last = None;
        Ok(commit)
    }

    /// The commit of a state. Nothing of it depends on the clock, so that mirrors that have seen the same states make the same commits.
    fn commit(
        &self,
        before: Option<&StateCommit>,
        content: &Arc<StateContent>,
        registry: RegistryName,
        budget: &Allowance,
    ) -> Result<StateCommit> {
        let lease = budget.try_take_needed(COMMIT).ok_or_else(|| {
            Error::new(
                Kind::Overloaded,
                "this mirror's memory is taken up by other requests; try again in a moment",
            )
        })?;
        let root = content.top.content(Some((CONFIG, self.config_id)));
        let root = ObjectId::of(ObjectKind::Tree, &root);
        let before_time = before.map_or(0, |before| before.time);
        let parent = before.filter(|before| before.content.chain == content.chain);
        let commit = Commit {
            tree: root,
            parent: parent.map(|parent| parent.id),
            time: content.modified.max(before_time),
            message: &format!("The index of {registry} as this mirror has it"),
        };
        let bytes = commit.content();
        Ok(StateCommit {
            id: ObjectId::of(ObjectKind::Commit, &bytes),
            bytes,
            root,
            parent: commit.parent,
            content: content.clone(),
            time: commit.time,
            lease,
        })
    }
}
