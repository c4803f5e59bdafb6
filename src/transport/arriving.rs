//! [`Arriving`]: how many bytes have come of a request's head that isn't whole yet. HTTP keeps them until it is.
//!
//! Over HTTP/1.1 these are all bytes since the last request began. Over HTTP/2 they are what has come of a frame, or of a head in several frames, which
//! the frames' own heads tell (RFC 9113, sections 4.1 and 6.10). So a client that only enlarges a window or sends a ping isn't taken to be at a head.

use super::{
    frames::{CONTINUATION, END_HEADERS, FRAME_HEAD, HEADERS, MAGIC, payload_length},
    length_prefixed::LengthPrefixed,
};

/// What a client sends.
pub(super) enum Arriving {
    /// Nothing but so many bytes of HTTP/2's magic so far.
    Magic(usize),
    /// HTTP/1.1.
    Requests,
    /// HTTP/2.
    Frames(Frames),
}

/// Where in HTTP/2's frames a client is.
#[derive(Default)]
pub(super) struct Frames {
    place: LengthPrefixed<FRAME_HEAD>,
    block: Block,
    /// Bytes of what isn't whole.
    open: usize,
}

/// Whether a request's head goes on with the next frame.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Block {
    #[default]
    Whole,
    Open,
}

/// What the next bytes were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// So many bytes more of what may be a head.
    More(usize),
    /// So many bytes of what isn't whole are here, and nothing became whole.
    Still(usize),
    /// Something became whole; of what comes after it so many bytes are here.
    Anew(usize),
}

impl Arriving {
    /// Nothing has come.
    pub(super) fn new() -> Self {
        Self::Magic(0)
    }

    /// Takes note of what has come next.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Came {
        match self {
            Self::Frames(frames) => frames.see(bytes),
            Self::Requests => Came::More(bytes.len()),
            Self::Magic(seen) => {
                let expected = &MAGIC[*seen..];
                let compared = expected.len().min(bytes.len());
                let (begin, later) = bytes.split_at(compared);
                if begin != &expected[..compared] {
                    *self = Self::Requests;
                    return Came::More(bytes.len());
                }
                *seen += compared;
                if *seen < MAGIC.len() {
                    return Came::More(bytes.len());
                }
                let mut frames = Frames::default();
                frames.see(later);
                let open = frames.open;
                *self = Self::Frames(frames);
                Came::Anew(open)
            }
        }
    }
}

impl Frames {
    fn see(&mut self, mut bytes: &[u8]) -> Came {
        let mut anew = false;
        while !bytes.is_empty() {
            let (count, whole) = self.place.take(bytes, payload_length);
            self.open += count;
            bytes = &bytes[count..];
            if let Some(head) = whole {
                anew |= self.end(head) == Block::Whole;
            }
        }
        match anew {
            true => Came::Anew(self.open),
            false => Came::Still(self.open),
        }
    }

    /// The frame with this head is whole.
    fn end(&mut self, head: [u8; FRAME_HEAD]) -> Block {
        let (kind, flags) = (head[3], head[4]);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block = match flags & END_HEADERS {
                0 => Block::Open,
                _ => Block::Whole,
            };
        }
        if self.block == Block::Whole {
            self.open = 0;
        }
        self.block
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![7; usize::from(length)]);
        frame
    }

    fn open(came: Came) -> usize {
        match came {
            Came::More(open) | Came::Still(open) | Came::Anew(open) => open,
        }
    }

    #[test]
    fn a_head_is_open_until_its_last_frame_is_whole() {
        let mut arriving = Arriving::new();
        assert_eq!(arriving.see(&MAGIC[..5]), Came::More(5));
        assert_eq!(arriving.see(&MAGIC[5..]), Came::Anew(0));
        assert_eq!(arriving.see(&frame(HEADERS, 0, 20)), Came::Still(29));
        assert_eq!(arriving.see(&frame(CONTINUATION, 0, 0)), Came::Still(38));
        let last = frame(CONTINUATION, END_HEADERS, 10);
        assert_eq!(arriving.see(&last[..12]), Came::Still(50));
        assert_eq!(arriving.see(&last[12..]), Came::Anew(0));
        assert_eq!(arriving.see(&frame(6, 0, 8)[..10]), Came::Still(10));
    }

    #[test]
    fn over_http_1_all_counts() {
        let mut arriving = Arriving::new();
        assert_eq!(arriving.see(b"PRI"), Came::More(3));
        assert_eq!(arriving.see(b"X / HTTP/1.1"), Came::More(12));
        assert_eq!(arriving.see(MAGIC), Came::More(MAGIC.len()));
    }

    proptest! {
        /// However the bytes are cut, as many are open at their end.
        #[test]
        fn cuts_make_no_difference(bytes: Vec<u8>, cuts: Vec<usize>) {
            let mut whole = Arriving::new();
            whole.see(MAGIC);
            let mut cut = Arriving::new();
            cut.see(MAGIC);
            let expected = open(whole.see(&bytes));
            let (mut rest, mut last) = (&bytes[..], 0);
            for at in cuts {
                let (now, later) = rest.split_at(at % (rest.len() + 1));
                last = open(cut.see(now));
                rest = later;
            }
            if !rest.is_empty() {
                last = open(cut.see(rest));
            }
            prop_assert_eq!(last, if bytes.is_empty() { 0 } else { expected });
        }
    }
}
