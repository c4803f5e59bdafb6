//! [`Selection`]: which files requests come to, looked up in the index.

use std::{collections::HashSet, sync::Arc};

use super::{missing::Missing, parallel, prefetcher::Prefetcher};
use crate::{
    domain::{
        CrateId, CrateName, CrateRequest, Outcome, RegistryName, Selected, Version, View,
        request::{Requirement, Selector},
    },
    error::{Error, Kind, Result},
    mirror::{Found, IndexEntry},
};

/// What requests come to.
#[derive(Debug, Default)]
pub struct Selection {
    /// The files, each once.
    pub selected: Vec<Selected>,
    /// The requests that come to nothing.
    pub missing: Vec<Missing>,
    /// What should be known of the others.
    pub notes: Vec<String>,
}

impl Prefetcher {
    /// Looks up in the index which files requests come to.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics.
    pub async fn select(
        &self,
        requests: Vec<CrateRequest>,
        selector: Selector,
    ) -> Result<Selection> {
        let work = |request: CrateRequest| {
            let this = self.clone();
            async move {
                let selected = this.select_one(&request, selector).await;
                (request, selected)
            }
        };
        let (mut all, mut seen) = (Selection::default(), HashSet::new());
        for (request, selected) in parallel::each(requests, self.at_once, work).await? {
            match selected {
                Ok((selected, notes)) => {
                    let new = selected
                        .into_iter()
                        .filter(|selected| seen.insert((selected.registry, selected.id)));
                    all.selected.extend(new);
                    all.notes.extend(notes);
                }
                Err(e) => all.missing.push(Missing {
                    what: request.to_string(),
                    why: e.to_string(),
                    by: Vec::new(),
                }),
            }
        }
        Ok(all)
    }

    /// The files that one request comes to, and what should be known of it.
    async fn select_one(
        &self,
        request: &CrateRequest,
        selector: Selector,
    ) -> Result<(Vec<Selected>, Vec<String>)> {
        let registry = request.registry;
        let entry = self.spelt_anyhow(registry, request.name).await?;
        let file = entry.value.file();
        let name = file.name();
        let id = |listed: &Version| CrateId {
            name,
            version: *listed.version(),
        };
        let is_kept_out = |listed: &Version| {
            let place = file.position(&id(listed));
            place.is_some_and(|place| entry.value.hides(place))
        };
        let matches = request.select(file, selector, is_kept_out);
        let kept_out = match matches.kept_out.first() {
            Some(newest) => self.why_kept_out(registry, &id(newest)).await?,
            None => None,
        };
        if matches.versions.is_empty() && !matches!(selector, Selector::Since(_)) {
            return Err(Error::absent(match (kept_out, &request.requirement) {
                (Some(why), _) => why,
                (None, Requirement::Any) => {
                    format!("{registry} has only yanked versions of {name}")
                }
                (None, Requirement::Exact(version)) => {
                    format!("{registry} has no version {version} of {name}")
                }
                (None, Requirement::Matching(req)) => {
                    format!("{registry} has no version of {name} that {req} allows")
                }
            }));
        }
        let mut notes = Vec::new();
        if entry.outcome == Outcome::Stale {
            notes.push(format!(
                "{registry} couldn't say whether there are newer versions of {name}; these are by the copy of the index here"
            ));
        }
        if matches.undated > 0 {
            notes.push(format!(
                "{} versions of {name} are left out: {registry} doesn't say when they were published",
                matches.undated
            ));
        }
        if let Some(why) = kept_out {
            notes.push(match matches.kept_out.len() {
                1 => format!("left out: {why}"),
                more => {
                    format!("left out are {more} versions of {name}, such as the newest: {why}")
                }
            });
        }
        let selected = matches.versions.iter().map(|listed| Selected {
            registry,
            id: id(listed),
            sha256: Some(listed.sha256),
            by: Vec::new(),
        });
        Ok((selected.collect(), notes))
    }

    /// The sentence about a version that the rules keep out.
    async fn why_kept_out(&self, registry: RegistryName, id: &CrateId) -> Result<Option<String>> {
        let now = (self.clock)();
        let registry = self.mirror.registry(Some(registry))?;
        let judgement = self.mirror.judge(registry, id, View::Usual, now).await?;
        Ok(judgement.denial.map(|denied| denied.sentence))
    }

    /// The index file of a crate whose `-` and `_` may be the other way round.
    async fn spelt_anyhow(
        &self,
        registry: RegistryName,
        name: CrateName,
    ) -> Result<Found<Arc<IndexEntry>>> {
        let absent = match self.index(registry, name).await {
            Err(e) if e.kind() == Kind::Absent => e,
            done => return done,
        };
        for spelling in name.spellings() {
            match self.index(registry, spelling).await {
                Err(e) if e.kind() == Kind::Absent => {}
                done => return done,
            }
        }
        Err(absent)
    }
}
