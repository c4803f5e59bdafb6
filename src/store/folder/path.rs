//! [`AtPath`]: what is under an object's path. Only plain files are ever opened, and opening never waits.
//!
//! A store is a folder, and anybody may have put anything into it. A named pipe keeps who opens it waiting for a writer, and a device does whatever
//! it is for. So the kind is looked at before the file is opened, opening doesn't block, and the kind is looked at again in what was opened.
//!
//! Links are followed, wherever they lead: a store may be spread over disks, and what a link leads to is checked like everything else. Nothing is
//! changed or removed at its other end: what is removed or replaced is the link.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use rustix::fs::OFlags;

use crate::store::odd::Odd;

/// What is under an object's path.
pub(super) enum AtPath {
    File(OpenFile),
    Odd(Odd),
    Empty,
}

/// A plain file, open for reading.
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) meta: Metadata,
    pub(super) via: Via,
}

/// How a file was found under its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// It lies there.
    Name,
    /// A link lies there that leads to it.
    Link,
}

/// What is at `path` and how it is reached, without opening it; the error is of kind [`NotFound`](io::ErrorKind::NotFound) when nothing is.
pub(super) fn look(path: &Path) -> io::Result<(Metadata, Via)> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_symlink() {
        return Ok((meta, Via::Name));
    }
    match fs::metadata(path) {
        Ok(target) => Ok((target, Via::Link)),
        // The link itself, then: that is what is there.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok((meta, Via::Link))
        }
        Err(e) => Err(e),
    }
}

/// What this is if it is no plain file.
pub(super) fn odd(meta: &Metadata) -> Option<Odd> {
    let kind = meta.file_type();
    if kind.is_file() {
        return None;
    }
    Some(if kind.is_dir() {
        Odd::Folder
    } else if kind.is_fifo() {
        Odd::Pipe
    } else if kind.is_socket() {
        Odd::Socket
    } else if kind.is_symlink() {
        Odd::DeadLink
    } else {
        Odd::Device
    })
}

/// Opens the file at `path`, if it is one.
pub(super) fn open(path: &Path) -> io::Result<AtPath> {
    let via = match look(path) {
        Ok((meta, via)) => match odd(&meta) {
            Some(odd) => return Ok(AtPath::Odd(odd)),
            None => via,
        },
        Err(e) if is_missing(&e) => return Ok(AtPath::Empty),
        Err(e) => return Err(e),
    };
    let unblocked = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(unblocked as i32)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if is_missing(&e) => return Ok(AtPath::Empty),
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    Ok(match odd(&meta) {
        Some(odd) => AtPath::Odd(odd),
        None => AtPath::File(OpenFile { file, meta, via }),
    })
}

/// Not there. Below a file, which no key makes, is another matter: something is in the way then.
pub(super) fn is_missing(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn odd_at(path: &Path) -> Option<Odd> {
        match open(path).expect("a look") {
            AtPath::Odd(odd) => Some(odd),
            AtPath::File(_) | AtPath::Empty => None,
        }
    }

    /// Opening a pipe used to wait for a writer, for ever.
    #[test]
    fn what_is_no_file_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).expect("a folder");
        let _listener = UnixListener::bind(at("socket")).expect("a socket");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            at("pipe"),
            rustix::fs::FileType::Fifo,
            0o644.into(),
            0,
        )
        .expect("a pipe");
        symlink("nothing", at("dead")).expect("a link");
        symlink("pipe", at("to-pipe")).expect("a link");
        symlink("/dev/null", at("to-device")).expect("a link");
        for (name, expected) in [
            ("folder", Odd::Folder),
            ("socket", Odd::Socket),
            ("pipe", Odd::Pipe),
            ("dead", Odd::DeadLink),
            ("to-pipe", Odd::Pipe),
            ("to-device", Odd::Device),
        ] {
            assert_eq!(odd_at(&at(name)), Some(expected), "{name}");
        }
        fs::write(at("file"), "x").expect("a file");
        symlink("file", at("to-file")).expect("a link");
        for (name, by) in [("file", Via::Name), ("to-file", Via::Link)] {
            let Ok(AtPath::File(opened)) = open(&at(name)) else {
                panic!("{name} is a file");
            };
            assert_eq!((opened.meta.len(), opened.via), (1, by));
        }
        assert!(matches!(open(&at("none")), Ok(AtPath::Empty)));
        assert!(open(&at("file/below")).is_err());
    }
}
