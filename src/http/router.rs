//! [`Router`]: from a request to its answer.

use std::{net::IpAddr, sync::Arc, time::SystemTime};

use http::{HeaderMap, request::Parts as Head};

use super::{
    access::Access,
    answering::Answering,
    asked::{Asked, ConnectionNotes, ConnectionNumber},
    authentication::{Admission, Authentication, RequestCredentials, challenge},
    body::Body,
    config_json,
    contained::contained,
    deferred::Deferred,
    exchange::Exchange,
    files::{self, NegotiatedFile},
    git::{self, GitAsked, GitRequest},
    head,
    index::{self, NegotiatedIndex},
    negotiate::prefers_html,
    pages::{self, LastMetrics, PageForm, PageRequest, PageService, Subject},
    query::SearchQuery,
    rate_limit::RateLimit,
    readable::Readable,
    receipt::{HandedOut, Ledger, signed},
    requested::RequestedFile,
    respond::{Answer, ErrorForm, no_memory},
    route::{ApiCall, GitCall, Page, Place, Route, Verb},
    toolchains,
    upgrades::Upgrades,
};
use crate::{
    access::{Forwarded, LastAdmitted, TrustedProxies, jwt::KeyFetch},
    audit::Recorder,
    config::{BaseUrl, sections::ServerSettings},
    domain::{Principal, RegistryName, ViewName, loggable_path},
    error::{Error, Kind, Result},
    metrics::RouteLabel,
    mirror::{Mirror, Registry, ToolchainAsker},
    status::Status,
    transport::{self, ClientMemory, Offer, Peer, Request, RequestBody, Scheme, Standing},
};

/// The pages for programs, for who reads about them in a terminal.
const OTHER_PAGES: &str = "/status.json, /search?q=, /crates/NAME, /policy, /wanted, /toolchains, /healthz, /readyz, /metrics";

/// Answers requests with what a mirror has. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

struct Inner {
    mirror: Mirror,
    side: Side,
    public_url: Option<BaseUrl>,
    proxies: TrustedProxies,
    authentication: Authentication,
    ledger: Option<Ledger>,
    rate_limit: RateLimit,
    upgrades: Upgrades,
    memory: Arc<ClientMemory>,
    last_metrics: LastMetrics,
    pages: Arc<PageService>,
    /// What clients of the other side paste; nothing where this side is theirs.
    base_of_clients: Option<Box<str>>,
}

/// What is answered on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Everything.
    Both,
    /// What clients ask for; pages are answered elsewhere.
    Clients,
    /// The pages, for whoever runs the mirror, who needs no token there.
    Admin,
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

