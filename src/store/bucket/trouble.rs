//! [`BucketTrouble`]: what a failed request to a bucket means, read from the errors of the libraries that lie beneath one another.

use std::error::Error as StdError;

use object_store::{
    Error as ObjectError,
    client::{HttpError, HttpErrorKind},
};

use crate::circuit::Failure;

/// Why a bucket doesn't do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BucketTrouble {
    /// There is no such bucket.
    NoBucket,
    /// It isn't allowed.
    Denied,
    /// Nobody knows the key, or the signature made with it is wrong.
    Unauthenticated,
    /// There is nothing to sign requests with.
    NoCredentials,
    /// The bucket is in another region.
    Region,
    /// This machine's clock and the service's are too far apart.
    Clock,
    /// It is asked too much at the moment, or isn't well.
    Throttled,
    /// It can't be reached, or what gives credentials for it can't.
    Unreachable,
    /// It took too long.
    Late,
    /// Any other.
    Other,
}

impl BucketTrouble {
    /// Every one of them, for what must be prepared for each.
    pub(super) const ALL: [Self; 10] = [
        Self::NoBucket,
        Self::Denied,
        Self::Unauthenticated,
        Self::NoCredentials,
        Self::Region,
        Self::Clock,
        Self::Throttled,
        Self::Unreachable,
        Self::Late,
        Self::Other,
    ];

    pub(super) fn of(error: &ObjectError) -> Self {
        let said = error.to_string();
        if let Some(code) = code(&said) {
            return Self::of_code(code);
        }
        if said.contains("incorrectly configured region") {
            return Self::Region;
        }
        if said.contains("169.254.169.254") || said.contains("metadata.google") {
            return Self::NoCredentials;
        }
        if let Some(kind) = causes(error).find_map(|e| e.downcast_ref::<HttpError>()) {
            return match kind.kind() {
                HttpErrorKind::Timeout => Self::Late,
                _ => Self::Unreachable,
            };
        }
        match error {
            ObjectError::PermissionDenied { .. } => Self::Denied,
            ObjectError::Unauthenticated { .. } => Self::Unauthenticated,
            _ if said.contains("503") || said.contains("429") => Self::Throttled,
            _ => Self::Other,
        }
    }

    /// What the service itself says (the error codes of S3 and of Azure).
    fn of_code(code: &str) -> Self {
        match code {
            "NoSuchBucket" | "ContainerNotFound" => Self::NoBucket,
            "AccessDenied" | "AuthorizationPermissionMismatch" | "AuthorizationFailure" => {
                Self::Denied
            }
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "AuthenticationFailed" => Self::Unauthenticated,
            "PermanentRedirect"
            | "TemporaryRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException" => Self::Region,
            "RequestTimeTooSkewed" | "RequestExpired" => Self::Clock,
            "SlowDown" | "ServiceUnavailable" | "ServerBusy" | "TooManyRequests" => Self::Throttled,
            _ => Self::Other,
        }
    }

    /// What is wrong, and what to do about it, as the end of a sentence.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::NoBucket => "there is no such bucket; make it, or correct `store.bucket`",
            Self::Denied => {
                "the key or role may not do this, or isn't known; it has to be allowed to list the bucket and to get, put and delete objects in it"
            }
            Self::Unauthenticated => {
                "the service doesn't know the key, or the secret that goes with it is another one"
            }
            Self::NoCredentials => {
                "there is no key to sign requests with: neither in the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor as a role of this machine"
            }
            Self::Region => "the bucket is in another region; set AWS_REGION",
            Self::Clock => {
                "this machine's clock and the service's are too far apart; set the clock"
            }
            Self::Throttled => "the service is asked too much at the moment, or isn't well",
            Self::Unreachable => {
                "the service can't be reached, or the one that gives credentials for it; is `store.endpoint` right?"
            }
            Self::Late => "the service doesn't answer in time",
            Self::Other => "the service doesn't do it",
        }
    }

    /// The word used in metrics.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::NoBucket => "no-bucket",
            Self::Denied => "denied",
            Self::Unauthenticated => "unauthenticated",
            Self::NoCredentials => "no-credentials",
            Self::Region => "region",
            Self::Clock => "clock",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::Late => "timeout",
            Self::Other => "error",
        }
    }

    /// What it is about, for the circuit: whatever else is asked for, it fails as well, or only this.
    pub(super) fn failure(self) -> Failure {
        match self {
            Self::NoBucket
            | Self::Unauthenticated
            | Self::NoCredentials
            | Self::Region
            | Self::Clock
            | Self::Unreachable
            | Self::Late => Failure::Host,
            Self::Denied | Self::Throttled | Self::Other => Failure::Resource,
        }
    }
}

/// The code in the XML that services answer with.
fn code(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("<Code>")?;
    rest.split_once("</Code>").map(|(code, _)| code)
}

/// What the service said of it, in its own words and without anything that may be secret.
pub(super) fn said(error: &ObjectError) -> String {
    let said = error.to_string();
    let message = said.split_once("<Message>");
    let message = message.and_then(|(_, rest)| rest.split_once("</Message>"));
    match (code(&said), message) {
        (Some(code), Some((message, _))) if !message.is_empty() => format!("{code}: {message}"),
        (Some(code), _) => code.to_owned(),
        (None, _) => {
            let last = causes(error).last().map(ToString::to_string);
            last.unwrap_or(said).chars().take(300).collect()
        }
    }
}

fn causes<'a>(error: &'a ObjectError) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let first: &'a (dyn StdError + 'static) = error;
    std::iter::successors(Some(first), |cause: &&'a (dyn StdError + 'static)| {
        let cause: &'a (dyn StdError + 'static) = *cause;
        cause.source()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(said: &str) -> ObjectError {
        ObjectError::Generic {
            store: "S3",
            source: said.into(),
        }
    }

    #[test]
    fn what_a_service_says_is_told_apart() {
        for (code, trouble) in [
            ("NoSuchBucket", BucketTrouble::NoBucket),
            ("AccessDenied", BucketTrouble::Denied),
            ("SignatureDoesNotMatch", BucketTrouble::Unauthenticated),
            ("RequestTimeTooSkewed", BucketTrouble::Clock),
            ("PermanentRedirect", BucketTrouble::Region),
            ("SlowDown", BucketTrouble::Throttled),
            ("InternalError", BucketTrouble::Other),
        ] {
            let xml = format!("403: <Error><Code>{code}</Code><Message>no</Message></Error>");
            let error = error(&xml);
            assert_eq!(BucketTrouble::of(&error), trouble, "{code}");
            assert_eq!(said(&error), format!("{code}: no"));
        }
    }

    #[test]
    fn what_is_said_is_short_and_no_page() {
        assert_eq!(said(&error(&"x".repeat(10_000))).len(), 300);
    }
}
