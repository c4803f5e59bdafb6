//! Walking over a store: everything stored, shown object by object, and what can't be shown said.

use std::{
    fs::{File, Metadata},
    io,
    path::Path,
    time::{Duration, SystemTime},
};

use walkdir::{DirEntry, WalkDir};

use super::{
    Identity, Odd, Removal, failed,
    fs::Folder,
    place::{self, is_missing},
    removal::remove_exactly,
};
use crate::{
    domain::{Key, RegistryName},
    error::{Error, Result},
};

/// After so many files a walk rests for a moment, so that requests get the disk.
const STEP: usize = 256;
const REST: Duration = Duration::from_millis(1);

/// A stored object, as a walk sees it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// What it is.
    pub key: Key,
    /// Where it is, relative to the store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last used, within an hour.
    pub used: SystemTime,
    pub(super) identity: Identity,
}

/// What a walk shows.
#[derive(Debug)]
pub enum Sight {
    /// An object.
    Object(Stored),
    /// Something that is no file, where an object of this path should be.
    Odd(String, Odd),
    /// Something that couldn't be looked at, and so isn't shown: a folder with all that is in it.
    Unread(Error),
    /// An object that was removed, as its visitor wanted.
    Removed(Stored),
    /// An object that couldn't be touched or removed.
    Unchanged(Error),
}

/// What is to happen after a look at an object; for any other sight, but for the last, it means going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// On to the next one.
    Go,
    /// On to the next one, with this one counted as used now.
    Touch,
    /// On to the next one, with this one removed, unless it has been replaced since.
    Remove,
    /// No further.
    Stop,
}

/// Whether a walk goes where links lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It does: what they lead to is read by whoever reads the store.
    Followed,
    /// It doesn't: what they lead to takes no room here, and isn't the store's to remove.
    PassedOver,
}

impl Folder {
    /// Shows everything stored to `visit`. Nothing is kept in memory, so that it costs the same for a hundred files as for a million. Blocks.
    pub(super) fn each<V>(
        &self,
        links: Links,
        mut state: V,
        mut visit: impl FnMut(&mut V, Sight) -> Next,
    ) -> V {
        let entries = WalkDir::new(self.root()).follow_links(links == Links::Followed);
        let entries = entries.into_iter().filter_entry(may_hold_objects);
        for (seen, entry) in entries.enumerate() {
            if seen % STEP == STEP - 1 {
                std::thread::sleep(REST);
            }
            let Some(sight) = self.sight(entry) else {
                continue;
            };
            let object = match &sight {
                Sight::Object(stored) => Some(stored.clone()),
                Sight::Odd(..) | Sight::Unread(_) | Sight::Removed(_) | Sight::Unchanged(_) => None,
            };
            let next = visit(&mut state, sight);
            let after = match (next, object) {
                (Next::Stop, _) => break,
                (Next::Touch, Some(stored)) => self.touch(&stored),
                (Next::Remove, Some(stored)) => self.take_out(stored),
                (Next::Go, _) | (Next::Touch | Next::Remove, None) => None,
            };
            // One file that can't be changed must not save all the others.
            if let Some(sight) = after
                && visit(&mut state, sight) == Next::Stop
            {
                break;
            }
        }
        state
    }

    fn touch(&self, stored: &Stored) -> Option<Sight> {
        let path = self.root().join(&stored.path);
        let touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        match touched {
            Err(e) if !is_missing(&e) => Some(Sight::Unchanged(failed("changing", &path, &e))),
            Ok(()) | Err(_) => None,
        }
    }

    fn take_out(&self, stored: Stored) -> Option<Sight> {
        let path = self.root().join(&stored.path);
        match remove_exactly(&path, stored.identity, &self.aside()) {
            Ok(Removal::Removed) => Some(Sight::Removed(stored)),
            // Somebody has just used or replaced it, or removed it before.
            Ok(Removal::Changed | Removal::Gone) => None,
            Err(e) => Some(Sight::Unchanged(failed("removing", &path, &e))),
        }
    }

    /// The objects right in `folder`, in no particular order; none when it isn't there. Blocks.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        let entries = WalkDir::new(self.root().join(folder))
            .follow_links(true)
            .min_depth(1)
            .max_depth(1);
        let mut found = Vec::new();
        for entry in entries {
            match self.sight(entry) {
                Some(Sight::Object(stored)) => found.push(stored),
                Some(Sight::Unread(e)) => return Err(e),
                Some(Sight::Odd(..) | Sight::Removed(_) | Sight::Unchanged(_)) | None => {}
            }
        }
        Ok(found)
    }

    /// What is to be shown of an entry; nothing of what no key makes, and of what has vanished meanwhile.
    fn sight(&self, entry: walkdir::Result<DirEntry>) -> Option<Sight> {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => return self.trouble(&e),
        };
        let path = self.below(entry.path())?;
        let key = Key::from_path(&path)?;
        if entry.path_is_symlink() && entry.file_type().is_symlink() {
            return None;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(e) => return self.trouble(&e),
        };
        Some(match Odd::of(&meta) {
            Some(odd) => Sight::Odd(path, odd),
            None => Sight::Object(stored(key, path, &meta)),
        })
    }

    fn trouble(&self, error: &walkdir::Error) -> Option<Sight> {
        let at = error.path().unwrap_or(self.root());
        let vanished = error.io_error().is_some_and(is_missing);
        if !vanished {
            let error = io::Error::other(match error.io_error() {
                Some(e) => e.to_string(),
                None => "it is a link to a folder that it lies in".to_owned(),
            });
            return Some(Sight::Unread(failed("looking at", at, &error)));
        }
        // A link that was to be followed and leads nowhere hasn't vanished.
        let dead = place::look(at).ok().and_then(|(meta, _)| Odd::of(&meta))?;
        let path = self.below(at).filter(|path| Key::from_path(path).is_some());
        (dead == Odd::DeadLink).then(|| path.map(|path| Sight::Odd(path, dead)))?
    }

    fn below(&self, path: &Path) -> Option<String> {
        let below = path.strip_prefix(self.root()).ok()?;
        below.to_str().map(str::to_owned)
    }
}

/// Whether a key makes paths that begin so. A disk of its own has folders that aren't the store's and that nobody may read (`lost+found`).
fn may_hold_objects(entry: &DirEntry) -> bool {
    let name = || entry.file_name().to_str();
    match entry.depth() {
        0 => true,
        1 => name().is_some_and(|name| RegistryName::parse(name).is_ok()),
        2 => matches!(name(), Some("index" | "crates")),
        _ => true,
    }
}

fn stored(key: Key, path: String, meta: &Metadata) -> Stored {
    Stored {
        key,
        path,
        size: meta.len(),
        used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        identity: Identity::of(meta),
    }
}
