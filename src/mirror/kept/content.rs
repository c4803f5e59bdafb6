//! [`IndexContent`]: the index file that is kept, and how what is shown of it is made, both under the memory leased for them.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;

use super::rendition::Rendition;
use crate::{
    allowance::Lease,
    domain::{IndexFile, Sha256},
    policy::Ruling,
};

/// What doesn't change when upstream confirms a copy.
#[derive(Debug)]
pub(in crate::mirror) struct IndexContent {
    pub(in crate::mirror) file: IndexFile,
    pub(in crate::mirror) sha256: Sha256,
}

/// What is shown of an index file.
pub(in crate::mirror) enum Shown {
    /// The file, with its gzip variant if upstream sent it so.
    AsIs(Option<Bytes>),
    /// This in its place.
    Other(Bytes),
}

/// How many bytes an index file and its rendition take beside their bodies and what is known of the lines.
pub(in crate::mirror) const fn overhead() -> usize {
    size_of::<IndexContent>() + size_of::<Rendition>()
}

/// Ties the memory to the bodies it was leased for and makes the rendition: of the file as it is, or of what is `shown` in its place. Takes a
/// millisecond for small files and for large ones.
pub(in crate::mirror) fn keep(
    file: IndexFile,
    sha256: Sha256,
    modified: SystemTime,
    shown: Shown,
    ruling: Ruling,
    mut lease: Lease,
) -> (Arc<IndexContent>, Arc<Rendition>) {
    let own_body = matches!(shown, Shown::AsIs(_));
    let mut rendition = render(&file, sha256, modified, shown, ruling);
    let held = match own_body {
        true => 0,
        false => file.body().len(),
    };
    lease.shrink_to((rendition.size() + file.overhead() + held) as u64);
    hold_parts(&mut rendition, own_body, &mut lease);
    let held = lease.hold(file.body().clone());
    if own_body {
        rendition.body = held.clone();
    }
    let file = file.with_body(held);
    (Arc::new(IndexContent { file, sha256 }), Arc::new(rendition))
}

/// Makes what is shown of a kept file anew, because what that depended on has changed; `lease` is on what it takes beside the file. What comes out the same
/// keeps its bytes.
pub(in crate::mirror) fn shown_anew(
    content: &IndexContent,
    before: &Rendition,
    modified: SystemTime,
    shown: Shown,
    ruling: Ruling,
    mut lease: Lease,
) -> Arc<Rendition> {
    let own_body = matches!(shown, Shown::AsIs(_));
    let body = match &shown {
        Shown::AsIs(_) => content.file.body(),
        Shown::Other(body) => body,
    };
    if *body == before.body {
        return Arc::new(before.under(ruling));
    }
    let mut rendition = render(&content.file, content.sha256, modified, shown, ruling);
    hold_parts(&mut rendition, own_body, &mut lease);
    Arc::new(rendition)
}

fn render(
    file: &IndexFile,
    sha256: Sha256,
    modified: SystemTime,
    shown: Shown,
    ruling: Ruling,
) -> Rendition {
    let rendition = match shown {
        Shown::AsIs(gzip) => Rendition::new(file.body().clone(), gzip, &sha256, Some(modified)),
        // When what is shown of a file changed is another matter than when the file did.
        Shown::Other(body) => {
            let hash = Sha256::of(&body);
            Rendition::new(body, None, &hash, None)
        }
    };
    rendition.made_of(sha256, ruling)
}

/// Ties a part of the lease to each body of its own: a client may hold on to one for longer than the entry lives.
fn hold_parts(rendition: &mut Rendition, own_body: bool, lease: &mut Lease) {
    let mut part = |bytes: Bytes| match lease.split(bytes.len() as u64) {
        Some(part) => part.hold(bytes),
        None => bytes,
    };
    if let Some(gzip) = rendition.gzip_mut() {
        *gzip = part(std::mem::take(gzip));
    }
    if !own_body {
        rendition.body = part(std::mem::take(&mut rendition.body));
    }
}
