//! [`Listing`]: the crates of one registry: the names that were seen, and what the newest stored version of each says of itself.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use semver::Version;

use super::{
    names::{Names, fit},
    ranking::{FoundIn, Rank, Ranking},
};
use crate::domain::{CrateName, CrateVersion, Manifest};

/// A part of the crates of one registry. Who reads it has it as it was when he began; a copy of one is made for who changes it meanwhile, and shares what is large.
#[derive(Clone, Debug, Default)]
pub(super) struct Listing {
    pub(super) names: Names,
    /// Those of which a .crate file is stored, by their names in lower case.
    stored: BTreeMap<Box<str>, Arc<StoredSummary>>,
    /// About how many bytes of memory these take.
    memory: usize,
}

/// What the newest stored version of a crate says of itself.
#[derive(Debug)]
pub(super) struct StoredSummary {
    /// The crate's name in its own case, if that isn't the lower one.
    name: Option<Box<str>>,
    version: Version,
    description: Option<Box<str>>,
    /// What it is built from, in lower case, each with a line feed before and behind it.
    dependencies: Box<str>,
    /// The last walk over the store that has seen it, or that had begun when it was added.
    walk: AtomicU32,
}

/// A crate that was searched for, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCrate {
    /// Its name; in lower case where it is known from paths alone.
    pub name: CrateName,
    /// Its newest version that is stored, if one is.
    pub version: Option<Box<str>>,
    /// What that says of itself.
    pub description: Option<Box<str>>,
}

/// So many words are searched for: each is looked for in all names that have the longest of them.
const MOST_WORDS: usize = 8;

/// What is searched for, taken apart once for all listings.
#[derive(Debug)]
pub(super) struct Words {
    /// In lower case.
    plain: Vec<String>,
    /// With `-` for `_`.
    folded: Vec<String>,
    /// All of them as one name: `serde json` is as good as `serde-json`.
    joined: String,
    /// The longest, which is found in the fewest names.
    longest: usize,
}

impl Words {
    /// The first words in a text, each of them once; `None` when there are none.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut plain: Vec<String> = Vec::new();
        for word in text.split_whitespace().map(str::to_lowercase) {
            if plain.len() < MOST_WORDS && !plain.contains(&word) {
                plain.push(word);
            }
        }
        let folded: Vec<String> = plain.iter().map(|word| word.replace('_', "-")).collect();
        let longest = (0..plain.len()).max_by_key(|place| plain[*place].len())?;
        Some(Self {
            joined: folded.join("-"),
            plain,
            folded,
            longest,
        })
    }
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
            walk: AtomicU32::new(walk),
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
        let summary = Arc::new(summary);
        if let Some(before) = self.stored.insert(name.as_str().into(), summary) {
            self.memory = self
                .memory
                .saturating_sub(before.memory() + name.as_str().len());
        }
    }

    /// Notes that walk number `walk` has seen a file of that crate.
    pub(super) fn seen(&self, name: &str, walk: u32) {
        if let Some(known) = self.stored.get(name) {
            known.walk.fetch_max(walk, Ordering::Relaxed);
        }
    }

    /// Forgets what isn't stored any more: what was added before walk number `walk`, and wasn't seen by it.
    pub(super) fn keep_stored(&mut self, walk: u32) {
        let is_stored = |known: &StoredSummary| known.walk.load(Ordering::Relaxed) >= walk;
        self.stored.retain(|_, known| is_stored(known));
        let each = self.stored.iter();
        self.memory = each.map(|(name, known)| known.memory() + name.len()).sum();
    }

    /// Adds the crates that fit all of `words`, by their names or by their descriptions.
    pub(super) fn search(&self, words: &Words, ranking: &mut Ranking) {
        let folded = &words.folded;
        self.names.find(&folded[words.longest], |_, name| {
            let fits = || folded.iter().filter_map(|word| fit(name, word));
            if fits().count() == folded.len()
                && let Some(best) = fit(name, &words.joined).or_else(|| fits().max())
            {
                ranking.take(self.rank(name, FoundIn::Name(best)), name);
            }
        });
        for (name, known) in &self.stored {
            let is_found = folded.iter().all(|word| fit(name, word).is_some());
            if !is_found && known.mentions(name, &words.plain) {
                ranking.take(self.rank(name, FoundIn::Description), name);
            }
        }
    }

    fn rank(&self, name: &str, found: FoundIn) -> Rank {
        Rank {
            found,
            is_only_known: !self.stored.contains_key(name),
            length: name.len(),
        }
    }

    /// What is known of a crate of which a file is stored.
    pub(super) fn stored_crate(&self, name: &str) -> Option<KnownCrate> {
        let (lower, known) = self.stored.get_key_value(name)?;
        Some(KnownCrate {
            name: CrateName::parse(known.name.as_deref().unwrap_or(lower)).ok()?,
            version: Some(known.version.to_string().into()),
            description: known.description.clone(),
        })
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
        let (listing, mut ranking) = (listing(), Ranking::of(10));
        listing.search(&Words::of(words).expect("words"), &mut ranking);
        let text = |name: Box<str>| match listing.stored_crate(&name) {
            Some(known) => format!("{} {}", known.name, known.version.unwrap_or_default()),
            None => format!("{name} "),
        };
        ranking.finish().0.into_iter().map(text).collect()
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
        listing.keep_stored(1);
        assert_eq!(listing.stored(), 2, "they came while it walked");
        listing.seen("tokio", 2);
        listing.keep_stored(2);
        assert_eq!(listing.stored(), 1, "it has seen one of them");
        listing.keep_stored(3);
        assert_eq!((listing.stored(), listing.memory), (0, 0));
    }

    /// Each word is looked for in every name, and a search of fifty times `a` took as long as fifty.
    #[test]
    fn a_word_is_looked_for_once_and_only_so_many_are() {
        let words = Words::of("a A a b a").expect("words");
        assert_eq!(words.plain, ["a", "b"]);
        let many: Vec<String> = (0..50).map(|n| n.to_string()).collect();
        let words = Words::of(&many.join(" ")).expect("words");
        assert_eq!(words.plain.len(), MOST_WORDS);
        assert_eq!(words.folded.len(), MOST_WORDS);
    }
}
