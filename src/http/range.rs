//! [`ByteRange`]: the part of a file that a client asks for with `Range` (RFC 9110, section 14); and [`IfRange`], under which condition.

use http::{HeaderMap, HeaderValue, header};

/// A range of bytes as a request has it. How long the file is isn't known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange(RangeSpec);

/// The three forms of a range (section 14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    /// `bytes=2-5`: from the first to the second of these bytes, both included. The first is never the larger one.
    Between(u64, u64),
    /// `bytes=2-`: from this byte to the end.
    From(u64),
    /// `bytes=-2`: the last so many bytes.
    Last(u64),
}

/// A part of a file: at least one byte, none beyond its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    first: u64,
    last: u64,
    of: u64,
}

/// What a range comes to in a file whose length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This part of the file: answered with 206.
    Part(Part),
    /// The file has none of these bytes: answered with 416.
    Nothing,
}

impl ByteRange {
    /// The range in a request's headers. `None` when there is no `Range`, or one that has several ranges, another unit than bytes, or a form that isn't
    /// valid. A server may ignore all of these (section 14.2), and this one answers them with the whole file.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(header::RANGE).iter();
        // `Range` may not be split over two lines, as lists may.
        match (lines.next(), lines.next()) {
            (Some(value), None) => Self::parse(value.as_bytes()),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    /// Reads the value of a `Range` header. `None` for the same reasons as in [`ByteRange::of`].
    pub fn parse(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (unit, set) = text.split_once('=')?;
        // Section 14.1: the case of a unit's name doesn't matter.
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        // Section 5.6.1.2: empty elements of a list are ignored.
        let blank = [' ', '\t'];
        let elements = set.split(',').map(|element| element.trim_matches(blank));
        let mut elements = elements.filter(|element| !element.is_empty());
        match (elements.next(), elements.next()) {
            (Some(one), None) => Self::parse_one(one),
            (Some(_), Some(_)) | (None, _) => None,
        }
    }

    fn parse_one(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-')?;
        Some(Self(match (first, last) {
            ("", last) => RangeSpec::Last(number(last)?),
            (first, "") => RangeSpec::From(number(first)?),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                // Section 14.1.1: a range whose last byte is before its first is invalid.
                (first <= last).then_some(RangeSpec::Between(first, last))?
            }
        }))
    }

    /// What this range comes to in a file of `length` bytes (section 14.1.2).
    pub fn within(&self, length: u64) -> Extent {
        let (first, last) = match self.0 {
            RangeSpec::Between(first, last) => (first, last),
            RangeSpec::From(first) => (first, u64::MAX),
            RangeSpec::Last(0) => return Extent::Nothing,
            RangeSpec::Last(count) => (length.saturating_sub(count), u64::MAX),
        };
        match length.checked_sub(1) {
            Some(end) if first <= end => Extent::Part(Part {
                first,
                last: last.min(end),
                of: length,
            }),
            Some(_) | None => Extent::Nothing,
        }
    }
}

impl Part {
    /// The offset of its first byte.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The offset of the byte after its last one.
    pub fn end(&self) -> u64 {
        self.last + 1
    }

    /// How many bytes it has.
    pub fn length(&self) -> u64 {
        self.end() - self.first
    }

    /// The value of `Content-Range` for it (section 14.4).
    pub fn content_range(&self) -> String {
        let Self { first, last, of } = self;
        format!("bytes {first}-{last}/{of}")
    }
}

/// A number of ASCII digits; `str::parse` would take a `+` before them. A number too large for 64 bits becomes the largest one: both are beyond the end
/// of every file.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// `If-Range`: a client that has a part of a file already wants the rest only of the same file, and the whole of any other (section 13.1.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IfRange {
    /// The header isn't there: the range always counts.
    Any,
    /// The range counts if this is the file's entity tag, or the date of its last change.
    Is(HeaderValue),
    /// The header is neither a tag nor a date: the range doesn't count.
    Never,
}

impl IfRange {
    /// Reads the `If-Range` of a request.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::IF_RANGE).iter();
        match (lines.next(), lines.next()) {
            (None, _) => Self::Any,
            (Some(value), None) => Self::Is(value.clone()),
            (Some(_), Some(_)) => Self::Never,
        }
    }

    /// The same in memory of its own: a header's value shares the memory of the whole head and would keep all of it until the answer is there. A value that
    /// is longer than any tag of this mirror can't be one, and isn't copied.
    pub(super) fn kept(self) -> Self {
        const MOST: usize = 128;
        match self {
            Self::Is(value) if value.len() <= MOST => {
                HeaderValue::from_bytes(value.as_bytes()).map_or(Self::Never, Self::Is)
            }
            Self::Is(_) => Self::Never,
            Self::Any | Self::Never => self,
        }
    }

    /// Whether the range counts for a file that has this `etag`.
    pub(super) fn holds(&self, etag: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(value) => is_strongly(value.as_bytes(), etag),
            Self::Never => false,
        }
    }
}

