//! [`History`]: what this mirror remembers of a crate's versions beside what upstream says of them today.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{checksum::Sha256, index_file::IndexFile, version::CrateVersion};

/// More isn't remembered of one crate: about half a megabyte. The largest crates have some three thousand versions, and most of what there is to remember is
/// of few.
const MOST: usize = 4_000;
const SECOND: Duration = Duration::from_secs(1);

/// What is remembered of a crate's versions: since when there are those that upstream doesn't date, and what those were that vanished or came back changed. Of most crates there is nothing to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History(BTreeMap<Box<str>, Remembered>);

/// What is remembered of one version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remembered {
    /// When it was first seen here, of versions that upstream gives no date; of those that vanished, when they were published, if it gave one.
    pub first_seen: Option<SystemTime>,
    /// What its content was before it vanished or changed.
    pub sha256: Option<Sha256>,
}

/// What was known of a crate before its index file changed.
#[derive(Clone, Copy)]
pub struct Before<'a> {
    /// The index file.
    pub file: &'a IndexFile,
    /// What was remembered beside it.
    pub history: &'a History,
    /// When upstream last confirmed it.
    pub checked_at: SystemTime,
    /// When the file came to be: what it lists was there then.
    pub modified_at: SystemTime,
    /// Whether upstream said since then that there is no such crate.
    pub gone: bool,
}

impl Before<'_> {
    /// Whether `new` is another crate under the same name: upstream deleted all of it, and somebody has published under the name anew. Nothing of it is left, and
    /// all that there is was published since the last look; of what has no date, upstream has to have said that the crate was gone.
    pub fn is_replaced_by(&self, new: &IndexFile) -> bool {
        let is_left = |version: &super::Version| {
            let now = new.versions();
            let at = now.binary_search_by(|v| v.version().as_str().cmp(version.version().as_str()));
            at.is_ok_and(|at| now[at].sha256 == version.sha256)
        };
        // Dates are in whole seconds.
        let is_later = |version: &super::Version| match version.published {
            Some(published) => published + SECOND > self.checked_at,
            None => self.gone,
        };
        let old = self.file.versions();
        let is_another = !old.is_empty() && !old.iter().any(is_left);
        is_another && new.versions().iter().all(is_later)
    }
}

impl History {
    /// What is remembered once `new` has taken the place of what was there `before`.
    pub fn after(before: Option<Before<'_>>, new: &IndexFile, now: SystemTime) -> Self {
        let before = before.filter(|before| !before.is_replaced_by(new));
        let mut all = before.map_or_else(BTreeMap::new, Before::remembered);
        for version in new.versions() {
            let text = version.version().as_str();
            let known = all.get(text).copied();
            let remembered = Remembered {
                first_seen: match version.published {
                    Some(_) => None,
                    None => Some(known.and_then(|k| k.first_seen).unwrap_or(now)),
                },
                sha256: known
                    .and_then(|k| k.sha256)
                    .filter(|was| *was != version.sha256),
            };
            match remembered == Remembered::default() {
                true => all.remove(text),
                false => all.insert(text.into(), remembered),
            };
        }
        Self::bounded(all)
    }

    /// What is remembered when a record of `file`, beside which `self` was remembered elsewhere, takes the place of what was there `before`. What is
    /// known here wins: where the record comes from may have seen less.
    #[must_use]
    pub fn merged(&self, before: Before<'_>, file: &IndexFile, now: SystemTime) -> Self {
        let Self(mut all) = Self::after(Some(before), file, now);
        for (version, theirs) in &self.0 {
            let ours = all.entry(version.clone()).or_default();
            ours.sha256 = ours.sha256.or(theirs.sha256);
            ours.first_seen = [ours.first_seen, theirs.first_seen]
                .into_iter()
                .flatten()
                .min();
        }
        Self::bounded(all)
    }

    /// What a store has kept.
    pub fn from_parts(parts: impl IntoIterator<Item = (CrateVersion, Remembered)>) -> Self {
        let parts = parts.into_iter();
        Self::bounded(parts.map(|(v, r)| (v.as_str().into(), r)).collect())
    }

    fn bounded(mut all: BTreeMap<Box<str>, Remembered>) -> Self {
        // What has a content to be held to is kept before what has only a date.
        if all.len() > MOST {
            let mut over = all.len() - MOST;
            all.retain(|_, remembered| {
                let goes = over > 0 && remembered.sha256.is_none();
                over -= usize::from(goes);
                !goes
            });
        }
        while all.len() > MOST {
            all.pop_first();
        }
        Self(all)
    }

