//! [`Content`]: bytes that the system can send without copying them.
//!
//! A leaf. What is written to a socket is copied into it, and for a crate that is most of the work. Memory pages can be lent to a socket instead
//! (vmsplice(2) and splice(2)), if nobody writes to them before they have left: a TCP connection keeps what it has sent until that has arrived. So a
//! large body gets pages of its own that nobody can write to any more. When their last user here is gone they are unmapped, and not given to
//! anything else before the last socket has let go of them.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use bytes::Bytes;

#[cfg(target_os = "linux")]
#[path = "zero_copy/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "zero_copy/elsewhere.rs"]
mod system;

/// What is smaller is copied about as fast; in bytes.
const LEAST: usize = 64 << 10;
/// So many bodies have pages of their own at a time: a process may have 65,530 mappings, and its allocator needs some.
const MOST: u32 = 16_384;

/// Bytes, and whether they can be lent.
#[derive(Clone, Debug)]
pub struct Content {
    bytes: Bytes,
    location: Location,
}

/// Where bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Location {
    /// Among others that change.
    Heap,
    /// In pages of their own that don't.
    OwnPages,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        let location = Location::Heap;
        Self { bytes, location }
    }
}

impl Content {
    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Those within `range`.
    ///
    /// # Panics
    /// When there are fewer.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self {
            bytes: self.bytes.slice(range),
            ..*self
        }
    }

    /// The same bytes with what `wrap` ties to them.
    pub fn map(self, wrap: impl FnOnce(Bytes) -> Bytes) -> Self {
        let before = self.bytes.as_ptr_range();
        let bytes = wrap(self.bytes);
        match bytes.as_ptr_range() == before {
            true => Self {
                bytes,
                location: self.location,
            },
            false => bytes.into(),
        }
    }

    /// Whether [`lend`](Self::lend) can be tried.
    pub fn can_be_lent(&self) -> bool {
        self.location == Location::OwnPages && LENDS.load(Ordering::Relaxed)
    }

    /// Sends `head` to a socket that isn't waited for, and after it as much of `part` as it takes, which lies within these bytes. Gives how much that was in all.
    ///
    /// # Errors
    /// Those of sendmsg(2); [`io::ErrorKind::WouldBlock`] when it takes nothing, [`io::ErrorKind::Unsupported`] when this can't be done: then nothing
    /// was sent.
    #[cfg(unix)]
    pub fn lend(
        &self,
        socket: &impl std::os::fd::AsFd,
        head: &[u8],
        part: &[u8],
    ) -> io::Result<usize> {
        let (all, part_of) = (self.bytes.as_ptr_range(), part.as_ptr_range());
        let lies_within = all.start <= part_of.start && part_of.end <= all.end;
        if part.is_empty() || !lies_within || !self.can_be_lent() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let lent = system::lend(socket, head, part);
        if let Err(e) = &lent
            && e.kind() == io::ErrorKind::Unsupported
        {
            tracing::debug!("this system copies what it sends");
            LENDS.store(false, Ordering::Relaxed);
        }
        lent
    }
}

/// Cleared for good when the system turns out not to lend.
static LENDS: AtomicBool = AtomicBool::new(true);

/// Gives bodies pages of their own, up to a number.
#[derive(Clone, Default)]
pub struct PagePool(Arc<AtomicU32>);

impl PagePool {
    /// The bytes of `parts`, one after the other, in pages of their own; nothing if they are few, or there are too many such pages.
    pub fn content<'a>(&self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> Option<Content> {
        let length = parts.clone().map(<[u8]>::len).sum();
        let mut filling = self.filling(length)?;
        parts.for_each(|part| filling.push(part));
        filling.finish()
    }

    /// Pages for `length` bytes that come one after the other; nothing if those are few, or there are too many such pages.
    pub fn filling(&self, length: usize) -> Option<Filling> {
        if length < LEAST || !LENDS.load(Ordering::Relaxed) {
            return None;
        }
        let one_more = |taken| (taken < MOST).then_some(taken + 1);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        let permit = taken.ok().map(|_| PoolPermit(self.0.clone()))?;
        let pages = system::NewPages::new(length).ok()?;
        Some(Filling {
            pages,
            filled: 0,
            permit,
        })
    }
}

/// Pages that are still being filled.
pub struct Filling {
    pages: system::NewPages,
    filled: usize,
    permit: PoolPermit,
}

impl Filling {
    /// The next bytes. What there is no room for is left out, and then nothing comes of it.
    pub fn push(&mut self, part: &[u8]) {
        let end = self.filled + part.len();
        if let Some(room) = self.pages.as_mut().get_mut(self.filled..end) {
            room.copy_from_slice(part);
        }
        self.filled = end;
    }

