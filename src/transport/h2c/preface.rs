//! [`Preface`]: what a client really sends first after its upgrade, held against what was read in its name already.

use std::{
    io,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes, BytesMut};

use super::super::frames::{FRAME_HEAD, MAGIC, SETTINGS, payload_length};

/// How much is sent after the 101 before the client has gone on in HTTP/2, in bytes. curl 7.88 keeps at most 32 KiB that come with the 101, and fails when
/// there is more (exit code 16).
const BEFORE_PREFACE: usize = 16 << 10;

/// How much of the client's own preface has been seen.
pub(super) enum Preface {
    /// Not all of it.
    Awaited(Awaited),
    /// All of it.
    Done,
}

/// What is known while the client's preface is awaited.
pub(super) struct Awaited {
    /// What came so far.
    seen: BytesMut,
    /// The settings it is expected to repeat.
    settings: Bytes,
    /// How many bytes may still be sent.
    room: usize,
    /// What waits to send more.
    writer: Option<Waker>,
}

/// What becomes of a connection whose client sends something else, or nothing more.
pub(super) fn didnt_go_on(how: io::ErrorKind) -> io::Error {
    io::Error::new(how, "the client didn't go on in HTTP/2 after its upgrade")
}

impl Preface {
    pub(super) fn awaited(settings: Bytes) -> Self {
        Self::Awaited(Awaited {
            seen: BytesMut::new(),
            settings,
            room: BEFORE_PREFACE,
            writer: None,
        })
    }

    /// How many of `wanted` bytes may be sent now.
    pub(super) fn poll_room(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        match self {
            Self::Awaited(awaited) if awaited.room == 0 && wanted > 0 => {
                awaited.writer = Some(context.waker().clone());
                Poll::Pending
            }
            Self::Awaited(awaited) => Poll::Ready(wanted.min(awaited.room)),
            Self::Done => Poll::Ready(wanted),
        }
    }

    /// Notes so many bytes as sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Self::Awaited(awaited) = self {
            awaited.room = awaited.room.saturating_sub(bytes);
        }
    }

    /// Takes what the client sent. Gives what is to be passed on, once the magic and the first frame are here.
    ///
    /// The magic isn't passed on: it was read with the offer. Nor are the settings, if the first frame repeats them, as it does with every client met so
    /// far. The 101 has acknowledged them already (RFC 7540, section 3.2.1). Passed on, they would be acknowledged a second time, and nghttp2, which cargo
    /// uses, closes the connection over that.
    ///
    /// # Errors
    /// When the client doesn't go on in HTTP/2.
    pub(super) fn see(&mut self, bytes: &[u8]) -> io::Result<Option<Bytes>> {
        let Self::Awaited(awaited) = self else {
            return Ok(Some(Bytes::copy_from_slice(bytes)));
        };
        let Awaited { seen, settings, .. } = awaited;
        seen.extend_from_slice(bytes);
        let compared = seen.len().min(MAGIC.len());
        if seen[..compared] != MAGIC[..compared] {
            return Err(didnt_go_on(io::ErrorKind::InvalidData));
        }
        let Some((head, payload)) = seen[compared..].split_first_chunk::<FRAME_HEAD>() else {
            return Ok(None);
        };
        let length = payload_length(head);
        let first_is_settings = head[3..] == [SETTINGS, 0, 0, 0, 0, 0];
        let repeats = first_is_settings && length == settings.len();
        if repeats && payload.len() < length {
            return Ok(None);
        }
        let skip = match repeats && payload[..length] == settings[..] {
            true => MAGIC.len() + FRAME_HEAD + length,
            false => MAGIC.len(),
        };
        let mut rest = std::mem::take(seen);
        rest.advance(skip);
        if let Some(writer) = awaited.writer.take() {
            writer.wake();
        }
        *self = Self::Done;
        Ok(Some(rest.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::frames::put_frame, *};

    /// What cargo offers.
    const SETTINGS_OF_CARGO: &[u8] = &[0, 3, 0, 0, 0, 100, 0, 4, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0];

    fn settings_frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = BytesMut::new();
        put_frame(&mut frame, SETTINGS, 0, 0, payload);
        frame.to_vec()
    }

    /// A second acknowledgement made nghttp2 close the connection.
    #[test]
    fn settings_that_are_repeated_are_not_passed_on_however_they_are_cut() {
        let settings = Bytes::from_static(SETTINGS_OF_CARGO);
        let sent = [MAGIC, &settings_frame(&settings)[..], b"more"].concat();
        for cut in 0..sent.len() - 4 {
            let mut preface = Preface::awaited(settings.clone());
            assert_eq!(preface.see(&sent[..cut]).expect("valid"), None, "{cut}");
            let rest = preface.see(&sent[cut..]).expect("valid");
            assert_eq!(rest.as_deref(), Some(&b"more"[..]), "{cut}");
        }
    }

    #[test]
    fn other_settings_are_passed_on() {
        let mut preface = Preface::awaited(Bytes::from_static(b"abcdef"));
        let frame = settings_frame(b"ghijkl");
        let rest = preface.see(&[MAGIC, &frame[..]].concat()).expect("valid");
        assert_eq!(rest.as_deref(), Some(&frame[..]));
    }
}
