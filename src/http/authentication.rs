//! [`Authentication`]: who asks, as a request shows it; and what those are told who may not ask.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, header};

use super::{
    readable::Readable,
    respond::{Answer, ErrorForm},
};
use crate::{
    access::{
        AccessDecision, Authenticator, LastAdmitted, TokenFault, TokenSource, jwt::KeyFetch,
        token_in_path,
    },
    config::access::AccessSettings,
    domain::{Principal, RegistryName},
    error::{Error, Kind},
    transport::Peer,
};

/// Who may ask. Cheap to clone.
#[derive(Clone, Default)]
pub struct Authentication(Option<Arc<Inner>>);

struct Inner {
    authenticator: Arc<Authenticator>,
    /// How to get a token, without a full stop.
    help: String,
    /// Whether one may stand in the path.
    in_path: bool,
}

/// How to get a token, where the operator says nothing.
const ASK: &str = "ask whoever runs this mirror for one";

/// What becomes of a request.
pub(super) enum Admission {
    /// It is answered; none where everybody may ask.
    Admitted(Option<Principal>),
    /// It isn't, and this is why.
    Refused(Error),
    /// It can't be said yet.
    Later(KeyFetch),
}

/// What a request shows of who asks.
pub(super) struct RequestCredentials<'a> {
    pub(super) headers: &'a HeaderMap,
    /// Who was admitted last on its connection.
    pub(super) last: &'a LastAdmitted,
    /// The token in its path.
    pub(super) in_path: Option<&'a str>,
    /// Who it is by its certificate.
    pub(super) peer: Option<&'a Peer>,
    pub(super) address: IpAddr,
}

impl Authentication {
    /// Only those whom `authenticator` knows may ask.
    pub fn by(authenticator: Arc<Authenticator>, settings: &AccessSettings) -> Self {
        let help = settings.help.as_ref().map_or(ASK, |help| &help.0);
        Self(Some(Arc::new(Inner {
            authenticator,
            help: help.trim_end_matches('.').to_owned(),
            in_path: settings.token_in_path,
        })))
    }

    /// How to get a token, without a full stop; none where nobody needs one.
    pub(super) fn help(&self) -> Option<&str> {
        self.0.as_ref().map(|inner| inner.help.as_str())
    }

    /// Whether anybody needs a token for anything.
    pub(super) fn is_restricted(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a token is needed for what belongs to `registry`.
    pub fn is_needed(&self, registry: RegistryName) -> bool {
        let inner = self.0.as_ref();
        inner.is_some_and(|inner| !inner.authenticator.is_anonymous(Some(registry)))
    }

    /// The token in a path, if one may be there, and the path without it.
    pub(super) fn split<'a>(&self, path: &'a str) -> (Option<&'a str>, &'a str) {
        let allowed = self.0.as_ref().is_some_and(|inner| inner.in_path);
        match token_in_path(path).filter(|_| allowed) {
            Some((token, rest)) => (Some(token), rest),
            None => (None, path),
        }
    }

    /// Of which of the registries and views of these `names` who shows this may be told: of those that may be asked for.
    pub(super) fn readable(
        &self,
        shown: &RequestCredentials<'_>,
        names: impl Iterator<Item = RegistryName>,
        now: SystemTime,
    ) -> Readable {
        if self.0.is_none() {
            return Readable::All;
        }
        Readable::of(names, |name| match self.enter(shown, Some(name), now) {
            Admission::Admitted(_) => true,
            Admission::Refused(_) | Admission::Later(_) => false,
        })
    }

    /// Whether who shows this may ask for what belongs to `registry`, or to none.
    pub(super) fn enter(
        &self,
        shown: &RequestCredentials<'_>,
        registry: Option<RegistryName>,
        now: SystemTime,
    ) -> Admission {
        let certified = shown.peer.and_then(|peer| peer.name(now));
        let certified = certified.map(Principal::certificate);
        let Some(inner) = &self.0 else {
            return Admission::Admitted(certified);
        };
        let source = match shown.in_path {
            Some(token) => TokenSource::InPath(token),
            None => TokenSource::InHeaders(shown.headers, shown.last),
        };
        let authenticator = &inner.authenticator;
        match authenticator.judge(source, certified, registry, shown.address, now) {
            AccessDecision::Known(who) => Admission::Admitted(Some(who)),
            AccessDecision::Missing => Admission::Refused(
                inner.refusal("this mirror wants a token, and the request has none"),
            ),
            AccessDecision::Wrong(fault) => Admission::Refused(inner.wrong(fault)),
            AccessDecision::TooMany(retry_after) => Admission::Refused(Error::new(
                Kind::TooManyRequests { retry_after },
                "too many wrong tokens came from your address within a minute; those that are right are accepted all the same",
            )),
            AccessDecision::Later(awaited) => Admission::Later(awaited),
            AccessDecision::NoKeys(table) => {
                Admission::Refused(Error::upstream_unavailable(format!(
                    "the token can't be checked, because the keys of its issuer (`access.jwt.{table}`) can't be fetched; try again in a moment"
                )))
            }
        }
    }
}

impl Inner {
    fn wrong(&self, fault: TokenFault) -> Error {
        self.refusal(&fault.sentence())
    }

    fn refusal(&self, what: &str) -> Error {
        Error::new(Kind::Unauthorized, format!("{what}; {}", self.help))
    }
}

/// The answer to who may not ask. It names the ways to show who one is (RFC 9110, section 11.6.1): cargo prints its `login_url`, and asks again only after a 401.
/// A browser asks its user for a password when it is offered `Basic`, and git shows what it has been given, which it does for nothing else.
pub(super) fn challenge(
    error: &Error,
    form: ErrorForm,
    base: Option<&str>,
    wants_basic: bool,
) -> Answer {
    let mut answer = Answer::error(error, form);
    if error.kind() != Kind::Unauthorized {
        return answer;
    }
    let cargo =
        base.and_then(|base| HeaderValue::try_from(format!("Cargo login_url=\"{base}/\"")).ok());
    let cargo = cargo.unwrap_or(HeaderValue::from_static("Cargo"));
    answer.headers.append(header::WWW_AUTHENTICATE, cargo);
    if wants_basic {
        let basic = HeaderValue::from_static("Basic realm=\"crate-mirror\", charset=\"UTF-8\"");
        answer.headers.append(header::WWW_AUTHENTICATE, basic);
    }
    answer
}
