//! [`Place`]: what is under an object's path. Only plain files are ever opened, and opening never waits.
//!
//! A store is a folder, and anybody may have put anything into it. A named pipe keeps who opens it waiting for a writer, and a device does whatever
//! it is for. So the kind is looked at before the file is opened, opening doesn't block, and the kind is looked at again in what was opened.
//!
//! Links are followed, wherever they lead: a store may be spread over disks, and what a link leads to is checked like everything else. Nothing is
//! changed or removed at its other end: what is removed or replaced is the link.

use std::{
    fmt,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt},
    path::Path,
};

use bytes::Bytes;
use rustix::fs::OFlags;

/// What is under an object's path.
pub(super) enum Place {
    File(Opened),
    Odd(Odd),
    Empty,
}

/// A plain file, open for reading.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) meta: Metadata,
    pub(super) reached: Reached,
}

/// How a file was found under its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// It lies there.
    Directly,
    /// A link lies there that leads to it.
    ByLink,
}

/// What may be in an object's place and is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Odd {
    /// A folder.
    Folder,
    /// A named pipe.
    Pipe,
    /// A socket.
    Socket,
    /// A device.
    Device,
    /// A link to nothing.
    DeadLink,
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "a folder",
            Self::Pipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
            Self::DeadLink => "a link that leads nowhere",
        })
    }
}

impl Odd {
    /// What this is if it is no plain file.
    pub(super) fn of(meta: &Metadata) -> Option<Self> {
        let kind = meta.file_type();
        if kind.is_file() {
            return None;
        }
        Some(if kind.is_dir() {
            Self::Folder
        } else if kind.is_fifo() {
            Self::Pipe
        } else if kind.is_socket() {
            Self::Socket
        } else if kind.is_symlink() {
            Self::DeadLink
        } else {
            Self::Device
        })
    }

    /// What to say where a file was to be read.
    pub(super) fn error(self) -> io::Error {
        io::Error::other(format!("it is {self} and not a file"))
    }
}

/// Which file it is, and in which state: what tells it from another one that has been put into its place, or from itself after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    }

    /// Whether it is the same file, whatever its state.
    pub(super) fn is_file_of(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    pub(super) fn of_bytes(bytes: &Bytes) -> Self {
        Self {
            device: 0,
            inode: bytes.as_ptr() as u64,
            size: bytes.len() as u64,
            modified: (0, 0),
        }
    }
}

/// What is at `path` and how it is reached, without opening it; the error is of kind [`NotFound`](io::ErrorKind::NotFound) when nothing is.
pub(super) fn look(path: &Path) -> io::Result<(Metadata, Reached)> {
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_symlink() {
        return Ok((meta, Reached::Directly));
    }
    match fs::metadata(path) {
        Ok(target) => Ok((target, Reached::ByLink)),
        // The link itself, then: that is what is there.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok((meta, Reached::ByLink))
        }
        Err(e) => Err(e),
    }
}

/// Opens the file at `path`, if it is one.
pub(super) fn open(path: &Path) -> io::Result<Place> {
    let reached = match look(path) {
        Ok((meta, reached)) => match Odd::of(&meta) {
            Some(odd) => return Ok(Place::Odd(odd)),
            None => reached,
        },
        Err(e) if is_missing(&e) => return Ok(Place::Empty),
        Err(e) => return Err(e),
    };
    let unblocked = (OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(unblocked as i32)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if is_missing(&e) => return Ok(Place::Empty),
        Err(e) => return Err(e),
    };
    let meta = file.metadata()?;
    Ok(match Odd::of(&meta) {
        Some(odd) => Place::Odd(odd),
        None => Place::File(Opened {
            file,
            meta,
            reached,
        }),
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

    fn odd(path: &Path) -> Option<Odd> {
        match open(path).expect("a look") {
            Place::Odd(odd) => Some(odd),
            Place::File(_) | Place::Empty => None,
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
            assert_eq!(odd(&at(name)), Some(expected), "{name}");
        }
        fs::write(at("file"), "x").expect("a file");
        symlink("file", at("to-file")).expect("a link");
        for (name, by) in [("file", Reached::Directly), ("to-file", Reached::ByLink)] {
            let Ok(Place::File(opened)) = open(&at(name)) else {
                panic!("{name} is a file");
            };
            assert_eq!((opened.meta.len(), opened.reached), (1, by));
        }
        assert!(matches!(open(&at("none")), Ok(Place::Empty)));
        assert!(open(&at("file/below")).is_err());
    }
}
