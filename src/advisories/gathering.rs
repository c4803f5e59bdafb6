//! [`Gathering`]: what has been read of a database so far, and what couldn't be.

use std::path::Path;

use super::file_format::FileFormat;
use crate::{
    error::{Error, Result},
    policy::advisories::{Advisories, Advisory, parse_osv, parse_rustsec},
};

/// No advisory is larger; the longest of RustSec has 12 KB.
pub(super) const LARGEST_FILE: u64 = 1 << 20;
/// No database has more files that could be advisories, or more bytes in them: all that OSV knows of crates are some thousand files.
pub(super) const MOST_FILES: usize = 100_000;
pub(super) const MOST_BYTES: u64 = 256 << 20;
/// So much memory may all of it take, as far as can be told.
const MOST_MEMORY: usize = 64 << 20;
/// So many files that can't be read are named in the log.
const NAMED: usize = 20;

/// What has been read of a database.
#[derive(Default)]
pub(super) struct Gathering {
    advisories: Vec<Advisory>,
    memory: usize,
    files: usize,
    bytes: u64,
    unreadable: usize,
}

/// All of a database.
pub(super) struct Gathered {
    pub(super) advisories: Advisories,
    pub(super) files: usize,
    pub(super) unreadable: usize,
}

impl Gathering {
    /// Makes room for a file of so many bytes, or says why it isn't to be read. A file that is too large is passed over, a database that is too large is none.
    pub(super) fn admit(&mut self, size: u64) -> Result<Result<(), String>> {
        self.files += 1;
        if size > LARGEST_FILE {
            return Ok(Err(format!("it has {size} bytes, which no advisory has")));
        }
        self.bytes += size;
        if self.files > MOST_FILES || self.bytes > MOST_BYTES {
            let most = bytesize::ByteSize(MOST_BYTES).display().iec();
            return Err(Error::config(format!(
                "it has more than {MOST_FILES} files or {most} of what could be advisories; name the part of it that is about crates"
            )));
        }
        Ok(Ok(()))
    }

    /// Reads a file.
    pub(super) fn add(&mut self, path: &Path, format: FileFormat, content: &[u8]) -> Result<()> {
        let read = match format {
            FileFormat::RustSec => std::str::from_utf8(content)
                .map_err(|e| Error::config("it is no text").with_source(e))
                .and_then(parse_rustsec)
                .map(|advisory| advisory.into_iter().collect()),
            FileFormat::Osv => parse_osv(content),
        };
        match read {
            Ok(read) => {
                self.memory += read.iter().map(Advisory::memory).sum::<usize>();
                self.advisories.extend(read);
            }
            Err(e) => self.pass_over(path, &e),
        }
        match self.memory > MOST_MEMORY {
            true => Err(Error::config(format!(
                "what it says takes more than {} of memory",
                bytesize::ByteSize(MOST_MEMORY as u64).display().iec()
            ))),
            false => Ok(()),
        }
    }

    /// Says that a file couldn't be read, and goes on.
    pub(super) fn pass_over(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        self.unreadable += 1;
        if self.unreadable <= NAMED {
            tracing::warn!("the advisory {path:?} is passed over: {why}");
        }
    }

    /// What it came to.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::error::Kind::Config) when no advisory is there.
    pub(super) fn finish(self) -> Result<Gathered> {
        if self.unreadable > NAMED {
            let more = self.unreadable - NAMED;
            tracing::warn!("and {more} more files of the database of advisories are passed over");
        }
        if self.advisories.is_empty() {
            return Err(Error::config(match self.files {
                0 => "there is no advisory in it".to_owned(),
                files => format!("none of its {files} files has an advisory about a crate"),
            }));
        }
        Ok(Gathered {
            advisories: self.advisories.into_iter().collect(),
            files: self.files,
            unreadable: self.unreadable,
        })
    }
}
