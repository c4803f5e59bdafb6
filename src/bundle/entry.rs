//! [`BundleEntry`]: one object of a bundle, as the manifest has it; and [`Entries`] and [`ScratchRecords`], lists of them in scratch files.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    ops::Range,
};

use serde::{Deserialize, Serialize};

use super::format::{MAX_FILE, MAX_LINE, MAX_RECORD};
use crate::{
    domain::{Key, RegistryName, Sha256},
    error::{Error, Result},
};

/// One object of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleEntry {
    /// Its path in the bundle, which is the one it has in a store.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Of an index record that isn't gone: the digest of the index file in it. Two records with the same one say the same of the crate, though upstream
    /// may have confirmed one of them later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Sha256>,
}

impl BundleEntry {
    /// What object it is, if it can be one.
    ///
    /// # Errors
    /// [`Kind::BadRequest`](crate::error::Kind::BadRequest) for a path that no object has (with `..` in it, absolute, or of a registry that can't be called so),
    /// a size that no object has, or a file whose digest isn't the one in its path.
    pub fn key(&self) -> Result<Key> {
        let wrong = |why: String| {
            let path = shown(&self.path);
            Error::bad_request(format!("{path:?} {why}"))
        };
        let key = Key::from_path(&self.path).ok_or_else(|| {
            wrong("is not the path of an index record, a crate, or a part of a toolchain".into())
        })?;
        let (limit, agrees) = match key {
            Key::Record(_) => (MAX_RECORD, true),
            Key::File(key) => (MAX_FILE, key.sha256() == self.sha256 && self.body.is_none()),
        };
        if self.size > limit {
            let size = self.size;
            return Err(wrong(format!(
                "has {size} bytes, and {limit} is the most that is carried"
            )));
        }
        if !agrees {
            return Err(wrong("has another checksum than its name says".into()));
        }
        Ok(key)
    }

    /// Where it stands among others: see the order in the module's words.
    pub fn position(&self) -> Position<'_> {
        Position::of(&self.path)
    }

    /// Whether carrying this to a store that has `there` under the same path would change nothing.
    pub(super) fn is_known_as(&self, there: &Self) -> bool {
        let same_body = self.body.is_some() && self.body == there.body;
        same_body || self.sha256 == there.sha256
    }
}

/// A path's position in the order of a bundle: registry, path of the index file, record before crates, name of the file; of toolchains: folder, documents before files,
/// name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position<'a>(&'a str, &'a str, bool, &'a str);

impl<'a> Position<'a> {
    fn of(path: &'a str) -> Self {
        let (registry, rest) = path.split_once('/').unwrap_or((path, ""));
        let (kind, rest) = rest.split_once('/').unwrap_or((rest, ""));
        match (kind, rest.rsplit_once('/')) {
            ("crates", Some((index, file))) => Self(registry, index, true, file),
            ("dist" | "rustup", _) if registry == RegistryName::toolchains().as_str() => {
                let (folder, file) = path.rsplit_once('/').unwrap_or((path, ""));
                let is_file = Key::from_path(path).is_some_and(|key| key.sha256().is_some());
                let folder = folder.get(registry.len() + 1..).unwrap_or("");
                Self("toolchains", folder, is_file, file)
            }
            _ => Self(registry, rest, false, ""),
        }
    }
}

/// Index records in a file, one after the other, as they were when they were looked at: a running mirror writes each that is in use once an hour. What
/// is in .crate files never changes, so these needn't be kept.
pub(super) struct ScratchRecords {
    file: BufWriter<File>,
    length: u64,
}

impl ScratchRecords {
    pub(super) fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            length: 0,
        }
    }

    /// How long they are together.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(scratch)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// What was pushed, from the record on that starts at `start`. One can be read at a time, as of [`Entries`].
    pub(super) fn read(&mut self, start: u64) -> Result<impl Read + use<>> {
        self.file.flush().map_err(scratch)?;
        let mut file = self.file.get_ref().try_clone().map_err(scratch)?;
        file.seek(SeekFrom::Start(start)).map_err(scratch)?;
        Ok(BufReader::with_capacity(64 << 10, file))
    }
}

/// A text of unknown length as it may stand in a message.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// A list of entries in a file, one JSON object a line, as they stand in a manifest.
pub(super) struct Entries {
    file: BufWriter<File>,
    length: u64,
    pub(super) count: u64,
    /// The sum of the sizes.
    pub(super) bytes: u64,
}

impl Entries {
    pub(super) fn new(file: File) -> Self {
        Self {
            file: BufWriter::new(file),
            length: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// How long the list is, in bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn push(&mut self, entry: &BundleEntry) -> Result<()> {
        let mut line = line(entry);
        line.push(b'\n');
        self.file.write_all(&line).map_err(scratch)?;
        self.length += line.len() as u64;
        self.count += 1;
        self.bytes += entry.size;
        Ok(())
    }

    /// Bytes of the file from within `range`, which starts and ends with a line.
    pub(super) fn bytes(&mut self, range: Range<u64>) -> Result<impl BufRead + use<>> {
        self.file.flush().map_err(scratch)?;
        let mut file = self.file.get_ref().try_clone().map_err(scratch)?;
        file.seek(SeekFrom::Start(range.start)).map_err(scratch)?;
        Ok(BufReader::with_capacity(
            64 << 10,
            file.take(range.end - range.start),
        ))
    }

    /// The entries whose lines are within `range`. One such list can be read at a time, and nothing can be added meanwhile: they share their position
    /// in the file.
    pub(super) fn read(
        &mut self,
        range: Range<u64>,
    ) -> Result<impl Iterator<Item = Result<BundleEntry>> + use<>> {
        let lines = self.bytes(range)?.split(b'\n');
        Ok(lines.map(|line| {
            let line = line.map_err(scratch)?;
            serde_json::from_slice(&line).map_err(|e| {
                Error::store(format!("a scratch file has changed: {e}")).with_source(e)
            })
        }))
    }
}

/// An entry's line in a manifest, without what separates it from the next.
pub(super) fn line(entry: &BundleEntry) -> Vec<u8> {
    let line = serde_json::to_vec(entry).expect("strings and numbers");
    debug_assert!(line.len() < MAX_LINE, "a key's path is short");
    line
}

/// An [`Error`] about a scratch file.
pub(super) fn scratch(e: std::io::Error) -> Error {
    Error::store(format!("a temporary file in the store can't be used: {e}")).with_source(e)
}
