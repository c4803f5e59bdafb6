//! Removing exactly one file: the one that was looked at, and not one that has been put into its place since.
//!
//! No system call removes a file only if it is a certain one. So it is compared, renamed to a name that nobody else knows, compared once more, and
//! removed there or put back. Between the first comparison and the rename another file may come; it is gone from its place for some microseconds then.

use std::{fs, io, path::Path};

use tempfile::TempPath;

use super::{
    files::Files,
    identity::{Identity, Seen},
    path::is_missing,
};
use crate::{
    domain::license_path,
    error::Result,
    store::{failed::failed, removal::Removal, version::ObjectVersion},
};

impl Files {
    /// Removes the file of the object under `path` if it is of that version.
    pub(super) fn remove(&self, path: &str, version: &ObjectVersion) -> Result<Removal> {
        match Seen::of_version(version) {
            Seen::Fresh => Ok(Removal::Written),
            Seen::Settled(identity) => {
                let file = self.at(path);
                let removal = remove_exactly(&file, identity, &self.aside())
                    .map_err(|e| failed("removing", &file, e))?;
                if removal == Removal::Removed
                    && let Some(beside) = license_path(path)
                {
                    // It is read from the file again, should that come back, and is nothing without it.
                    let _ = fs::remove_file(self.at(&beside));
                }
                Ok(removal)
            }
        }
    }
}

/// Removes the file at `path` if it is the one that `identity` was taken of, in the state it was in. `aside` is a folder for the moment between, on the
/// same file system; it is made when missing.
fn remove_exactly(path: &Path, identity: Identity, aside: &Path) -> io::Result<Removal> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(e) if is_missing(&e) => return Ok(Removal::Gone),
        Err(e) => return Err(e),
    };
    // Of a link, what was read was the file it leads to; what is removed is the link.
    let looked_at = match there.is_symlink() {
        true => fs::metadata(path).ok().as_ref().map(Identity::of),
        false => Some(Identity::of(&there)),
    };
    if looked_at != Some(identity) {
        return Ok(why_kept(looked_at, identity));
    }
    let there = Identity::of(&there);
    match set_aside(path, aside) {
        Ok(moved) => {
            let is = fs::symlink_metadata(&moved).ok().as_ref().map(Identity::of);
            match is == Some(there) {
                true => moved.close().map(|()| Removal::Removed),
                false => put_back(moved, path).map(|()| why_kept(is, there)),
            }
        }
        Err(e) if is_missing(&e) => Ok(Removal::Gone),
        // A full disk may have no room for another name, and a folder that is a link may be on another disk.
        Err(_) => match fs::remove_file(path) {
            Ok(()) => Ok(Removal::Removed),
            Err(e) if is_missing(&e) => Ok(Removal::Gone),
            Err(e) => Err(e),
        },
    }
}

/// Why a file stays that isn't as it was expected.
fn why_kept(is: Option<Identity>, expected: Identity) -> Removal {
    match is {
        Some(is) if is.is_file_of(&expected) => Removal::Written,
        Some(_) | None => Removal::Replaced,
    }
}

/// Gives the file a name in `folder` that nobody knows; dropped, it is removed.
fn set_aside(path: &Path, folder: &Path) -> io::Result<TempPath> {
    if !folder.is_dir() {
        // What is missing must not be taken for the file.
        fs::create_dir_all(folder).map_err(io::Error::other)?;
    }
    let moved = tempfile::Builder::new()
        .prefix(".aside")
        .rand_bytes(16)
        .make_in(folder, |name| fs::rename(path, name))?;
    Ok(moved.into_temp_path())
}

/// Gives a file its name back, unless there is yet another one by now: the newest stays.
fn put_back(moved: TempPath, path: &Path) -> io::Result<()> {
    match moved.persist_noclobber(path) {
        Ok(()) => Ok(()),
        Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => {
            // Rather over another one than lost.
            let kept = e.path.keep().map_err(|kept| kept.error)?;
            fs::rename(kept, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::PathBuf};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn with(&self, name: &str, content: &str) -> Identity {
            fs::write(self.at(name), content).expect("a file");
            Identity::of(&fs::metadata(self.at(name)).expect("a file"))
        }

        fn remove(&self, name: &str, identity: Identity) -> Removal {
            let aside = self.at(".tmp");
            remove_exactly(&self.at(name), identity, &aside).expect("an attempt")
        }

        fn names(&self) -> Vec<String> {
            let files = walkdir::WalkDir::new(self.0.path()).into_iter().flatten();
            let files = files.filter(|entry| !entry.file_type().is_dir());
            let mut names: Vec<_> = files
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        }
    }

    #[test]
    fn the_very_file_goes_and_leaves_nothing() {
        let folder = Folder::new();
        let identity = folder.with("a", "bad");
        assert_eq!(folder.remove("a", identity), Removal::Removed);
        assert_eq!(folder.names(), [""; 0]);
        assert_eq!(folder.remove("a", identity), Removal::Gone);
    }

    /// It used to be removed by its path, whatever was there by then.
    #[test]
    fn another_file_in_its_place_stays() {
        let folder = Folder::new();
        let identity = folder.with("a", "bad");
        folder.with("b", "new");
        fs::rename(folder.at("b"), folder.at("a")).expect("renamed");
        assert_eq!(folder.remove("a", identity), Removal::Replaced);
        assert_eq!(fs::read(folder.at("a")).expect("a file"), b"new");
    }

    /// As `cp` does it: the same file with other bytes in it.
    #[test]
    fn a_file_that_was_written_to_since_stays() {
        let folder = Folder::new();
        let identity = folder.with("a", "bad");
        let file = fs::File::options().append(true).open(folder.at("a"));
        io::Write::write_all(&mut file.expect("a file"), b"more").expect("written");
        assert_eq!(folder.remove("a", identity), Removal::Written);
        assert_eq!(fs::read(folder.at("a")).expect("a file"), b"badmore");
    }

    #[test]
    fn of_a_link_the_link_goes_and_not_what_it_leads_to() {
        let folder = Folder::new();
        let identity = folder.with("elsewhere", "bad");
        symlink("elsewhere", folder.at("a")).expect("a link");
        assert_eq!(folder.remove("a", identity), Removal::Removed);
        assert_eq!(folder.names(), ["elsewhere"]);
    }

    #[test]
    fn what_was_set_aside_for_another_is_put_back_unless_a_newer_one_has_come() {
        let folder = Folder::new();
        folder.with("a", "one");
        let moved = set_aside(&folder.at("a"), &folder.at(".tmp")).expect("moved");
        assert!(!folder.at("a").exists());
        put_back(moved, &folder.at("a")).expect("put back");
        assert_eq!(fs::read(folder.at("a")).expect("a file"), b"one");
        let moved = set_aside(&folder.at("a"), &folder.at(".tmp")).expect("moved");
        folder.with("a", "two");
        put_back(moved, &folder.at("a")).expect("not needed");
        assert_eq!(fs::read(folder.at("a")).expect("a file"), b"two");
        assert_eq!(folder.names(), ["a"]);
    }

    #[test]
    fn where_nothing_can_be_set_aside_it_is_removed_all_the_same() {
        let folder = Folder::new();
        let identity = folder.with("a", "bad");
        folder.with(".tmp", "in the way");
        assert_eq!(folder.remove("a", identity), Removal::Removed);
        assert_eq!(folder.names(), [".tmp"]);
    }
}
