//! Opening a store: what chooses a backend. Another kind of storage is opened here, too.

use std::{sync::Arc, time::SystemTime};

use super::{
    folder::{FolderBackend, FolderSettings},
    handle::Store,
};
use crate::{
    error::{Error, Result},
    metrics::Metrics,
};

impl Store {
    /// A store in a folder, which is created when missing. Left-over temporary files older than a day are removed.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it can't be created, is no folder or can't be written to.
    pub fn open(folder: FolderSettings, metrics: Arc<Metrics>, now: SystemTime) -> Result<Self> {
        let folder = FolderBackend::new(folder);
        folder.require_writable(now)?;
        Ok(Self::over(Arc::new(folder), metrics))
    }

    /// A store in a folder to serve from, whatever state its disk is in: full, read-only or failing, it may be well again later. With it comes why
    /// nothing can be written to it now, if so. What is done to find that out may take as long as the disk may take over one thing.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when there is no such folder and none can be made, when it is no folder, and when it may neither be
    /// written to nor looked through.
    pub fn to_serve(
        folder: FolderSettings,
        metrics: Arc<Metrics>,
        now: SystemTime,
    ) -> Result<(Self, Option<Error>)> {
        let folder = FolderBackend::new(folder);
        let unwritable = folder.why_unwritable(now)?;
        let store = Self::over(Arc::new(folder), metrics);
        if unwritable.is_some() {
            store.metrics.store_unwritable.set(1);
        }
        Ok((store, unwritable))
    }

    /// The store in a folder that must be there: to be looked through, not to be served from. Nothing is created, removed or tried.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when it isn't there, is no folder or can't be read.
    pub fn existing(folder: FolderSettings, metrics: Arc<Metrics>) -> Result<Self> {
        let folder = FolderBackend::new(folder);
        folder.require_readable()?;
        Ok(Self::over(Arc::new(folder), metrics))
    }
}
