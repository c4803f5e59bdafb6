//! [`Deferred`]: a request that memory alone can't answer.

use std::{pin::Pin, sync::Arc, time::SystemTime};

use http::Response;

use super::{
    body::Body,
    contained::{contained, survived},
    exchange::Exchange,
    git::GitRequest,
    index::{self, NegotiatedIndex},
    pages::{PageRequest, PageService},
    requested::RequestedFile,
    respond::Answer,
    route::Verb,
    toolchains,
};
use crate::{
    audit::AuditedFile,
    domain::{CrateId, CrateName, View, toolchain::ToolchainPath},
    error::Result,
    mirror::{Mirror, Registry, ToolchainAsker},
};

/// A request that memory alone can't answer.
pub(super) enum Deferred {
    /// For an index file.
    Index(Registry, View, CrateName, NegotiatedIndex),
    /// For a page for people.
    Page(Arc<PageService>, Box<PageRequest>),
    /// For a .crate file.
    Download(Registry, View, CrateId, Box<RequestedFile>),
    /// For a git client.
    Git(Box<GitRequest>),
    /// For what rustup asks for.
    Toolchain(ToolchainPath, ToolchainAsker, Box<RequestedFile>),
}

impl Deferred {
    /// The answer when it is there. Each kind has a future of its own, which keeps no more than it needs: in a stampede a hundred thousand may wait for
    /// index files, and what is larger than a kilobyte costs the allocator more than all else does. Nothing of the request's head is kept: one word of
    /// it would keep all of it.
    pub(super) fn answered(
        self,
        mirror: Mirror,
        exchange: Exchange,
        now: SystemTime,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        match self {
            Self::Index(registry, view, name, negotiated) => Box::pin(async move {
                let found = survived(mirror.index(&registry, name, &view, now)).await;
                let answer = |found| contained(|| Ok(index::answer(&negotiated, found)));
                exchange.finish(found.and_then(answer), name)
            }),
            Self::Page(pages, request) => Box::pin(async move {
                let answer = survived(pages.answer(request, now)).await;
                exchange.finish(answer, "a page")
            }),
            Self::Git(request) => Box::pin(async move {
                let answer = survived(request.answer(&mirror, now)).await;
                exchange.finish(answer, "the git index")
            }),
            Self::Download(registry, view, id, requested) => Box::pin(async move {
                let verb = exchange.verb;
                let found = download(&mirror, &registry, &id, view, verb, *requested, now);
                let found = survived(found).await;
                exchange.finish(found, id)
            }),
            Self::Toolchain(path, asker, requested) => Box::pin(async move {
                let verb = exchange.verb;
                let found = toolchains::deferred(&mirror, &path, &asker, verb, *requested, now);
                let found = survived(found).await;
                exchange.finish(found, path)
            }),
        }
    }
}

/// The answer with a .crate file that isn't in memory, or with a part of one.
async fn download(
    mirror: &Mirror,
    registry: &Registry,
    id: &CrateId,
    view: View,
    verb: Verb,
    requested: RequestedFile,
    now: SystemTime,
) -> Result<Answer> {
    let file = AuditedFile::Crate(*id);
    let link = mirror.crate_link(registry, id, view, verb.into(), now);
    match link.await {
        Ok(None) => {}
        Ok(Some(found)) => return requested.elsewhere(found),
        Err(e) => return Err(requested.refused(e, registry.name(), file)),
    }
    match mirror.crate_file(registry, id, view, now).await {
        Ok(found) => requested.whole_or_part(mirror, found).await,
        Err(e) => Err(requested.refused(e, registry.name(), file)),
    }
}
