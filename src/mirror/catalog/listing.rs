//! [`Listing`]: the crates of one registry: the names that were seen, and what the newest stored version of each says of itself.

use std::collections::BTreeMap;

use semver::Version;

use super::names::{Fit, Names, fit};
use crate::domain::{CrateName, CrateVersion, Manifest};

/// Of more crates than this it isn't said which one fits best.
const MOST: usize = 10_000;

/// The crates of one registry.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) names: Names,
    /// Those of which a .crate file is stored, by their names in lower case.
    stored: BTreeMap<Box<str>, StoredSummary>,
    /// About how many bytes of memory these take.
    memory: usize,
}

/// What the newest stored version of a crate says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredSummary {
    /// The crate's name in its own case, if that isn't the lower one.
    name: Option<Box<str>>,
    version: Version,
    description: Option<Box<str>>,
    /// What it is built from, in lower case, each with a line feed before and behind it.
    dependencies: Box<str>,
    /// How many walks over the store had begun when it was added.
    walk: u32,
}

/// A crate that was searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Match {
    pub(super) rank: Rank,
    pub(super) name: Box<str>,
    /// Of the newest stored version, if one is stored.
    pub(super) version: Option<Box<str>>,
    pub(super) description: Option<Box<str>>,
}

/// What comes first: better fits before worse ones, what is stored before what is only known, short names before long ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    found: FoundIn,
    is_only_known: bool,
    length: usize,
}

/// Where the words were found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FoundIn {
    /// In the name.
    Name(Fit),
    /// In the description, at least one of them.
    Description,
}

impl StoredSummary {
    /// What is kept of a manifest. `None` for a version that is none.
    pub(super) fn of(
        name: CrateName,
        version: &CrateVersion,
        manifest: &Manifest,
        walk: u32,
    ) -> Option<Self> {
        let own = manifest.name.as_deref().unwrap_or(name.as_str());
        let is_its = own.eq_ignore_ascii_case(name.as_str()) && own != name.to_lowercase().as_str();
        let dependencies = manifest.dependencies.join("\n").to_ascii_lowercase();
        Some(Self {
            name: is_its.then(|| own.into()),
            version: Version::parse(version.as_str()).ok()?,
            description: manifest.description.clone(),
            dependencies: format!("\n{dependencies}\n").into(),
            walk,
        })
    }

    fn memory(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        size_of::<Self>()
            + 96
            + text(&self.name)
            + text(&self.description)
            + self.dependencies.len()
    }

    /// Whether a release comes before a pre-release, and then the higher version.
    fn rank(version: &Version) -> (bool, &Version) {
        (version.pre.is_empty(), version)
    }
}

impl Listing {
    /// About how many bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.names.memory() + self.memory
    }

    /// How many crates are stored.
    pub(super) fn stored(&self) -> usize {
        self.stored.len()
    }

    /// The newest stored version of which something is known, if it is at least this one.
    pub(super) fn knows(&self, name: &str, version: &Version) -> bool {
        let known = self.stored.get(name);
        known.is_some_and(|known| {
            StoredSummary::rank(&known.version) >= StoredSummary::rank(version)
        })
    }

    /// Takes what a stored version says of itself, unless more is known of a newer one.
    pub(super) fn store(&mut self, name: CrateName, summary: StoredSummary) {
        let name = name.to_lowercase();
        if self.knows(name.as_str(), &summary.version) {
            return;
        }
        self.memory += summary.memory() + name.as_str().len();
        if let Some(before) = self.stored.insert(name.as_str().into(), summary) {
            self.memory = self
                .memory
                .saturating_sub(before.memory() + name.as_str().len());
        }
    }

    /// Forgets what isn't stored any more, as far as it was added before walk number `walk`, which would have seen it.
    pub(super) fn keep_stored(&mut self, walk: u32, is_stored: impl Fn(&str) -> bool) {
        self.stored
            .retain(|name, known| known.walk >= walk || is_stored(name));
        let each = self.stored.iter();
        self.memory = each.map(|(name, known)| known.memory() + name.len()).sum();
    }

    /// The crates that fit all of `words`, which are in lower case, by their names or by their descriptions; in the order of their ranks.
    pub(super) fn search(&self, words: &[String]) -> Vec<Match> {
        let mut found = Vec::new();
        let Some(first) = words.iter().max_by_key(|word| word.len()) else {
            return found;
        };
        let folded: Vec<String> = words.iter().map(|word| word.replace('_', "-")).collect();
        let joined = folded.join("-");
        for (_, name) in self.names.find(&first.replace('_', "-"), MOST) {
            let fits = || folded.iter().filter_map(|word| fit(name, word));
            if fits().count() == folded.len() {
                // `serde json` is as good as `serde-json`.
                let best = fit(name, &joined).or(fits().max());
                found.extend(best.map(|best| self.matched(name, FoundIn::Name(best))));
            }
        }
        for (name, known) in &self.stored {
            let is_found = folded.iter().all(|word| fit(name, word).is_some());
            if !is_found && known.mentions(name, words) {
                found.push(self.matched(name, FoundIn::Description));
            }
            if found.len() > 2 * MOST {
                break;
            }
        }
        found.sort_by(|a, b| a.rank.cmp(&b.rank).then_with(|| a.name.cmp(&b.name)));
        found
    }

    fn matched(&self, name: &str, found: FoundIn) -> Match {
        let known = self.stored.get(name);
        let own = known.and_then(|known| known.name.as_deref());
        Match {
            rank: Rank {
                found,
                is_only_known: known.is_none(),
                length: name.len(),
            },
            name: own.unwrap_or(name).into(),
            version: known.map(|known| known.version.to_string().into()),
            description: known.and_then(|known| known.description.clone()),
        }
    }

    /// The stored crates whose newest stored version is built from `name`, in their order, and how many there are. At most `most`.
    pub(super) fn dependents(&self, name: CrateName, most: usize) -> (Vec<Box<str>>, usize) {
        let wanted = format!("\n{}\n", name.to_lowercase());
        let all = self.stored.iter();
        let mut all = all.filter(|(_, known)| known.dependencies.contains(&wanted));
        let shown = all.by_ref().take(most);
        let shown: Vec<_> = shown
            .map(|(name, known)| known.name.clone().unwrap_or_else(|| name.clone()))
            .collect();
        let count = shown.len() + all.count();
        (shown, count)
    }
}

