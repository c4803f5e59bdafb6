//! [`BucketSettings`]: which bucket, and how it is reached.

use std::time::Duration;

use crate::domain::BucketUrl;

/// Which bucket, and how it is reached. Keys and roles aren't in here: they are the environment's.
#[derive(Clone, Debug)]
pub struct BucketSettings {
    /// Which one, and where in it.
    pub at: BucketUrl,
    /// Where its service is, when that isn't the provider's own place.
    pub endpoint: Option<String>,
    /// How long it may take over one thing without getting on.
    pub stall_timeout: Duration,
    /// The certificates of authorities, as PEM, that are trusted beside the system's.
    pub authorities: Vec<u8>,
    /// Whether clients may be sent to it, and how.
    pub signing: Option<SigningSettings>,
}

/// How clients are sent to a bucket.
#[derive(Clone, Debug)]
pub struct SigningSettings {
    /// Where they reach its service, when that isn't where this process does.
    pub endpoint: Option<String>,
    /// How long a signed URL is good for.
    pub good_for: Duration,
}
