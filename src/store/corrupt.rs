//! Corrupt objects: only the very object that failed its check goes, and never under the hands of another program that is writing it.

use std::time::{Duration, Instant};

use super::{handle::Store, removal::Removal, version::ObjectVersion};
use crate::{domain::Key, error::Error};

/// For so long what somebody is writing is passed over.
const BEING_WRITTEN: Duration = Duration::from_secs(2);

impl Store {
    /// Removes the very object that failed its check, so that it is fetched again; by now another one may be in its place. What is being written is left
    /// alone, and passed over for a moment.
    pub(super) async fn drop_corrupt(&self, key: Key, version: &ObjectVersion, why: &str) -> Error {
        let path = key.path();
        self.metrics.corrupt.inc();
        let removed = self.backend.remove(&path, version).await;
        let end = match self.note_written(removed) {
            Ok(Removal::Written) => {
                if let Key::File(key) = key {
                    self.unreadable.add(key, Instant::now() + BEING_WRITTEN);
                }
                "left, because it is being written"
            }
            Ok(Removal::Removed | Removal::Gone | Removal::Replaced) | Err(_) => "dropped",
        };
        tracing::warn!(object = path, "a stored object is corrupt and {end}: {why}");
        // Whoever shows what is stored shows it no longer.
        let _ = self.announce_here().await;
        Error::corrupt(format!("the stored {path} was corrupt and is {end}: {why}"))
    }
}
