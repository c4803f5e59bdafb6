//! [`Entrance`]: who may come in, and what those are told who may not.

use std::{net::IpAddr, time::SystemTime};

use super::{
    asked::Asked,
    authentication::{Admission, Authentication, RequestCredentials, challenge},
    config_json,
    negotiate::prefers_html,
    rate_limit::RateLimit,
    readable::Readable,
    receipt::Ledger,
    respond::{Answer, ErrorForm},
    route::{GitCall, Page, Place, Route, Verb},
    side::Side,
    toolchains,
};
use crate::{
    access::LastAdmitted,
    config::BaseUrl,
    domain::RegistryName,
    error::{Error, Kind, Result},
    metrics::RouteLabel,
};

/// Who may come in by a listener.
pub(super) struct Entrance {
    pub(super) side: Side,
    pub(super) authentication: Authentication,
    pub(super) rate_limit: RateLimit,
    /// Where it is written down who was refused, if it is.
    pub(super) ledger: Option<Ledger>,
    /// The registry that is asked when none is named.
    pub(super) default_registry: RegistryName,
    pub(super) public_url: Option<BaseUrl>,
}

impl Entrance {
    /// Whether who asks may come in.
    pub(super) fn enter(
        &self,
        asked: &Asked<'_>,
        last: &LastAdmitted,
        route: &Result<Route>,
        now: SystemTime,
    ) -> Admission {
        let needs_none = match route {
            Ok(Route::Health | Route::Asset(_)) => true,
            Ok(Route::Ready) => self.side == Side::Both,
            Ok(
                Route::ConfigJson { .. }
                | Route::Index { .. }
                | Route::Download { .. }
                | Route::WebApi { .. }
                | Route::Git { .. }
                | Route::Toolchain(_)
                | Route::Page(_)
                | Route::Status
                | Route::Metrics,
            )
            | Err(_) => false,
        };
        if needs_none {
            return Admission::Admitted(None);
        }
        let shown = credentials(asked, last);
        let admission = self
            .authentication
            .enter(&shown, self.registry_of(route), now);
        match (admission, route) {
            // How to use it is told to everybody, and to some nothing else.
            (Admission::Refused(_), Ok(Route::Status)) => Admission::Admitted(None),
            (admission, _) => admission,
        }
    }

    /// The answer to who may not come in.
    pub(super) fn refuse(
        &self,
        asked: &Asked<'_>,
        route: &Result<Route>,
        why: &Error,
        form: ErrorForm,
        now: SystemTime,
    ) -> Answer {
        let is_refused = matches!(
            why.kind(),
            Kind::Unauthorized | Kind::TooManyRequests { .. }
        );
        let is_file = match route {
            Ok(Route::Download { .. }) => true,
            Ok(Route::Toolchain(path)) => toolchains::item(path).is_some(),
            Ok(_) | Err(_) => false,
        };
        if let (Some(ledger), true, true) = (&self.ledger, is_file, is_refused) {
            ledger.refused(asked.client, self.registry_of(route), now);
        }
        let base = config_json::base_url(self.public_url.as_ref(), asked);
        let base = base.ok().map(|base| base.to_string());
        let wants_basic =
            matches!(route, Ok(Route::Git { .. })) || prefers_html(&asked.head.headers);
        challenge(why, form, base.as_deref(), wants_basic)
    }

    /// What is asked for, if it is asked for in a way that can be answered.
    ///
    /// # Errors
    /// Those of the route and the verb, [`Kind::BadRequest`] for a body where none belongs, [`Kind::TooManyRequests`] above the limit of a client.
    pub(super) fn admit(
        &self,
        route: Result<Route>,
        verb: Result<Verb>,
        has_body: bool,
        client: IpAddr,
    ) -> Result<(Route, Verb)> {
        let (route, verb) = (route?, verb?);
        let may_have_body = matches!(
            route,
            Route::Git {
                call: GitCall::UploadPack,
                ..
            }
        );
        if has_body && !may_have_body {
            return Err(Error::bad_request(
                "a request that only reads can't have a body",
            ));
        }
        let is_for_people = matches!(route, Route::Page(_));
        if route.label() != RouteLabel::Page || is_for_people {
            self.rate_limit.admit(client)?;
        }
        self.side.has(&route)?;
        Ok((route, verb))
    }

    /// Whether a token is needed for what belongs to this place.
    pub(super) fn needs_token(&self, place: Place) -> bool {
        self.authentication.is_needed(self.guarded_name(place))
    }

    /// Of which of the registries and views of these `names` who asks may be told on a page that is about more than one.
    pub(super) fn readable(
        &self,
        asked: &Asked<'_>,
        last: &LastAdmitted,
        names: impl Iterator<Item = RegistryName>,
        now: SystemTime,
    ) -> Readable {
        self.authentication
            .readable(&credentials(asked, last), names, now)
    }

    /// The registry that a path belongs to, whether there is one of that name or not.
    fn registry_of(&self, route: &Result<Route>) -> Option<RegistryName> {
        match route {
            Ok(
                Route::ConfigJson { place }
                | Route::Index { place, .. }
                | Route::Download { place, .. }
                | Route::WebApi { place, .. }
                | Route::Git { place, .. }
                | Route::Page(
                    Page::Crate { place, .. } | Page::Search { place } | Page::Policy { place },
                ),
            ) => Some(self.guarded_name(*place)),
            Ok(Route::Toolchain(_) | Route::Page(Page::Toolchains)) => {
                Some(RegistryName::toolchains())
            }
            Ok(
                Route::Page(Page::Wanted | Page::StatusJson)
                | Route::Asset(_)
                | Route::Health
                | Route::Ready
                | Route::Metrics
                | Route::Status,
            )
            | Err(_) => None,
        }
    }

    /// The name by which a token says that it is for a place: a view's own, or the registry's.
    fn guarded_name(&self, place: Place) -> RegistryName {
        let registry = place.registry.unwrap_or(self.default_registry);
        place.view.guarded_name(registry)
    }
}

/// What a request shows of who asks.
fn credentials<'a>(asked: &'a Asked<'_>, last: &'a LastAdmitted) -> RequestCredentials<'a> {
    RequestCredentials {
        headers: &asked.head.headers,
        last,
        in_path: asked.token,
        peer: asked.peer,
        address: asked.client,
    }
}
