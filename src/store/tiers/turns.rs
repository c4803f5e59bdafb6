//! [`WriteTurns`]: who may write an object into the folder. A copy of what the bucket had must not end up over something newer.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use tokio::sync::{Mutex, OwnedMutexGuard};

/// Objects share so many turns: two that have nothing to do with one another seldom wait for each other.
const TURNS: usize = 256;

/// One turn for each object, more or less. Cheap to clone.
#[derive(Clone)]
pub(super) struct WriteTurns(Arc<[Arc<Mutex<()>>]>);

/// Leave to write an object.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Default for WriteTurns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Arc::default()).collect())
    }
}

impl WriteTurns {
    fn of(&self, path: &str) -> &Arc<Mutex<()>> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        &self.0[hasher.finish() as usize % TURNS]
    }

    /// Waits for the object's turn.
    pub(super) async fn wait(&self, path: &str) -> Turn {
        self.of(path).clone().lock_owned().await
    }

    /// The object's turn if nobody has it.
    pub(super) fn try_take(&self, path: &str) -> Option<Turn> {
        self.of(path).clone().try_lock_owned().ok()
    }
}
