//! [`BucketUrl`]: which bucket, and where in it.

use std::fmt;

/// Which service a bucket is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketService {
    /// Amazon S3, and whatever speaks like it: `s3://`.
    S3,
    /// Google Cloud Storage: `gs://`.
    Google,
    /// Azure Blob Storage, whose buckets are called containers: `az://`.
    Azure,
}

impl BucketService {
    const ALL: [(&'static str, Self); 3] =
        [("s3", Self::S3), ("gs", Self::Google), ("az", Self::Azure)];

    const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        }
    }
}

/// A bucket and a prefix in it: `s3://bucket/prefix`. No key and no password has a place in it.
#[derive(Clone, PartialEq, Eq)]
pub struct BucketUrl {
    service: BucketService,
    bucket: String,
    /// Without a slash at its ends; empty for the whole bucket.
    prefix: String,
}

impl BucketUrl {
    /// The longest prefix, in bytes: keys may have 1024, and ours need the rest.
    const PREFIX: usize = 512;

    /// Parses `text`; `None` when it is anything else than a scheme, a bucket's name and perhaps a prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let known = BucketService::ALL.iter().find(|(name, _)| *name == scheme);
        let (_, service) = known?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let is_named = (1..=255).contains(&bucket.len())
            && bucket.bytes().all(is_plain)
            && bucket
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphanumeric());
        let is_path = prefix.is_empty() || prefix.split('/').all(is_segment);
        (is_named && is_path && prefix.len() <= Self::PREFIX).then(|| Self {
            service: *service,
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }

    /// Whose bucket it is.
    pub fn service(&self) -> BucketService {
        self.service
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What all keys begin with, without a slash at its ends; empty for the whole bucket.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Whether it is a part of a key that no service and no tool writes in another way.
fn is_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
}

impl fmt::Display for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.service.scheme(), self.bucket)?;
        match self.prefix.is_empty() {
            true => Ok(()),
            false => write!(f, "/{}", self.prefix),
        }
    }
}

impl fmt::Debug for BucketUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_and_a_prefix_are_read_and_nothing_else() {
        for (text, bucket, prefix) in [
            ("s3://crates", "crates", ""),
            ("s3://crates/", "crates", ""),
            ("gs://crates.example/a/b_1.x/", "crates.example", "a/b_1.x"),
            ("az://container/mirror", "container", "mirror"),
        ] {
            let read = BucketUrl::parse(text).expect(text);
            assert_eq!((read.bucket(), read.prefix()), (bucket, prefix), "{text}");
            assert_eq!(read.to_string(), text.trim_end_matches('/'));
        }
        for text in [
            "",
            "crates",
            "http://crates/mirror",
            "s3://",
            "s3:///mirror",
            "s3://-crates",
            "s3://key:secret@crates/mirror",
            "s3://crates/a//b",
            "s3://crates/../b",
            "s3://crates/a b",
            "s3://crates/a?versionId=1",
            "s3://crates/a#b",
            "s3://crates:9000/a",
            "s3://crates/%2e",
        ] {
            assert_eq!(BucketUrl::parse(text), None, "{text}");
        }
        assert_eq!(
            BucketUrl::parse(&format!("s3://a/{}", "x".repeat(513))),
            None
        );
    }
}