impl StoredSummary {
    /// Whether each word is in its name or its description.
    fn mentions(&self, name: &str, words: &[String]) -> bool {
        let Some(description) = &self.description else {
            return false;
        };
        let description = description.to_lowercase();
        words
            .iter()
            .all(|word| description.contains(word.as_str()) || name.contains(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing() -> Listing {
        let mut listing = Listing::default();
        for name in ["serde", "serde_json", "json", "json5", "tokio"] {
            listing.names.add(CrateName::parse(name).expect("a name"));
        }
        for (name, version, description, dependencies) in [
            ("serde_json", "1.0.9", "Old", vec![]),
            (
                "serde_json",
                "1.0.10",
                "A JSON serialization file format",
                vec!["serde", "itoa"],
            ),
            ("serde_json", "1.0.2", "Older", vec![]),
            (
                "tokio",
                "2.0.0-alpha.1",
                "An event loop that speaks json",
                vec!["serde", "mio"],
            ),
            (
                "tokio",
                "1.0.0",
                "An event loop; it writes JSON",
                vec!["Serde"],
            ),
        ] {
            let manifest = Manifest {
                description: Some(description.into()),
                dependencies: dependencies.into_iter().map(Into::into).collect(),
                ..Manifest::none()
            };
            let name = CrateName::parse(name).expect("a name");
            let version = CrateVersion::parse(version).expect("a version");
            let summary = StoredSummary::of(name, &version, &manifest, 1).expect("a version");
            listing.store(name, summary);
        }
        listing
    }

    fn found(words: &str) -> Vec<String> {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let found = listing().search(&words);
        let text = |m: Match| format!("{} {}", m.name, m.version.unwrap_or_default());
        found.into_iter().map(text).collect()
    }

    #[test]
    fn names_come_before_descriptions_and_the_newest_release_speaks() {
        assert_eq!(
            found("json"),
            ["json ", "json5 ", "serde_json 1.0.10", "tokio 1.0.0"]
        );
        assert_eq!(found("serde json"), ["serde_json 1.0.10"]);
        assert_eq!(found("event loop"), ["tokio 1.0.0"]);
        assert_eq!(found("nothing"), [""; 0]);
    }

    #[test]
    fn who_depends_on_a_crate_is_known_of_what_is_stored() {
        let listing = listing();
        let serde = CrateName::parse("SERDE").expect("a name");
        let names = |most| listing.dependents(serde, most);
        assert_eq!(names(10), (vec!["serde_json".into(), "tokio".into()], 2));
        assert_eq!(names(1), (vec!["serde_json".into()], 2));
    }

    #[test]
    fn what_is_no_longer_stored_is_forgotten_and_takes_no_memory() {
        let mut listing = listing();
        assert!(listing.memory > 0);
        listing.keep_stored(1, |_| false);
        assert_eq!(listing.stored(), 2, "they came while it walked");
        listing.keep_stored(2, |_| false);
        assert_eq!((listing.stored(), listing.memory), (0, 0));
    }
}
