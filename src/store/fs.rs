//! [`Folder`]: a store's objects as plain files below one folder.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempfile::NamedTempFile;

use super::{
    Checked, Found, Identity,
    corrupt::Seen,
    disk::Pulse,
    failed,
    place::{self, Opened, Place, Reached},
    reader::Blocks,
};
use crate::error::{Error, Result};

/// Where files are written before they are renamed into place; on the same file system, and listed at start in place of a full scan.
/// No registry can be called so: their names start with a letter.
const TEMPORARY: &str = ".tmp";
/// A temporary file this old belongs to no living process.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// A file's modification time is its last use, at this grain: touching it at every load would turn reads into writes.
const USE_GRAIN: Duration = Duration::from_secs(3600);

/// A folder that holds objects, and how carefully it is written.
pub(super) struct Folder {
    root: PathBuf,
    sync: bool,
}

impl Folder {
    /// A folder that is there, to be looked through; nothing is written to find out whether that is possible.
    pub(super) fn existing(root: &Path, sync: bool) -> Result<Self> {
        let why = match fs::read_dir(root) {
            Ok(_) => {
                let root = root.to_owned();
                return Ok(Self { root, sync });
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                "there is no such folder; a mirror makes it when it first serves".to_owned()
            }
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => "it is not a folder".to_owned(),
            Err(e) => e.to_string(),
        };
        Err(Error::config(format!(
            "`store.path`: the folder {} can't be looked through: {why}",
            root.display()
        )))
    }

    /// A folder that nobody has looked at yet.
    pub(super) fn of(root: &Path, sync: bool) -> Self {
        let root = root.to_owned();
        Self { root, sync }
    }

    /// A folder that is made when missing, and can be written to.
    pub(super) fn open(root: &Path, sync: bool, now: SystemTime) -> Result<Self> {
        let folder = Self::of(root, sync);
        match folder.try_to_use(now)? {
            None => Ok(folder),
            Some(unwritable) => Err(Error::config(format!(
                "`store.path`: {unwritable}; it must be a folder this program may write to"
            ))),
        }
    }

    /// Makes the folder when it is missing, and finds out why it can't be written to, if so. Blocks.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is none and none can be made, and when it may neither be written to nor looked through.
    pub(super) fn try_to_use(&self, now: SystemTime) -> Result<Option<Error>> {
        let cannot =
            |why: &dyn Display| format!("the folder {} can't be used: {why}", self.root.display());
        let refused = |why: &dyn Display| {
            Error::config(format!(
                "`store.path`: {}; it must be a folder this program may write to",
                cannot(why)
            ))
        };
        let made = fs::create_dir_all(&self.root);
        match (fs::metadata(&self.root), made) {
            (Ok(meta), _) if !meta.is_dir() => return Err(refused(&"it is not a folder")),
            (Err(_), Err(e)) => return Err(refused(&e)),
            (Ok(_), _) | (Err(_), Ok(())) => {}
        }
        let temporary = self.root.join(TEMPORARY);
        let written = fs::create_dir_all(&temporary).and_then(|()| {
            // Permissions, read-only mounts and quotas are all found by doing it.
            let mut file = NamedTempFile::new_in(&temporary)?;
            file.write_all(b"writable?")?;
            // Some file systems notice only then that there is no room.
            match self.sync {
                true => file.as_file().sync_all(),
                false => Ok(()),
            }
        });
        let Err(e) = written else {
            remove_abandoned(&temporary, now);
            return Ok(None);
        };
        match fs::read_dir(&self.root) {
            Err(unread) if unread.kind() == io::ErrorKind::PermissionDenied => {
                Err(refused(&unread))
            }
            Ok(_) | Err(_) => Ok(Some(Error::store(cannot(&e)))),
        }
    }

    /// Reads and checks the object under `path`. Blocks.
    pub(super) fn load<T, L>(
        &self,
        path: &str,
        now: SystemTime,
        pulse: &Pulse,
        admit: impl FnOnce(u64) -> Option<L>,
        check: impl FnOnce(Vec<u8>) -> Result<T, String>,
    ) -> Result<Option<Checked<T, L>>> {
        let path = self.root.join(path);
        match find(&path, now, pulse, admit) {
            Ok(found) => Ok(found.map(|f| f.check(check))),
            Err(e) => Err(failed("reading", &path, &e)),
        }
    }

    /// The size of the object under `path`, which counts as used from now on; `None` when it isn't there. Blocks.
    pub(super) fn mark_used(&self, path: &str, now: SystemTime) -> Result<Option<u64>> {
        let path = self.root.join(path);
        match open_to_use(&path, now) {
            Ok(opened) => Ok(opened.map(|(opened, _)| opened.meta.len())),
            Err(e) => Err(failed("looking at", &path, &e)),
        }
    }

