//! [`FileService`]: files whose SHA-256 is known before they are fetched, from memory, from the store, or from upstream by one shared download. A .crate file is
//! one, and so is a component of a toolchain; who knows the checksum, and whether the file may go out, is up to those who ask here.

mod body;
mod download;
mod fetch;
mod file;
mod landing;
mod large_loads;
mod loads;
mod parts;
mod readers;

use std::{sync::Arc, time::SystemTime};

use tokio::time::{Instant, timeout_at};

pub use body::{Clearance, FileBody, FileLink};

pub(in crate::mirror) use body::{Leave, let_link_out, let_out};
pub(in crate::mirror) use file::CheckedFile;

use self::{
    download::{Arrival, DownloadReader, Downloads, Spooling},
    fetch::Fetch,
    loads::Loads,
};
use super::shared::{Found, Resident, Shared, not_here, unreadable};
use crate::{
    domain::{FileKey, Outcome},
    error::{Error, Kind, Result},
    upstream::Upstream,
};

/// How many downloads of a file the disk may fail before its client is told so. The second one avoids the disk, and others may have theirs in between.
const DISK_FAILURES: u32 = 2;

/// The files of all registries, and of toolchains.
pub(super) struct FileService {
    shared: Arc<Shared>,
    /// Those being read from the store.
    loads: Arc<Loads>,
    /// Those being fetched from upstream.
    downloads: Arc<Downloads>,
}

impl FileService {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            loads: Arc::new(Loads::new(shared.clone())),
            downloads: Arc::default(),
            shared,
        }
    }

    /// A file that is in memory. The way of a hit: nothing is allocated.
    pub(super) fn in_memory(&self, key: &FileKey) -> Option<CheckedFile> {
        match self.shared.memory.file(key)? {
            Resident::File(whole) => Some(CheckedFile::Whole(whole)),
            Resident::Absent(_) | Resident::Index(_) | Resident::Toolchain(_) => None,
        }
    }

    /// What the store has under `key`.
    ///
    /// # Errors
    /// [`Kind::Store`] when the store can't be read, [`Kind::Corrupt`] when what it has fails its check.
    pub(super) async fn stored(
        &self,
        key: &FileKey,
        now: SystemTime,
    ) -> Result<Option<CheckedFile>> {
        self.loads.stored(key, now).await
    }

    /// The same when there are others to ask: a store that can't be read is one that has nothing.
    pub(super) async fn if_stored(&self, key: &FileKey, now: SystemTime) -> Option<CheckedFile> {
        self.loads.if_stored(key, now).await
    }

    /// A file that isn't stored, from upstream.
    ///
    /// # Errors
    /// Why it can't be had: one of the upstream kinds, or [`Kind::Absent`], or that the store has it and doesn't give it.
    pub(super) async fn fetched(
        &self,
        upstream: &Arc<Upstream>,
        key: &FileKey,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<CheckedFile>> {
        let e = match self.download(upstream, key, now, deadline).await {
            Ok(found) => return Ok(found),
            Err(e) => e,
        };
        // Is it here, and the store doesn't give it?
        Err(match self.loads.failure(key, now).await {
            Some(store) if store.kind() == Kind::Store => unreadable(&key.to_string(), &e, &store),
            Some(_) | None => e,
        })
    }

    /// The length of a file of which a client asks for a part, if it can be given one.
    pub(super) async fn divisible(&self, body: &mut FileBody) -> Option<u64> {
        parts::divisible(&self.shared.store, body.file()).await
    }

    /// Joins or starts the download of `key` and waits until its first bytes may be sent.
    async fn download(
        &self,
        upstream: &Arc<Upstream>,
        key: &FileKey,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Found<CheckedFile>> {
        let what = key.to_string();
        let mut failures = 0;
        loop {
            let mut reader = self.join(upstream, key, failures, now);
            let begun = timeout_at(deadline, reader.begun()).await;
            let begun = begun.map_err(|_| {
                Error::upstream_timeout(format!(
                    "{what} didn't arrive from {} in time; try again, it may be here by then",
                    key.registry()
                ))
            })?;
            match begun {
                Ok(Arrival::Arriving(length)) => {
                    return Ok(Found {
                        value: CheckedFile::Arriving(Box::new(reader), length),
                        outcome: Outcome::Miss,
                    });
                }
                Ok(Arrival::Stored) => {
                    if let Some(file) = self.loads.if_stored(key, now).await {
                        return Ok(Found::here(file));
                    }
                    // It was there a moment ago, and is evicted or found to be corrupt by now.
                }
                // The disk has failed it; what upstream has can be had all the same.
                Err(e) if e.kind() == Kind::Store && failures < DISK_FAILURES => failures += 1,
                Err(e) => return Err(not_here(&what, &e)),
            }
        }
    }

    /// Joins the download of `key`, or starts one that avoids the disk if that has failed others.
    fn join(
        &self,
        upstream: &Arc<Upstream>,
        key: &FileKey,
        failures: u32,
        now: SystemTime,
    ) -> DownloadReader {
        let spooling = match failures {
            0 => Spooling::Allowed,
            _ => Spooling::Avoided,
        };
        self.downloads.join(*key, spooling, |download| {
            let fetch = Fetch {
                shared: self.shared.clone(),
                loads: self.loads.clone(),
                downloads: self.downloads.clone(),
                upstream: upstream.clone(),
                key: *key,
                download,
            };
            self.shared.background.run(fetch.run(now));
        })
    }
}
