//! [`Database`]: the advisories as they were read, and how old they are.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{archive, failed::unusable, gathering::Gathered, tree};
use crate::{error::Result, policy::advisories::Advisories};

/// The advisories of a database, as they were read.
#[derive(Clone, Debug)]
pub struct Database {
    /// What they say.
    pub advisories: Arc<Advisories>,
    /// When the database was last written to, or fetched by git: what is newer isn't in it.
    pub as_of: SystemTime,
    /// When it was read.
    pub read_at: SystemTime,
    /// How many files in it could be advisories.
    pub files: usize,
    /// How many of them can't be read, and so are passed over.
    pub unreadable: usize,
    /// Counts from 1 what was read and said something new.
    pub generation: u64,
}

impl Database {
    /// Reads the database at `path`: a folder with RustSec's advisories in `crates/` or OSV JSON anywhere, or such a folder in an archive in tar and zstd. Blocks.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) with the path when it can't be read, has no advisory in it, or is larger than any such database.
    pub fn read(path: &Path, now: SystemTime) -> Result<Self> {
        let look = tree::look(path).map_err(|e| unusable(path, &e))?;
        let gathered = gather(path).map_err(|e| unusable(path, &e))?;
        Ok(Self::of(gathered, look.as_of, now))
    }

    pub(super) fn of(gathered: Gathered, as_of: SystemTime, now: SystemTime) -> Self {
        Self {
            advisories: Arc::new(gathered.advisories),
            as_of,
            read_at: now,
            files: gathered.files,
            unreadable: gathered.unreadable,
            generation: 1,
        }
    }

    /// How old the data is at `now`.
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.as_of).unwrap_or_default()
    }
}

/// Reads what is at `path`.
pub(super) fn gather(path: &Path) -> Result<Gathered> {
    match path.is_dir() {
        true => tree::read(path),
        false => archive::read(path),
    }
}
