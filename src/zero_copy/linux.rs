//! Lending as Linux does it: pages go into a pipe and from there into the socket, by reference.

use std::{
    cell::RefCell,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use memmap2::{Advice, Mmap, MmapMut};
use rustix::{
    io::Errno,
    net::{SendFlags, send},
    pipe::{IoSliceRaw, PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice, vmsplice},
};

/// How much a pipe is to hold, in bytes: the most that anybody may have (pipe(7)). With less there are more turns.
const ROOM: usize = 1 << 20;

/// Pages that can't be written to.
pub(super) struct Pages(Mmap);

/// Pages that are written to, and lent to nobody.
pub(super) struct NewPages(MmapMut);

impl NewPages {
    pub(super) fn new(length: usize) -> io::Result<Self> {
        let pages = MmapMut::map_anon(length)?;
        // Large pages are quicker to send; where there are none it goes without.
        let _ = pages.advise(Advice::HugePage);
        Ok(Self(pages))
    }

    pub(super) fn freeze(self) -> io::Result<Pages> {
        self.0.make_read_only().map(Pages)
    }
}

impl AsMut<[u8]> for NewPages {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl AsRef<[u8]> for Pages {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A pipe with nothing in it.
struct Pipe {
    end: OwnedFd,
    start: OwnedFd,
    nowhere: File,
}

thread_local! {
    /// This thread's; nobody else uses it, and nothing stays in it.
    static PIPE: RefCell<Option<Pipe>> = const { RefCell::new(None) };
}

/// Sends `head` and then of `body`, which lies in [`Pages`], as much as `socket` takes at once.
pub(super) fn lend(socket: &impl AsFd, head: &[u8], body: &[u8]) -> io::Result<usize> {
    PIPE.with_borrow_mut(|kept| {
        let pipe = match kept.take() {
            Some(pipe) => pipe,
            None => Pipe::new()?,
        };
        let filled = pipe.fill(body)?;
        let sent = pipe.send(socket, head, filled, body.len() > filled);
        let of_body = match &sent {
            Ok(sent) => sent.saturating_sub(head.len()),
            Err(_) => 0,
        };
        // What the socket didn't take now comes anew at the next time. A pipe in which something is left is not used again.
        if pipe.empty(filled - of_body).is_ok() {
            *kept = Some(pipe);
        }
        sent
    })
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (start, end) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Otherwise it has the room that it has.
        let _ = fcntl_setpipe_size(&start, ROOM);
        let nowhere = File::options().write(true).open("/dev/null")?;
        Ok(Self {
            end,
            start,
            nowhere,
        })
    }

    /// Puts the pages of `body` in; how many bytes there is room for.
    fn fill(&self, body: &[u8]) -> io::Result<usize> {
        let part = &body[..body.len().min(ROOM)];
        let slices = [IoSliceRaw::from_slice(part)];
        #[expect(
            unsafe_code,
            reason = "it asks for the end of the pipe that is written to, so that the memory is only read"
        )]
        let filled = unsafe { vmsplice(&self.end, &slices, SpliceFlags::NONBLOCK) };
        filled.map_err(unsupported)
    }

    /// Sends the head, and what is in the pipe; how many bytes of both.
    fn send(
        &self,
        socket: &impl AsFd,
        head: &[u8],
        filled: usize,
        more: bool,
    ) -> io::Result<usize> {
        let mut sent = 0;
        if !head.is_empty() {
            // The body follows at once: the head shares a packet with it.
            sent = send(socket, head, SendFlags::MORE | SendFlags::NOSIGNAL)?;
            if sent < head.len() {
                return Ok(sent);
            }
        }
        let mut flags = SpliceFlags::NONBLOCK;
        flags.set(SpliceFlags::MORE, more);
        match splice(&self.start, None, socket, None, filled, flags) {
            Ok(of_body) => Ok(sent + of_body),
            // It comes up again with the body alone.
            Err(_) if sent > 0 => Ok(sent),
            Err(e) => Err(unsupported(e)),
        }
    }

    fn empty(&self, mut left: usize) -> io::Result<()> {
        while left > 0 {
            match splice(
                &self.start,
                None,
                &self.nowhere,
                None,
                left,
                SpliceFlags::NONBLOCK,
            )? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                gone => left -= gone,
            }
        }
        Ok(())
    }
}

/// What a system says that doesn't do this, or doesn't let it be done.
fn unsupported(error: Errno) -> io::Error {
    match error {
        Errno::INVAL | Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP => {
            io::ErrorKind::Unsupported.into()
        }
        other => other.into(),
    }
}
