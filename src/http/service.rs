//! [`Service`]: from a request to its answer.

use std::{net::IpAddr, panic::AssertUnwindSafe, sync::Arc, time::SystemTime};

use futures_util::FutureExt;
use http::{Response, header, request::Parts as Head};

use super::{
    access::Access,
    body::Body,
    config_json, crates, index,
    limits::Limits,
    pages,
    respond::{Answer, ErrorForm},
    route::{Route, Verb},
    watch::Activity,
};
use crate::{
    config::{BaseUrl, sections::Server},
    error::{Error, Kind, Result},
    metrics::{Metrics, RouteLabel},
    mirror::Mirror,
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
}

impl Service {
    /// Answers for `mirror` as the settings say.
    pub fn new(mirror: Mirror, settings: &Server, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            mirror,
            public_url: settings.public_url.clone(),
            metrics,
            limits: Limits::new(settings),
        }))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Answers one request from `client`; every failure is an answer too, a panic included.
    pub(super) async fn answer(
        &self,
        request: &Head,
        has_body: bool,
        client: &Client,
    ) -> Response<Body> {
        let mut access = Access::new(request, self.0.metrics.clone(), client.activity.begin());
        let route = Route::parse(request.uri.path());
        let verb = Verb::parse(&request.method);
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        let answered = match (route, &verb) {
            // RFC 9112, section 3.2: two hosts are two different ideas of whom the request is for.
            (Ok(_), Ok(_)) if request.headers.get_all(header::HOST).iter().count() > 1 => Err(
                Error::bad_request("the request has more than one Host header"),
            ),
            (Ok(_), Ok(_)) if has_body => Err(Error::bad_request(
                "a request that only reads can't have a body",
            )),
            (Ok(route), Ok(_)) => {
                access.route = route.label();
                let work = async {
                    if route.label() != RouteLabel::Page {
                        self.0.limits.request(client.address)?;
                    }
                    self.route(route, request).await
                };
                survived(work).await
            }
            (Ok(route), Err(e)) => {
                access.route = route.label();
                Err(e.clone())
            }
            (Err(e), _) => Err(e),
        };
        let answer = answered.unwrap_or_else(|e| {
            if e.kind() == Kind::Internal {
                tracing::error!(path = request.uri.path(), "{e}");
            }
            Answer::error(&e, form)
        });
        answer.finish(verb.unwrap_or(Verb::Get), access)
    }

    async fn route(&self, route: Route, request: &Head) -> Result<Answer> {
        let mirror = &self.0.mirror;
        let now = SystemTime::now();
        Ok(match route {
            Route::Index { registry, name } => {
                let registry = mirror.registry(registry)?;
                let found = mirror.index(registry, name, now).await?;
                index::answer(&request.headers, &found.value, found.outcome)
            }
            Route::Download { registry, id } => {
                let registry = mirror.registry(registry)?;
                crates::answer(mirror.crate_file(registry, &id, now).await?)
            }
            Route::ConfigJson { registry } => {
                mirror.registry(registry)?;
                config_json::answer(&self.base_url(request)?, registry)
            }
            Route::WebApi { registry } => {
                mirror.registry(registry)?;
                return Err(Error::not_found(
                    "this mirror serves the index and downloads; for search and everything else of the web API ask the registry itself",
                ));
            }
            Route::Health => pages::health(),
            Route::Ready => pages::ready(mirror),
            Route::Metrics => pages::metrics(mirror).await,
            Route::Status => pages::status(mirror, &self.base_url(request)?),
        })
    }

    fn base_url(&self, request: &Head) -> Result<String> {
        config_json::base_url(self.0.public_url.as_ref(), request)
    }
}

/// What `work` comes to; a panic in it is an error like others and takes nothing else down. The panic hook has said where it happened.
async fn survived<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let caught = AssertUnwindSafe(work).catch_unwind().await;
    caught.unwrap_or_else(|_| {
        Err(Error::internal(
            "this mirror has a fault; its log says more",
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic used to end the connection, and with it, over HTTP/2, every other request on it.
    #[tokio::test]
    async fn a_panic_is_an_answer_and_takes_nothing_else_down() {
        let error = survived::<()>(async { panic!("on purpose") }).await;
        let error = error.expect_err("a panic");
        assert_eq!(error.kind(), Kind::Internal);
        let answer = Answer::error(&error, ErrorForm::Text);
        assert_eq!(answer.status, http::StatusCode::INTERNAL_SERVER_ERROR);
        assert!(survived(async { Ok(()) }).await.is_ok());
    }
}
