//! What rules cost a hit: the same request to a mirror without any and to one with a policy as a careful company has it, by the mirror's own CPU time, in turns.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate_mirror::advisories::Database;
use serde::Serialize;

use crate::{
    Result,
    record::Recording,
    report::Report,
    servers::{Origin, Protocol, mirror},
    stats::Sample,
    support::advisory_db,
    tokens::{TokenCost, folder, measure},
    tools::Bench,
};

/// So many rules there are, none of which is about what is asked for.
const RULES: usize = 100;

/// The CPU time of a request in microseconds, one figure for each turn.
#[derive(Serialize)]
pub(crate) struct RulesCost {
    pub(crate) what: String,
    pub(crate) without: Sample,
    /// The same once more, in the same turn: by how much they differ is the noise.
    pub(crate) again: Sample,
    pub(crate) with: Sample,
}

impl RulesCost {
    fn of(cost: TokenCost) -> Self {
        Self {
            what: cost.what,
            without: cost.open,
            again: cost.again,
            with: cost.token,
        }
    }

    /// How much more it takes with rules, in per cent, turn by turn.
    pub(crate) fn more(&self) -> Sample {
        let without = self.without.0.iter().zip(&self.again.0);
        let without = without.map(|(one, other)| f64::midpoint(*one, *other));
        let with = self.with.0.iter().zip(without);
        with.map(|(with, without)| 100.0 * (with / without - 1.0))
            .collect()
    }

    /// By how much two requests differ that should take the same, in per cent, turn by turn.
    pub(crate) fn noise(&self) -> Sample {
        let pairs = self.without.0.iter().zip(&self.again.0);
        pairs
            .map(|(one, other)| 100.0 * (one / other - 1.0).abs())
            .collect()
    }
}

/// The database of advisories, and what is said of it: that at `given`, else one that is made up in `folder`.
fn database(given: Option<&Path>, folder: &Path) -> Result<(PathBuf, String)> {
    let (path, whose) = match given {
        // The mirror runs in another folder.
        Some(path) => (std::path::absolute(path), "real"),
        None => {
            let path = folder.join("advisory-db");
            (advisory_db::write(&path).map(|()| path), "made-up")
        }
    };
    let path = path.map_err(|e| format!("the database of advisories: {e}"))?;
    let database = Database::read(&path, SystemTime::now()).map_err(|e| e.to_string())?;
    let (count, crates) = (database.advisories.len(), database.advisories.crates());
    let said = format!("{count} {whose} advisories about {crates} crates");
    Ok((path, said))
}

/// Measures what is wanted of it, with the advisories at that path, or made-up ones.
pub(crate) async fn run(
    bench: &Bench,
    advisories: Option<&Path>,
    recording: &Recording,
    report: &mut Report,
) -> Result<()> {
    let rows = [
        ("a 2 KB index file", &recording.small),
        ("a crate of 80 KB", &recording.medium),
    ];
    let mut wanted = Vec::new();
    for protocol in [Protocol::Http1, Protocol::Http2] {
        for (row, path) in rows {
            let what = format!("rules: {row}, {}", protocol.name());
            if bench.wants(&what) {
                wanted.push((what, protocol, path));
            }
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let origin = Origin::start(bench, &recording.www).await?;
    let index = format!("sparse+http://{}/index/", origin.address());
    let (without, with) = (folder(bench, "no-rules")?, folder(bench, "rules")?);
    let (database, said) = database(advisories, &with)?;
    report.advisories = said;
    let mut policy = format!(
        "[policy]\ncooldown = \"3d\"\ncontact = \"security@example.com\"\n[policy.advisories]\npath = {database:?}\n"
    );
    for n in 0..RULES {
        let versions = if n % 2 == 0 {
            "versions = \">=1, <3\"\n"
        } else {
            ""
        };
        let _ = write!(
            policy,
            "[[policy.rules]]\ncrates = [\"left-pad-{n}\", \"typo{n}-*\"]\n{versions}action = \"deny\"\n"
        );
    }
    let without = mirror(bench, &without, &without.join("store"), &index, "").await?;
    let with = mirror(bench, &with, &with.join("store"), &index, &policy).await?;
    for (what, protocol, path) in wanted {
        let cost = measure(bench, path, what, protocol, &[], [&without, &with]).await?;
        report.rules.push(RulesCost::of(cost));
    }
    Ok(())
}
