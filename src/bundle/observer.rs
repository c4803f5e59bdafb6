//! [`Observer`]: who looks on while something long is done, and may end it.

use std::io::{self, Read};

use crate::error::{Error, Result};

/// Who looks on.
pub struct Observer<'a> {
    /// Told how many bytes there are to do, when that is known.
    pub total: &'a dyn Fn(u64),
    /// Told how many more bytes have been done.
    pub bytes: &'a dyn Fn(u64),
    /// Given a line about something that is wrong and doesn't end the job.
    pub say: &'a dyn Fn(&str),
    /// Asked again and again whether the job is to end before it is done; it ends with an error then, and leaves nothing half-written.
    pub is_over: &'a dyn Fn() -> bool,
}

impl Observer<'_> {
    /// Fails when the job is to end.
    pub(super) fn go_on(&self) -> Result<()> {
        match (self.is_over)() {
            true => Err(Error::cancelled("the job was ended before it was done")),
            false => Ok(()),
        }
    }

    /// The same bytes, which can be read until the job is to end.
    pub(super) fn reading<R: Read>(&self, from: R) -> impl Read {
        Stoppable {
            from,
            observer: self,
        }
    }
}

struct Stoppable<'a, R> {
    from: R,
    observer: &'a Observer<'a>,
}

impl<R: Read> Read for Stoppable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.observer.go_on().map_err(io::Error::other)?;
        self.from.read(buffer)
    }
}
