//! [`PackPlan`]: what of a repository is sent to who has some of it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    content::count,
    folder::Difference,
    repository::{Repository, StateCommit},
};
use crate::git::{FetchRequest, ObjectId};

/// What is sent, and what is said before.
pub struct PackPlan {
    pub(super) repository: Arc<Repository>,
    /// The commits, the oldest first.
    pub(super) commits: Vec<Arc<StateCommit>>,
    /// The state that the client has and that is nearest.
    pub(super) base: Option<Arc<StateCommit>>,
    /// What has changed in the states after the first of them.
    pub(super) later: Vec<ObjectId>,
    /// The commits whose folders at the top are sent.
    pub(super) roots: Vec<Arc<StateCommit>>,
    /// Whether config.json is.
    pub(super) with_config: bool,
    /// How many objects there are in all.
    pub(super) objects: u64,
    /// The commits whose parents the client won't have.
    pub shallow: Vec<ObjectId>,
    /// Those whose parents it didn't have and will.
    pub unshallow: Vec<ObjectId>,
    /// Whether what was wanted isn't known here, so that this is the present state instead.
    pub instead: bool,
}

impl PackPlan {
    /// How many objects it is.
    pub fn objects(&self) -> u64 {
        self.objects
    }

    /// How many of them have changed in states after the first.
    pub fn changes(&self) -> usize {
        self.later.len()
    }

    /// The most that can have changed in states after the first, whatever is asked for.
    pub fn most_changes(repository: &Repository) -> usize {
        let changed = repository.commits.values();
        let changed = changed.map(|commit| commit.content.changed()).max();
        usize::try_from(changed.unwrap_or(0)).unwrap_or(usize::MAX)
    }

    /// What is sent for this request. Takes a few milliseconds where there are many files.
    pub fn new(repository: &Arc<Repository>, request: &FetchRequest) -> Self {
        let wanted = Wanted::of(repository, &request.wants);
        let is_shallow = |id: &ObjectId| request.shallow.contains(id);
        // The newest first. Who says how deep it is to be says it of all of it; otherwise what is shallow stays so.
        let mut line = wanted.line;
        let reach = match request.depth {
            Some(depth) => usize::try_from(depth).unwrap_or(usize::MAX),
            None => {
                let end = line.iter().position(|commit| is_shallow(&commit.id));
                end.map_or(usize::MAX, |end| end + 1)
            }
        };
        let is_cut = request.depth.is_some() && line.len() >= reach;
        line.truncate(reach);
        let last = line.last().filter(|_| is_cut).map(|commit| commit.id);
        let shallow = last.into_iter().filter(|id| !is_shallow(id)).collect();
        let reached = line.iter().filter(|_| request.depth.is_some());
        let unshallow = reached
            .filter(|commit| is_shallow(&commit.id) && Some(commit.id) != last)
            .map(|commit| commit.id)
            .collect();
        let possessed = repository.possessed(&request.haves.known, is_shallow);
        let base = possessed.iter().filter_map(|id| repository.commits.get(id));
        let base = base.max_by_key(|commit| commit.content.serial).cloned();
        line.retain(|commit| !possessed.contains(&commit.id));
        line.reverse();
        let plan = Self {
            repository: repository.clone(),
            commits: line,
            with_config: base.is_none(),
            base,
            later: Vec::new(),
            roots: Vec::new(),
            objects: 0,
            shallow,
            unshallow,
            instead: wanted.instead,
        };
        plan.counted()
    }

    /// The same with what it comes to.
    fn counted(mut self) -> Self {
        let mut sent: HashSet<ObjectId> = self.base.iter().map(|base| base.root).collect();
        for commit in &self.commits {
            if sent.insert(commit.root) {
                self.roots.push(commit.clone());
            }
        }
        let mut seen = HashSet::new();
        for pair in self.commits.windows(2) {
            let [before, after] = pair else { continue };
            let mut changed = Difference::of(&after.content.top, Some(&before.content.top));
            while let Some(id) = changed.next() {
                let first = &self.commits[0].content.top;
                if !changed.is_also_in(first, id) && seen.insert(id) {
                    self.later.push(id);
                }
            }
        }
        self.with_config &= !self.commits.is_empty();
        let kinds = [
            self.commits.len(),
            self.roots.len(),
            self.later.len(),
            usize::from(self.with_config),
        ];
        self.objects = kinds.iter().sum::<usize>() as u64 + count(self.first());
        self
    }

    /// What is in the first state beside its folder at the top, and not in that which the client has.
    pub(super) fn first(&self) -> Difference {
        let base = self.base.as_ref().map(|base| &base.content.top);
        match self.commits.first() {
            Some(first) => Difference::of(&first.content.top, base),
            None => Difference::nothing(),
        }
    }
}

/// What is wanted, as far as it is known.
struct Wanted {
    /// From the commit that is wanted back, the newest first.
    line: Vec<Arc<StateCommit>>,
    instead: bool,
}

impl Wanted {
    /// A repository has one branch, so that one commit is wanted. One that isn't known any more, or is another mirror's, comes as the present state: what a client with libgit2 makes
    /// of that is to begin anew, which is what helps.
    fn of(repository: &Repository, wants: &BTreeSet<ObjectId>) -> Self {
        let known: Option<Vec<_>> = wants.iter().map(|id| repository.commits.get(id)).collect();
        let newest = known.and_then(|known| known.into_iter().max_by_key(|c| c.content.serial));
        if let Some(line) = newest.and_then(|newest| repository.line(newest)) {
            return Self {
                line,
                instead: false,
            };
        }
        let line = repository.line(&repository.tip);
        Self {
            line: line.unwrap_or_else(|| vec![repository.tip.clone()]),
            instead: true,
        }
    }
}
