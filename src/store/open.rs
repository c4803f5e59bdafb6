//! Opening a store: what chooses a backend. Another kind of storage is opened here, too.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use super::{
    backend::Backend,
    bucket::{BucketBackend, BucketSettings, Connected, connect},
    folder::{FolderBackend, FolderSettings},
    handle::Store,
    tiers::{Journal, Tiers, TiersParts},
};
use crate::{
    error::{Error, Kind, Result},
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

    /// A store in a bucket, for who writes into it or looks through it, and has no folder of its own. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when the settings and the environment don't say enough, or the objects in it are laid out as this program
    /// doesn't know it; [`Kind::Store`](crate::error::Kind::Store) when it can't be read.
    pub async fn in_bucket(bucket: BucketSettings, metrics: Arc<Metrics>) -> Result<Self> {
        let connected = connect(&bucket)?;
        let bucket = BucketBackend::new(&bucket, connected, metrics.clone());
        bucket.ready().await?;
        Ok(Self::over(Arc::new(bucket), metrics))
    }

    /// Finds out whether a bucket can be used: writes, reads, lists and removes an object of its own. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) and [`Kind::Store`](crate::error::Kind::Store) with what is wrong.
    pub async fn try_bucket(bucket: &BucketSettings, metrics: Arc<Metrics>) -> Result<()> {
        let connected = connect(bucket)?;
        let bucket = BucketBackend::new(bucket, connected, metrics);
        bucket.try_out().await
    }

    /// A store in a bucket to serve from, with a folder in front of it if there is to be one, whatever state both are in: they may be well again later. With it
    /// comes why either can't be used now, if so. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of [`to_serve`](Self::to_serve), and those of [`in_bucket`](Self::in_bucket) that don't pass.
    pub async fn in_tiers(
        folder: Option<FolderSettings>,
        bucket: BucketSettings,
        metrics: Arc<Metrics>,
        now: SystemTime,
    ) -> Result<(Self, Option<Error>)> {
        let connected = connect(&bucket)?;
        Self::tiers_over(folder, &bucket, connected, metrics, now).await
    }

    pub(super) async fn tiers_over(
        folder: Option<FolderSettings>,
        settings: &BucketSettings,
        connected: Connected,
        metrics: Arc<Metrics>,
        now: SystemTime,
    ) -> Result<(Self, Option<Error>)> {
        let journal = folder.as_ref().map(|folder| folder.in_root(Journal::new));
        let folder = folder.map(FolderBackend::new);
        let unwritable = match &folder {
            Some(folder) => folder.why_unwritable(now)?,
            None => None,
        };
        let bucket = BucketBackend::new(settings, connected, metrics.clone());
        let unreadable = match bucket.ready().await {
            Err(e) if e.kind() == Kind::Config => return Err(e),
            ready => ready.err(),
        };
        let folder = folder.map(|folder| Arc::new(folder) as Arc<dyn Backend>);
        let written = Arc::<AtomicU64>::default();
        let tiers = Tiers::new(TiersParts {
            folder: folder.clone().zip(journal),
            bucket: Arc::new(bucket),
            written: written.clone(),
            metrics: metrics.clone(),
        });
        let waiting = tiers.waiting();
        let store = Self::over(Arc::new(tiers), metrics).with_near(folder, waiting, written);
        if unwritable.is_some() {
            store.metrics.store_unwritable.set(1);
        }
        Ok((store, unwritable.or(unreadable)))
    }
}
