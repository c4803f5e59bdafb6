//! [`Odd`]: what isn't an object, where one should be.

use std::{fmt, io};

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
    /// What to say where an object was to be read.
    pub(super) fn error(self) -> io::Error {
        io::Error::other(format!("it is {self} and not a file"))
    }
}
