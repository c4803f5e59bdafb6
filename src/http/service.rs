//! [`Service`]: from a request to its answer.

use std::{sync::Arc, time::SystemTime};

use http::{Response, request};

use super::{
    access::Access,
    body::Body,
    config_json, crates, index, pages,
    respond::{Answer, ErrorForm},
    route::{Route, Verb},
};
use crate::{
    config::BaseUrl,
    error::{Error, Kind, Result},
    metrics::Metrics,
    mirror::Mirror,
};

/// What answers requests. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    mirror: Mirror,
    public_url: Option<BaseUrl>,
    metrics: Arc<Metrics>,
}

impl Service {
    /// Answers for `mirror`; `public_url` is where clients reach it, if that isn't what they say.
    pub fn new(mirror: Mirror, public_url: Option<BaseUrl>, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            mirror,
            public_url,
            metrics,
        }))
    }

    pub(super) fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Answers one request; every failure is an answer too.
    pub(super) async fn answer(&self, request: &request::Parts) -> Response<Body> {
        let mut access = Access::new(request, self.0.metrics.clone());
        let route = Route::parse(request.uri.path());
        let verb = Verb::parse(&request.method);
        let form = match &route {
            Ok(Route::WebApi { .. }) => ErrorForm::Json,
            Ok(_) | Err(_) => ErrorForm::Text,
        };
        let answered = match (route, &verb) {
            (Ok(route), Ok(_)) => {
                access.route = route.label();
                self.route(route, request).await
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

    async fn route(&self, route: Route, request: &request::Parts) -> Result<Answer> {
        let mirror = &self.0.mirror;
        let now = SystemTime::now();
        Ok(match route {
            Route::Index { registry, name } => {
                let upstream = mirror.registry(registry)?;
                let found = mirror.index(upstream, name, now).await?;
                index::answer(&request.headers, &found.value, found.outcome)
            }
            Route::Download { registry, id } => {
                let upstream = mirror.registry(registry)?;
                crates::answer(mirror.crate_file(upstream, &id, now).await?)
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

    fn base_url(&self, request: &request::Parts) -> Result<String> {
        config_json::base_url(self.0.public_url.as_ref(), request)
    }
}
