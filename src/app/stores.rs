//! The store that the settings name: a folder, a bucket, or the one in front of the other.

use std::{sync::Arc, time::SystemTime};

use crate::{
    config::{Config, ServiceUrl},
    error::{Error, Result},
    metrics::Metrics,
    store::{BucketSettings, FolderSettings, SigningSettings, Store},
};

/// The store that the settings name, to write into it: the bucket, if there is one, or the folder.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't be used, [`Kind::Store`](crate::error::Kind::Store) when the bucket can't be read.
pub async fn open_store(config: &Config, metrics: &Arc<Metrics>) -> Result<Store> {
    match bucket(config)? {
        Some(bucket) => Store::in_bucket(bucket, metrics.clone()).await,
        None => Store::open(folder(config), metrics.clone(), SystemTime::now()),
    }
}

/// The store to serve from, also where nothing can be written to it: what it has is served, everything else is passed through, and it is written to when
/// it can be.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is no such folder and none can be made, or the bucket is for another program.
pub async fn store_to_serve(config: &Config, metrics: &Arc<Metrics>) -> Result<Store> {
    let (store, unusable) = try_store(config, metrics).await?;
    match unusable {
        None => {}
        Some(why) if config.offline.enabled => tracing::warn!(
            "{why}; it is served from all the same, but what is asked for in vain is only logged"
        ),
        Some(why) => tracing::error!(
            "{why}; what is in it is served where it can be read, and what is fetched is passed on and not kept where it can't be written"
        ),
    }
    Ok(store)
}

/// The same with why nothing can be written to it, if so, for whoever says it himself.
///
/// # Errors
/// Those of [`store_to_serve`].
pub async fn try_store(config: &Config, metrics: &Arc<Metrics>) -> Result<(Store, Option<Error>)> {
    let (metrics, now) = (metrics.clone(), SystemTime::now());
    match bucket(config)? {
        Some(bucket) => {
            let near = config.store.has_folder().then(|| folder(config));
            Store::in_tiers(near, bucket, metrics, now).await
        }
        None => Store::to_serve(folder(config), metrics, now),
    }
}

/// The store that the settings name as somebody left it, for commands that look through it.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is none, or it can't be read.
pub async fn existing_store(config: &Config) -> Result<Store> {
    let metrics = Arc::new(Metrics::new());
    match bucket(config)? {
        Some(bucket) => Store::in_bucket(bucket, metrics).await,
        None => Store::existing(folder(config), metrics),
    }
}

/// The bucket that the settings name, if they do.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the certificates that are trusted can't be read.
pub fn bucket(config: &Config) -> Result<Option<BucketSettings>> {
    let store = &config.store;
    let Some(at) = &store.bucket else {
        return Ok(None);
    };
    let authorities = match &config.upstream.ca_certificates {
        None => Vec::new(),
        Some(path) => std::fs::read(&path.0).map_err(|e| {
            let path = path.0.display();
            let said = format!("`upstream.ca_certificates`: {path} can't be read: {e}");
            Error::config(said).with_source(e)
        })?,
    };
    let said = |endpoint: &Option<ServiceUrl>| {
        let endpoint = endpoint.as_ref();
        endpoint.map(|endpoint| endpoint.as_str().to_owned())
    };
    Ok(Some(BucketSettings {
        at: at.0.clone(),
        endpoint: said(&store.endpoint),
        stall_timeout: *store.stall_timeout,
        authorities,
        signing: store.redirect.then(|| SigningSettings {
            endpoint: said(&store.public_endpoint),
            good_for: *store.signed_for,
        }),
    }))
}

/// The folder that the settings name for the store.
pub fn folder(config: &Config) -> FolderSettings {
    let store = &config.store;
    FolderSettings::new(&store.path.0, store.sync).with_stall_timeout(*store.stall_timeout)
}
