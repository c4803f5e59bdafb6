//! [`Error`]: the one error of this crate, cheap to clone because one failed fetch answers every client that waited for it.
//!
//! A leaf below all layers. What an error *means* is its [`Kind`]; what it *says* is one plain sentence, because cargo prints it to
//! a person. `http/respond.rs` maps kinds to statuses in one exhaustive match.

use std::{fmt, sync::Arc, time::Duration};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is, and so what the asker can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request can't mean anything: a malformed name, version, path or header.
    BadRequest,
    /// The request's URL is longer than any that means something here.
    UrlTooLong,
    /// The request's headers are larger than this server reads.
    HeadersTooLarge,
    /// The path exists, but only for reading.
    MethodNotAllowed,
    /// This program has no room for it at the moment.
    Overloaded,
    /// The client asks too often.
    TooManyRequests {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// This server has nothing under that path: an unknown route or registry.
    NotFound,
    /// Upstream says that there is no such crate or version.
    Absent,
    /// This mirror has no upstream to ask, and it isn't here.
    Offline,
    /// It is here, but fails its check.
    Corrupt,
    /// Upstream answered, but with something that must not be served.
    UpstreamFault,
    /// Upstream, or what stands before it, refuses what was asked, and will refuse it again until somebody changes something: asking again is of no use.
    UpstreamRefused,
    /// Upstream can't be reached, or says that it is overloaded.
    UpstreamUnavailable {
        /// How long upstream asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// Upstream has failed so often that it isn't asked at the moment.
    UpstreamResting {
        /// How long until it is.
        retry_after: Duration,
    },
    /// Upstream took too long.
    UpstreamTimeout,
    /// What the operator configured is impossible.
    Config,
    /// The store can't be read or written.
    Store,
    /// A fault of this program.
    Internal,
}

/// One failure: its [`Kind`] and one sentence for people. Displayed, as in logs, it ends with its cause.
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    cause: Option<String>,
}

impl Error {
    /// An error of `kind`; `message` is one sentence without the full stop, which is added.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            message: message.into(),
            cause: None,
        }))
    }

    /// The same with what a library or the system said of it: it helps who reads the log, and not who waits for an answer.
    #[must_use]
    pub fn because(self, cause: Option<&str>) -> Self {
        Self(Arc::new(Inner {
            kind: self.0.kind,
            message: self.0.message.clone(),
            cause: cause.map(str::to_owned),
        }))
    }

    /// A [`Kind::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// A [`Kind::NotFound`].
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// A [`Kind::Absent`].
    pub fn absent(message: impl Into<String>) -> Self {
        Self::new(Kind::Absent, message)
    }

    /// A [`Kind::Offline`].
    pub fn offline(message: impl Into<String>) -> Self {
        Self::new(Kind::Offline, message)
    }

    /// A [`Kind::Corrupt`].
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// A [`Kind::UpstreamFault`].
    pub fn upstream_fault(message: impl Into<String>) -> Self {
        Self::new(Kind::UpstreamFault, message)
    }

    /// A [`Kind::UpstreamRefused`].
    pub fn upstream_refused(message: impl Into<String>) -> Self {
        Self::new(Kind::UpstreamRefused, message)
    }

    /// A [`Kind::UpstreamTimeout`].
    pub fn upstream_timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::UpstreamTimeout, message)
    }

    /// A [`Kind::UpstreamUnavailable`] that doesn't say for how long.
    pub fn upstream_unavailable(message: impl Into<String>) -> Self {
        Self::new(Kind::UpstreamUnavailable { retry_after: None }, message)
    }

    /// A [`Kind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// A [`Kind::Store`].
    pub fn store(message: impl Into<String>) -> Self {
        Self::new(Kind::Store, message)
    }

    /// A [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What lies behind it, if a library or the system has said so.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The sentence, without a full stop at its end and without its cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
