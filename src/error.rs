//! [`Error`]: the one error of this crate, cheap to clone because one failed fetch answers every client that waited for it.
//!
//! A leaf below all layers. What an error *means* is its [`Kind`]; what it *says* is one plain sentence, because cargo prints it to
//! a person. Whoever has to decide something asks the kind for its [`Class`]. So a new kind is named here, and in `http/respond.rs`, which maps kinds to
//! statuses in one exhaustive match, and nowhere else.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

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
    /// Who asks hasn't shown that it may.
    Unauthorized,
    /// The path exists, but only for reading.
    MethodNotAllowed,
    /// It is done at the registry itself, and not in a mirror of it.
    ReadOnly,
    /// This program has no room for it at the moment.
    Overloaded,
    /// The client asks too often.
    TooManyRequests {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// This server has nothing under that path.
    NotFound,
    /// It has no such registry, or no such view of one.
    NoSuchRegistry,
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
    /// The host's circuit is open: it has failed so often that it isn't asked at the moment.
    CircuitOpen {
        /// How long until it is.
        retry_after: Duration,
    },
    /// Upstream took too long.
    UpstreamTimeout,
    /// The rules about what may come in refuse it.
    Denied,
    /// What the operator configured is impossible.
    Config,
    /// The store can't be read or written.
    Store,
    /// Given up, because nobody waits for it any more or somebody has ended it.
    Cancelled,
    /// A fault of this program.
    Internal,
}

/// Whose failure it is, and whether it may pass: what follows from a [`Kind`] for everybody but whoever answers the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The client's: it has to ask for something else, or in another way.
    Refused,
    /// Nobody's: there is no such thing, or none here and nobody to ask for it.
    Absent,
    /// Upstream's, or of whatever stands before it.
    Upstream(Outlook),
    /// This program's, or its machine's.
    Ours(Outlook),
    /// The operator's: what is configured is impossible.
    Configuration,
    /// Nobody's: it was given up.
    Cancelled,
}

/// What becomes of the same request a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It may succeed.
    Passing,
    /// It fails again, until somebody changes something.
    Lasting,
}

impl Kind {
    /// All that follows from a kind: its class, its label, and when to ask again.
    fn facts(self) -> (Class, &'static str, Option<Duration>) {
        use Class::{Absent, Cancelled, Configuration, Ours, Refused, Upstream};
        use Outlook::{Lasting, Passing};
        const OTHER: &str = "error";
        match self {
            Self::BadRequest
            | Self::UrlTooLong
            | Self::HeadersTooLarge
            | Self::Unauthorized
            | Self::MethodNotAllowed
            | Self::ReadOnly
            | Self::NotFound
            | Self::NoSuchRegistry => (Refused, OTHER, None),
            Self::TooManyRequests { retry_after } => (Refused, OTHER, Some(retry_after)),
            Self::Denied => (Refused, "denied", None),
            Self::Absent => (Absent, "absent", None),
            Self::Offline => (Absent, OTHER, None),
            Self::UpstreamFault => (Upstream(Lasting), "fault", None),
            Self::UpstreamRefused => (Upstream(Lasting), "refused", None),
            Self::UpstreamTimeout => (Upstream(Passing), "timeout", None),
            Self::UpstreamUnavailable { retry_after } => {
                (Upstream(Passing), "unavailable", retry_after)
            }
            Self::CircuitOpen { retry_after } => (Upstream(Passing), "resting", Some(retry_after)),
            Self::Overloaded => (Ours(Passing), OTHER, Some(Duration::from_secs(1))),
            // What is corrupt can be brought anew.
            Self::Store | Self::Corrupt => (Ours(Passing), OTHER, None),
            Self::Internal => (Ours(Lasting), OTHER, None),
            Self::Config => (Configuration, OTHER, None),
            Self::Cancelled => (Cancelled, OTHER, None),
        }
    }

    /// Whose failure it is, and whether it may pass.
    pub fn class(self) -> Class {
        self.facts().0
    }

    /// What metrics and logs call a failed request to upstream. Dashboards know these words.
    pub fn label(self) -> &'static str {
        self.facts().1
    }

    /// When it makes sense to ask again, where that is known.
    pub fn retry_after(self) -> Option<Duration> {
        self.facts().2
    }

    /// Whether the same request may succeed a moment later.
    pub fn may_pass(self) -> bool {
        match self.class() {
            Class::Upstream(outlook) | Class::Ours(outlook) => outlook == Outlook::Passing,
            Class::Refused | Class::Absent | Class::Configuration | Class::Cancelled => false,
        }
    }

    /// Whether it is a fault of this program's own, which somebody has to see to.
    pub fn is_fault(self) -> bool {
        self.class() == Class::Ours(Outlook::Lasting)
    }
}

