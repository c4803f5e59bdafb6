//! [`FileTable`]: which index files there are, and what git calls what is shown of each: worked out once, and kept beside what is known of its record.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{domain::CrateName, git::ObjectId};

/// About what a file takes in memory here.
pub(super) const IN_MEMORY: usize = 224;

/// The index files of a registry as they are seen in one view, by their crates' names in lower case.
#[derive(Default)]
pub(super) struct FileTable(BTreeMap<Box<str>, KnownFile>);

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownFile {
    pub(super) stamp: RecordStamp,
    /// What git calls what is shown of it; nothing when it isn't shown.
    pub(super) blob: Option<ObjectId>,
    /// When the file last changed upstream.
    pub(super) modified: SystemTime,
    /// When it is looked at again whatever its record, if ever: the rules make something else of it then, or it couldn't be read.
    pub(super) until: Option<SystemTime>,
}

/// What tells a stored record from the one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordStamp {
    pub(super) size: u64,
    pub(super) stored: SystemTime,
    /// A hash of the names of its stored crates, where these matter.
    pub(super) crates: u64,
}

impl RecordStamp {
    /// That of a record which couldn't be read. No stored record has it.
    pub(super) const UNREAD: Self = Self {
        size: u64::MAX,
        stored: SystemTime::UNIX_EPOCH,
        crates: 0,
    };
}

impl FileTable {
    pub(super) fn get(&self, name: &CrateName) -> Option<&KnownFile> {
        self.0.get(name.as_str())
    }

    /// Takes what is known of a file now, or that it isn't there.
    pub(super) fn set(&mut self, name: &CrateName, file: Option<KnownFile>) {
        match file {
            Some(file) => drop(self.0.insert(name.as_str().into(), file)),
            None => drop(self.0.remove(name.as_str())),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = CrateName> {
        self.0.keys().filter_map(|name| CrateName::parse(name).ok())
    }

    /// Those that are looked at again by `now`.
    pub(super) fn due(&self, now: SystemTime) -> impl Iterator<Item = CrateName> {
        let due = self.0.iter();
        let due = due.filter(move |(_, file)| file.until.is_some_and(|until| until <= now));
        due.filter_map(|(name, _)| CrateName::parse(name).ok())
    }

    /// When there is the next of these.
    pub(super) fn next_due(&self) -> Option<SystemTime> {
        self.0.values().filter_map(|file| file.until).min()
    }

    /// When the last change was that is shown, in whole seconds since 1970.
    pub(super) fn modified(&self) -> u64 {
        let shown = self.0.values().filter(|file| file.blob.is_some());
        let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH);
        let last = shown.map(|file| since(file.modified).unwrap_or_default());
        last.max().map_or(0, |last: Duration| last.as_secs())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many are shown.
    pub(super) fn shown(&self) -> usize {
        self.0.values().filter(|file| file.blob.is_some()).count()
    }
}
