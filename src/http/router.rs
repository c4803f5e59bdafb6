//! [`Router`]: from a request to its answer.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::{HeaderMap, request::Parts as Head};

use super::{
    access::Access,
    answering::Answering,
    body::Body,
    config_json,
    contained::contained,
    crates::{self, NegotiatedCrate},
    deferred::Deferred,
    exchange::Exchange,
    head,
    index::{self, NegotiatedIndex},
    pages::{self, LastMetrics},
    rate_limit::RateLimit,
    respond::{Answer, ErrorForm, no_memory},
    route::{Route, Verb},
    upgrades::Upgrades,
};
use crate::{
    config::{BaseUrl, sections::Server},
    error::{Error, Result},
    metrics::RouteLabel,
    mirror::Mirror,
    transport::{self, ClientMemory, Offer, Request, Scheme, Standing},
};

/// Answers requests with what a mirror has.
pub struct Router {
    mirror: Mirror,
    public_url: Option<BaseUrl>,
    rate_limit: RateLimit,
    upgrades: Upgrades,
    memory: Arc<ClientMemory>,
    last_metrics: LastMetrics,
}

/// How far a request gets with nothing but memory.
enum AtOnce {
    /// To its answer.
    Answer(Answer),
    /// To what takes longer.
    Deferred(Deferred),
}

impl Router {
    /// Answers for `mirror` as the settings say. What is made for each who asks is leased from `memory`.
    pub fn new(mirror: Mirror, settings: &Server, memory: Arc<ClientMemory>) -> Self {
        Self {
            mirror,
            public_url: settings.public_url.clone(),
            rate_limit: RateLimit::per_second(settings.max_requests_per_second.get()),
            upgrades: Upgrades::new(settings),
            memory,
            last_metrics: LastMetrics::default(),
        }
    }

    /// What is asked for, if it is asked for in a way that can be answered.
    fn admit(
        &self,
        route: Result<Route>,
        verb: Result<Verb>,
        request: &Head,
        has_body: bool,
        client: IpAddr,
    ) -> Result<(Route, Verb)> {
        head::bounded(request)?;
        head::one_host(request)?;
        let (route, verb) = (route?, verb?);
        if has_body {
            return Err(Error::bad_request(
                "a request that only reads can't have a body",
            ));
        }
        if route.label() != RouteLabel::Page {
            self.rate_limit.admit(client)?;
        }
        Ok((route, verb))
    }

    /// The answer that needs nothing but memory, or what more there is to do.
    fn at_once(
        &self,
        route: Route,
        verb: Verb,
        request: &Head,
        scheme: Scheme,
        now: SystemTime,
    ) -> Result<AtOnce> {
        let mirror = &self.mirror;
        Ok(AtOnce::Answer(match route {
            Route::Index { registry, name } => {
                let registry = mirror.registry(registry)?;
                let negotiated = NegotiatedIndex::of(&request.headers);
                match mirror.index_at_once(registry, name, now) {
                    Some(found) => index::answer(&negotiated, found?),
                    None => {
                        return Ok(
                            Deferred::Index(registry.clone(), name, negotiated.kept()).into()
                        );
                    }
                }
            }
            Route::Download { registry, id } => {
                let registry = mirror.registry(registry)?;
                let negotiated = NegotiatedCrate::of(&request.headers, verb);
                let found = match negotiated.is_maybe_part() {
                    true => None,
                    false => mirror.crate_at_once(registry, &id),
                };
                match found {
                    Some(found) => crates::answer(&negotiated, found?),
                    None => {
                        let negotiated = Box::new(negotiated.kept());
                        return Ok(Deferred::Download(registry.clone(), id, negotiated).into());
                    }
                }
            }
            Route::ConfigJson { registry } => {
                mirror.registry(registry)?;
                config_json::answered(self.public_url.as_ref(), request, scheme, registry)?
            }
            Route::WebApi { registry } => {
                mirror.registry(registry)?;
                return Err(Error::not_found(
                    "this mirror serves the index and downloads; for search and everything else of the web API ask the registry itself",
                ));
            }
            Route::Health => pages::health(),
            Route::Ready => pages::ready(mirror, &self.memory)?,
            Route::Metrics => pages::metrics(mirror, &self.last_metrics, now),
            Route::Status => {
                let base = config_json::base_url(self.public_url.as_ref(), request, scheme)?;
                pages::status(mirror, &self.memory, &base.to_string())?
            }
        }))
    }
}

impl From<Deferred> for AtOnce {
    fn from(deferred: Deferred) -> Self {
        Self::Deferred(deferred)
    }
}

impl transport::Service for Router {
    type Body = Body;
    type Answer = Answering;

    /// Every failure is an answer too, a panic included. What is in memory is answered at once, in a future that is small; only what takes longer gets one
    /// that can.
    fn answer(&self, request: Request) -> Answering {
        let Request {
            head,
            has_body,
            client,
            scheme,
            in_flight,
        } = request;
        let mut access = Access::new(&head, client, in_flight);
        let route = Route::parse(head.uri.path());
        let verb = Verb::parse(&head.method);
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        if let Ok(route) = &route {
            access.route = route.label();
        }
        let exchange = Exchange {
            verb: *verb.as_ref().unwrap_or(&Verb::Get),
            form,
            access,
        };
        let now = SystemTime::now();
        let standing = exchange.access.standing();
        let at_once = contained(|| {
            match standing {
                Standing::Admitted => {}
                Standing::Refused => return Err(no_memory()),
            }
            let (route, verb) = self.admit(route, verb, &head, has_body, client)?;
            self.at_once(route, verb, &head, scheme, now)
        });
        match at_once {
            Ok(AtOnce::Answer(answer)) => {
                Answering::now(exchange.finish(Ok(answer), head.uri.path()))
            }
            Ok(AtOnce::Deferred(deferred)) => {
                Answering::Later(deferred.answered(self.mirror.clone(), exchange, now))
            }
            Err(e) => Answering::now(exchange.finish(Err(e), head.uri.path())),
        }
    }

    fn accepts_upgrade(&self, headers: &HeaderMap, offer: &Offer) -> bool {
        self.upgrades.include(headers, offer)
    }
}
