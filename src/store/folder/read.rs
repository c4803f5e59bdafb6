//! Reading a file, which counts as using it.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    time::{Duration, SystemTime},
};

use super::{
    files::Files,
    identity::{Identity, Seen},
    path::{AtPath, OpenFile, Via, open},
};
use crate::{
    error::Result,
    store::{backend::Admit, disk::Pulse, failed::failed},
};

/// A file's modification time is its last use, at this grain: touching it at every load would turn reads into writes.
const USE_GRAIN: Duration = Duration::from_secs(3600);
/// What is read between two signs of life.
const STRIDE: u64 = 1 << 20;

/// A file that was found under an object's path.
pub(super) enum FoundFile {
    /// Its bytes went to who admitted it.
    Taken(Seen),
    /// There was no memory for it.
    Large {
        file: File,
        /// As it was when the file was opened.
        length: u64,
        seen: Seen,
    },
}

impl Files {
    /// Reads the object under `path` if it is admitted, and has it count as used from `used` on.
    pub(super) fn load(
        &self,
        path: &str,
        used: Option<SystemTime>,
        pulse: &Pulse,
        admit: Admit,
    ) -> Result<Option<FoundFile>> {
        let path = self.at(path);
        find(&path, used, pulse, admit).map_err(|e| failed("reading", &path, e))
    }

    /// The size of the object under `path`, which counts as used from now on; `None` when it isn't there.
    pub(super) fn mark_used(&self, path: &str, now: SystemTime) -> Result<Option<u64>> {
        let path = self.at(path);
        match open_to_use(&path, Some(now)) {
            Ok(opened) => Ok(opened.map(|(opened, _)| opened.meta.len())),
            Err(e) => Err(failed("looking at", &path, e)),
        }
    }
}

/// Opens the file at `path` and reads it whole if `admit` grants the memory.
fn find(
    path: &Path,
    used: Option<SystemTime>,
    pulse: &Pulse,
    admit: Admit,
) -> io::Result<Option<FoundFile>> {
    let Some((OpenFile { file, meta, .. }, written)) = open_to_use(path, used)? else {
        return Ok(None);
    };
    pulse.beat();
    let length = meta.len();
    let seen = used.map_or(Seen::Fresh, |now| {
        Seen::new(Identity::of(&meta), written, now)
    });
    let Some(take) = admit(length) else {
        return Ok(Some(FoundFile::Large { file, length, seen }));
    };
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    // No more than the memory is leased for, and one byte that nobody should find: the file may be growing.
    let mut file = file.take(length + 1);
    while (&mut file).take(STRIDE).read_to_end(&mut bytes)? > 0 {
        pulse.beat();
    }
    take(bytes.into());
    Ok(Some(FoundFile::Taken(seen)))
}

/// Opens the file at `path`, if there is one, and has its modification time say that it is used. With it comes when it was modified before that.
fn open_to_use(
    path: &Path,
    used: Option<SystemTime>,
) -> io::Result<Option<(OpenFile, SystemTime)>> {
    let mut opened = match open(path)? {
        AtPath::File(opened) => opened,
        AtPath::Odd(odd) => return Err(odd.error()),
        AtPath::Empty => return Ok(None),
    };
    let before = opened.meta.modified()?;
    // Where a link leads to is not ours to change.
    if opened.via == Via::Name
        && let Some(now) = used
        && now.duration_since(before).is_ok_and(|age| age > USE_GRAIN)
    {
        // Only eviction reads it; a store that can't be written to can still be served.
        let _ = opened.file.set_modified(now);
        opened.meta = opened.file.metadata()?;
    }
    Ok(Some((opened, before)))
}
