//! Corrupt objects, and when they may be removed: only the very object that failed its check goes, and never under the hands of another program that is
//! writing it.

use std::time::{Duration, Instant, SystemTime};

use super::{Backend, Identity, Removal, Store, Touch, place};
use crate::{
    domain::Key,
    error::{Error, Result},
};

/// A file that was written so lately may be half of what somebody is writing.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// Which object was opened, and whether it can be taken for finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nobody has written into it lately.
    Settled(Identity),
    /// It may be half of what somebody is writing.
    Fresh,
}

/// What became of a corrupt object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It isn't there any more.
    Gone,
    /// It was left to who is writing it.
    Left,
}

impl Seen {
    /// The object of this `identity`, last `written` then, as it is `now`.
    pub(super) fn new(identity: Identity, written: SystemTime, now: SystemTime) -> Self {
        match now.duration_since(written) {
            Ok(age) if age >= WRITTEN_WITHIN => Self::Settled(identity),
            Ok(_) | Err(_) => Self::Fresh,
        }
    }
}

impl Store {
    /// Removes the very object that failed its check, so that it is fetched again; by now another one may be in its place. What is being written is left
    /// alone, and passed over for a moment.
    pub(super) async fn drop_corrupt(&self, key: Key, seen: Seen, why: &str) -> Error {
        let path = key.path();
        self.metrics.corrupt.inc();
        let end = match self.note_written(self.remove_settled(&path, seen).await) {
            Ok(End::Left) => {
                if let Key::Crate(key) = key {
                    self.unreadable.add(key, Instant::now() + WRITTEN_WITHIN);
                }
                "left, because it is being written"
            }
            Ok(End::Gone) | Err(_) => "dropped",
        };
        tracing::warn!(object = path, "a stored object is corrupt and {end}: {why}");
        // Whoever shows what is stored shows it no longer.
        let _ = self.announce_here().await;
        Error::corrupt(format!("the stored {path} was corrupt and is {end}: {why}"))
    }

    async fn remove_settled(&self, path: &str, seen: Seen) -> Result<End> {
        let Seen::Settled(identity) = seen else {
            return Ok(End::Left);
        };
        match self.remove_exactly(path.to_owned(), identity).await? {
            Removal::Removed | Removal::Gone => Ok(End::Gone),
            Removal::Changed => Ok(match self.identity_of(path).await {
                Ok(Some(there)) if there.is_file_of(&identity) => End::Left,
                Ok(_) | Err(_) => End::Gone,
            }),
        }
    }

    /// Which object is under `path` now, if there is one.
    async fn identity_of(&self, path: &str) -> Result<Option<Identity>> {
        match &self.backend {
            Backend::Memory(shelf) => Ok(shelf.open(path).as_ref().map(Identity::of_bytes)),
            Backend::Fs(folder) => {
                let full = folder.root().join(path);
                let look = move |_: &_| {
                    let looked = place::look(&full).ok();
                    Ok(looked.map(|(meta, _)| Identity::of(&meta)))
                };
                self.disk.run(Touch::Load, path, look).await
            }
        }
    }
}
