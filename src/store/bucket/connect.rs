//! Connecting to a bucket: where its service is, with whose keys, and that its library leaves retries and time limits to us.

use std::{sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, HeaderValue, ObjectStore, RetryConfig,
    aws::{AmazonS3Builder, AmazonS3ConfigKey},
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
    gcp::GoogleCloudStorageBuilder,
    signer::Signer,
};

use super::settings::BucketSettings;
use crate::{
    domain::{BucketService, BucketUrl},
    error::{Error, Result},
};

/// A connection that was closed in a bad moment is worth another one; for everything else there is a circuit.
const RETRIES: usize = 1;
const BEFORE_RETRY: Duration = Duration::from_millis(50);

/// What asks a bucket's service, and what signs URLs for clients.
pub(in crate::store) struct Connected {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) signer: Option<Arc<dyn Signer>>,
}

impl Connected {
    /// Whatever keeps objects, without anybody being sent there.
    #[cfg(feature = "testing")]
    pub(in crate::store) fn to(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            signer: None,
        }
    }
}

#[cfg(test)]
impl Connected {
    /// The same with somebody who signs.
    pub(in crate::store) fn signed_by(self, signer: Arc<dyn Signer>) -> Self {
        let signer = Some(signer);
        Self { signer, ..self }
    }
}

/// Makes ready to ask the service; nothing is asked yet.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when the settings and the environment don't say enough.
pub(in crate::store) fn connect(settings: &BucketSettings) -> Result<Connected> {
    // Fails only when the program that embeds us has chosen a provider already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let way = Way::of(settings)?;
    let made = way.made(settings.endpoint.as_deref())?;
    let signer = match &settings.signing {
        None => None,
        Some(signing) => match signing.endpoint.as_deref() {
            None => Some(made.signer.clone()),
            public => Some(way.made(public)?.signer),
        },
    };
    Ok(Connected {
        objects: made.objects,
        signer,
    })
}

/// How the service is reached.
struct Way<'a> {
    at: &'a BucketUrl,
    stall_timeout: Duration,
    authorities: Vec<Certificate>,
}

/// The same client seen from two sides.
struct Made {
    objects: Arc<dyn ObjectStore>,
    signer: Arc<dyn Signer>,
}

impl Made {
    fn of<C: ObjectStore + Signer>(client: C) -> Self {
        let client = Arc::new(client);
        Self {
            objects: client.clone(),
            signer: client,
        }
    }
}

impl<'a> Way<'a> {
    fn of(settings: &'a BucketSettings) -> Result<Self> {
        let authorities = match settings.authorities.is_empty() {
            true => Ok(Vec::new()),
            false => Certificate::from_pem_bundle(&settings.authorities),
        };
        let authorities = authorities.map_err(|e| {
            Error::config("`upstream.ca_certificates` can't be used for the bucket").caused_by(e)
        })?;
        Ok(Self {
            at: &settings.at,
            stall_timeout: settings.stall_timeout,
            authorities,
        })
    }

    fn made(&self, endpoint: Option<&str>) -> Result<Made> {
        let made = match self.at.service() {
            BucketService::S3 => self.s3(endpoint),
            BucketService::Google => self.google(endpoint),
            BucketService::Azure => self.azure(endpoint),
        };
        // What the library says may have a key in it.
        made.map_err(|_| {
            Error::config(format!(
                "`store.bucket`: {} can't be used with what the environment says: a variable of its service is missing (such as AWS_SECRET_ACCESS_KEY beside AWS_ACCESS_KEY_ID), or has something else in it than it should",
                self.at
            ))
        })
    }

    fn s3(&self, endpoint: Option<&str>) -> object_store::Result<Made> {
        let key = AmazonS3ConfigKey::S3Endpoint;
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(self.at.bucket());
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(key, endpoint);
        }
        let named = builder.get_config_value(&key);
        let named = named.or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Endpoint));
        // At Amazon buckets are hosts, but for those that no certificate fits; elsewhere they are the first part of the path.
        if named.is_none() && !self.at.bucket().contains('.') {
            builder = builder.with_virtual_hosted_style_request(true);
        }
        let builder = builder
            .with_client_options(self.options(named.as_deref()))
            .with_retry(retry())
            .with_disable_bulk_delete(true);
        builder.build().map(Made::of)
    }

    fn google(&self, endpoint: Option<&str>) -> object_store::Result<Made> {
        let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(self.at.bucket());
        let builder = match endpoint {
            Some(endpoint) => builder.with_base_url(endpoint),
            None => builder,
        };
        let builder = builder
            .with_client_options(self.options(endpoint))
            .with_retry(retry());
        builder.build().map(Made::of)
    }

    fn azure(&self, endpoint: Option<&str>) -> object_store::Result<Made> {
        let builder = MicrosoftAzureBuilder::from_env().with_container_name(self.at.bucket());
        let builder = match endpoint {
            Some(endpoint) => builder.with_endpoint(endpoint.to_owned()),
            None => builder,
        };
        let named = builder.get_config_value(&AzureConfigKey::Endpoint);
        let builder = builder
            .with_client_options(self.options(named.as_deref()))
            .with_retry(retry());
        builder.build().map(Made::of)
    }

    fn options(&self, endpoint: Option<&str>) -> ClientOptions {
        let is_plain = endpoint.is_some_and(|url| url.starts_with("http://"));
        let agent = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));
        let options = ClientOptions::new()
            .with_user_agent(HeaderValue::from_static(agent))
            .with_allow_http(is_plain)
            .with_connect_timeout(self.stall_timeout)
            // Large objects take as long as they get on, and readers as long as they like: whoever waits for something limits that himself.
            .with_timeout_disabled()
            .with_pool_idle_timeout(Duration::from_secs(60));
        let trusted = self.authorities.iter().cloned();
        trusted.fold(options, ClientOptions::with_root_certificate)
    }
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: BEFORE_RETRY,
            max_backoff: 4 * BEFORE_RETRY,
            base: 2.0,
        },
        max_retries: RETRIES,
        retry_timeout: Duration::from_secs(1),
    }
}
