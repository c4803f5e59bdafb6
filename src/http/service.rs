//! [`Service`]: from a request to its answer.

use std::{
    convert::Infallible,
    fmt::Display,
    net::IpAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::SystemTime,
};

use futures_util::FutureExt;
use http::{Response, request::Parts as Head};

use super::{
    access::Access,
    body::Body,
    config_json, crates, head, index,
    limits::Limits,
    pages::{self, LastMetrics},
    respond::{Answer, ErrorForm},
    route::{Route, Verb},
    upgrades::Upgrades,
};
use crate::{
    config::{BaseUrl, sections::Server},
    domain::{CrateId, CrateName},
    error::{Error, Result},
    metrics::{Metrics, RouteLabel},
    mirror::{Found, IndexEntry, Mirror, Registry},
    transport::{
        memory::{Room, no_room},
        stall::{Activity, Standing},
    },
};

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

/// Who asks, and over which connection.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) address: IpAddr,
    pub(super) activity: Activity,
}

struct Inner {
    mirror: Mirror,
    public_url: Option<BaseUrl>,
    metrics: Arc<Metrics>,
    limits: Limits,
    upgrades: Upgrades,
    room: Arc<Room>,
    last_metrics: LastMetrics,
}

impl Service {
    /// Answers for `mirror` as the settings say.
    pub fn new(mirror: Mirror, settings: &Server, metrics: Arc<Metrics>) -> Self {
        let keeps = mirror.clone();
        Self(Arc::new(Inner {
            room: Room::new(move |bytes| keeps.make_room(bytes)),
            last_metrics: LastMetrics::default(),
            mirror,
            public_url: settings.public_url.clone(),
            metrics,
            limits: Limits::new(settings),
            upgrades: Upgrades::new(settings),
        }))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The memory for clients.
    pub(super) fn room(&self) -> &Arc<Room> {
        &self.0.room
    }

    /// Who is upgraded to HTTP/2.
    pub(super) fn upgrades(&self) -> Upgrades {
        self.0.upgrades
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Answers one request from `client`; every failure is an answer too, a panic included. What is in memory is answered at once, in a future that
    /// is small; only what takes longer gets one that can.
    pub(super) fn answer(&self, request: Head, has_body: bool, client: &Client) -> Answering {
        let mut access = Access::new(&request, client.address, client.activity.begin());
        let route = Route::parse(request.uri.path());
        let verb = Verb::parse(&request.method);
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        if let Ok(route) = &route {
            access.route = route.label();
        }
        let asked = Asked {
            verb: *verb.as_ref().unwrap_or(&Verb::Get),
            form,
            access,
        };
        let now = SystemTime::now();
        let standing = asked.access.standing();
        let at_once = contained(|| {
            match standing {
                Standing::Admitted => {}
                Standing::Refused => return Err(no_room()),
            }
            let (route, verb) = self.admit(route, verb, &request, has_body, client)?;
            self.at_once(route, verb, &request, now)
        });
        match at_once {
            Ok(Reached::Answer(answer)) => {
                Answering::now(asked.answered(Ok(answer), request.uri.path()))
            }
            Ok(Reached::Further(further)) => {
                let mirror = self.0.mirror.clone();
                Answering::Later(further.answered(mirror, asked, now))
            }
            Err(e) => Answering::now(asked.answered(Err(e), request.uri.path())),
        }
    }

    /// What is asked for, if it is asked for in a way that can be answered.
    fn admit(
        &self,
        route: Result<Route>,
        verb: Result<Verb>,
        request: &Head,
        has_body: bool,
        client: &Client,
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
            self.0.limits.request(client.address)?;
        }
        Ok((route, verb))
    }

    /// The answer that needs nothing but memory, or what more there is to do.
    fn at_once(
        &self,
        route: Route,
        verb: Verb,
        request: &Head,
        now: SystemTime,
    ) -> Result<Reached> {
        let mirror = &self.0.mirror;
        Ok(Reached::Answer(match route {
            Route::Index { registry, name } => {
                let registry = mirror.registry(registry)?;
                let taken = index::Taken::of(&request.headers);
                match mirror.index_at_once(registry, name, now) {
                    Some(found) => index_answer(&taken, found?),
                    None => {
                        return Ok(Further::Index(registry.clone(), name, taken.kept()).into());
                    }
                }
            }
            Route::Download { registry, id } => {
                let registry = mirror.registry(registry)?;
                let taken = crates::Taken::of(&request.headers, verb);
                let found = match taken.is_maybe_part() {
                    true => None,
                    false => mirror.crate_at_once(registry, &id),
                };
                match found {
                    Some(found) => crates::answer(&taken, found),
                    None => {
                        let taken = Box::new(taken.kept());
                        return Ok(Further::Download(registry.clone(), id, taken).into());
                    }
                }
            }
            Route::ConfigJson { registry } => {
                mirror.registry(registry)?;
                config_json::answered(self.0.public_url.as_ref(), request, registry)?
            }
            Route::WebApi { registry } => {
                mirror.registry(registry)?;
                return Err(Error::not_found(
                    "this mirror serves the index and downloads; for search and everything else of the web API ask the registry itself",
                ));
            }
            Route::Health => pages::health(),
            Route::Ready => pages::ready(mirror, &self.0.room)?,
            Route::Metrics => pages::metrics(mirror, &self.0.last_metrics, now),
            Route::Status => {
                pages::status(mirror, &self.0.room, &self.base_url(request)?.to_string())?
            }
        }))
    }

    fn base_url(&self, request: &Head) -> Result<config_json::Base<'_>> {
        config_json::base_url(self.0.public_url.as_ref(), request)
    }
}