/// One failure: its [`Kind`] and one sentence for people. Displayed, as in logs, it ends with its cause.
#[derive(Clone, Debug)]
pub struct Error(Arc<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: Kind,
    message: String,
    /// The same in words, for the log.
    cause: Option<String>,
    /// Which rule it was, of what the rules refuse.
    rule: Option<Arc<str>>,
    /// What a library or the system has said, as a value.
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is one sentence without the full stop, which is added.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Arc::new(Details {
            kind,
            message: message.into(),
            cause: None,
            rule: None,
            source: None,
        }))
    }

    fn with(self, change: impl FnOnce(&mut Details)) -> Self {
        let mut details = Arc::unwrap_or_clone(self.0);
        change(&mut details);
        Self(Arc::new(details))
    }

    /// The same with what a library or the system said of it, in words: they help who reads the log, and not who waits for an answer.
    #[must_use]
    pub fn because(self, cause: impl Into<String>) -> Self {
        self.with(|details| details.cause = Some(cause.into()))
    }

    /// The same with the error that lies behind it. Logs don't show it: the message or the cause says it already.
    #[must_use]
    pub fn with_source(self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.with(|details| details.source = Some(Arc::new(source)))
    }

    /// The same with the error that lies behind it, which logs show in its own words.
    #[must_use]
    pub fn caused_by(self, source: impl StdError + Send + Sync + 'static) -> Self {
        let said = source.to_string();
        self.because(said).with_source(source)
    }

    /// The same with what the system said, which logs don't show either. Its errors can't be copied: what is kept is the code, or else the kind.
    #[must_use]
    pub fn with_io_source(self, source: &io::Error) -> Self {
        let code = source.raw_os_error().map(io::Error::from_raw_os_error);
        self.with_source(code.unwrap_or_else(|| source.kind().into()))
    }

    /// The same with the rule that refuses it.
    #[must_use]
    pub fn by_rule(self, rule: Arc<str>) -> Self {
        self.with(|details| details.rule = Some(rule))
    }

    /// The rule that refuses it, if one does.
    pub fn rule(&self) -> Option<&Arc<str>> {
        self.0.rule.as_ref()
    }

    /// The same failure in other words; its causes stay.
    #[must_use]
    pub fn reworded(self, message: impl Into<String>) -> Self {
        self.with(|details| details.message = message.into())
    }

    /// The same words for a failure of another kind; its causes stay.
    #[must_use]
    pub fn of_kind(self, kind: Kind) -> Self {
        self.with(|details| details.kind = kind)
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

    /// A [`Kind::Cancelled`].
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(Kind::Cancelled, message)
    }

    /// A [`Kind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A [`Kind::Internal`]: a task or a thread of this program has ended before its work was done, as it does when it panics. `what` is the beginning of
    /// a sentence, such as "the walk".
    pub fn ended_early(
        what: impl fmt::Display,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self::internal(format!("{what} ended early")).caused_by(source)
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
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

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> io::Error {
        io::ErrorKind::PermissionDenied.into()
    }

    #[test]
    fn the_cause_is_for_the_log_and_is_there_once() {
        let error = Error::store("the file can't be read").caused_by(refused());
        assert_eq!(error.message(), "the file can't be read");
        assert_eq!(
            error.to_string(),
            format!("the file can't be read: {}", refused())
        );
        let said = Error::store(format!("reading failed: {}", refused())).with_source(refused());
        assert_eq!(said.to_string(), said.message());
    }

    #[test]
    fn what_lies_behind_it_can_be_asked_for_however_it_is_reworded() {
        let error = Error::upstream_timeout("it is slow").caused_by(refused());
        let kind = Kind::UpstreamUnavailable { retry_after: None };
        let reworded = error.clone().reworded("try again").of_kind(kind);
        assert_eq!(error.kind(), Kind::UpstreamTimeout, "another one now");
        assert_eq!(reworded.kind(), kind);
        assert!(reworded.to_string().starts_with("try again: "));
        let source = reworded.source().expect("a source");
        let source = source.downcast_ref::<io::Error>().expect("the system's");
        assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
        let outer = Error::store("nothing works").caused_by(reworded);
        let inner = outer.source().expect("a source");
        assert!(inner.source().is_some(), "the chain goes on");
    }
}
