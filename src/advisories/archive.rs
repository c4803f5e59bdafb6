//! A database that is an archive: tar and zstd, as bundles carry it.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use super::{
    failed::failed,
    file_format::FileFormat,
    gathering::{Gathered, Gathering, MOST_BYTES},
};
use crate::{
    domain::{TarChoice, TarProgress, TarStream, TarVisitor},
    error::{Error, Kind, Result},
};

/// The largest window a decoder makes room for, 8 MiB: what zstd needs up to its level 19.
const WINDOW_LOG: u32 = 23;
/// No archive is unpacked further. There may be more in it than advisories.
const MOST_UNPACKED: u64 = 2 * MOST_BYTES;

/// Reads the archive at `path`. Nothing of it is written anywhere.
pub(super) fn read(path: &Path) -> Result<Gathered> {
    let file = File::open(path).map_err(failed)?;
    read_from(file)
}

/// The same from wherever its bytes come.
pub(super) fn read_from(source: impl Read) -> Result<Gathered> {
    let unreadable = |e: io::Error| {
        Error::config(format!(
            "it is neither a folder nor an archive in tar and zstd: {e}"
        ))
        .with_source(e)
    };
    let mut unpacked = zstd::Decoder::new(source).map_err(unreadable)?;
    unpacked.window_log_max(WINDOW_LOG).map_err(unreadable)?;
    let mut members = Members {
        gathering: Gathering::default(),
        failed: None,
    };
    let mut tar = TarStream::default();
    let mut block = vec![0; 128 << 10];
    let mut left = MOST_UNPACKED;
    let mut has_begun = false;
    loop {
        let read = unpacked.read(&mut block).map_err(unreadable)?;
        left = left.checked_sub(read as u64).ok_or_else(|| {
            let most = bytesize::ByteSize(MOST_UNPACKED).display().iec();
            Error::config(format!("it unpacks to more than {most}"))
        })?;
        if read == 0 {
            break;
        }
        has_begun = true;
        let pushed = tar.push(&block[..read], &mut members);
        let progress = pushed.map_err(|e| e.of_kind(Kind::Config))?;
        if let Some(failed) = members.failed {
            return Err(failed);
        }
        if progress == TarProgress::Done {
            return members.gathering.finish();
        }
    }
    // Half an archive is half a database: the other half would be let through.
    Err(Error::config(match has_begun {
        true => "it is an archive that has lost its end",
        false => "it is empty",
    }))
}

struct Members {
    gathering: Gathering,
    failed: Option<Error>,
}

fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

impl TarVisitor for Members {
    fn choose(&mut self, path: &[u8], size: u64) -> TarChoice {
        let path = path_of(path);
        if FileFormat::of(path).is_none() {
            return TarChoice::Skip;
        }
        match self.gathering.admit(size) {
            Ok(Ok(())) => TarChoice::Take,
            Ok(Err(why)) => {
                self.gathering.pass_over(path, &why);
                TarChoice::Skip
            }
            Err(e) => {
                self.failed = Some(e);
                TarChoice::Skip
            }
        }
    }

    fn file(&mut self, path: &[u8], content: Vec<u8>) -> TarProgress {
        let path = path_of(path);
        let added = match FileFormat::of(path) {
            Some(format) => self.gathering.add(path, format, &content),
            None => Ok(()),
        };
        match added {
            Ok(()) if self.failed.is_none() => TarProgress::Going,
            Ok(()) => TarProgress::Done,
            Err(e) => {
                self.failed = Some(e);
                TarProgress::Done
            }
        }
    }
}
