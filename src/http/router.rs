//! [`Router`]: from a request to its answer.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, request::Parts as Head};

use super::{
    access::Access,
    answering::Answering,
    asked::{Asked, ConnectionNotes, ConnectionNumber},
    at_once::{self, Admitted, AtOnce},
    authentication::{Admission, Authentication},
    body::Body,
    config_json,
    contained::contained,
    deferred::Deferred,
    entrance::Entrance,
    exchange::Exchange,
    git::{self, GitAsked, GitRequest},
    head,
    page_routes::PageRoutes,
    pages::{self, LastMetrics, PageService},
    rate_limit::RateLimit,
    readable::Readable,
    receipt::Ledger,
    respond::{Answer, ErrorForm, no_memory},
    route::{GitCall, Place, Route, Verb},
    side::Side,
    upgrades::Upgrades,
};
use crate::{
    access::{Forwarded, LastAdmitted, TrustedProxies, jwt::KeyFetch},
    audit::Recorder,
    config::sections::ServerSettings,
    domain::{RegistryName, ViewName, loggable_path},
    error::Result,
    mirror::Mirror,
    status::Status,
    transport::{self, ClientMemory, Offer, Peer, Request, RequestBody, Scheme, Standing},
};

/// Answers requests with what a mirror has. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    mirror: Mirror,
    entrance: Entrance,
    pages: PageRoutes,
    proxies: TrustedProxies,
    upgrades: Upgrades,
    memory: Arc<ClientMemory>,
    last_metrics: LastMetrics,
}

/// Who may ask, and where it is written down who got what.
#[derive(Clone, Default)]
pub struct Guards {
    /// Who may ask.
    pub authentication: Authentication,
    /// Where it is written down who got what, if it is.
    pub recorder: Option<Arc<Recorder>>,
}

/// What a router answers for.
#[derive(Clone)]
pub struct Served {
    /// The mirror.
    pub mirror: Mirror,
    /// What it does now.
    pub status: Arc<Status>,
    /// The URL for clients, without a final slash, where nobody asks for it by another.
    pub base_url: String,
}

/// What becomes of a request as soon as it is read.
enum Outset {
    /// It is answered.
    Answer(Answer),
    /// It has to wait.
    Deferred(Deferred),
    /// It isn't even known who asks, before this is over.
    Unknown(KeyFetch),
}

/// A request that has come in, and what is known of it.
struct Incoming {
    head: Head,
    body: Option<RequestBody>,
    peer: Option<Peer>,
    scheme: Scheme,
    forwarded: Forwarded,
    access: Access,
    connection: Option<ConnectionNumber>,
}

impl Router {
    /// Answers for a mirror as the settings say. What is made for each who asks is leased from `memory`.
    pub fn new(
        served: Served,
        side: Side,
        settings: &ServerSettings,
        guards: Guards,
        memory: Arc<ClientMemory>,
    ) -> Self {
        let networks = settings.trusted_proxies.iter();
        let Served {
            mirror,
            status,
            base_url,
        } = served;
        let pages = PageService::new(
            mirror.clone(),
            status,
            guards.authentication.clone(),
            PageRoutes::others(side),
            memory.clone(),
        );
        let authentication = match side {
            Side::Both | Side::Clients => guards.authentication,
            Side::Admin => Authentication::default(),
        };
        Self(Arc::new(Inner {
            pages: PageRoutes {
                pages: Arc::new(pages),
                mirror: mirror.clone(),
                side,
                authentication: authentication.clone(),
                public_url: settings.public_url.clone(),
                base_of_clients: match side {
                    Side::Both | Side::Clients => None,
                    Side::Admin => Some(base_url.into()),
                },
            },
            entrance: Entrance {
                side,
                authentication,
                rate_limit: RateLimit::per_second(settings.max_requests_per_second.get()),
                ledger: guards.recorder.map(Ledger::new),
                default_registry: mirror.default_registry(),
                public_url: settings.public_url.clone(),
            },
            mirror,
            proxies: TrustedProxies::new(networks.map(|network| network.0).collect()),
            upgrades: Upgrades::new(settings),
            memory,
            last_metrics: LastMetrics::default(),
        }))
    }