/// Whether the value of an `If-Range` is this entity tag. They are compared strongly: a weak tag equals no other (section 8.8.3.2). A date never counts here.
/// It would have to be the `Last-Modified` that was sent with the file (section 13.1.5), and a file with a strong tag is sent without one.
pub fn is_strongly(value: &[u8], etag: &[u8]) -> bool {
    etag.starts_with(b"\"") && value.trim_ascii() == etag
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(value: &str, length: u64) -> Option<(u64, u64)> {
        match ByteRange::parse(value.as_bytes())?.within(length) {
            Extent::Part(part) => Some((part.first(), part.end())),
            Extent::Nothing => Some((0, 0)),
        }
    }

    #[test]
    fn all_three_forms_are_understood() {
        for (value, expected) in [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-9", (0, 10)),
            ("bytes=3-1000", (3, 10)),
            ("bytes=9-", (9, 10)),
            ("bytes=-3", (7, 10)),
            ("bytes=-1000", (0, 10)),
            ("Bytes=0-", (0, 10)),
            ("bytes= 2-3 ", (2, 4)),
            ("bytes=,2-3,,", (2, 4)),
            ("bytes=0-99999999999999999999999999", (0, 10)),
            ("bytes=-99999999999999999999999999", (0, 10)),
        ] {
            assert_eq!(part(value, 10), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_beyond_the_end_is_nothing() {
        for value in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999999999-",
        ] {
            assert_eq!(part(value, 10), Some((0, 0)), "{value}");
        }
        for value in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(part(value, 0), Some((0, 0)), "{value} of an empty file");
        }
    }

    #[test]
    fn several_ranges_other_units_and_other_words_are_no_range() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=,",
            "bytes=0-1,2-3",
            "bytes=3-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1--2",
            "bytes=1-2-3",
            "bytes=0x1-",
            "bytes=1 -2",
            "bytes =0-1",
            "lines=0-1",
            "none",
            "bytes=\u{661}-",
        ] {
            assert_eq!(ByteRange::parse(value.as_bytes()), None, "{value}");
        }
        assert_eq!(ByteRange::parse(b"bytes=\xff-"), None);
    }

    #[test]
    fn two_lines_are_no_range() {
        let mut headers = HeaderMap::new();
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert!(ByteRange::of(&headers).is_some());
        headers.append(header::RANGE, HeaderValue::from_static("bytes=0-1"));
        assert_eq!(ByteRange::of(&headers), None);
    }

    #[test]
    fn if_range_is_compared_strongly_and_no_date_holds() {
        let etag = b"\"a\"";
        for (value, holds) in [
            ("\"a\"", true),
            (" \"a\" ", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            ("\"a\", \"b\"", false),
            ("*", false),
            ("", false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(IfRange::Is(value.clone()).holds(etag), holds, "{value:?}");
        }
        let weak = HeaderValue::from_static("W/\"a\"");
        assert!(!IfRange::Is(weak).holds(b"W/\"a\""), "weak on both sides");
        assert!(IfRange::Any.holds(etag) && !IfRange::Never.holds(etag));
    }

    proptest! {
        #[test]
        fn a_part_is_what_was_asked_for_and_is_there(first: u64, last: u64, length in 1u64..) {
            let asked = format!("bytes={first}-{last}");
            match ByteRange::parse(asked.as_bytes()).map(|range| range.within(length)) {
                None => prop_assert!(last < first),
                Some(Extent::Nothing) => prop_assert!(first >= length),
                Some(Extent::Part(part)) => {
                    prop_assert_eq!(part.first(), first);
                    prop_assert_eq!(part.end() - 1, last.min(length - 1));
                    prop_assert!(part.length() >= 1 && part.end() <= length);
                }
            }
        }

        #[test]
        fn a_head_and_a_tail_make_up_the_whole(cut: u64, length in 1u64..) {
            let cut = cut % length;
            let within = |asked: String| ByteRange::parse(asked.as_bytes()).expect("a range").within(length);
            let Extent::Part(tail) = within(format!("bytes={cut}-")) else {
                return Err(TestCaseError::fail("there is a tail"));
            };
            prop_assert_eq!((tail.first(), tail.end()), (cut, length));
            let same = within(format!("bytes=-{}", length - cut));
            prop_assert_eq!(same, Extent::Part(tail));
            if cut > 0 {
                let Extent::Part(head) = within(format!("bytes=0-{}", cut - 1)) else {
                    return Err(TestCaseError::fail("there is a head"));
                };
                prop_assert_eq!(head.length() + tail.length(), length);
            }
        }

        #[test]
        fn no_words_do_harm(value: Vec<u8>, length: u64) {
            if let Some(range) = ByteRange::parse(&value)
                && let Extent::Part(part) = range.within(length)
            {
                prop_assert!(part.first() < part.end() && part.end() <= length);
                prop_assert!(part.content_range().starts_with("bytes "));
            }
        }
    }
}
