//! The server's own pages: those for programs, and those for people, which are made once a second for all who ask and cost requests for crates nothing.

mod api;
mod assets;
mod chart;
mod crate_page;
#[cfg(test)]
mod escaping;
mod home;
mod how_to;
mod kept;
mod links;
mod plain;
mod policy;
mod request;
mod rows;
mod search;
mod shell;
mod state;
mod toolchains;
mod wanted;
mod words;

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use http::{HeaderValue, header};

pub use how_to::snippet;

pub(super) use assets::asset;
pub(super) use plain::{LastMetrics, health, metrics, ready};
pub(super) use request::{PageForm, PageRequest, Subject};

use self::{crate_page::CratePage, how_to::Offering, kept::KeptPages, links::PageLinks};
use super::{
    authentication::Authentication,
    query::SearchQuery,
    readable::Readable,
    respond::{Answer, JSON, NO_CACHE, NO_CACHE_FOR_ONE, TEXT},
    route::{ApiCall, Place},
};
use crate::{
    domain::{CrateName, Outcome, View},
    error::{Error, Result},
    mirror::Mirror,
    status::{Figures, Status},
    transport::ClientMemory,
};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// A page is another one for who reads it otherwise.
const BY_ACCEPT: HeaderValue = HeaderValue::from_static("accept");
/// And for who shows another token.
const BY_ACCEPT_AND_WHO: HeaderValue = HeaderValue::from_static("accept, authorization");

/// What pages for people are made of.
pub(super) struct PageService {
    mirror: Mirror,
    status: Arc<Status>,
    authentication: Authentication,
    /// Which pages for programs there are, for who reads about it in a terminal.
    others: &'static str,
    kept: KeptPages,
}

impl PageService {
    pub(super) fn new(
        mirror: Mirror,
        status: Arc<Status>,
        authentication: Authentication,
        others: &'static str,
        memory: Arc<ClientMemory>,
    ) -> Self {
        Self {
            mirror,
            status,
            authentication,
            others,
            kept: KeptPages::new(memory),
        }
    }