    /// All that is remembered, by version as text.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Remembered)> {
        self.0.iter().map(|(version, r)| (&**version, *r))
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The versions that something is remembered of and that stored paths can't tell from this one: they differ in case.
    pub fn spellings<'a>(
        &'a self,
        version: &'a CrateVersion,
    ) -> impl Iterator<Item = CrateVersion> {
        let texts = self.0.keys().map(|text| &**text);
        let alike = texts.filter(|text: &&str| text.eq_ignore_ascii_case(version.as_str()));
        alike.filter_map(|text| CrateVersion::parse(text).ok())
    }

    /// Whether `other` knows all of it: of each version the same content, and no later a date.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|(version, own)| {
            let theirs = other.0.get(version).copied().unwrap_or_default();
            let is_as_old = match (own.first_seen, theirs.first_seen) {
                (None, _) => true,
                (Some(own), Some(theirs)) => theirs <= own,
                (Some(_), None) => false,
            };
            is_as_old && (own.sha256.is_none() || own.sha256 == theirs.sha256)
        })
    }

    /// What is remembered of one version.
    pub fn of(&self, version: &CrateVersion) -> Remembered {
        self.0.get(version.as_str()).copied().unwrap_or_default()
    }

    /// About how many bytes of memory this takes.
    pub fn size(&self) -> usize {
        let texts: usize = self.0.keys().map(|version| version.len()).sum();
        texts + self.0.len() * (size_of::<Remembered>() + 2 * size_of::<Box<str>>())
    }
}