/// How far a request gets with nothing but memory.
enum AtOnce {
    /// To its answer.
    Answer(Answer),
    /// To what takes longer.
    Deferred(Deferred),
    /// Not even to the question who asks, before this is over.
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
    connection: ConnectionNumber,
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
        let others = match side {
            Side::Both | Side::Admin => OTHER_PAGES,
            Side::Clients => "/healthz",
        };
        let pages = PageService::new(
            mirror.clone(),
            status,
            guards.authentication.clone(),
            others,
            memory.clone(),
        );
        Self(Arc::new(Inner {
            pages: Arc::new(pages),
            base_of_clients: match side {
                Side::Both | Side::Clients => None,
                Side::Admin => Some(base_url.into()),
            },
            mirror,
            side,
            public_url: settings.public_url.clone(),
            proxies: TrustedProxies::new(networks.map(|network| network.0).collect()),
            authentication: match side {
                Side::Both | Side::Clients => guards.authentication,
                Side::Admin => Authentication::default(),
            },
            ledger: guards.recorder.map(Ledger::new),
            rate_limit: RateLimit::per_second(settings.max_requests_per_second.get()),
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
        let asked = self
            .0
            .understand(&head, peer.as_ref(), scheme, &forwarded, connection);
        let route = Route::parse(asked.path);
        let verb = match &route {
            Ok(Route::Git { call, .. }) => git::verb(*call, &head.method),
            Ok(_) | Err(_) => Verb::parse(&head.method),
        };
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        let verb = verb.map_err(|e| match &route {
            Ok(Route::WebApi { place, .. }) => self.0.read_only(place),
            Ok(_) | Err(_) => e,
        });
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
        let at_once = contained(|| {
            match standing {
                Standing::Admitted => {}
                Standing::Refused => return Err(no_memory()),
            }
            head::bounded(&head)?;
            head::one_host(&head)?;
            match self.0.enter(&asked, last, &route, now) {
                Admission::Admitted(principal) => *who = principal,
                Admission::Refused(why) => {
                    return Ok(self.0.refuse(&asked, &route, &why, form, now));
                }
                Admission::Later(awaited) => return Ok(AtOnce::Unknown(awaited)),
            }
            let (route, verb) = self.0.admit(route, verb, body.is_some(), asked.client)?;
            let body = body.take();
            self.0
                .at_once(route, verb, &asked, body, last, who.as_ref(), now)
        });
        match at_once {
            Ok(AtOnce::Answer(answer)) => Answering::now(exchange.finish(Ok(answer), "")),
            Ok(AtOnce::Deferred(deferred)) => {
                let span = exchange.access.span.clone();
                let answer = deferred.answered(self.0.mirror.clone(), exchange, now);
                Answering::Later(span.around(answer))
            }
            Ok(AtOnce::Unknown(awaited)) => {
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
    /// What is asked for by this request, as far as it can be said before anything is looked into.
    fn understand<'a>(
        &self,
        head: &'a Head,
        peer: Option<&'a Peer>,
        scheme: Scheme,
        forwarded: &'a Forwarded,
        connection: ConnectionNumber,
    ) -> Asked<'a> {
        let (token, path) = self.authentication.split(head.uri.path());
        Asked {
            head,
            path,
            token,
            client: forwarded.address,
            peer,
            scheme: forwarded.scheme.unwrap_or(scheme),
            host: forwarded.host.as_ref(),
            connection,
        }
    }

    /// Whether who asks may come in.
    fn enter(
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
            ) => Some(self.guarded_name(place)),
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
    fn guarded_name(&self, place: &Place) -> RegistryName {
        let registry = place.registry.unwrap_or(self.mirror.default_registry());
        place.view.guarded_name(registry)
    }

    /// The answer to who may not come in.
    fn refuse(
        &self,
        asked: &Asked<'_>,
        route: &Result<Route>,
        why: &Error,
        form: ErrorForm,
        now: SystemTime,
    ) -> AtOnce {
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
        AtOnce::Answer(challenge(why, form, base.as_deref(), wants_basic))
    }

    /// What is asked for, if it is asked for in a way that can be answered.
    fn admit(
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
        Ok((route, verb))
    }

    /// Whether a path is answered on this side.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when it isn't.
    fn is_here(&self, route: &Route) -> Result<()> {
        match (self.side, route) {
            (Side::Both, _)
            | (_, Route::Health | Route::Status | Route::Asset(_))
            | (Side::Admin, Route::Ready | Route::Metrics | Route::Page(_))
            | (
                Side::Clients,
                Route::ConfigJson { .. }
                | Route::Index { .. }
                | Route::Download { .. }
                | Route::WebApi { .. }
                | Route::Git { .. }
                | Route::Toolchain(_),
            ) => Ok(()),
            (Side::Admin, Route::Toolchain(_)) => Err(toolchains::not_here()),
            (Side::Clients, Route::Ready | Route::Metrics | Route::Page(_)) => Err(
                Error::not_found("this is answered on `server.admin_listen` only"),
            ),
            (
                Side::Admin,
                Route::ConfigJson { .. }
                | Route::Index { .. }
                | Route::Download { .. }
                | Route::WebApi { .. }
                | Route::Git { .. },
            ) => Err(Error::not_found(
                "here are the pages only (`server.admin_listen`); ask for crates on `server.listen`",
            )),
        }
    }

    /// The answer that needs nothing but memory, or what more there is to do.
    #[expect(
        clippy::too_many_arguments,
        reason = "a request and what is known of it"
    )]
    fn at_once(
        &self,
        route: Route,
        verb: Verb,
        asked: &Asked<'_>,
        body: Option<RequestBody>,
        last: &LastAdmitted,
        who: Option<&Principal>,
        now: SystemTime,
    ) -> Result<AtOnce> {
        self.is_here(&route)?;
        let (mirror, headers) = (&self.mirror, &asked.head.headers);
        Ok(AtOnce::Answer(match route {
            Route::Index { place, name } => {
                let registry = mirror.place(place.registry, place.view)?;
                let negotiated = NegotiatedIndex::of(headers);
                match mirror.index_at_once(registry, name, place.view, now) {
                    Some(found) => index::answer(&negotiated, found?),
                    None => {
                        return Ok(Deferred::Index(
                            registry.clone(),
                            place.view,
                            name,
                            negotiated.kept(),
                        )
                        .into());
                    }
                }
            }
            Route::Download { place, id } => {
                let registry = mirror.place(place.registry, place.view)?;
                let ledger = self.ledger.as_ref();
                let receipt = ledger.and_then(|l| l.receipt(verb, who, asked.client, now));
                let negotiated = NegotiatedFile::of(headers, verb);
                let found = match negotiated.is_maybe_part() {
                    true => None,
                    false => mirror.crate_at_once(registry, &id, place.view, now),
                };
                let Some(found) = found else {
                    let negotiated = negotiated.kept();
                    let requested = Box::new(RequestedFile {
                        negotiated,
                        receipt,
                    });
                    return Ok(
                        Deferred::Download(registry.clone(), place.view, id, requested).into(),
                    );
                };
                let found = found?;
                let handed_out = HandedOut::of(&found);
                let answer = files::answer(&negotiated, found);
                signed(answer, receipt, handed_out)?
            }
            Route::Toolchain(path) => {
                let asker = ToolchainAsker {
                    connection: asked.connection.0,
                    address: asked.client,
                };
                let ledger = self.ledger.as_ref();
                let receipt = ledger.filter(|_| toolchains::item(&path).is_some());
                let receipt = receipt.and_then(|l| l.receipt(verb, who, asked.client, now));
                let requested = RequestedFile {
                    negotiated: NegotiatedFile::of(headers, verb),
                    receipt,
                };
                let found = match requested.negotiated.is_maybe_part() {
                    true => None,
                    false => mirror.toolchain_at_once(&path, &asker, now),
                };
                match found {
                    Some(Ok(found)) => toolchains::answer(&path, requested, found)?,
                    // Its refusal may have to be written down.
                    Some(Err(_)) | None => {
                        let requested = Box::new(RequestedFile {
                            negotiated: requested.negotiated.kept(),
                            receipt: requested.receipt,
                        });
                        return Ok(Deferred::Toolchain(path, asker, requested).into());
                    }
                }
            }
            Route::ConfigJson { place } => {
                mirror.place(place.registry, place.view)?;
                let auth_required = self.authentication.is_needed(self.guarded_name(&place));
                config_json::answered(self.public_url.as_ref(), asked, place, auth_required)?
            }
            Route::WebApi { place, call } => {
                mirror.place(place.registry, place.view)?;
                return self.web_api(place, call, asked);
            }
            Route::Git { place, call } => return self.git(place, call, asked, body),
            Route::Page(page) => {
                let readable = || self.readable(asked, last, now);
                return self.page(page, asked, readable);
            }
            Route::Asset(asset) => pages::asset(asset),
            Route::Health => pages::health(),
            Route::Ready => pages::ready(mirror, &self.memory)?,
            Route::Metrics => pages::metrics(mirror, &self.last_metrics, now),
            Route::Status => {
                let readable = || self.readable(asked, last, now);
                return self.home(asked, who, readable);
            }
        }))
    }

    /// What this is and how to use it; and for who may know, what it does now.
    fn home(
        &self,
        asked: &Asked<'_>,
        who: Option<&Principal>,
        readable: impl FnOnce() -> Readable,
    ) -> Result<AtOnce> {
        let is_known = who.is_some() || !self.authentication.is_restricted();
        let (subject, readable) = match self.side {
            Side::Both | Side::Admin if is_known => (Subject::Home, readable()),
            Side::Both | Side::Admin | Side::Clients => (Subject::HowTo, Readable::All),
        };
        self.deferred(subject, PageForm::Text, asked, readable)
    }

    /// Of which registries and views who asks may be told on a page that is about more than one.
    fn readable(&self, asked: &Asked<'_>, last: &LastAdmitted, now: SystemTime) -> Readable {
        let policy = self.mirror.policy();
        let views = policy.views().map(ViewName::as_registry);
        let toolchains = self.mirror.has_toolchains();
        let toolchains = toolchains.then(RegistryName::toolchains);
        let names = self.mirror.registries().chain(views).chain(toolchains);
        self.authentication
            .readable(&credentials(asked, last), names, now)
    }

    /// An answer of the web API.
    fn web_api(&self, place: Place, call: ApiCall, asked: &Asked<'_>) -> Result<AtOnce> {
        let query = match call {
            ApiCall::Search => SearchQuery::parse(asked.head.uri.query())?,
            ApiCall::Crate(_)
            | ApiCall::Versions(_)
            | ApiCall::Version(_)
            | ApiCall::Dependencies(_) => SearchQuery::default(),
            ApiCall::Owners => return Err(self.read_only(&place)),
            ApiCall::Other => {
                return Err(Error::not_found(
                    "of the web API this mirror answers searches and what is asked of crates and versions; for everything else ask the registry itself",
                ));
            }
        };
        let subject = Subject::Api { place, call, query };
        self.deferred(subject, PageForm::Json, asked, Readable::All)
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
        let base = config_json::base_url(self.public_url.as_ref(), asked)?;
        let root = config_json::Root::of(&base, asked.token, place);
        let asked_for = GitAsked::of(call, place, &root, asked.head, body)?;
        let auth_required = self.authentication.is_needed(self.guarded_name(&place));
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

    /// What cargo prints for who wants to publish, yank or own something here.
    fn read_only(&self, place: &Place) -> Error {
        let registry = match self.mirror.place(place.registry, place.view) {
            Ok(registry) => registry,
            Err(e) => return e,
        };
        let there = match registry {
            registry if registry.name() == RegistryName::crates_io() => {
                "for crates.io that is `--registry crates-io`".to_owned()
            }
            Registry::Online(upstream) => format!("its index is {}", upstream.shown_index()),
            Registry::Offline(_) => "this mirror is offline and can't reach it".to_owned(),
        };
        Error::new(
            Kind::ReadOnly,
            format!(
                "this is a read-only mirror of {}: publish, yank and ask about owners at the registry itself; {there}",
                registry.name()
            ),
        )
    }

    /// A page that takes a moment.
    fn page(
        &self,
        page: Page,
        asked: &Asked<'_>,
        readable: impl FnOnce() -> Readable,
    ) -> Result<AtOnce> {
        // What is about one place is for who may read that place.
        let (subject, form, readable) = match page {
            Page::Crate { place, name } => (
                Subject::Crate { place, name },
                PageForm::Text,
                Readable::All,
            ),
            Page::Search { place } => {
                let query = SearchQuery::parse(asked.head.uri.query())?;
                let subject = Subject::Search { place, query };
                (subject, PageForm::Text, Readable::All)
            }
            Page::Policy { place } => (Subject::Policy { place }, PageForm::Text, readable()),
            Page::Toolchains => (Subject::Toolchains, PageForm::Text, Readable::All),
            Page::Wanted => (Subject::Wanted, PageForm::Text, readable()),
            Page::StatusJson => (Subject::Figures, PageForm::Json, readable()),
        };
        self.deferred(subject, form, asked, readable)
    }

    /// A page that is made when its turn comes; `otherwise` is the form for who isn't a browser.
    fn deferred(
        &self,
        subject: Subject,
        otherwise: PageForm,
        asked: &Asked<'_>,
        readable: Readable,
    ) -> Result<AtOnce> {
        let form = match otherwise {
            PageForm::Text if prefers_html(&asked.head.headers) => PageForm::Html,
            PageForm::Text | PageForm::Html | PageForm::Json => otherwise,
        };
        let base = match &self.base_of_clients {
            Some(base) => base.clone(),
            None => {
                let base = config_json::base_url(self.public_url.as_ref(), asked)?;
                let root = config_json::Root::of(&base, asked.token, Place::default());
                root.to_string().into()
            }
        };
        let request = PageRequest::new(subject, form, base, self.links(asked).into(), readable);
        Ok(Deferred::Page(self.pages.clone(), Box::new(request)).into())
    }

    /// What links begin with on a page: the path under which a proxy has this server, and a token that stood in the path.
    fn links(&self, asked: &Asked<'_>) -> String {
        let public = self
            .public_url
            .as_ref()
            .filter(|_| self.base_of_clients.is_none());
        let path = public.map_or("", |url| url.as_url().path().trim_end_matches('/'));
        match asked.token {
            Some(token) => format!("{path}/t/{token}"),
            None => path.to_owned(),
        }
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

impl From<Deferred> for AtOnce {
    fn from(deferred: Deferred) -> Self {
        Self::Deferred(deferred)
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
        let peer = peer.filter(|_| !self.0.proxies.include(client));
        let access = Access::new(&head, forwarded.address, in_flight);
        let incoming = Incoming {
            head,
            body,
            peer,
            scheme,
            forwarded,
            access,
            connection: remembered.number,
        };
        self.respond(incoming, &remembered.admitted)
    }

    fn accepts_upgrade(&self, headers: &HeaderMap, offer: &Offer) -> bool {
        self.0.upgrades.include(headers, offer)
    }
}
