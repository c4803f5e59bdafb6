//! Downloads: files on their way from upstream, each read by all its clients while it arrives.
//!
//! What has arrived is readable at once except for the end of the last chunk so far: that is held back until the checksum of the whole holds, so
//! that no client ever has a complete wrong file.

mod reader;
mod state;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(super) use reader::{Arrival, DownloadReader};
pub(super) use state::{BLOCK, Download, Spooling};

use crate::domain::FileKey;

/// The downloads under way, by what they bring.
#[derive(Default)]
pub(super) struct Downloads(Mutex<HashMap<FileKey, Arc<Download>>>);

impl Downloads {
    /// The download of `key`; `start` is called with a new one if there is none that can be read. The new one avoids files if that is asked for, and when it
    /// takes the place of one whose file can't be read.
    pub(super) fn join(
        &self,
        key: FileKey,
        spooling: Spooling,
        start: impl FnOnce(Arc<Download>),
    ) -> DownloadReader {
        let mut downloads = self.lock();
        let spooling = match downloads.get(&key) {
            Some(listed) if listed.is_unreadable() => Spooling::Avoided,
            Some(listed) => return DownloadReader::of(listed.clone()),
            None => spooling,
        };
        let download = Arc::new(Download::new(key, spooling));
        downloads.insert(key, download.clone());
        drop(downloads);
        let reader = DownloadReader::of(download.clone());
        start(download);
        reader
    }

    /// Takes a download off the list, but no later one of the same file: who asks from now on looks elsewhere or starts anew.
    pub(super) fn forget(&self, key: &FileKey, download: &Arc<Download>) {
        Self::delist(&mut self.lock(), key, download);
    }

    /// Returns when the last client of a download has gone away; it is off the list then, so that nobody joins what is being given up.
    pub(super) async fn abandoned(&self, key: &FileKey, download: &Arc<Download>) {
        loop {
            download.readers_gone().await;
            let mut downloads = self.lock();
            if !download.has_readers() {
                return Self::delist(&mut downloads, key, download);
            }
        }
    }

    fn delist(
        downloads: &mut HashMap<FileKey, Arc<Download>>,
        key: &FileKey,
        download: &Arc<Download>,
    ) {
        if downloads
            .get(key)
            .is_some_and(|listed| Arc::ptr_eq(listed, download))
        {
            downloads.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FileKey, Arc<Download>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