    /// Every failure is an answer too, a panic included. What is in memory is answered at once, in a future that is small; only what takes longer gets one
    /// that can.
    fn respond(&self, incoming: Incoming, last: &LastAdmitted) -> Answering {
        let Incoming {
            head,
            mut body,
            peer,
            scheme,
            forwarded,
            mut access,
            connection,
        } = incoming;
        let inner = &*self.0;
        let (token, path) = inner.entrance.authentication.split(head.uri.path());
        let asked = Asked {
            head: &head,
            path,
            token,
            client: forwarded.address,
            peer: peer.as_ref(),
            scheme: forwarded.scheme.unwrap_or(scheme),
            host: forwarded.host.as_ref(),
            connection,
        };
        let route = Route::parse(asked.path);
        let verb = inner.verb(&route, &head);
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        if let Ok(route) = &route {
            access.route = route.label();
        }
        let now = SystemTime::now();
        let standing = access.standing();
        let mut exchange = Exchange {
            verb: *verb.as_ref().unwrap_or(&Verb::Get),
            form,
            access,
        };
        let who = &mut exchange.access.who;
        let outset = contained(|| {
            match standing {
                Standing::Admitted => {}
                Standing::Refused => return Err(no_memory()),
            }
            head::bounded(&head)?;
            head::one_host(&head)?;
            match inner.entrance.enter(&asked, last, &route, now) {
                Admission::Admitted(principal) => *who = principal,
                Admission::Refused(why) => {
                    let refusal = inner.entrance.refuse(&asked, &route, &why, form, now);
                    return Ok(Outset::Answer(refusal));
                }
                Admission::Later(awaited) => return Ok(Outset::Unknown(awaited)),
            }
            let has_body = body.is_some();
            let (route, verb) = inner.entrance.admit(route, verb, has_body, asked.client)?;
            let admitted = Admitted {
                asked: &asked,
                verb,
                who: who.as_ref(),
                ledger: inner.entrance.ledger.as_ref(),
                now,
            };
            let at_once = inner.at_once(route, &admitted, body.take(), last)?;
            Ok(match at_once {
                AtOnce::Answer(answer) => Outset::Answer(answer),
                AtOnce::Deferred(deferred) => Outset::Deferred(deferred),
            })
        });
        match outset {
            Ok(Outset::Answer(answer)) => Answering::now(exchange.finish(Ok(answer), "")),
            Ok(Outset::Deferred(deferred)) => {
                let span = exchange.access.span.clone();
                let answer = deferred.answered(inner.mirror.clone(), exchange, now);
                Answering::Later(span.around(answer))
            }
            Ok(Outset::Unknown(awaited)) => {
                let access = exchange.access;
                let router = self.clone();
                Answering::Later(Box::pin(async move {
                    awaited.done().await;
                    let incoming = Incoming {
                        head,
                        body,
                        peer,
                        scheme,
                        forwarded,
                        access,
                        connection,
                    };
                    // The connection may be gone by now.
                    router.respond(incoming, &LastAdmitted::default()).await
                }))
            }
            Err(e) => {
                let (prefix, path) = loggable_path(head.uri.path());
                Answering::now(exchange.finish(Err(e), format_args!("{prefix}{path}")))
            }
        }
    }
}

impl Inner {
    /// How a path is asked for: git has ways of its own, and whoever would change something is told where.
    fn verb(&self, route: &Result<Route>, head: &Head) -> Result<Verb> {
        match route {
            Ok(Route::Git { call, .. }) => git::verb(*call, &head.method),
            Ok(Route::WebApi { place, .. }) => {
                Verb::parse(&head.method).map_err(|_| self.pages.read_only(*place))
            }
            Ok(_) | Err(_) => Verb::parse(&head.method),
        }
    }

