//! Where pages aren't lent, nothing has pages of its own.

use std::{convert::Infallible, io};

pub(super) struct Pages(Infallible);

impl Pages {
    pub(super) fn of<'a>(
        _parts: impl Iterator<Item = &'a [u8]>,
        _length: usize,
    ) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        match self.0 {}
    }
}

pub(super) fn lend<S>(_socket: &S, _head: &[u8], _body: &[u8]) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}
