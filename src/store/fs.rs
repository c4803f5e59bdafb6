//! [`Folder`]: a store's objects as plain files below one folder.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempfile::NamedTempFile;
use walkdir::{DirEntry, WalkDir};

use super::{Checked, Found, Identity, Next, Stored, blocking, failed, reader::Blocks};
use crate::{
    domain::Key,
    error::{Error, Result},
};

/// Where files are written before they are renamed into place; on the same file system, and listed at start in place of a full scan.
/// No registry can be called so: their names start with a letter.
const TEMPORARY: &str = ".tmp";
/// A temporary file this old belongs to no living process.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// A file's modification time is its last use, at this grain: touching it at every load would turn reads into writes.
const USE_GRAIN: Duration = Duration::from_secs(3600);

/// After so many files a walk rests for a moment, so that requests get the disk.
const STEP: usize = 256;
const REST: Duration = Duration::from_millis(1);

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

    pub(super) fn open(root: &Path, sync: bool, now: SystemTime) -> Result<Self> {
        let temporary = root.join(TEMPORARY);
        let writable = fs::create_dir_all(&temporary).and_then(|()| {
            // Permissions, read-only mounts and quotas are all found by doing it.
            NamedTempFile::new_in(&temporary)?.write_all(b"writable?")
        });
        if let Err(e) = writable {
            let why = match fs::metadata(root) {
                Ok(meta) if !meta.is_dir() => "it is not a folder".to_owned(),
                _ => e.to_string(),
            };
            return Err(Error::config(format!(
                "`store.path`: the folder {} can't be used: {why}; it must be a folder this program may write to",
                root.display()
            )));
        }
        remove_abandoned(&temporary, now);
        let root = root.to_owned();
        Ok(Self { root, sync })
    }

    /// Reads and checks the object under `path` in one trip to a blocking thread.
    pub(super) async fn load<T: Send + 'static, L: Send + 'static>(
        self: &Arc<Self>,
        path: String,
        now: SystemTime,
        admit: impl FnOnce(u64) -> Option<L> + Send + 'static,
        check: impl FnOnce(Vec<u8>) -> Result<T, String> + Send + 'static,
    ) -> Result<Option<Checked<T, L>>> {
        let path = self.root.join(path);
        blocking(move || match find(&path, now, admit) {
            Ok(found) => Ok(found.map(|f| f.check(check))),
            Err(e) => Err(failed("reading", &path, &e)),
        })
        .await?
    }

    /// The size of the object under `path`, which counts as used from now on; `None` when it isn't there.
    pub(super) async fn mark_used(
        self: &Arc<Self>,
        path: String,
        now: SystemTime,
    ) -> Result<Option<u64>> {
        let path = self.root.join(path);
        blocking(move || match open_to_use(&path, now) {
            Ok(opened) => {
                let file = opened.filter(|(_, meta)| meta.is_file());
                Ok(file.map(|(_, meta)| meta.len()))
            }
            Err(e) => Err(failed("looking at", &path, &e)),
        })
        .await?
    }

    /// Writes `pieces` one after the other as the object under `path`.
    pub(super) async fn save(self: &Arc<Self>, path: String, pieces: Vec<Bytes>) -> Result<()> {
        let folder = self.clone();
        blocking(move || {
            let write = || {
                let mut file = folder.temporary()?;
                pieces.iter().try_for_each(|piece| file.write_all(piece))?;
                folder.publish(file, &path)
            };
            write().map_err(|e| failed("writing", &folder.root.join(&path), &e))
        })
        .await?
    }

    /// Removes the file under `path` if it is still the one that `identity` was taken of, and not one that has replaced it.
    pub(super) async fn remove_if(
        self: &Arc<Self>,
        path: String,
        identity: Identity,
    ) -> Result<()> {
        let full = self.root.join(&path);
        let found = blocking(move || fs::metadata(full)).await?;
        match found.as_ref().map(Identity::of) {
            Ok(found) if found == identity => self.remove(path).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn remove(self: &Arc<Self>, path: String) -> Result<()> {
        let path = self.root.join(path);
        blocking(move || match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", &path, &e)),
            _ => Ok(()),
        })
        .await?
    }

    /// Shows every object to `visit`. Nothing is kept in memory, so that it costs the same for a hundred files as for a million.
    pub(super) fn each<V>(
        &self,
        mut state: V,
        mut visit: impl FnMut(&mut V, Stored) -> Next,
    ) -> Result<V> {
        let kept = |entry: &DirEntry| entry.depth() == 0 || entry.file_name() != TEMPORARY;
        let entries = WalkDir::new(&self.root).into_iter().filter_entry(kept);
        let mut problem = None;
        for (seen, entry) in entries.flatten().enumerate() {
            if seen % STEP == STEP - 1 {
                std::thread::sleep(REST);
            }
            let Some(stored) = self.stored(&entry) else {
                continue;
            };
            let done = match visit(&mut state, stored) {
                Next::Go => Ok(()),
                Next::Stop => break,
                Next::Touch => {
                    File::open(entry.path()).and_then(|f| f.set_modified(SystemTime::now()))
                }
                Next::Remove => fs::remove_file(entry.path()),
            };
            // One file that can't be changed must not save all the others.
            if let Err(e) = done
                && e.kind() != io::ErrorKind::NotFound
            {
                problem = Some(failed("changing", entry.path(), &e));
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        Ok(state)
    }

    /// The objects right in `folder`, in no particular order; none when it isn't there.
    pub(super) fn list(&self, folder: &str) -> Result<Vec<Stored>> {
        let entries = WalkDir::new(self.root.join(folder))
            .min_depth(1)
            .max_depth(1);
        let mut found = Vec::new();
        for entry in entries {
            match entry {
                Ok(entry) => found.extend(self.stored(&entry)),
                // Also a file that was removed meanwhile.
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(failed("listing", &self.root.join(folder), &e.into())),
            }
        }
        Ok(found)
    }

    /// The object in a file, if a key makes that file's path.
    fn stored(&self, entry: &DirEntry) -> Option<Stored> {
        let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let path = entry
            .path()
            .strip_prefix(&self.root)
            .ok()?
            .to_str()?
            .to_owned();
        Some(Stored {
            key: Key::from_path(&path)?,
            path,
            size: meta.len(),
            used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
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

fn is_missing(error: &walkdir::Error) -> bool {
    let error = error.io_error();
    error.is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Opens the file at `path` and reads it whole if `admit` grants the memory.
fn find<L>(
    path: &Path,
    now: SystemTime,
    admit: impl FnOnce(u64) -> Option<L>,
) -> io::Result<Option<Found<L>>> {
    let Some((mut file, meta)) = open_to_use(path, now)? else {
        return Ok(None);
    };
    match admit(meta.len()) {
        Some(lease) => {
            let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
            file.read_to_end(&mut bytes)?;
            Ok(Some(Found::Whole(bytes, lease, Identity::of(&meta))))
        }
        None => Ok(Some(Found::Large(Blocks::File {
            identity: Identity::of(&meta),
            file,
            length: meta.len(),
        }))),
    }
}

/// Opens the file at `path`, if there is one, and has its modification time say that it is used.
fn open_to_use(path: &Path, now: SystemTime) -> io::Result<Option<(File, fs::Metadata)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    let used = meta.modified()?;
    if now.duration_since(used).is_ok_and(|age| age > USE_GRAIN) {
        // Only eviction reads it; a store that can't be written to can still be served.
        let _ = file.set_modified(now);
    }
    Ok(Some((file, meta)))
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
