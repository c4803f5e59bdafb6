//! [`Handover`]: the body that a connection writes next, if the system can send it without copying it.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::net::TcpStream;

use crate::zero_copy::Content;

/// Where an answer leaves its body for the socket that will send it. A clone is another handle on the same place. The default one belongs to a stream
/// to which nothing can be lent, and takes nothing.
#[derive(Clone, Default)]
pub(super) struct Handover(Option<Arc<Slot>>);

#[derive(Default)]
struct Slot {
    /// Whether there is one. Beside the lock, because each request and each write asks.
    is_taken: AtomicBool,
    next: Mutex<Option<Content>>,
}

impl Handover {
    /// One that takes what it is given.
    pub(super) fn open() -> Self {
        Self(Some(Arc::default()))
    }

    /// The body that comes next.
    pub(super) fn announce(&self, body: Content) {
        if let Some(slot) = &self.0 {
            *slot.lock() = Some(body);
            slot.is_taken.store(true, Ordering::Relaxed);
        }
    }

    /// What was announced isn't waited for any more.
    pub(super) fn clear(&self) {
        if let Some(slot) = &self.0
            && slot.is_taken()
        {
            slot.is_taken.store(false, Ordering::Relaxed);
            *slot.lock() = None;
        }
    }

    /// Whether there is a body to be lent.
    pub(super) fn is_taken(&self) -> bool {
        self.0.as_ref().is_some_and(|slot| slot.is_taken())
    }

    /// Sends `head` and what the socket takes of `part`, if that is of the body. With its last byte that isn't waited for any more.
    ///
    /// # Errors
    /// Those of [`Content::lend`].
    pub(super) fn lend(&self, socket: &TcpStream, head: &[u8], part: &[u8]) -> io::Result<usize> {
        let slot = self.0.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let mut next = slot.lock();
        let body = next.as_ref().ok_or(io::ErrorKind::Unsupported)?;
        let sent = body.lend(socket, head, part)?;
        let end = body.bytes().as_ptr_range().end;
        let rest = sent
            .checked_sub(head.len())
            .map(|sent| part[sent..].as_ptr());
        if rest == Some(end) {
            slot.is_taken.store(false, Ordering::Relaxed);
            *next = None;
        }
        Ok(sent)
    }

    /// Whether nobody's memory is held.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn holds_nothing(&self) -> bool {
        self.0.as_ref().is_none_or(|slot| slot.lock().is_none())
    }
}

impl Slot {
    fn is_taken(&self) -> bool {
        self.is_taken.load(Ordering::Relaxed)
    }

    /// Only ever one task at a time uses a connection, so nobody waits here.
    fn lock(&self) -> MutexGuard<'_, Option<Content>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
