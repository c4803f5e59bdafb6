//! [`Advisories`]: all that is known, by crate.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use super::advisory::Advisory;
use crate::domain::CrateName;

/// Advisories by crate. Empty as it begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Advisories {
    by_crate: HashMap<CrateName, Box<[Arc<Advisory>]>>,
    count: usize,
    newest: Option<SystemTime>,
}

impl Advisories {
    /// Those about the crate of this name, however its case and its `-` and `_` are written; by their identifiers.
    pub fn of(&self, name: CrateName) -> &[Arc<Advisory>] {
        let all = self.by_crate.get(&name.folded());
        all.map(|all| &**all).unwrap_or_default()
    }

    /// How many there are. One about two crates counts twice.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many crates they are about.
    pub fn crates(&self) -> usize {
        self.by_crate.len()
    }

    /// The date of the newest one.
    pub fn newest(&self) -> Option<SystemTime> {
        self.newest
    }
}

impl FromIterator<Advisory> for Advisories {
    /// What is there twice counts once: databases carry copies of one another.
    fn from_iter<T: IntoIterator<Item = Advisory>>(all: T) -> Self {
        let mut by_crate = HashMap::<CrateName, Vec<Arc<Advisory>>>::new();
        for advisory in all {
            let others = by_crate.entry(advisory.package).or_default();
            others.push(Arc::new(advisory));
        }
        let mut set = Self::default();
        for (name, mut all) in by_crate {
            all.sort_by(|a, b| a.id.cmp(&b.id));
            all.dedup();
            set.count += all.len();
            set.newest = set.newest.max(all.iter().filter_map(|a| a.date).max());
            set.by_crate.insert(name, all.into());
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::advisories::parse_rustsec;

    fn advisory(id: u32, package: &str, date: &str) -> Advisory {
        let text = format!(
            "```toml\n[advisory]\nid = \"RUSTSEC-2024-{id:04}\"\npackage = \"{package}\"\ndate = \"{date}\"\n```\n"
        );
        let read = parse_rustsec(&text).expect("well-formed");
        read.expect("about a crate")
    }

    #[test]
    fn a_crate_is_found_however_its_name_is_written() {
        let all = [
            advisory(2, "some_crate", "2024-01-02"),
            advisory(1, "Some-Crate", "2024-01-03"),
            advisory(1, "some-crate", "2024-01-03"),
            advisory(3, "other", "2023-01-01"),
        ];
        let newest = all[1].date;
        let set: Advisories = all.into_iter().collect();
        assert_eq!((set.len(), set.crates()), (3, 2));
        assert_eq!(set.newest(), newest);
        let name = |text| CrateName::parse(text).expect("a name");
        let ids: Vec<_> = set.of(name("SOME_crate")).iter().map(|a| &*a.id).collect();
        assert_eq!(ids, ["RUSTSEC-2024-0001", "RUSTSEC-2024-0002"]);
        assert!(set.of(name("somecrate")).is_empty());
        assert!(Advisories::default().is_empty());
    }
}
