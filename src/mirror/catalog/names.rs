//! [`Names`]: the names of many crates in little memory, searched at once.

use std::{cmp::Ordering, collections::BTreeSet};

use memchr::memmem;

use crate::domain::CrateName;

/// So many names that came one by one are put among the others at a time, at least.
const RECENT: usize = 8;
/// And where there are many, one for so many of the others: each time all of them are copied.
const SHARE: usize = 8;

/// Names of crates in lower case, as paths have them. A quarter of a million takes about five megabytes: they stand one after the other in one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// In order, each with a line feed behind it.
    text: String,
    /// Where each begins.
    starts: Vec<u32>,
    /// Those that came since.
    recent: BTreeSet<Box<str>>,
}

/// How well a name fits what is searched for, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It is the name.
    Exact,
    /// The name begins with it.
    Prefix,
    /// A word of the name begins with it.
    Word,
    /// It is somewhere in the name.
    Part,
}

impl Names {
    /// Adds one; false when it was there.
    pub(super) fn add(&mut self, name: CrateName) -> bool {
        let name = name.to_lowercase();
        if self.contains(name.as_str()) {
            return false;
        }
        self.recent.insert(name.as_str().into());
        if self.recent.len() >= RECENT.max(self.starts.len() / SHARE) {
            self.settle();
        }
        true
    }

    /// Puts those that came one by one among the others.
    pub(super) fn settle(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        let longer: usize = recent.iter().map(|name| name.len() + 1).sum();
        let mut merged = Self {
            text: String::with_capacity(self.text.len() + longer),
            starts: Vec::with_capacity(self.starts.len() + recent.len()),
            recent: BTreeSet::new(),
        };
        let mut recent = recent.iter().peekable();
        for name in self.settled() {
            while let Some(earlier) = recent.next_if(|recent| ***recent < *name) {
                merged.push(earlier);
            }
            merged.push(name);
        }
        recent.for_each(|name| merged.push(name));
        *self = merged;
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        let is_settled = self
            .starts
            .binary_search_by(|start| self.from(*start).cmp(name));
        is_settled.is_ok() || self.recent.contains(name)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len() + self.recent.len()
    }

    /// About how many bytes of memory they take.
    pub(super) fn memory(&self) -> usize {
        const OF_RECENT: usize = CrateName::MAX_LEN + 64;
        let settled = self.text.capacity() + self.starts.capacity() * size_of::<u32>();
        settled + self.recent.len() * OF_RECENT
    }

    /// Shows all names in which `folded` is found, where `-` and `_` are the same, each with how well it fits; in no particular order.
    pub(super) fn find<'a>(&'a self, folded: &str, mut show: impl FnMut(Fit, &'a str)) {
        let bytes = self.text.as_bytes();
        // Its parts between separators stand in the text as they are.
        let longest = folded.split('-').max_by_key(|part| part.len());
        let longest = longest.unwrap_or_default();
        let finder = memmem::Finder::new(longest);
        let mut from = 0;
        while let Some(place) = finder.find(&bytes[from..]).map(|place| from + place) {
            let at = self
                .starts
                .partition_point(|start| *start as usize <= place);
            let Some(name) = at.checked_sub(1).map(|at| self.from(self.starts[at])) else {
                break;
            };
            if let Some(fit) = fit(name, folded) {
                show(fit, name);
            }
            let Some(next) = self.starts.get(at) else {
                break;
            };
            from = *next as usize;
        }
        for name in &self.recent {
            if let Some(fit) = fit(name, folded) {
                show(fit, name);
            }
        }
    }

    fn settled(&self) -> impl Iterator<Item = &str> {
        self.starts.iter().map(|start| self.from(*start))
    }

    /// The name that begins there.
    fn from(&self, start: u32) -> &str {
        let rest = self.text.get(start as usize..).unwrap_or_default();
        rest.split_once('\n').map_or(rest, |(name, _)| name)
    }

    fn push(&mut self, name: &str) {
        // What would begin beyond 4 GiB isn't kept.
        if let Ok(start) = u32::try_from(self.text.len()) {
            self.starts.push(start);
            self.text.push_str(name);
            self.text.push('\n');
        }
    }
}

