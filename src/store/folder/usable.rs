//! Whether a folder can be used as a store, and for what.

use std::{
    fmt::Display,
    fs,
    io::{self, Write},
    path::Path,
    time::{Duration, SystemTime},
};

use tempfile::NamedTempFile;

use super::files::Files;
use crate::error::{Error, Result};

/// A temporary file this old belongs to no living process.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Whether the folder is there, to be looked through; nothing is written to find out whether that is possible.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it isn't.
pub(super) fn require_readable(files: &Files) -> Result<()> {
    let Err(e) = fs::read_dir(files.root()) else {
        return Ok(());
    };
    let why: &dyn Display = match e.kind() {
        io::ErrorKind::NotFound => {
            &"there is no such folder; a mirror makes it when it first serves"
        }
        io::ErrorKind::NotADirectory => &"it is not a folder",
        _ => &e,
    };
    let root = files.root().display();
    let said = format!("`store.path`: the folder {root} can't be looked through: {why}");
    Err(Error::config(said).with_source(e))
}

/// Makes the folder when it is missing, and finds out whether it can be written to.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when it can't.
pub(super) fn require_writable(files: &Files, now: SystemTime) -> Result<()> {
    match why_unwritable(files, now)? {
        None => Ok(()),
        Some(unwritable) => Err(refused(&unwritable).with_source(unwritable)),
    }
}

/// Makes the folder when it is missing, and finds out why it can't be written to, if so.
///
/// # Errors
/// [`Kind::Config`](crate::error::Kind::Config) when there is none and none can be made, and when it may neither be written to nor looked through.
pub(super) fn why_unwritable(files: &Files, now: SystemTime) -> Result<Option<Error>> {
    let root = files.root();
    let made = fs::create_dir_all(root);
    match (fs::metadata(root), made) {
        (Ok(meta), _) if !meta.is_dir() => {
            return Err(refused(&unusable(root, &"it is not a folder")));
        }
        (Err(_), Err(e)) => return Err(refused(&unusable(root, &e)).with_source(e)),
        (Ok(_), _) | (Err(_), Ok(())) => {}
    }
    let Err(e) = try_to_write(files) else {
        remove_abandoned(&files.aside(), now);
        return Ok(None);
    };
    match fs::read_dir(root) {
        Err(unread) if unread.kind() == io::ErrorKind::PermissionDenied => {
            Err(refused(&unusable(root, &unread)).with_source(unread))
        }
        Ok(_) | Err(_) => Ok(Some(Error::store(unusable(root, &e)).with_source(e))),
    }
}

/// What to say of a folder that can't be used.
pub(super) fn unusable(root: &Path, why: &dyn Display) -> String {
    format!("the folder {} can't be used: {why}", root.display())
}

fn refused(why: &dyn Display) -> Error {
    Error::config(format!(
        "`store.path`: {why}; it must be a folder this program may write to"
    ))
}

/// Permissions, read-only mounts and quotas are all found by doing it.
fn try_to_write(files: &Files) -> io::Result<()> {
    let temporary = files.aside();
    fs::create_dir_all(&temporary)?;
    let mut file = NamedTempFile::new_in(&temporary)?;
    file.write_all(b"writable?")?;
    // Some file systems notice only then that there is no room.
    match files.sync() {
        true => file.as_file().sync_all(),
        false => Ok(()),
    }
}

/// Removes what a killed process left behind; failing to is no reason not to start.
fn remove_abandoned(temporary: &Path, now: SystemTime) {
    let entries = fs::read_dir(temporary).into_iter().flatten().flatten();
    for entry in entries {
        let age = entry
            .metadata()
            .and_then(|m| m.modified())
            .map(|written| now.duration_since(written).unwrap_or_default());
        if age.is_ok_and(|age| age > ABANDONED) {
            tracing::info!("removing the left-over {}", entry.path().display());
            let _ = fs::remove_file(entry.path());
        }
    }
}
