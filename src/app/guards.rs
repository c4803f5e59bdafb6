//! Who may ask, and where it is written down who got what, as the settings say.

use std::{sync::Arc, time::SystemTime};

use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    access,
    audit::{Duty, Recorder, Rotation},
    config::Config,
    domain::loggable_url,
    error::{Error, Result},
    follow::Looks,
    http,
    metrics::Metrics,
    upstream::Document,
};

/// Who may ask, and where it is written down who got what, as the settings say. The files that say who may ask are followed until `stop` is cancelled.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when a file can't be read, understood or written.
pub(super) fn guards(
    config: &Config,
    metrics: &Arc<Metrics>,
    stop: &CancellationToken,
    followed: &mut Vec<Looks>,
) -> Result<http::Guards> {
    let settings = &config.access;
    let authentication = match settings.is_restricted() {
        false => http::Authentication::default(),
        true => {
            let keys = |url: &Url| keys_at(url, config);
            let opened = access::open(settings, keys, metrics.clone(), SystemTime::now());
            let (authenticator, follower) = opened?;
            followed.push(follower.looks());
            tokio::spawn(stop.clone().run_until_cancelled_owned(follower.run()));
            http::Authentication::by(authenticator, settings)
        }
    };
    let audit = &config.audit;
    let rotation = Rotation {
        max_size: audit.max_size.get(),
        keep: audit.keep.get(),
    };
    let duty = match audit.required {
        true => Duty::Required,
        false => Duty::BestEffort,
    };
    let path = audit.path.as_ref();
    let recorder = path.map(|path| Recorder::start(&path.0, rotation, duty, metrics.clone()));
    Ok(http::Guards {
        authentication,
        recorder: recorder.transpose()?.map(Arc::new),
    })
}

/// What fetches the keys of an issuer of tokens.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it is offline, or no HTTP client can be set up.
pub fn keys_at(url: &Url, config: &Config) -> Result<access::jwt::FetchKeys> {
    if config.offline.enabled {
        return Err(Error::config(format!(
            "a mirror that is offline can't fetch keys from {}; name a file in `keys` of that table of `access.jwt`",
            loggable_url(url)
        )));
    }
    let document = Arc::new(Document::new(url, &config.upstream)?);
    Ok(Arc::new(move || {
        let document = document.clone();
        Box::pin(async move { document.fetch(access::jwt::KEYS_LARGEST).await })
    }))
}