    /// The page that was asked for.
    ///
    /// # Errors
    /// [`Kind::Overloaded`](crate::error::Kind::Overloaded) when there is no memory for it, and what keeps a crate's page from being made.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Box<PageRequest>,
        now: SystemTime,
    ) -> Result<Answer> {
        self.kept.forget_old(now);
        let form = request.form;
        let page = self.kept.get(&request, now, || {
            let (this, request) = (self.clone(), request.clone());
            async move { this.make(&request, now).await }
        });
        let for_whom = match self.authentication.is_restricted() {
            true => ForWhom::WhoAsked,
            false => ForWhom::Everybody,
        };
        Ok(page_answer(form, page.await?, for_whom))
    }

    async fn make(&self, request: &PageRequest, now: SystemTime) -> Result<String> {
        match &request.subject {
            Subject::HowTo => Ok(self.how_to(request)),
            Subject::Home => Ok(self.home(request, now)),
            Subject::Figures => json(&*self.figures(request, now)),
            Subject::Crate { place, name } => self.crate_page(request, *place, *name, now).await,
            Subject::Search { place, query } => self.search(request, *place, query, now).await,
            Subject::Policy { place } => self.policy(request, *place, now),
            Subject::Api { place, call, query } => self.api(*place, call, query, now).await,
            Subject::Toolchains => {
                let stored = match self.mirror.has_toolchains() {
                    true => Some(self.mirror.stored_toolchains().await?),
                    false => None,
                };
                Ok(match request.form {
                    PageForm::Html => toolchains::page(request, stored.as_deref()),
                    PageForm::Text | PageForm::Json => toolchains::text(stored.as_deref()),
                })
            }
            Subject::Wanted => {
                let missed = self.mirror.missed(now).await?;
                let missed = missed.iter().copied();
                let missed = missed.filter(|missed| request.readable.includes(missed.registry()));
                let missed: Vec<_> = missed.collect();
                Ok(match request.form {
                    PageForm::Html => wanted::page(request, &missed),
                    PageForm::Text | PageForm::Json => wanted::listed(&missed),
                })
            }
        }
    }

    fn how_to(&self, request: &PageRequest) -> String {
        let ways = how_to::ways(self.offering(request));
        match request.form {
            PageForm::Html => home::how_to(request, &ways),
            PageForm::Text | PageForm::Json => {
                format!("{}\nPages: /healthz\n", how_to::text(&ways))
            }
        }
    }

    fn home(&self, request: &PageRequest, now: SystemTime) -> String {
        let ways = how_to::ways(self.offering(request));
        let figures = self.figures(request, now);
        match request.form {
            PageForm::Html => home::home(request, &ways, &figures),
            PageForm::Text | PageForm::Json => {
                let text = how_to::text(&ways);
                format!(
                    "{text}\n{}\nPages: {}\n",
                    state::text(&figures),
                    self.others
                )
            }
        }
    }

    fn figures(&self, request: &PageRequest, now: SystemTime) -> Arc<Figures> {
        match &request.readable {
            Readable::All => self.status.figures(now),
            readable @ Readable::Only(_) => {
                let of = self.status.figures_of(|name| readable.includes(name), now);
                Arc::new(of)
            }
        }
    }

    fn offering<'a>(&'a self, request: &'a PageRequest) -> Offering<'a> {
        Offering {
            mirror: &self.mirror,
            base: &request.base,
            authentication: &self.authentication,
        }
    }

    async fn crate_page(
        &self,
        request: &PageRequest,
        place: Place,
        name: CrateName,
        now: SystemTime,
    ) -> Result<String> {
        let (registry, view) = (place.registry, place.view);
        let found = self.mirror.overview(registry, name, view, now).await?;
        let request = request.clone();
        written(move || {
            let page = CratePage {
                request: &request,
                links: PageLinks::of(&request.links, place),
                found: &found,
                now,
            };
            Ok(match request.form {
                PageForm::Html => page.html(),
                PageForm::Text | PageForm::Json => page.text(),
            })
        })
        .await
    }

    async fn search(
        &self,
        request: &PageRequest,
        place: Place,
        query: &SearchQuery,
        now: SystemTime,
    ) -> Result<String> {
        let (registry, view) = (place.registry, place.view);
        let window = query.window();
        let found = self
            .mirror
            .search(registry, view, &query.words, window, now)
            .await?;
        let results = search::Results {
            request,
            links: PageLinks::of(&request.links, place),
            query,
            known: self.mirror.known_crates(found.registry),
            found: &found,
        };
        Ok(match request.form {
            PageForm::Html => search::page(&results),
            PageForm::Text | PageForm::Json => search::text(&results),
        })
    }

    /// An answer of the web API.
    async fn api(
        &self,
        place: Place,
        call: &ApiCall,
        query: &SearchQuery,
        now: SystemTime,
    ) -> Result<String> {
        let of = async |name: CrateName| {
            let (registry, view) = (place.registry, place.view);
            self.mirror.overview(registry, name, view, now).await
        };
        match call {
            ApiCall::Search => {
                let (registry, view) = (place.registry, place.view);
                let (words, window) = (&query.words, query.window());
                let found = self
                    .mirror
                    .search_offered(registry, view, words, window, now);
                json(&api::search(&found.await?))
            }
            ApiCall::Crate(name) => {
                let found = of(*name).await?;
                written(move || api::krate(&found)).await
            }
            ApiCall::Versions(name) => {
                let found = of(*name).await?;
                written(move || api::versions(&found)).await
            }
            ApiCall::Version(id) => {
                let (found, version) = (of(id.name).await?, id.version);
                written(move || json(&api::version(&found, &version)?)).await
            }
            ApiCall::Dependencies(id) => {
                let (found, version) = (of(id.name).await?, id.version);
                written(move || api::dependencies(&found, &version)).await
            }
            ApiCall::Owners | ApiCall::Other => {
                Err(Error::internal("a call was to be answered that isn't"))
            }
        }
    }

    fn policy(&self, request: &PageRequest, place: Place, now: SystemTime) -> Result<String> {
        let registry = self.mirror.place(place.registry, place.view)?.name();
        let of = match place.view {
            View::Usual => format!("of {registry}"),
            View::Named(view) => format!("of {registry} in the view {view}"),
            View::AsOf(day) => format!("of {registry} as of {day}"),
        };
        let mut refused = self.mirror.refused_lately();
        // Who may see one registry or view may not see another.
        refused.retain(|refusal| {
            let guarded = refusal.view.guarded_name(registry);
            refusal.registry == registry && request.readable.includes(guarded)
        });
        let in_force = self.mirror.policy();
        let views = in_force.views().filter(|view| {
            let is_readable = request.readable.includes(view.as_registry());
            let of = in_force.registry_of(*view).flatten();
            is_readable && of.unwrap_or(self.mirror.default_registry()) == registry
        });
        let rules = policy::RulesPage {
            of,
            said: in_force.in_words(registry, place.view),
            views: match place.view {
                View::Usual => views.collect(),
                View::Named(_) | View::AsOf(_) => Vec::new(),
            },
            refused,
            request,
            now,
        };
        Ok(match request.form {
            PageForm::Html => policy::page(&rules),
            PageForm::Text | PageForm::Json => policy::text(&rules),
        })
    }
}

/// Has a crate written down where that holds nobody up: there are crates with thousands of versions. What is found of it holds the leave to do so.
async fn written(write: impl FnOnce() -> Result<String> + Send + 'static) -> Result<String> {
    tokio::task::spawn_blocking(write)
        .await
        .map_err(|e| Error::ended_early("writing a page", e))?
}

fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::internal(format!("a page can't be written as JSON: {e}")))
}

/// Who may be given an answer that is kept on its way.
enum ForWhom {
    Everybody,
    /// What somebody else gets may be another page: it depends on who he shows to be.
    WhoAsked,
}

fn page_answer(form: PageForm, page: Bytes, for_whom: ForWhom) -> Answer {
    let kind = match form {
        PageForm::Html => HTML,
        PageForm::Text => TEXT,
        PageForm::Json => JSON,
    };
    let mut answer = Answer::ok(Outcome::Hit, kind, page.into());
    let (kept, depends_on) = match for_whom {
        ForWhom::Everybody => (NO_CACHE, BY_ACCEPT),
        ForWhom::WhoAsked => (NO_CACHE_FOR_ONE, BY_ACCEPT_AND_WHO),
    };
    answer.headers.insert(header::CACHE_CONTROL, kept);
    answer.headers.insert(header::VARY, depends_on);
    assets::guard(&mut answer.headers);
    answer
}