impl Before<'_> {
    /// What there was to remember, with what the old file has of versions that may be gone from the new one.
    fn remembered(self) -> BTreeMap<Box<str>, Remembered> {
        let mut all = self.history.0.clone();
        for version in self.file.versions() {
            let known = all.entry(version.version().as_str().into()).or_default();
            // What it was first: content that came back changed isn't what it should be because it stays.
            known.sha256.get_or_insert(version.sha256);
            // What vanishes takes its date with it, and would be taken for new.
            let since = version.published.unwrap_or(self.modified_at);
            known.first_seen.get_or_insert(since);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CrateName, IndexPath};

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// An index file of versions, each with what its content is made of and when it was published.
    fn file(versions: &[(&str, &str, Option<u64>)]) -> IndexFile {
        let line = |(version, content, published): &(&str, &str, Option<u64>)| {
            let published = published.map_or(String::new(), |at_| {
                let time = humantime::format_rfc3339_seconds(at(at_));
                format!(",\"pubtime\":\"{time}\"")
            });
            format!(
                "{{\"name\":\"a\",\"vers\":\"{version}\",\"deps\":[],\"cksum\":\"{}\"{published}}}",
                Sha256::of(content.as_bytes())
            )
        };
        let lines: Vec<_> = versions.iter().map(line).collect();
        let path = IndexPath::of(CrateName::parse("a").expect("a name"));
        IndexFile::parse(path, lines.join("\n").into()).expect("an index file")
    }

    fn version(text: &str) -> CrateVersion {
        CrateVersion::parse(text).expect("a version")
    }

    fn before<'a>(file: &'a IndexFile, history: &'a History, gone: bool) -> Option<Before<'a>> {
        Some(Before {
            file,
            history,
            checked_at: at(100),
            modified_at: at(50),
            gone,
        })
    }

    #[test]
    fn what_has_a_date_and_stays_as_it_is_needs_no_memory() {
        let old = file(&[("1.0.0", "x", Some(1))]);
        let new = file(&[("1.0.0", "x", Some(1)), ("1.0.1", "y", Some(60))]);
        let history = History::after(before(&old, &History::default(), false), &new, at(200));
        assert!(history.is_empty());
        assert!(History::after(None, &new, at(200)).is_empty());
    }

    #[test]
    fn what_has_no_date_is_as_old_as_it_was_first_seen() {
        let old = file(&[("1.0.0", "x", None)]);
        let first = History::after(None, &old, at(10));
        assert_eq!(first.of(&version("1.0.0")).first_seen, Some(at(10)));
        let new = file(&[("1.0.0", "x", None), ("1.0.1", "y", None)]);
        let then = History::after(before(&old, &first, false), &new, at(200));
        assert_eq!(then.of(&version("1.0.0")).first_seen, Some(at(10)));
        assert_eq!(then.of(&version("1.0.1")).first_seen, Some(at(200)));
        // A store from before this was remembered.
        let upgraded = History::after(before(&old, &History::default(), false), &new, at(200));
        assert_eq!(upgraded.of(&version("1.0.0")).first_seen, Some(at(50)));
    }

    #[test]
    fn content_that_changes_is_held_to_what_it_was_first_however_long_it_was_away() {
        let (x, y, z) = (Sha256::of(b"x"), Some(Sha256::of(b"y")), "z");
        let first = file(&[("1.0.0", "x", Some(1)), ("2.0.0", "y", Some(1))]);
        let without = file(&[("1.0.0", "x", Some(1))]);
        let away = History::after(
            before(&first, &History::default(), false),
            &without,
            at(200),
        );
        assert_eq!(away.of(&version("2.0.0")).sha256, y);
        let published = away.of(&version("2.0.0")).first_seen;
        assert_eq!(published, Some(at(1)), "it is as old as it was");
        let changed = file(&[("1.0.0", "x", Some(1)), ("2.0.0", z, Some(150))]);
        let back = History::after(before(&without, &away, false), &changed, at(300));
        assert_eq!(back.of(&version("2.0.0")).sha256, y, "it was y");
        let still = History::after(before(&changed, &back, false), &changed, at(400));
        assert_eq!(still.of(&version("2.0.0")).sha256, y, "it stays a change");
        let mended = History::after(before(&changed, &still, false), &first, at(500));
        assert!(mended.is_empty(), "it is what it was");
        assert_eq!(mended.of(&version("1.0.0")).sha256, None);
        assert_ne!(Some(x), y);
    }

    /// crates.io gives a name free when a crate is deleted; what comes then is another crate, which a waiting time holds up like any new one.
    #[test]
    fn a_crate_that_was_deleted_whole_and_published_anew_begins_anew() {
        let old = file(&[("1.0.0", "x", Some(1)), ("1.1.0", "y", Some(2))]);
        let nothing = History::default();
        let again = file(&[("1.0.0", "z", Some(150))]);
        let history = History::after(before(&old, &nothing, false), &again, at(200));
        assert!(history.is_empty(), "all of it is later than the last look");
        let backdated = file(&[("1.0.0", "z", Some(1))]);
        let undated = file(&[("1.0.0", "z", None)]);
        let history = History::after(before(&old, &nothing, true), &undated, at(200));
        assert_eq!(
            history.of(&version("1.0.0")).sha256,
            None,
            "upstream said that it was gone"
        );
        let history = History::after(before(&old, &nothing, true), &backdated, at(200));
        assert!(
            history.of(&version("1.0.0")).sha256.is_some(),
            "one 404 washes nothing clean"
        );
        let history = History::after(before(&old, &nothing, false), &backdated, at(200));
        assert!(history.of(&version("1.0.0")).sha256.is_some());
        let partly = file(&[("1.0.0", "z", Some(150)), ("1.1.0", "y", Some(2))]);
        let history = History::after(before(&old, &nothing, true), &partly, at(200));
        assert!(
            history.of(&version("1.0.0")).sha256.is_some(),
            "not all of it"
        );
    }

    /// A bundle from a mirror that was built yesterday made everybody inside forget what they knew.
    #[test]
    fn what_is_known_here_outlives_a_record_from_elsewhere() {
        let (old, new) = (file(&[("1.0.0", "x", None)]), file(&[("1.0.0", "y", None)]));
        let ours = History::after(None, &old, at(10));
        let theirs = History::after(None, &new, at(150));
        let before = before(&old, &ours, false).expect("a file");
        let merged = theirs.merged(before, &new, at(200));
        let remembered = merged.of(&version("1.0.0"));
        assert_eq!(remembered.first_seen, Some(at(10)));
        assert_eq!(remembered.sha256, Some(Sha256::of(b"x")));
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let dates = (0..2 * MOST).map(|n| {
            let sha256 = (n < 10).then(|| Sha256::of(b"x"));
            let first_seen = Some(at(1));
            (
                version(&format!("1.0.{n}")),
                Remembered { first_seen, sha256 },
            )
        });
        let history = History::from_parts(dates);
        assert_eq!(history.parts().count(), MOST);
        assert_eq!(
            history.parts().filter(|(_, r)| r.sha256.is_some()).count(),
            10
        );
    }
}
