//! [`Batch`]: many objects made durable together.
//!
//! Syncing file by file costs two waits for the disk an object, and a bundle has a hundred thousand of them. Here the whole file system is synced, once
//! before a few hundred finished files are renamed into place and once at the end: no name ever stands for bytes that a power cut could take,
//! and when [`Batch::finish`] returns, the names are on the disk, too.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempPath;

use super::{
    Age, Backend, Store, failed,
    fs::{Folder, set_readable},
    objects::{Incoming, Pieces},
};
use crate::{
    domain::{CrateKey, IndexKey, Key},
    error::Result,
};

/// How much is staged before it is renamed into place, and for how long: who is killed loses no more work than that, and leaves no more files behind.
const OBJECTS: usize = 1_024;
const BYTES: u64 = 256 << 20;
const STAGED_FOR: Duration = Duration::from_secs(2);

/// Objects on their way into the store. What was staged is put into place now and then, and all of it by [`Batch::finish`]; what a dropped batch
/// still holds is gone.
pub struct Batch {
    store: Store,
    now: SystemTime,
    staged: Vec<Staged>,
    /// When the first of them was.
    since: Instant,
    bytes: u64,
    /// Renamed since the file system was last synced.
    unsynced: bool,
}

/// A finished file and what it is to be.
struct Staged {
    file: TempPath,
    key: Key,
    /// Of an index record.
    age: Option<Age>,
}

impl Store {
    /// An empty batch.
    pub fn batch(&self, now: SystemTime) -> Batch {
        Batch {
            store: self.clone(),
            now,
            staged: Vec::new(),
            since: Instant::now(),
            bytes: 0,
            unsynced: false,
        }
    }

    /// Whether the index record under `key` is no older than one of `age`. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when it can't be read.
    pub fn has_newer_record(&self, key: &IndexKey, age: Age, now: SystemTime) -> Result<bool> {
        let there = self.open_record(key)?.map(|record| record.age());
        Ok(there.is_some_and(|there| !there.is_ahead_of(now) && there >= age))
    }
}

impl Batch {
    /// Makes what was written the .crate file under `key`, soon. The caller has checked its bytes against the key. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn stage_crate(&mut self, key: &CrateKey, incoming: Incoming) -> Result<()> {
        self.stage(Key::Crate(*key), None, incoming)
    }

    /// Makes what was written the index record under `key`, soon, unless a running mirror has put a newer one there by then. The caller has checked
    /// that it is a record, of this age. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be read or written.
    pub fn stage_record(&mut self, key: &IndexKey, age: Age, incoming: Incoming) -> Result<()> {
        self.stage(Key::Index(*key), Some(age), incoming)
    }

    fn stage(&mut self, key: Key, age: Option<Age>, incoming: Incoming) -> Result<()> {
        let size = incoming.length();
        match (incoming.into_pieces(), &self.store.backend) {
            (Pieces::Memory(bytes), Backend::Memory(shelf)) => {
                shelf.save(key.path(), &[bytes.into()]);
            }
            (Pieces::File(file), Backend::Fs(folder)) => {
                set_readable(&file).map_err(|e| failed("writing", file.path(), &e))?;
                let file = file.into_temp_path();
                if self.staged.is_empty() {
                    self.since = Instant::now();
                }
                self.staged.push(Staged { file, key, age });
                self.bytes += size;
                if self.is_full() {
                    let folder = folder.clone();
                    self.put_into_place(&folder)?;
                }
            }
            (Pieces::Memory(_), Backend::Fs(_)) | (Pieces::File(_), Backend::Memory(_)) => {
                debug_assert!(false, "an incoming object of another store");
            }
        }
        self.store.count(size);
        Ok(())
    }

    /// Puts everything into place; durable when this returns, if the store is synced. Blocks.
    ///
    /// # Errors
    /// [`Kind::Store`](crate::error::Kind::Store) when the storage can't be written.
    pub fn finish(mut self) -> Result<()> {
        if let Backend::Fs(folder) = &self.store.backend {
            let folder = folder.clone();
            self.put_into_place(&folder)?;
            if self.unsynced {
                folder.sync_all()?;
            }
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.staged.len() >= OBJECTS || self.bytes >= BYTES || self.since.elapsed() >= STAGED_FOR
    }

    fn put_into_place(&mut self, folder: &Arc<Folder>) -> Result<()> {
        if self.staged.is_empty() {
            return Ok(());
        }
        // This makes the renames of the batch before durable as well.
        folder.sync_all()?;
        for Staged { file, key, age } in self.staged.drain(..) {
            if let (Key::Index(key), Some(age)) = (key, age)
                && self.store.has_newer_record(&key, age, self.now)?
            {
                continue;
            }
            let target = folder.root().join(key.path());
            rename(file, &target).map_err(|e| failed("writing", &target, &e))?;
        }
        (self.bytes, self.unsynced) = (0, true);
        Ok(())
    }
}

fn rename(file: TempPath, target: &Path) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    file.persist(target).map_err(|e| e.error)
}

impl Folder {
    /// Brings everything written so far to the disk, whoever wrote it.
    fn sync_all(&self) -> Result<()> {
        if !self.sync() {
            return Ok(());
        }
        sync_file_system(self.root()).map_err(|e| failed("syncing", self.root(), &e))
    }
}

/// Brings everything written so far to the file system that a folder is on to its disk.
pub(crate) fn sync_file_system(folder: &Path) -> io::Result<()> {
    let folder = fs::File::open(folder)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(folder)?;
    // Elsewhere the system has one call for all file systems, which doesn't say whether it has succeeded.
    #[cfg(not(target_os = "linux"))]
    {
        rustix::fs::sync();
        folder.sync_all()?;
    }
    Ok(())
}