/// How far a request gets with nothing but memory.
enum Reached {
    /// To its answer.
    Answer(Answer),
    /// To what takes longer.
    Further(Further),
}

/// What isn't in memory.
enum Further {
    Index(Registry, CrateName, index::Taken),
    Download(Registry, CrateId, Box<crates::Taken>),
}

impl From<Further> for Reached {
    fn from(further: Further) -> Self {
        Self::Further(further)
    }
}

impl Further {
    /// The answer when it is there. Each kind has a future of its own, and keeps no more in it than it needs: with a stampede a hundred thousand may
    /// wait for index files, and what is larger than a kilobyte costs the allocator more than all else does. Nothing of the request's head is kept:
    /// one word of it would keep all of it.
    fn answered(
        self,
        mirror: Mirror,
        asked: Asked,
        now: SystemTime,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        match self {
            Self::Index(registry, name, taken) => Box::pin(async move {
                let found = survived(mirror.index(&registry, name, now)).await;
                let answer = |found| contained(|| Ok(index_answer(&taken, found)));
                asked.answered(found.and_then(answer), name)
            }),
            Self::Download(registry, id, taken) => Box::pin(async move {
                let found = survived(download(&mirror, &registry, &id, &taken, now)).await;
                asked.answered(found, id)
            }),
        }
    }
}

/// The answer with a .crate file that isn't in memory, or with a part of one.
async fn download(
    mirror: &Mirror,
    registry: &Registry,
    id: &CrateId,
    taken: &crates::Taken,
    now: SystemTime,
) -> Result<Answer> {
    let mut found = mirror.crate_file(registry, id, now).await?;
    let divisible = match taken.is_part_of(&found.value) {
        true => mirror.divisible(&mut found.value).await,
        false => None,
    };
    Ok(match divisible {
        Some(length) => crates::part(taken, found, length),
        None => crates::answer(taken, found),
    })
}

fn index_answer(taken: &index::Taken, found: Found<Arc<IndexEntry>>) -> Answer {
    index::answer(taken, &found.value, found.outcome)
}

/// What has to be known of a request when its answer is ready.
struct Asked {
    verb: Verb,
    form: ErrorForm,
    access: Access,
}

impl Asked {
    /// The answer to what was asked for: a path, or what it names.
    fn answered(self, answer: Result<Answer>, path: impl Display) -> Response<Body> {
        let answer = answer.unwrap_or_else(|e| {
            if e.kind().is_fault() {
                tracing::error!(%path, "{e}");
            }
            Answer::error(&e, self.form)
        });
        answer.finish(self.verb, self.access)
    }
}

/// An answer that is there, or on its way.
#[expect(
    clippy::large_enum_variant,
    reason = "boxed, what is there at once would cost each hit an allocation"
)]
pub(super) enum Answering {
    /// There; taken once.
    Now(Option<Response<Body>>),
    /// On its way.
    Later(Pin<Box<dyn Future<Output = Response<Body>> + Send>>),
}

impl Answering {
    pub(super) fn now(answer: Response<Body>) -> Self {
        Self::Now(Some(answer))
    }
}

impl Future for Answering {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(answer) => match answer.take() {
                Some(answer) => Poll::Ready(Ok(answer)),
                // Asked again after its end, which no caller may do.
                None => Poll::Pending,
            },
            Self::Later(answer) => answer.as_mut().poll(context).map(Ok),
        }
    }
}

/// What `work` comes to; a panic in it is an error like others and takes nothing else down. The panic hook has said where it happened.
fn contained<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(fault()))
}

/// The same for work that takes longer.
fn survived<T>(work: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
    let caught = AssertUnwindSafe(work).catch_unwind();
    caught.map(|caught| caught.unwrap_or_else(|_| Err(fault())))
}

fn fault() -> Error {
    Error::internal("this mirror has a fault; its log says more")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    /// A panic used to end the connection, and with it, over HTTP/2, every other request on it.
    #[tokio::test]
    async fn a_panic_is_an_answer_and_takes_nothing_else_down() {
        let error = survived::<()>(async { panic!("on purpose") }).await;
        let error = error.expect_err("a panic");
        assert_eq!(error.kind(), Kind::Internal);
        let answer = Answer::error(&error, ErrorForm::Text);
        assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR);
        assert!(survived(async { Ok(()) }).await.is_ok());
        let error = contained::<()>(|| panic!("on purpose")).expect_err("a panic");
        assert_eq!(error.kind(), Kind::Internal);
    }
}