/// How well a name fits; `None` when it doesn't.
pub(super) fn fit(name: &str, folded: &str) -> Option<Fit> {
    let is_separator = |b: u8| b == b'-' || b == b'_';
    let same = |(a, b): (u8, u8)| match is_separator(a) {
        true => b == b'-',
        false => a.eq_ignore_ascii_case(&b),
    };
    let (name, wanted) = (name.as_bytes(), folded.as_bytes());
    let begins = |at: usize| {
        name.get(at..at + wanted.len())
            .is_some_and(|part| part.iter().copied().zip(wanted.iter().copied()).all(same))
    };
    match name.len().cmp(&wanted.len()) {
        Ordering::Less => return None,
        Ordering::Equal => return begins(0).then_some(Fit::Exact),
        Ordering::Greater => {}
    }
    let places = 0..=name.len() - wanted.len();
    let fits = places.filter(|at| begins(*at)).map(|at| match at {
        0 => Fit::Prefix,
        at if is_separator(name[at - 1]) => Fit::Word,
        _ => Fit::Part,
    });
    fits.min()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names<'a>(all: impl IntoIterator<Item = &'a str>) -> Names {
        let mut names = Names::default();
        for name in all {
            names.add(CrateName::parse(name).expect("a name"));
        }
        names.settle();
        names
    }

    fn found(names: &Names, wanted: &str) -> Vec<(Fit, String)> {
        let mut found = Vec::new();
        names.find(wanted, |fit, name| found.push((fit, name.to_owned())));
        found.sort_unstable();
        found
    }

    #[test]
    fn names_are_found_by_any_part_however_they_are_separated() {
        let mut all = names([
            "serde",
            "serde_json",
            "serde-xml",
            "my_serde",
            "deserdeify",
            "tokio",
        ]);
        assert!(all.add(CrateName::parse("Serde_YAML").expect("a name")));
        assert!(!all.add(CrateName::parse("Serde_Json").expect("a name")));
        let fits: Vec<_> = found(&all, "serde")
            .into_iter()
            .map(|(fit, name)| format!("{fit:?} {name}"))
            .collect();
        assert_eq!(
            fits,
            [
                "Exact serde",
                "Prefix serde-xml",
                "Prefix serde_json",
                "Prefix serde_yaml",
                "Word my_serde",
                "Part deserdeify"
            ]
        );
        assert_eq!(
            found(&all, "serde-json"),
            [(Fit::Exact, "serde_json".to_owned())]
        );
        assert_eq!(found(&all, "e-j").len(), 1);
        assert_eq!(found(&all, "nothing"), []);
        assert_eq!(all.len(), 7);
    }

    /// They must not cost more than 50 MB, and they cost a tenth of that.
    #[test]
    fn a_quarter_of_a_million_names_take_little() {
        let mut all = Names::default();
        for n in 0..250_000 {
            let name = format!("some-crate-{n}-{}", n % 97);
            all.add(CrateName::parse(&name).expect("a name"));
        }
        all.settle();
        assert_eq!(all.len(), 250_000);
        assert!(all.memory() < 8 << 20, "{}", all.memory());
        assert_eq!(found(&all, "crate-249999").len(), 1);
        assert!(all.contains("some-crate-0-0"));
    }

    proptest! {
        /// The quick way finds what the plain one does.
        #[test]
        fn what_is_found_is_what_fits(all in prop::collection::btree_set("[a-c][a-c_-]{0,6}", 0..40), late in prop::collection::vec("[a-c][a-c_-]{0,6}", 0..10), wanted in "[a-c-]{0,4}") {
            let mut names = names(all.iter().map(String::as_str));
            let mut expected = all;
            for name in late {
                names.add(CrateName::parse(&name).expect("a name"));
                expected.insert(name);
            }
            let expected: BTreeSet<_> = expected.iter().filter_map(|name| Some((fit(name, &wanted)?, name.clone()))).collect();
            let found: BTreeSet<_> = found(&names, &wanted).into_iter().collect();
            prop_assert_eq!(found, expected);
        }
    }
}
