//! Packets, of which git's requests and answers are made (gitprotocol-common(5), "pkt-line format"): four hexadecimal digits for the length, themselves included, and the content.

use std::fmt;

/// The longest content of a packet, in bytes.
pub(super) const LONGEST: usize = 65_516;

/// A packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// One with content.
    Data(&'a [u8]),
    /// `0000`: the end of a part.
    Flush,
    /// `0001`: the end of a section, in version 2.
    Delimiter,
    /// `0002`: the end of an answer, in version 2.
    End,
}

/// What can be wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketError {
    /// Its length isn't four hexadecimal digits, or one that no packet has.
    Length,
    /// There is less than its length says.
    Short,
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "a packet doesn't begin with its length",
            Self::Short => "a packet ends before its end",
        })
    }
}

/// The packets in bytes that may come piece by piece: what isn't whole stays where it is.
pub struct Packets<'a>(&'a [u8]);

impl<'a> Packets<'a> {
    /// Those of these bytes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What hasn't been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    /// The next packet; `None` when there is nothing more, or not all of it.
    ///
    /// # Errors
    /// [`PacketError::Length`] for what is no packet.
    pub fn next_whole(&mut self) -> Result<Option<Packet<'a>>, PacketError> {
        let Some((digits, rest)) = self.0.split_first_chunk::<4>() else {
            return match self.0.iter().all(u8::is_ascii_hexdigit) {
                true => Ok(None),
                false => Err(PacketError::Length),
            };
        };
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(PacketError::Length);
        }
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let length = usize::from_str_radix(digits, 16).map_err(|_| PacketError::Length)?;
        let packet = match length {
            0 => (Packet::Flush, rest),
            1 => (Packet::Delimiter, rest),
            2 => (Packet::End, rest),
            3 => return Err(PacketError::Length),
            length if length - 4 > LONGEST => return Err(PacketError::Length),
            length => match rest.split_at_checked(length - 4) {
                Some((content, rest)) => (Packet::Data(content), rest),
                None => return Ok(None),
            },
        };
        self.0 = packet.1;
        Ok(Some(packet.0))
    }
}

/// Adds a packet with this content, of which no more than a packet can hold is taken.
pub fn data(out: &mut Vec<u8>, content: &[u8]) {
    let content = &content[..content.len().min(LONGEST)];
    out.extend_from_slice(format!("{:04x}", content.len() + 4).as_bytes());
    out.extend_from_slice(content);
}

/// Adds the end of a part.
pub fn flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_wherever_it_is_cut(
            contents in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 0_usize..2_000,
        ) {
            let mut bytes = Vec::new();
            for content in &contents {
                data(&mut bytes, content);
            }
            flush(&mut bytes);
            let cut = cut.min(bytes.len());
            let mut first = Packets::of(&bytes[..cut]);
            let mut read = Vec::new();
            while let Some(packet) = first.next_whole().expect("well-formed") {
                read.push(packet);
            }
            let mut second = Packets::of(&bytes[cut - first.rest().len()..]);
            while let Some(packet) = second.next_whole().expect("well-formed") {
                read.push(packet);
            }
            prop_assert!(second.rest().is_empty());
            let mut written: Vec<_> = contents.iter().map(|c| Packet::Data(c)).collect();
            written.push(Packet::Flush);
            prop_assert_eq!(read, written);
        }

        #[test]
        fn any_bytes_are_packets_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut packets = Packets::of(&bytes);
            while let Ok(Some(_)) = packets.next_whole() {}
            prop_assert!(packets.rest().len() <= bytes.len());
        }
    }

    #[test]
    fn what_has_no_length_is_no_packet() {
        for wrong in ["0003", "ffff", "00zz", "+123", "-", "hello"] {
            assert_eq!(
                Packets::of(wrong.as_bytes()).next_whole(),
                Err(PacketError::Length),
                "{wrong}"
            );
        }
        for short in ["", "0", "00", "0008NA"] {
            assert_eq!(Packets::of(short.as_bytes()).next_whole(), Ok(None));
        }
    }
}
