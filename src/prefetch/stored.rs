//! What a store has before a run, and what it has kept after it.

use crate::{
    domain::{CrateKey, IndexKey, Key, RegistryName},
    error::Result,
    store::{Links, Next, Sight, Store},
};

/// The index files that a store has of these registries.
///
/// # Errors
/// [`Kind::Store`](crate::error::Kind::Store) when any of the storage can't be read.
pub async fn stored_index_files(store: &Store, of: Vec<RegistryName>) -> Result<Vec<IndexKey>> {
    let visit = move |found: &mut Result<Vec<IndexKey>>, sight: Sight| match (sight, &mut *found) {
        (Sight::Object(stored), Ok(keys)) => {
            if let Some(key) = stored.key.index()
                && of.contains(&key.registry)
            {
                keys.push(*key);
            }
            Next::Go
        }
        (Sight::Unread(e), Ok(_)) => {
            *found = Err(e);
            Next::Stop
        }
        (Sight::Odd(..) | Sight::Removed(_) | Sight::Unchanged(_), _) | (_, Err(_)) => Next::Go,
    };
    store.each(Links::Followed, Ok(Vec::new()), visit).await?
}

/// The fetched files that the store hasn't kept. A full disk keeps nobody from being served, but whoever carries the store away has to know.
pub async fn not_stored(store: &Store, kept: &[CrateKey]) -> Vec<CrateKey> {
    let mut lost = Vec::new();
    for key in kept {
        let index = Key::from(IndexKey::new(key.registry, key.id.name));
        for part in [Key::from(*key), index] {
            // What can't be looked at can't be carried away either.
            if !matches!(store.size_of(&part).await, Ok(Some(_))) {
                lost.push(*key);
                break;
            }
        }
    }
    lost
}