    /// Writes `pieces` one after the other as the object under `path`. Blocks.
    pub(super) fn save(&self, path: &str, pieces: &[Bytes]) -> Result<()> {
        let write = || {
            let mut file = self.temporary()?;
            pieces.iter().try_for_each(|piece| file.write_all(piece))?;
            self.publish(file, path)
        };
        write().map_err(|e| failed("writing", &self.root.join(path), &e))
    }

    /// Removes whatever file is under `path`. Blocks.
    pub(super) fn remove(&self, path: &str) -> Result<()> {
        let path = self.root.join(path);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path, &e)),
            _ => Ok(()),
        }
    }

    /// Where what is about to be removed goes for a moment.
    pub(super) fn aside(&self) -> PathBuf {
        self.root.join(TEMPORARY)
    }

    /// Whether the folder is there; a disk that has been taken away leaves none.
    pub(super) fn is_there(&self) -> bool {
        self.root.is_dir()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a write has to reach the disk before it counts.
    pub(super) fn sync(&self) -> bool {
        self.sync
    }

    /// A new file with a name of its own. The folder is made again if somebody removed it.
    pub(super) fn temporary(&self) -> io::Result<NamedTempFile> {
        let folder = self.root.join(TEMPORARY);
        NamedTempFile::new_in(&folder).or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                fs::create_dir_all(&folder)?;
                NamedTempFile::new_in(&folder)
            }
            _ => Err(e),
        })
    }

    /// Renames a finished file into place; durable when this returns, if the folder is to be synced.
    pub(super) fn publish(&self, file: NamedTempFile, path: &str) -> io::Result<()> {
        if self.sync {
            file.as_file().sync_all()?;
        }
        let target = self.root.join(path);
        let parent = target.parent().unwrap_or(&self.root);
        let made = !parent.exists();
        if made {
            fs::create_dir_all(parent)?;
        }
        set_readable(&file)?;
        file.persist(&target).map_err(|e| e.error)?;
        if !self.sync {
            return Ok(());
        }
        // A new name is durable once its folder is; a new folder, once its own parent is.
        let folders = parent.ancestors().take_while(|f| f.starts_with(&self.root));
        for folder in folders.take(if made { usize::MAX } else { 1 }) {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }
}

/// What is read between two signs of life.
const STRIDE: u64 = 1 << 20;

/// Opens the file at `path` and reads it whole if `admit` grants the memory.
fn find<L>(
    path: &Path,
    now: SystemTime,
    pulse: &Pulse,
    admit: impl FnOnce(u64) -> Option<L>,
) -> io::Result<Option<Found<L>>> {
    let Some((Opened { file, meta, .. }, written)) = open_to_use(path, now)? else {
        return Ok(None);
    };
    pulse.beat();
    let length = meta.len();
    let seen = Seen::new(Identity::of(&meta), written, now);
    match admit(length) {
        Some(lease) => {
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            // No more than the memory is leased for, and one byte that nobody should find: the file may be growing.
            let mut file = file.take(length + 1);
            while (&mut file).take(STRIDE).read_to_end(&mut bytes)? > 0 {
                pulse.beat();
            }
            Ok(Some(Found::Whole(bytes, lease, seen)))
        }
        None => Ok(Some(Found::Large(Blocks::File {
            seen,
            file: file.into(),
            length,
        }))),
    }
}

/// Opens the file at `path`, if there is one, and has its modification time say that it is used. With it comes when it was modified before that.
fn open_to_use(path: &Path, now: SystemTime) -> io::Result<Option<(Opened, SystemTime)>> {
    let mut opened = match place::open(path)? {
        Place::File(opened) => opened,
        Place::Odd(odd) => return Err(odd.error()),
        Place::Empty => return Ok(None),
    };
    let used = opened.meta.modified()?;
    // Where a link leads to is not ours to change.
    if opened.reached == Reached::Directly
        && now.duration_since(used).is_ok_and(|age| age > USE_GRAIN)
    {
        // Only eviction reads it; a store that can't be written to can still be served.
        let _ = opened.file.set_modified(now);
        opened.meta = opened.file.metadata()?;
    }
    Ok(Some((opened, used)))
}

/// Temporary files are private by default; stored ones may be read by whoever may read the folder (a web server, a backup).
pub(crate) fn set_readable(file: &NamedTempFile) -> io::Result<()> {
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
}

/// Removes what a killed process left behind; failing to is no reason not to start.
fn remove_abandoned(temporary: &Path, now: SystemTime) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries {
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .map(|written| now.duration_since(written).unwrap_or_default());
        if age.is_ok_and(|age| age > ABANDONED) {
            tracing::info!("removing the left-over {}", entry.path().display());
            let _ = fs::remove_file(entry.path());
        }
    }
}