    /// All of it; nothing unless exactly as many bytes have come as there was room for.
    pub fn finish(mut self) -> Option<Content> {
        if self.filled != self.pages.as_mut().len() {
            return None;
        }
        let pages = self.pages.freeze().ok()?;
        Some(Content {
            bytes: Bytes::from_owner(Owned {
                pages,
                _permit: self.permit,
            }),
            location: Location::OwnPages,
        })
    }
}

/// A permit for one body's pages.
struct PoolPermit(Arc<AtomicU32>);

impl Drop for PoolPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Pages as long as somebody has their bytes.
struct Owned {
    pages: system::Pages,
    _permit: PoolPermit,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        self.pages.as_ref()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::Read,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    fn pattern(length: usize, first: u8) -> Vec<u8> {
        let byte = |n: usize| first.wrapping_add((n % 251) as u8);
        (0..length).map(byte).collect()
    }

    fn content(length: usize, first: u8) -> Content {
        let bytes = pattern(length, first);
        let content = PagePool::default().content(bytes.chunks(10_000));
        content.expect("pages")
    }

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let theirs = TcpStream::connect(address).expect("connected");
        let (ours, _) = listener.accept().expect("accepted");
        ours.set_nonblocking(true).expect("a socket");
        (ours, theirs)
    }

    #[test]
    fn large_content_is_in_pages_and_reads_the_same() {
        let content = content(LEAST, 0);
        assert!(*content.bytes() == pattern(LEAST, 0));
        assert!(content.can_be_lent());
        let small = pattern(LEAST - 1, 0);
        assert!(
            PagePool::default()
                .content([&small[..]].into_iter())
                .is_none()
        );
    }

    #[test]
    fn only_what_is_in_pages_of_its_own_is_lent() {
        let (ours, _theirs) = connected();
        let (lent, heap) = (
            content(LEAST, 0),
            Content::from(Bytes::from(vec![0; LEAST])),
        );
        let other = vec![0; LEAST];
        let copied = lent.clone().map(|bytes| Bytes::copy_from_slice(&bytes));
        for (content, part) in [
            (&heap, &heap.bytes()[..]),
            (&lent, &other[..]),
            (&lent, heap.bytes()),
            (&lent, &lent.bytes()[..0]),
            (&lent.slice(10..20), &lent.bytes()[..15]),
            (&copied, copied.bytes()),
        ] {
            let refused = content.lend(&ours, b"head", part).expect_err("not lent");
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        }
        assert!(lent.lend(&ours, b"", lent.bytes()).is_ok());
    }

    /// The socket still has what nobody else has any more: were the memory given to something else, that would arrive.
    #[test]
    fn what_was_lent_arrives_although_it_is_gone_here() {
        let (ours, mut theirs) = connected();
        let (length, mut sent) = (8 * LEAST, Vec::new());
        // Until the socket is full, each from pages of its own that are gone at once, and others in their place.
        for first in 0..=255 {
            let content = content(length, first);
            match content.lend(&ours, b"head", content.bytes()) {
                Ok(count) => {
                    let whole = [b"head", &pattern(length, first)[..]].concat();
                    sent.extend_from_slice(&whole[..count]);
                }
                Err(e) => {
                    assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
                    break;
                }
            }
        }
        assert!(sent.len() > length, "{} bytes", sent.len());
        let mut arrived = vec![0; sent.len()];
        theirs.read_exact(&mut arrived).expect("all of it");
        assert!(arrived == sent);
        drop(ours);
        let mut rest = Vec::new();
        theirs.read_to_end(&mut rest).expect("closed");
        assert!(rest.is_empty(), "{} bytes too many", rest.len());
    }

    #[test]
    fn pages_that_too_little_or_too_much_was_put_into_are_nothing() {
        for extra in [LEAST - 1, LEAST + 1] {
            let mut filling = PagePool::default().filling(LEAST).expect("pages");
            filling.push(&pattern(1, 0));
            filling.push(&pattern(extra - 1, 1));
            assert!(filling.finish().is_none(), "{extra} bytes");
        }
    }

    #[test]
    fn only_so_many_have_pages_at_a_time() {
        let pool = PagePool::default();
        let bytes = pattern(LEAST, 0);
        let one = || pool.content([&bytes[..]].into_iter());
        pool.0.store(MOST - 1, Ordering::Relaxed);
        let last = one().expect("the last one").slice(1..2);
        assert!(one().is_none(), "there is one handle on it");
        drop(last);
        assert!(one().is_some());
    }
}
