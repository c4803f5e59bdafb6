//! Walking over a folder: every object in it shown, and what can't be shown said.

use std::{
    fs::{File, Metadata},
    io,
    time::{Duration, SystemTime},
};

use walkdir::{DirEntry, WalkDir};

use super::{
    files::Files,
    identity::{Identity, Seen},
    path::{is_missing, look, odd},
};
use crate::{
    domain::{Key, RegistryName},
    error::Result,
    store::{
        failed::failed,
        odd::Odd,
        removal::Removal,
        sight::{Links, Next, Sight, Stored},
    },
};

/// After so many files a walk rests for a moment, so that requests get the disk.
const STEP: usize = 256;
const REST: Duration = Duration::from_millis(1);

impl Files {
    /// Shows everything stored to `visit`. Nothing is kept in memory, so that it costs the same for a hundred files as for a million.
    pub(super) fn walk(&self, links: Links, visit: &mut dyn FnMut(Sight) -> Next) {
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
            let next = visit(sight);
            let after = match (next, object) {
                (Next::Stop, _) => break,
                (Next::Touch, Some(stored)) => self.touch(&stored),
                (Next::Remove, Some(stored)) => self.take_out(stored),
                (Next::Go, _) | (Next::Touch | Next::Remove, None) => None,
            };
            // One file that can't be changed must not save all the others.
            if let Some(sight) = after
                && visit(sight) == Next::Stop
            {
                break;
            }
        }
    }

    fn touch(&self, stored: &Stored) -> Option<Sight> {
        let path = self.at(&stored.path);
        let touched = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        match touched {
            Err(e) if !is_missing(&e) => Some(Sight::Unchanged(failed("changing", &path, e))),
            Ok(()) | Err(_) => None,
        }
    }

    fn take_out(&self, stored: Stored) -> Option<Sight> {
        match self.remove(&stored.path, &stored.version) {
            Ok(Removal::Removed) => Some(Sight::Removed(stored)),
            // Somebody has just used or replaced it, or removed it before.
            Ok(Removal::Written | Removal::Replaced | Removal::Gone) => None,
            Err(e) => Some(Sight::Unchanged(e)),
        }
    }

    /// The objects right in `folder`, in no particular order; none when it isn't there.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        let entries = WalkDir::new(self.at(folder))
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
        let path = self.path_of(entry.path())?;
        let key = Key::from_path(&path)?;
        if entry.path_is_symlink() && entry.file_type().is_symlink() {
            return None;
        }
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            Err(e) => return self.trouble(&e),
        };
        Some(match odd(&meta) {
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
            return Some(Sight::Unread(failed("looking at", at, error)));
        }
        // A link that was to be followed and leads nowhere hasn't vanished.
        let dead = look(at).ok().and_then(|(meta, _)| odd(&meta))?;
        let path = self
            .path_of(at)
            .filter(|path| Key::from_path(path).is_some());
        (dead == Odd::DeadLink).then(|| path.map(|path| Sight::Odd(path, dead)))?
    }
}

/// Whether a key makes paths that begin so. A disk of its own has folders that aren't the store's and that nobody may read (`lost+found`).
fn may_hold_objects(entry: &DirEntry) -> bool {
    let name = || entry.file_name().to_str();
    match entry.depth() {
        0 => true,
        1 => name().is_some_and(|name| RegistryName::parse(name).is_ok()),
        2 => matches!(name(), Some("index" | "crates" | "dist" | "rustup")),
        _ => true,
    }
}

fn stored(key: Key, path: String, meta: &Metadata) -> Stored {
    Stored {
        key,
        path,
        size: meta.len(),
        used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        version: Seen::Settled(Identity::of(meta)).version(),
    }
}
