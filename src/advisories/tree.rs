//! A database that is a folder: how it looks from outside, and what is in it.
//!
//! Links are followed only where they stay in the folder, as in one that a cluster mounts from a configuration; nothing but plain files is opened.

use std::{
    fs::{self, Metadata, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustix::fs::OFlags;
use walkdir::{DirEntry, WalkDir};

use super::{
    failed::failed,
    file_format::FileFormat,
    gathering::{Gathered, Gathering, LARGEST_FILE, MOST_FILES},
};
use crate::error::{Error, Result};

/// No database has folders in folders deeper than this.
const DEEPEST: usize = 8;
/// Nor more files and folders of whatever kind.
const MOST_ENTRIES: usize = 4 * MOST_FILES;

/// How a database looks from outside: when that changes, it is to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Names, sizes and times.
    signature: u64,
    /// When any of it was last written. Times that a copy has kept are those of the original.
    pub(super) as_of: SystemTime,
}

/// Looks at the database at `path`, a folder or a file, without opening what is in it.
pub(super) fn look(path: &Path) -> Result<Fingerprint> {
    let meta = fs::metadata(path).map_err(failed)?;
    let mut seen = Seen::new(&meta);
    if meta.is_dir() {
        let synced = fs::metadata(path.join(".git/FETCH_HEAD"));
        visit(path, |file| {
            match file {
                Ok(file) => seen.add(file.below, &file.meta),
                Err(trouble) => trouble.path.hash(&mut seen.hasher),
            }
            Ok(())
        })?;
        // git writes it at each fetch, at one that brings nothing too.
        if let Ok(synced) = synced {
            seen.as_of = seen.as_of.max(modified(&synced));
        }
    }
    Ok(Fingerprint {
        signature: seen.hasher.finish(),
        as_of: seen.as_of,
    })
}

struct Seen {
    hasher: DefaultHasher,
    as_of: SystemTime,
}

impl Seen {
    fn new(root: &Metadata) -> Self {
        let mut seen = Self {
            hasher: DefaultHasher::new(),
            as_of: SystemTime::UNIX_EPOCH,
        };
        // A folder's own time changes when anything is put into it, a log too.
        if !root.is_dir() {
            seen.add(Path::new(""), root);
        }
        seen
    }

    fn add(&mut self, path: &Path, meta: &Metadata) {
        let modified_at = (meta.mtime(), meta.mtime_nsec());
        // Who may read it changes this time alone.
        let changed_at = (meta.ctime(), meta.ctime_nsec());
        let state = (meta.len(), modified_at, changed_at, meta.ino());
        (path, state).hash(&mut self.hasher);
        self.as_of = self.as_of.max(modified(meta));
    }
}

fn modified(meta: &Metadata) -> SystemTime {
    meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Reads the folder at `root`.
pub(super) fn read(root: &Path) -> Result<Gathered> {
    let mut gathering = Gathering::default();
    visit(root, |file| {
        let file = match file {
            Ok(file) => file,
            Err(Trouble { path, why }) => {
                gathering.pass_over(&path, &why);
                return Ok(());
            }
        };
        if let Err(why) = gathering.admit(file.meta.len())? {
            gathering.pass_over(file.below, &why);
            return Ok(());
        }
        match content(&file.at) {
            Ok(content) => gathering.add(file.below, file.format, &content),
            Err(e) => {
                gathering.pass_over(file.below, &e);
                Ok(())
            }
        }
    })?;
    gathering.finish()
}

/// Shows every file that may be an advisory, and can be read, with its path in the folder.
pub(super) fn each_file(
    root: &Path,
    mut show: impl FnMut(&Path, &[u8]) -> Result<()>,
) -> Result<()> {
    visit(root, |file| match file {
        Ok(file) if file.meta.len() <= LARGEST_FILE => match content(&file.at) {
            Ok(content) => show(file.below, &content),
            Err(_) => Ok(()),
        },
        Ok(_) | Err(_) => Ok(()),
    })
}

/// A file of a database that may be an advisory.
struct Candidate<'a> {
    /// Its path in the database.
    below: &'a Path,
    /// Where it can be opened: at the end of a link, if it is one.
    at: PathBuf,
    meta: Metadata,
    format: FileFormat,
}

/// What couldn't be looked at.
struct Trouble {
    path: PathBuf,
    why: String,
}

/// Shows every file that may be an advisory, by name, and what couldn't be looked at.
fn visit(
    root: &Path,
    mut show: impl FnMut(Result<Candidate<'_>, Trouble>) -> Result<()>,
) -> Result<()> {
    let real = fs::canonicalize(root).map_err(failed)?;
    let is_shown = |entry: &DirEntry| {
        let name = entry.file_name().as_encoded_bytes();
        entry.depth() == 0 || !name.starts_with(b".")
    };
    let entries = WalkDir::new(&real)
        .max_depth(DEEPEST)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(is_shown);
    for (number, entry) in entries.enumerate() {
        if number >= MOST_ENTRIES {
            return Err(Error::config(format!(
                "it has more than {MOST_ENTRIES} files and folders"
            )));
        }
        let entry = match entry {
            Ok(entry) => entry,
            // Something that went away while it was looked at.
            Err(e) if is_missing(e.io_error()) && e.depth() > 0 => continue,
            Err(e) if e.depth() == 0 => return Err(failed(e)),
            Err(e) => {
                let path = e.path().unwrap_or(&real);
                let path = path.strip_prefix(&real).unwrap_or(path).to_owned();
                let why = e.to_string();
                show(Err(Trouble { path, why }))?;
                continue;
            }
        };
        let Ok(below) = entry.path().strip_prefix(&real) else {
            continue;
        };
        let Some(format) = FileFormat::of(below) else {
            continue;
        };
        match plain_file(&real, &entry) {
            Ok(Some((at, meta))) => show(Ok(Candidate {
                below,
                at,
                meta,
                format,
            }))?,
            Ok(None) => {}
            Err(why) => {
                let path = below.to_owned();
                show(Err(Trouble { path, why }))?;
            }
        }
    }
    Ok(())
}

fn is_missing(error: Option<&io::Error>) -> bool {
    error.is_some_and(|e| e.kind() == io::ErrorKind::NotFound)
}

/// Where the file is that an entry is or leads to; nothing for a folder.
fn plain_file(root: &Path, entry: &DirEntry) -> Result<Option<(PathBuf, Metadata)>, String> {
    let kind = entry.file_type();
    if kind.is_dir() {
        return Ok(None);
    }
    let at = match kind.is_symlink() {
        false => entry.path().to_owned(),
        true => {
            let at = fs::canonicalize(entry.path()).map_err(|e| e.to_string())?;
            if !at.starts_with(root) {
                return Err("it is a link that leads out of the folder".to_owned());
            }
            at
        }
    };
    match fs::symlink_metadata(&at) {
        Ok(meta) if meta.is_file() => Ok(Some((at, meta))),
        Ok(meta) if meta.is_dir() => Ok(None),
        Ok(_) => Err("it is no file".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// What is in a file that was small a moment ago.
fn content(path: &Path) -> io::Result<Vec<u8>> {
    // Not through a link that has come since, and without waiting for a writer.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut content = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut content)?;
    match content.len() as u64 > LARGEST_FILE {
        true => Err(io::Error::other("it is larger than any advisory")),
        false => Ok(content),
    }
}
