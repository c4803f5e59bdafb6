//! Names: which files are meant by them, looked up in the index.

use std::{collections::HashSet, sync::Arc};

use super::{Missing, Needed, Prefetch, parallel};
use crate::{
    domain::{
        CrateId, CrateName, Outcome, RegistryName, Wanted,
        wanted::{Range, Which},
    },
    error::{Error, Kind, Result},
    mirror::{Found, IndexEntry},
};

/// What names come to.
#[derive(Debug, Default)]
pub struct Choice {
    /// The files, each once.
    pub needed: Vec<Needed>,
    /// The names that come to nothing.
    pub missing: Vec<Missing>,
    /// What should be known of the others.
    pub notes: Vec<String>,
}

impl Prefetch {
    /// Looks up in the index which files are meant by names.
    ///
    /// # Errors
    /// [`Kind::Internal`] when a task panics.
    pub async fn pick(&self, wanted: Vec<Wanted>, range: Range) -> Result<Choice> {
        let work = |wanted: Wanted| {
            let this = self.clone();
            async move {
                let picked = this.pick_one(&wanted, range).await;
                (wanted, picked)
            }
        };
        let (mut choice, mut seen) = (Choice::default(), HashSet::new());
        for (wanted, picked) in parallel::each(wanted, self.at_once, work).await? {
            match picked {
                Ok((needed, notes)) => {
                    let new = needed
                        .into_iter()
                        .filter(|needed| seen.insert((needed.registry, needed.id)));
                    choice.needed.extend(new);
                    choice.notes.extend(notes);
                }
                Err(e) => choice.missing.push(Missing {
                    what: wanted.to_string(),
                    why: e.to_string(),
                    by: Vec::new(),
                }),
            }
        }
        Ok(choice)
    }

    /// The files that one name comes to, and what should be known of it.
    async fn pick_one(&self, wanted: &Wanted, range: Range) -> Result<(Vec<Needed>, Vec<String>)> {
        let registry = wanted.registry;
        let entry = self.spelt_anyhow(registry, wanted.name).await?;
        let file = entry.value.file();
        let picked = wanted.pick(file, range);
        let name = file.name();
        if picked.versions.is_empty() && !matches!(range, Range::Since(_)) {
            return Err(Error::absent(match &wanted.which {
                Which::Any => format!("{registry} has only yanked versions of {name}"),
                Which::Exact(version) => format!("{registry} has no version {version} of {name}"),
                Which::Matching(req) => {
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
        if picked.undated > 0 {
            notes.push(format!(
                "{} versions of {name} are left out: {registry} doesn't say when they were published",
                picked.undated
            ));
        }
        let needed = picked.versions.iter().map(|listed| Needed {
            registry,
            id: CrateId {
                name,
                version: *listed.version(),
            },
            sha256: Some(listed.sha256),
            by: Vec::new(),
        });
        Ok((needed.collect(), notes))
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