    /// The answer that needs nothing but memory, or what more there is to do.
    fn at_once(
        &self,
        route: Route,
        admitted: &Admitted<'_>,
        body: Option<RequestBody>,
        last: &LastAdmitted,
    ) -> Result<AtOnce> {
        let Inner { mirror, pages, .. } = self;
        let Admitted {
            asked, who, now, ..
        } = *admitted;
        let readable = || self.readable(asked, last, now);
        Ok(AtOnce::Answer(match route {
            Route::Index { place, name } => return at_once::index(mirror, place, name, admitted),
            Route::Download { place, id } => return at_once::download(mirror, place, id, admitted),
            Route::Toolchain(path) => return at_once::toolchain(mirror, path, admitted),
            Route::Git { place, call } => return self.git(place, call, asked, body),
            Route::WebApi { place, call } => {
                mirror.place(place.registry, place.view)?;
                return pages.web_api(place, call, asked);
            }
            Route::Page(page) => return pages.page(page, asked, readable),
            Route::Status => return pages.home(asked, who, readable),
            Route::ConfigJson { place } => {
                mirror.place(place.registry, place.view)?;
                let auth_required = self.entrance.needs_token(place);
                let public_url = self.entrance.public_url.as_ref();
                config_json::answered(public_url, asked, place, auth_required)?
            }
            Route::Asset(asset) => pages::asset(asset),
            Route::Health => pages::health(),
            Route::Ready => pages::ready(mirror, &self.memory)?,
            Route::Metrics => pages::metrics(mirror, &self.last_metrics, now),
        }))
    }

    /// Of which registries and views who asks may be told on a page that is about more than one.
    fn readable(&self, asked: &Asked<'_>, last: &LastAdmitted, now: SystemTime) -> Readable {
        let policy = self.mirror.policy();
        let views = policy.views().map(ViewName::as_registry);
        let toolchains = self.mirror.has_toolchains();
        let toolchains = toolchains.then(RegistryName::toolchains);
        let names = self.mirror.registries().chain(views).chain(toolchains);
        self.entrance.readable(asked, last, names, now)
    }

    /// What a git client asks for, which takes a moment.
    fn git(
        &self,
        place: Place,
        call: GitCall,
        asked: &Asked<'_>,
        body: Option<RequestBody>,
    ) -> Result<AtOnce> {
        let registry = self.mirror.place(place.registry, place.view)?;
        let base = config_json::base_url(self.entrance.public_url.as_ref(), asked)?;
        let root = config_json::Root::of(&base, asked.token, place);
        let asked_for = GitAsked::of(call, place, asked.head, body)?;
        let auth_required = self.entrance.needs_token(place);
        let config = config_json::text(&root, auth_required && asked.token.is_none());
        let request = GitRequest {
            registry: registry.clone(),
            view: place.view,
            config,
            asked: asked_for,
            memory: self.memory.clone(),
        };
        Ok(Deferred::Git(Box::new(request)).into())
    }
}

impl transport::Service for Router {
    type Body = Body;
    type Answer = Answering;
    type Remembered = ConnectionNotes;

    fn answer(&self, request: Request, remembered: &ConnectionNotes) -> Answering {
        let Request {
            head,
            body,
            client,
            peer,
            scheme,
            in_flight,
        } = request;
        let forwarded = self.0.proxies.see(client, &head.headers);
        // A proxy's certificate says nothing of who stands behind it.
        let is_proxy = self.0.proxies.include(client);
        let peer = peer.filter(|_| !is_proxy);
        let access = Access::new(&head, forwarded.address, in_flight);
        let incoming = Incoming {
            head,
            body,
            peer,
            scheme,
            forwarded,
            access,
            connection: (!is_proxy).then_some(remembered.number),
        };
        self.respond(incoming, &remembered.admitted)
    }

    fn accepts_upgrade(&self, headers: &HeaderMap, offer: &Offer) -> bool {
        self.0.upgrades.include(headers, offer)
    }
}
