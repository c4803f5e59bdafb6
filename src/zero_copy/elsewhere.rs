//! Where pages aren't lent, nothing has pages of its own.

use std::{convert::Infallible, io};

pub(super) struct Pages(Infallible);

pub(super) struct NewPages(Infallible);

impl NewPages {
    pub(super) fn new(_length: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn freeze(self) -> io::Result<Pages> {
        match self.0 {}
    }
}

impl AsMut<[u8]> for NewPages {
    fn as_mut(&mut self) -> &mut [u8] {
        match self.0 {}
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
