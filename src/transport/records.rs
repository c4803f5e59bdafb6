//! [`Records`]: how many bytes have come of TLS records whose content nobody has been given yet (RFC 8446, section 5.1; RFC 5246, section 6.2.1).
//!
//! rustls keeps a record until it is whole, and a message of the handshake in several records until that is whole, and can't be asked how much that is. The
//! records' heads tell, which aren't encrypted.

use super::length_prefixed::LengthPrefixed;

/// How long a record's head is, in bytes.
const HEAD: usize = 5;

/// The most of records that are whole and carry nothing for us that rustls keeps, in bytes: a message of the handshake of up to 64 KB (more ends the connection),
/// and what has come with its last part.
const KEPT: usize = 96 << 10;

/// Where in a client's records we are.
#[derive(Default)]
pub(super) struct Records {
    place: LengthPrefixed<HEAD>,
    /// Bytes of the record that isn't whole.
    open: usize,
    /// Bytes of records that are whole and of which nothing has been handed on, or [`KEPT`].
    whole: usize,
}

impl Records {
    /// Takes note of what has come next.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (count, whole) = self.place.take(bytes, content_length);
            self.open += count;
            bytes = &bytes[count..];
            if whole.is_some() {
                self.whole = (self.whole + self.open).min(KEPT);
                self.open = 0;
            }
        }
    }

    /// What was in the records that are whole has been handed on.
    pub(super) fn handed_on(&mut self) {
        self.whole = 0;
    }

    /// How many bytes are here of which nothing has been handed on, at most. Records may be empty, or say something to TLS alone, and can't be told from others.
    pub(super) fn held(&self) -> usize {
        self.whole + self.open
    }
}

/// How long the content of a record is, by its head.
fn content_length(&[_, _, _, high, low]: &[u8; HEAD]) -> usize {
    usize::from(u16::from_be_bytes([high, low]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(length: u8) -> Vec<u8> {
        let mut record = vec![23, 3, 3, 0, length];
        record.extend(vec![7; usize::from(length)]);
        record
    }

    #[test]
    fn what_is_not_handed_on_is_held() {
        let mut records = Records::default();
        records.see(&record(20)[..7]);
        assert_eq!(records.held(), 7);
        records.see(&record(20)[7..]);
        assert_eq!(records.held(), 25);
        records.see(&[record(0), record(9)[..2].to_vec()].concat());
        assert_eq!(records.held(), 32);
        records.handed_on();
        assert_eq!(records.held(), 2);
    }

    /// A client can go on for ever with records that nothing is handed on of, and rustls keeps none of them.
    #[test]
    fn no_more_is_held_than_rustls_keeps() {
        let mut records = Records::default();
        for _ in 0..1_000 {
            records.see(&record(200));
        }
        assert_eq!(records.held(), KEPT);
        records.see(&record(200)[..100]);
        assert_eq!(records.held(), KEPT + 100);
        records.handed_on();
        assert_eq!(records.held(), 100);
    }

    proptest! {
        /// However the bytes are cut, as many are held.
        #[test]
        fn cuts_make_no_difference(bytes: Vec<u8>, cuts: Vec<usize>) {
            let (mut whole, mut cut) = (Records::default(), Records::default());
            whole.see(&bytes);
            let mut rest = &bytes[..];
            for at in cuts {
                let (now, later) = rest.split_at(at % (rest.len() + 1));
                cut.see(now);
                rest = later;
            }
            cut.see(rest);
            prop_assert_eq!(whole.held(), whole.open + (bytes.len() - whole.open).min(KEPT));
            prop_assert_eq!((cut.open, cut.whole), (whole.open, whole.whole));
        }
    }
}
