//! [`PageRoutes`]: from a path to the request for a page, or for an answer of the web API.

use std::sync::Arc;

use super::{
    asked::Asked,
    at_once::AtOnce,
    authentication::Authentication,
    config_json,
    deferred::Deferred,
    negotiate::prefers_html,
    pages::{PageForm, PageRequest, PageService, Subject},
    query::SearchQuery,
    readable::Readable,
    route::{ApiCall, Page, Place},
    side::Side,
};
use crate::{
    config::BaseUrl,
    domain::{Principal, RegistryName},
    error::{Error, Kind, Result},
    mirror::{Mirror, Registry},
};

/// The pages for programs, for who reads about them in a terminal.
const OTHER_PAGES: &str = "/status.json, /search?q=, /crates/NAME, /policy, /wanted, /toolchains, /healthz, /readyz, /metrics";

/// What is asked of pages and of the web API.
pub(super) struct PageRoutes {
    pub(super) pages: Arc<PageService>,
    pub(super) mirror: Mirror,
    pub(super) side: Side,
    pub(super) authentication: Authentication,
    pub(super) public_url: Option<BaseUrl>,
    /// What clients of the other side paste; nothing where this side is theirs.
    pub(super) base_of_clients: Option<Box<str>>,
}

impl PageRoutes {
    /// The other pages that are on this side, for who reads about them in a terminal.
    pub(super) fn others(side: Side) -> &'static str {
        match side {
            Side::Both | Side::Admin => OTHER_PAGES,
            Side::Clients => "/healthz",
        }
    }

    /// What this is and how to use it; and for who may know, what it does now.
    ///
    /// # Errors
    /// [`Kind::BadRequest`] when the request doesn't say what it calls this server, and the settings don't either.
    pub(super) fn home(
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

    /// A page that takes a moment.
    ///
    /// # Errors
    /// Those of [`home`](Self::home), and [`Kind::BadRequest`] for a query that isn't one.
    pub(super) fn page(
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

    /// An answer of the web API.
    ///
    /// # Errors
    /// [`Kind::ReadOnly`] for what would change something, [`Kind::NotFound`] for what isn't answered here, and those of [`page`](Self::page).
    pub(super) fn web_api(&self, place: Place, call: ApiCall, asked: &Asked<'_>) -> Result<AtOnce> {
        let query = match call {
            ApiCall::Search => SearchQuery::parse(asked.head.uri.query())?,
            ApiCall::Crate(_)
            | ApiCall::Versions(_)
            | ApiCall::Version(_)
            | ApiCall::Dependencies(_) => SearchQuery::default(),
            ApiCall::Owners => return Err(self.read_only(place)),
            ApiCall::Other => {
                return Err(Error::not_found(
                    "of the web API this mirror answers searches and what is asked of crates and versions; for everything else ask the registry itself",
                ));
            }
        };
        let subject = Subject::Api { place, call, query };
        self.deferred(subject, PageForm::Json, asked, Readable::All)
    }

    /// What cargo prints for who wants to publish, yank or own something here.
    pub(super) fn read_only(&self, place: Place) -> Error {
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
